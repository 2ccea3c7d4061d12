"""What a picture of each speed is asked for with."""

from dataclasses import dataclass, field
from typing import Any

EXACT = "exact"


@dataclass(frozen=True)
class SpeedOptions:
    """`share` of the steps are taken, with these options of pleinair's besides."""

    share: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)


SPEEDS = {
    EXACT: SpeedOptions(),
    "balanced": SpeedOptions(options={"reuse": 2}),
    "fast": SpeedOptions(share=0.7, options={"reuse": 2}),
}


def asked(speed: str, steps: int) -> dict[str, Any]:
    """The options with which pleinair is asked for a picture of `steps` steps' quality."""
    found = SPEEDS[speed]
    return {"steps": round(found.share * steps)} | found.options
