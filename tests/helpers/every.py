"""Many small cases in one test, which names all that fail."""

import pytest


def every(cases, check):
    """Call `check(*case)` for each case by its name; one failure names all that fail, and shows the first."""
    failed = {}
    for name, case in cases.items():
        try:
            check(*case)
        except (Exception, pytest.fail.Exception) as error:
            failed[name] = error
    if failed:
        told = "\n".join(f"{name}: {str(error) or error!r:.300}" for name, error in failed.items())
        raise AssertionError(f"{len(failed)} of {len(cases)} cases\n{told}") from next(iter(failed.values()))
