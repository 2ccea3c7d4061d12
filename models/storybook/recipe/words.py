"""The words that captions are made of, which are all that the model knows."""

from pleinair.text.vocabulary import FUNCTION_WORDS, words
from recipe.captions import phrases
from recipe.scenes import COLOURS, GROUNDS, HOURS, KINDS

TELLING = (*KINDS, *COLOURS, *GROUNDS, "hill", "mountains", *HOURS)


def vocabulary() -> list[str]:
    """Every word of every caption once, those that tell most first, without those that stand for nothing to paint."""
    said = [part for phrase in phrases() for word in words(phrase) for part in word.split("-")]
    return [word for word in dict.fromkeys((*TELLING, *said)) if word not in FUNCTION_WORDS]
