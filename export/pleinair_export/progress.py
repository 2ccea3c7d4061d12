"""What an export says while it runs."""

from dataclasses import dataclass

from pleinair.bundle.manifest import Fidelity


@dataclass(frozen=True)
class ExportProgress:
    """What is about to happen: `stage` of `graph`, step `done` of `total`; `fidelity` follows each comparison."""

    graph: str
    stage: str
    done: int = 0
    total: int = 0
    fidelity: Fidelity | None = None
