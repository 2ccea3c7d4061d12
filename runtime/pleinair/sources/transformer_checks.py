"""The configs of a transformer and of the text encoders beside it: numbers that fit together."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pleinair.checks import is_number, one_line, wholes
from pleinair.errors import ExportError
from pleinair.sources.describing import Described
from pleinair.sources.families import Component
from pleinair.sources.transformers import kind_of
from pleinair.sources.weight_files import DOWNLOAD

WIDEST = 1 << 14  # numbers that a token of a text has
CHANNELS = 256
LARGEST_TOKEN = 8  # latents along one side of a token
SIDES = 256  # latents along one side of the default size
PLACES = 4096  # tokens along one side of a picture


def plausible(model: Described) -> dict[str, bool]:
    """What a transformer's config says, and whether a model can have it."""
    config, kind = model.network, kind_of(model)
    sides = config.get("sample_size")
    sides = sides if isinstance(sides, list) and len(sides) == 2 else [sides or SIDES]
    widths = [kind.read(config, key) for key in (kind.width, kind.pooled) if key]
    heard = [*(width(model, part) for part in model.family.readers), *model.pooled_widths]
    return {
        "sample_size of its transformer": wholes(sides, SIDES),
        "channels of its vae and transformer": wholes([model.channels, *channels(model)], CHANNELS),
        "patch_size of its transformer": wholes([kind.read(config, "patch_size")], LARGEST_TOKEN),
        "widths of its transformer's texts": wholes(widths, WIDEST),
        "widths of its text encoders": wholes(heard, WIDEST),
        "guidance that its transformer takes": kind.told is None or is_number(kind.read(config, kind.told)),
        "places of its transformer": kind.longest is None or wholes([kind.read(config, kind.longest)], PLACES),
    }


def check_ports(path: Path, model: Described) -> None:
    """Raise ExportError for a transformer that does not fit what it reads, or is told what nothing here tells it."""
    wrong = next(misfits(model), None)
    if wrong:
        raise ExportError(f"'{one_line(path.name, 80)}' has a transformer that reads {wrong}; {DOWNLOAD}")


def misfits(model: Described) -> Iterator[str]:
    """What does not fit together in a model whose numbers are plausible."""
    config, kind, readers = model.network, kind_of(model), model.family.readers
    read, made = channels(model)
    widths = {name: width(model, part) for part in readers for name in part.graphs}
    told = [sum(widths.get(name, 0) for name in group) for group in model.family.groups]
    joint = kind.read(config, kind.width)
    if read != model.channels * kind.patch**2 or made not in ((read, 2 * read) if kind.learned else (read,)):
        yield "other latents than its VAE"
    if max(told) > joint or (len(told) == 1 and told[0] != joint):
        yield "texts of another width than its text encoders"
    if kind.pooled and model.pooled != kind.read(config, kind.pooled):
        yield "another pooled text than its text encoders"
    if kind.patch > 1 and kind.read(config, "patch_size") != 1:
        yield "tokens of a size that is not supported"
    yield from (f"{what}, which is not supported" for key, what in kind.refused.items() if kind.read(config, key))


def channels(model: Described) -> tuple[Any, Any]:
    """What a transformer reads and makes."""
    kind, config = kind_of(model), model.network
    read = kind.read(config, "in_channels")
    return read, kind.read(config, "out_channels") or read


def width(model: Described, part: Component) -> Any:
    """Numbers that a text encoder says of each token."""
    return model.configs[part.folder].get(part.width_key, 512)
