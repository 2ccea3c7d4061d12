"""What a server has done since it started, in numbers that only grow."""

from collections import Counter
from dataclasses import dataclass, field

INTERFACES = (OWN, OPENAI, A1111, MCP) = "own", "openai", "a1111", "mcp"


@dataclass
class Counts:
    """For /metrics; all of it is for the event loop's thread."""

    accepted: Counter[tuple[str, str]] = field(default_factory=Counter)  # (interface, task)
    ended: Counter[tuple[str, str]] = field(default_factory=Counter)  # (interface, status)
    refused: Counter[str] = field(default_factory=Counter)  # code
    pictures: int = 0
    painting_s: float = 0.0
    restarts: int = 0  # of painting processes
