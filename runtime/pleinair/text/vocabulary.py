"""What a model says that it can do, held against what it is asked for: the words it knows, the sizes it paints well.

English is known well enough to take "houses" for "house", and not to ask a model for "the".
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache

from pleinair.bundle.manifest import Manifest
from pleinair.checks import one_line

LONGEST_NAME = 40  # characters of a model's name that a warning quotes
LONGEST_SHOWN = 24  # characters of a word that it quotes
MOST_STRANGE = 6  # unknown words that it quotes
MOST_KNOWN = 24  # known words that it quotes

WORD = re.compile("[^\\W_]+(?:['’‐‑-][^\\W_]+)*|[\U0001f300-\U0001faff]")  # a pictograph is a word
HYPHEN = re.compile("[‐‑-]")
PLURALS = (  # how one ends, and many
    ("", "s"),
    ("", "es"),
    ("y", "ies"),
    ("f", "ves"),
    ("fe", "ves"),
    ("man", "men"),
    ("mouse", "mice"),
    ("goose", "geese"),
    ("foot", "feet"),
    ("tooth", "teeth"),
    ("child", "children"),
    ("person", "people"),
)
JOINING = (
    "a an the this that these those some and or but as than so then there here i you he she it we they my your his her"
    " its our their who which where while when am is are was be been being has have having of with in on at by to from"
    " for into onto over above under below beneath behind beside between among near next around across along through"
    " during up down off out"
)
FUNCTION_WORDS = frozenset(JOINING.split())  # nothing that could be painted, unlike "no" and "without"


def word_warnings(manifest: Manifest, prompt: Iterable[str], negative: Iterable[str]) -> list[str]:
    """At most one warning, for the words of these texts that the model does not know; none where it cannot be told."""
    if not manifest.vocabulary:
        return []
    known = known_words(manifest.vocabulary)
    found, strange = told_apart(prompt, known)
    _, refused = told_apart(negative, known)
    claims = []
    if strange:
        named = _named(strange)
        none = f"knows no word of the prompt ({named}) and will paint something else"
        claims.append(f"does not know {named}" if found else none)
    if refused:
        claims.append(f"does not know {_named(refused)} in the negative prompt")
    if not claims:
        return []
    first, more = manifest.vocabulary[:MOST_KNOWN], len(manifest.vocabulary) - MOST_KNOWN
    rest = f" and {more} more words, which pleinair info lists" if more > 0 else ""
    return [f"{_name(manifest)} {', and '.join(claims)}; it knows {', '.join(first)}{rest}"]


def size_warnings(manifest: Manifest, passes: Iterable[tuple[int, int]], tile: str = "") -> list[str]:
    """At most one warning, for widths and heights in pixels that the model does not paint well.

    Axes of `tile` ("x", "y", "xy") are not looked at: where borders meet, a picture is to repeat.
    """
    sizes, usual = manifest.sizes, manifest.defaults
    if sizes is None:
        return []
    told = []
    for size in dict.fromkeys(passes):
        sides = [side for axis, side in zip("xy", size, strict=True) if axis not in tile]
        repeats = ["repeat things"] if any(side > sizes.largest for side in sides) else []
        loses = ["leave things out"] if any(side < sizes.smallest for side in sides) else []
        if faults := repeats + loses:
            told.append(f"{size[0]}x{size[1]} will {' and '.join(faults)}")
    if not told:
        return []
    return [
        f"{_name(manifest)} was trained at {usual.width}x{usual.height} and paints sides of {sizes.smallest} to"
        f" {sizes.largest} pixels well; {', '.join(told)}"
    ]


@lru_cache(maxsize=8)
def known_words(vocabulary: tuple[str, ...]) -> frozenset[str]:
    """Every word that a vocabulary answers for: its own, whole and by parts, and their singulars and plurals."""
    own = [word for entry in vocabulary for word in words(entry)]
    own = [spelling for word in own for spelling in (HYPHEN.sub("", word), *HYPHEN.split(word))]
    return frozenset(form for word in own for form in forms(word)) - FUNCTION_WORDS


def told_apart(texts: Iterable[str], known: frozenset[str]) -> tuple[int, list[str]]:
    """How many words of the texts are known, and those that are not, each once and in order.

    A word with hyphens is known where it is in one piece, or else each of its parts counts.
    """
    found, strange = 0, {}
    for word in (word for text in texts for word in words(text)):
        joined = HYPHEN.sub("", word)
        for part in [joined] if joined in known else HYPHEN.split(word):
            if part in known:
                found += 1
            elif part not in FUNCTION_WORDS and not part.isdigit():
                strange[part] = None
    return found, list(strange)


def words(text: str) -> Iterator[str]:
    """The words of a text in lower case, without "'s"; hyphens join, and all else between letters parts."""
    for word in WORD.findall(unicodedata.normalize("NFC", text).lower()):
        yield word.replace("’", "'").removesuffix("'s")


def forms(word: str) -> Iterator[str]:
    """A word and what its singulars and plurals may be."""
    yield word
    for one, many in PLURALS:
        for ending, other in ((one, many), (many, one)):
            if word.endswith(ending):
                yield word.removesuffix(ending) + other


def _name(manifest: Manifest) -> str:
    return one_line(manifest.name, LONGEST_NAME)


def _named(strange: list[str]) -> str:
    more = len(strange) - MOST_STRANGE
    first = ", ".join(one_line(word, LONGEST_SHOWN) for word in strange[:MOST_STRANGE])
    return f"{first} and {more} more" if more > 0 else first
