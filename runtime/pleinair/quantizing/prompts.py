"""What a model paints while its ranges are noted, unless its user says what it is for."""

from pathlib import Path

from pleinair.bundle.manifest import Manifest
from pleinair.errors import RequestError, ResourceError
from pleinair.system.files import read_file

LARGEST = 1 << 20  # bytes of a list
USUAL = (
    "a photograph of an old fisherman mending a net in a harbour at dawn, sharp focus",
    "a watercolour of a village on a hill, poplars, a cloudy sky",
    "a bowl of oranges and grapes on a wooden table, oil painting, dark background",
    "a city street at night in the rain, neon signs, reflections, wide shot",
    "a red fox sleeping in the snow, close-up, soft light",
    "a castle above a lake, mountains in the distance, fantasy illustration, highly detailed",
    "portrait of a young woman with freckles in a green coat, studio light",
    "a plain white cube on a black floor, minimal, 3d render",
    "a steam train crossing a stone bridge in autumn",
    "a child's drawing of a house, a tree and a yellow sun, crayons",
    "the inside of a library with tall windows, dust in the sunlight",
    "a bowl of noodles with an egg, seen from above",
    "an astronaut on a white horse, desert, cinematic",
    "a blue ceramic vase with dried flowers, empty grey wall",
    "a storm over the open sea, huge waves, dramatic sky",
    "a robot watering plants on a balcony, comic book style",
)


def read_prompts(file: Path | None, manifest: Manifest) -> tuple[str, ...]:
    """The lines of a file, but for empty ones and those that begin with #; USUAL ones where there is no file.

    A model with a vocabulary is asked for what it knows. Raises ResourceError for a file that cannot be read,
    RequestError for one without prompts.
    """
    if file is None:
        return known_prompts(manifest.vocabulary) if manifest.vocabulary else USUAL
    content = read_file(file, LARGEST, ResourceError, "check the path")
    try:
        lines = [line.strip() for line in content.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise RequestError("the list of prompts is not UTF-8; save it as UTF-8") from None
    prompts = tuple(line for line in lines if line and not line.startswith("#"))
    if not prompts:
        raise RequestError("the list of prompts is empty; put one prompt on each line")
    return prompts


def known_prompts(vocabulary: tuple[str, ...]) -> tuple[str, ...]:
    """Prompts of three words each, all words of a vocabulary in turn."""
    words = len(vocabulary)
    return tuple(", ".join(vocabulary[(at + step) % words] for step in (0, 7, 13)) for at in range(len(USUAL)))
