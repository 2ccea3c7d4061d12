"""What a picture of each speed is asked for with."""

from typing import Any

EXACT = "exact"
SPEEDS: dict[str, dict[str, Any]] = {  # options of pleinair's beside the steps
    EXACT: {},
    "balanced": {"speed": "balanced"},
    "fast": {"speed": "fast"},
}


def asked(speed: str, steps: int) -> dict[str, Any]:
    """The options with which pleinair is asked for a picture of `steps` steps."""
    return {"steps": steps} | SPEEDS[speed]
