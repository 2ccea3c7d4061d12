"""A1111's emphasis: (weights) and BREAK make pieces of a text, each of one weight, by which its embeddings grow."""

import math
import re
from collections import deque
from dataclasses import dataclass

import numpy as np

from pleinair.text.syntax import bounded, shown
from pleinair.text.warned import Warnings

ROUND = 1.1  # what a bracket multiplies a weight by
LARGEST_RATIO = 1e3  # of the means before and after weighting
SMALLEST_MEAN = 1e-5  # of the mean size of the numbers: below it a mean is rounding, and there is none to restore
DEEPEST = 300  # brackets whose factors are multiplied; 1.1 ** 300 is far beyond MOST
WORD_BREAK = re.compile(r"\bBREAK\b")
WEIGHT_TOKEN = re.compile(r"\\[()\[\]\\]|\\|[()\[\]]|:\s*([+-]?[.\d]+)\s*\)|[^\\()\[\]:]+|:")
ALMOST_WEIGHT = re.compile(r":\s*[-+]?\.?\d[^\\()\[\]:]*\)")


@dataclass(frozen=True)
class Piece:
    """Text of one weight; text None is a BREAK."""

    text: str | None
    weight: float


def pieces(text: str, warnings: Warnings) -> list[Piece]:
    """(x) 1.1, [x] 1 / 1.1, (x:1.3), nested and escaped; neighbours of equal weight are one piece.

    A bracket that is never closed reaches to the end, one that was never opened is text. Unlike A1111, BREAK inside
    brackets is a BREAK (there it becomes a word of weight -1.1).
    """
    reading = _Reading(warnings)
    for found in WEIGHT_TOKEN.finditer(text):
        reading.take(found)
    reading.end()
    return _merged(reading.said, reading.weights())


@dataclass
class _Bracket:
    """A round bracket around the pieces from `start` up to `end`, and the weight that it gives them."""

    start: int
    end: int = 0  # 0: one without a number, which counts in `depth`
    weight: float = 1.0


class _Reading:
    """The pieces of a text so far, and the brackets around them; what is done for each token takes one time."""

    def __init__(self, warnings: Warnings) -> None:
        self.said: list[str | None] = []
        self._warnings = warnings
        self._depth = [0]  # how many more factors of ROUND apply from each piece on
        self._numbered: list[_Bracket] = []  # every round one, in the order in which they open
        self._rounds: list[_Bracket] = []  # that are open
        self._squares: list[int] = []  # where those that are open began

    def take(self, found: re.Match[str]) -> None:
        """Read the next token."""
        token, weight = found[0], found[1]
        if token == "(":
            self._rounds.append(_Bracket(len(self.said)))
            self._numbered.append(self._rounds[-1])
        elif token == "[":
            self._squares.append(len(self.said))
        elif token == ")" and self._rounds:
            self._nest(self._rounds.pop().start, 1)
        elif weight is not None and self._rounds:
            self._close(token, _number(weight))
        elif token == "]" and self._squares:
            self._nest(self._squares.pop(), -1)
        elif token.startswith("\\"):
            self._add(token[1:])
        else:
            self._warn(found)
            for n, part in enumerate(_around_breaks(token)):
                if n:
                    self._add(None)
                self._add(part)

    def end(self) -> None:
        """Close what is open."""
        for count, mark in ((len(self._rounds), "("), (len(self._squares), "[")):
            if count:
                self._warnings.say(f"{count} '{mark}' never closed: the weight reaches to the end of the prompt")
        for bracket in self._rounds:
            self._nest(bracket.start, 1)
        for start in self._squares:
            self._nest(start, -1)

    def weights(self) -> list[float]:
        """The product of all brackets around each piece; numbered ones never overlap."""
        weights, level, products = [], 0, [(math.inf, 1.0)]  # products: up to which piece, of what is around it
        opening = deque(bracket for bracket in self._numbered if bracket.end)
        for n in range(len(self.said)):
            level += self._depth[n]
            while products[-1][0] <= n:
                products.pop()
            while opening and opening[0].start <= n:
                bracket = opening.popleft()
                if bracket.end > n:
                    product = max(-1e30, min(products[-1][1] * bracket.weight, 1e30))  # finite, whatever is multiplied
                    products.append((bracket.end, product))
            factor = ROUND ** max(-DEEPEST, min(level, DEEPEST))
            weights.append(bounded(products[-1][1] * factor, self._warnings))
        return weights

    def _add(self, piece: str | None) -> None:
        self.said.append(piece)
        self._depth.append(0)

    def _close(self, token: str, weight: float | None) -> None:
        """A bracket that ends with a number, or with what only looks like one."""
        bracket = self._rounds.pop()
        if weight is None:
            self._add(token[:-1])
            _no_weight(token, self._warnings)
            self._nest(bracket.start, 1)
        else:
            bracket.end, bracket.weight = len(self.said), weight

    def _nest(self, start: int, by: int) -> None:
        """A bracket without a number, from a piece to the last."""
        self._depth[start] += by
        self._depth[len(self.said)] -= by

    def _warn(self, found: re.Match[str]) -> None:
        """Tell of text that looks as if it were meant otherwise."""
        token = found[0]
        if token in (")", "]") or found[1] is not None:
            self._warnings.say(f"'{token[-1]}' was never opened and is read as text; escape it: \\{token[-1]}")
        elif token == ":" and self._rounds and (almost := ALMOST_WEIGHT.match(found.string, found.start())):
            _no_weight(almost[0], self._warnings)


