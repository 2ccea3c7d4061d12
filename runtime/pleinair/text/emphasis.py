"""A1111's emphasis: (weights) and BREAK make pieces of a text, each of one weight, by which its embeddings grow."""

import math
import re
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
    said: list[str | None] = []
    depth = [0]  # how many more factors of ROUND apply from here on
    numbered: list[list] = []  # of each round bracket in order: first piece, piece after its last, weight or None
    rounds: list[int] = []
    squares: list[int] = []

    def add(piece: str | None) -> None:
        said.append(piece)
        depth.append(0)

    for found in WEIGHT_TOKEN.finditer(text):
        token, weight = found[0], found[1]
        if token == "(":
            rounds.append(len(numbered))
            numbered.append([len(said), 0, None])
        elif token == "[":
            squares.append(len(said))
        elif weight is not None and rounds:
            number = _number(weight)
            if number is None:
                add(token[:-1])
                _no_weight(token, warnings)
            group = numbered[rounds.pop()]
            group[1:] = len(said), number
            if number is None:
                _nest(depth, group[0], len(said), 1)
        elif token == ")" and rounds:
            group = numbered[rounds.pop()]
            _nest(depth, group[0], len(said), 1)
        elif token == "]" and squares:
            _nest(depth, squares.pop(), len(said), -1)
        elif token.startswith("\\"):
            add(token[1:])
        else:
            if token in (")", "]") or weight is not None:
                warnings.say(f"'{token[-1]}' was never opened and is read as text; escape it: \\{token[-1]}")
            elif token == ":" and rounds and (almost := ALMOST_WEIGHT.match(text, found.start())):
                _no_weight(almost[0], warnings)
            for n, part in enumerate(_around_breaks(token)):
                if n:
                    add(None)
                add(part)
    for count, mark in ((len(rounds), "("), (len(squares), "[")):
        if count:
            warnings.say(f"{count} '{mark}' never closed: the weight reaches to the end of the prompt")
    for group in rounds:
        _nest(depth, numbered[group][0], len(said), 1)
    for start in squares:
        _nest(depth, start, len(said), -1)
    return _merged(said, _weights(len(said), depth, numbered, warnings))


def _nest(depth: list[int], start: int, end: int, by: int) -> None:
    """One bracket around the pieces start .. end."""
    depth[start] += by
    depth[end] -= by


def _weights(count: int, depth: list[int], numbered: list[list], warnings: Warnings) -> list[float]:
    """The product of all brackets around each piece; numbered brackets never overlap, and come in opening order."""
    weights, level, waiting, products = [], 0, 0, [(math.inf, 1.0)]
    for n in range(count):
        level += depth[n]
        while products[-1][0] <= n:
            products.pop()
        while waiting < len(numbered) and numbered[waiting][0] <= n:
            _, end, weight = numbered[waiting]
            if weight is not None and end > n:
                product = max(-1e30, min(products[-1][1] * weight, 1e30))  # finite, whatever is multiplied
                products.append((end, product))
            waiting += 1
        factor = ROUND ** max(-DEEPEST, min(level, DEEPEST))
        weights.append(bounded(products[-1][1] * factor, warnings))
    return weights


def _number(text: str) -> float | None:
    """'1.3' -> 1.3, None for '1.2.3'; never infinite."""
    try:
        return max(-1e30, min(float(text), 1e30))
    except ValueError:
        return None


def _no_weight(token: str, warnings: Warnings) -> None:
    warnings.say(f"'{shown(token[:-1])}' is no weight and is read as text; write for example (word:1.3)")


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
