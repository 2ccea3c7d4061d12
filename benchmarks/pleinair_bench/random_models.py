"""Models of published architectures, as pouring sees one, of which nothing is known but their configs."""

from pathlib import Path

from pleinair.pouring.kinds import FileKind
from pleinair.pouring.single_file import configs_of, index_of, scheduler_of
from pleinair.sources.architectures import family
from pleinair.sources.defaults import settled
from pleinair.sources.describing import Described
from pleinair.sources.folder import Source
from pleinair.sources.settings import Settings

WISHES = {"sampler": "dpmpp_2m", "steps": 20, "guidance": 7.5}  # what all are painted with, to be compared


def random_model(name: str) -> Source:
    """A model of ARCHITECTURES that paints in its own size."""
    row, file = family(name), Path(__file__)
    kind = FileKind(name, (), name, row.pipelines[0])
    scheduler = scheduler_of(kind, kind.predicts, False)
    described = Described(row, index_of(kind, scheduler, list(row.parts)), configs_of(kind, row, kind.predicts, {}))
    return Source(
        **vars(described),
        path=file,
        scheduler=scheduler,
        variants={},
        sizes={},
        licence=None,
        defaults=settled(file, described, scheduler, WISHES),
        settings=Settings(name, {}, (), None),
    )
