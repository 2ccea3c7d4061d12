"""Hostile inputs, built by small functions: each test is one of them. The summary counts how many were tried."""

from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
tried: Counter[str] = Counter()


def pytest_runtest_logreport(report):
    file = Path(report.nodeid.partition("::")[0])
    if report.when == "call" and file.parent.name == HERE.name:
        tried[file.stem.removeprefix("test_attack_")] += 1


def pytest_terminal_summary(terminalreporter):
    if tried:
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(tried.items()))
        terminalreporter.write_line(f"hostile inputs tried: {tried.total()} ({kinds})")