def _number(text: str) -> float | None:
    """'1.3' -> 1.3, None for '1.2.3'; never infinite."""
    try:
        return max(-1e30, min(float(text), 1e30))
    except ValueError:
        return None


def _no_weight(token: str, warnings: Warnings) -> None:
    warnings.say(f"'{shown(token[:-1])}' is not a weight and is read as text; write for example (word:1.3)")


def _around_breaks(text: str) -> list[str]:
    """The texts between BREAKs, without the white space around them."""
    parts = WORD_BREAK.split(text)
    last = len(parts) - 1
    return [
        part.strip() if 0 < n < last else part.lstrip() if n else part.rstrip() if last else part
        for n, part in enumerate(parts)
    ]


def _merged(said: list[str | None], weights: list[float]) -> list[Piece]:
    runs: list[tuple[list[str], float] | None] = []
    for text, weight in zip(said, weights, strict=True):
        if text is None:
            runs.append(None)
        elif runs and runs[-1] and runs[-1][1] == weight:
            runs[-1][0].append(text)
        else:
            runs.append(([text], weight))
    return [Piece("".join(run[0]), run[1]) if run else Piece(None, 1.0) for run in runs]


def heavier(hidden: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """A chunk's embeddings (1, S, d) times the weights of its tokens (S,); with all weights 1 the very same array."""
    return hidden if (weights == 1).all() else hidden * weights[None, :, None]


def emphasized(hidden: np.ndarray, weights: np.ndarray, warnings: Warnings) -> np.ndarray:
    """A chunk's embeddings (1, 77, d) times the weights of its tokens (77,), and scaled back to the mean they had.

    A1111's "Original" emphasis, but for means that are zero; with all weights 1 the very same array.
    """
    if (weights == 1).all():
        return hidden
    heavy = heavier(hidden, weights)
    before, after = hidden.mean(dtype=np.float64), heavy.mean(dtype=np.float64)
    if abs(before) < SMALLEST_MEAN * np.abs(hidden).mean():
        return heavy
    if abs(before) > LARGEST_RATIO * abs(after):
        warnings.say("the weights of a chunk cancel each other out; their mean was not restored: choose others")
        return heavy
    return heavy * np.float32(before / after)
