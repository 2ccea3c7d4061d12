"""Which commit of pleinair is running, where it runs from a clone."""

import os
import subprocess
from functools import cache
from pathlib import Path

import pleinair

MEASURED = ("runtime", "benchmarks/pleinair_bench", "models")  # what a time depends on


@cache
def commit() -> str | None:
    """The full hash, with -dirty where files of MEASURED differ from it; None where pleinair was installed.

    A package that lies in some other repository, such as a project with its environment inside, is no clone of ours.
    """
    package = Path(pleinair.__file__).resolve().parent
    root = package.parents[1]
    if package != root / "runtime" / "pleinair" or not (root / ".git").exists():
        return None
    try:
        found = _git(root, "rev-parse", "--verify", "HEAD")
        clean = _git(root, "status", "--porcelain", "--", *MEASURED) == ""
    except (OSError, subprocess.SubprocessError):  # no git here, or a clone that belongs to somebody else
        return None
    return found if clean else f"{found}-dirty"


def _git(root: Path, *command: str) -> str:
    elsewhere = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    whole = ("git", "--no-optional-locks", "-C", str(root), *command)
    done = subprocess.run(whole, capture_output=True, text=True, timeout=20, check=True, env=elsewhere)
    return done.stdout.strip()
