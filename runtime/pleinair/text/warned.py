"""What a reader of prompts says to its caller beside what it read."""

from collections.abc import Iterator

MOST = 20  # a hostile prompt could make thousands


class Warnings:
    """Warnings about one job, each said once and in order."""

    def __init__(self) -> None:
        self._said: dict[str, None] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._said)

    def say(self, *words: str) -> None:
        """Add what has not been said yet."""
        self._said |= dict.fromkeys(words)

    def limited(self) -> list[str]:
        """The first MOST, and how many more there are."""
        every = list(self)
        more = len(every) - MOST
        return every if more <= 0 else [*every[:MOST], f"{more} more warnings of this kind about the prompt"]
