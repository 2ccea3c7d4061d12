"""What to measure: the matrix of all options that were given as lists."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from itertools import product
from typing import Any

from pleinair.errors import RequestError
from pleinair_bench import models, topologies
from pleinair_bench.models import COMPONENTS, STORYBOOK

PICTURES = ("cold", "warm")  # a whole picture from the start of the process, and in one that has painted before
WORKS = (*COMPONENTS, *PICTURES)
ALWAYS_S = 1.5  # starting Python, importing an engine, compiling something small
SLOW_GFLOPS = 30.0  # a core of a modest laptop, for estimates
LARGE = 200.0  # GFLOP; such a case is not repeated as often
FEWEST_ROUNDS, FEWEST_ROUNDS_LARGE, MOST_ROUNDS = 5, 3, 9


@dataclass(frozen=True)
class Case:
    """One row: `work` (WORKS) of `model` on an engine; None is what the engine or the model chooses by itself.

    `batch` counts the UNet's rows: guidance makes 2 of one picture. `steps` and `sampler` are of whole pictures.
    """

    model: str
    work: str
    engine: str
    device: str
    precision: str
    threads: int | None
    batch: int
    width: int
    height: int
    steps: int | None
    sampler: str | None

    @property
    def is_picture(self) -> bool:
        return self.work in PICTURES

    @property
    def components(self) -> tuple[str, ...]:
        return COMPONENTS if self.is_picture else (self.work,)

    @property
    def name(self) -> str:
        """For people: storybook unet b2 128x128, openvino cpu fp16."""
        what = f"{self.steps} steps {self.sampler}" if self.is_picture else f"b{self.batch}"
        size = "" if self.work == "text_encoder" else f" {self.width}x{self.height}"
        threads = f" {self.threads} threads" if self.threads else ""
        return f"{self.model} {self.work} {what}{size}, {self.engine} {self.device} {self.precision}{threads}"

    @property
    def gflop(self) -> float:
        """About how much arithmetic one sample is, for estimates."""
        full = models.GFLOP.get(self.model, models.GFLOP["sd15"])
        own = models.manifest_of(self.model, self.precision).defaults
        area = self.width * self.height / (own.width * own.height)
        if not self.is_picture:
            return full[self.work] * self.batch * (area if self.work != "text_encoder" else 1)
        return full["text_encoder"] * 2 + (full["unet"] * 2 * self.steps + full["vae_decoder"]) * area

    @property
    def rounds(self) -> tuple[int, int]:
        """The fewest and the most processes."""
        return (FEWEST_ROUNDS_LARGE, FEWEST_ROUNDS_LARGE) if self.gflop > LARGE else (FEWEST_ROUNDS, MOST_ROUNDS)

    @property
    def seconds(self) -> float:
        """About how long all rounds take on a modest laptop."""
        rate = SLOW_GFLOPS * min(self.threads or 4, 4)
        start = ALWAYS_S + 2e-9 * self.weight_bytes
        samples = 1 if self.work == "cold" else 3 if self.gflop > LARGE else 12
        return self.rounds[0] * (start + (1 + samples) * self.gflop / rate + (0 if self.work == "cold" else 0.5))

    @property
    def weight_bytes(self) -> int:
        return models.weight_bytes(self.model, self.engine, self.precision, self.components)

    @property
    def memory_bytes(self) -> int:
        """About how much memory its process takes, as measured on SD 1.5: OpenVINO maps the file and packs a copy as
        float32, ONNX Runtime packs what it has read and lets go of it; and activations.
        """
        widened = self.weight_bytes * {"fp16": 2, "int8": 4}.get(self.precision, 1)
        weights = (
            self.weight_bytes + 1.2 * widened if self.engine == "openvino" else (self.weight_bytes + widened) * 0.6
        )
        return int(0.3e9 + weights + self.width * self.height * 4 * 700 * self.batch)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> "Case":
        return cls(**{each.name: raw[each.name] for each in fields(cls)})


def matrix(
    model: list[str],
    work: list[str] | None,
    engine: list[str],
    device: list[str],
    precision: list[str] | None,
    threads: list[int | None],
    batch: list[int],
    size: list[tuple[int, int]] | None,
    steps: list[int] | None,
    sampler: list[str] | None,
) -> Iterator[Case]:
    """All combinations that mean something, each once; None: storybook whole and real sizes by component, as is.

    Raises RequestError for names that nothing has, and where no combination is left; EngineError for an engine that is
    not installed.
    """
    _known("model", model, models.names())
    for name in engine:
        models.check_engine(name)
    _known("work", work or [], WORKS)
    cases: dict[Case, None] = {}
    for name, where, place, count in product(model, engine, device, threads):
        for what in work or (WORKS if name == STORYBOOK else COMPONENTS):
            kinds = COMPONENTS if what in PICTURES else (what,)
            stored = models.precisions(name, where, kinds)
            for weights in [each for each in stored if precision is None or each in precision]:
                cases |= dict.fromkeys(_sized(name, what, (where, place, weights, count), batch, size, steps, sampler))
    if not cases:
        shipped = {
            weights for n in model for e in engine for c in COMPONENTS for weights in models.precisions(n, e, (c,))
        }
        raise RequestError(f"nothing of this ships; choose --precision from {', '.join(sorted(shipped)) or 'none'}")
    yield from cases


def _sized(
    model: str,
    work: str,
    where: tuple[str, str, str, int | None],
    batch: list[int],
    size: list[tuple[int, int]] | None,
    steps: list[int] | None,
    sampler: list[str] | None,
) -> Iterator[Case]:
    """The cases of one kind of work: text has no size, and only the UNet comes in batches."""
    own = models.manifest_of(model, where[2]).defaults
    sizes = size if size and work != "text_encoder" else [(own.width, own.height)]
    for width, height in sizes:
        multiple = models.manifest_of(model, where[2]).latents.downsample
        if min(width, height) < multiple or width % multiple or height % multiple:
            raise RequestError(f"size {width}x{height} is not a multiple of {multiple}; choose another --size")
        if work in PICTURES:
            for count, name in product(steps or [own.steps], sampler or [own.sampler]):
                yield Case(model, work, *where, 1, width, height, count, name)
        else:
            for rows in batch if work == "unet" else [1]:
                yield Case(model, work, *where, rows, width, height, None, None)


def quick() -> Iterator[Case]:
    """Storybook in full on each engine, and the smallest real graph: what fits into three minutes on two cores."""
    common = {"device": ["cpu"], "precision": None, "threads": [None], "size": None, "steps": None, "sampler": None}
    yield from matrix([STORYBOOK], [*PICTURES, "unet", "vae_decoder"], models.engines(), batch=[2], **common)
    real = [name for name in models.names() if name != STORYBOOK][:1]
    if real:
        yield from matrix(real, ["text_encoder"], models.engines()[:1], batch=[1], **common | {"precision": ["fp32"]})


def standard() -> Iterator[Case]:
    """`quick`, and a step and a decode of the first real model on the default engine, in fp32."""
    yield from quick()
    real = [name for name in models.names() if name != STORYBOOK][:1]
    common = {"device": ["cpu"], "precision": ["fp32"], "threads": [None], "size": None, "steps": None, "sampler": None}
    if real:
        yield from matrix(real, ["unet", "vae_decoder"], models.engines()[:1], batch=[1], **common)


def disk_bytes(cases: Iterable[Case]) -> int:
    """What filling their graphs still takes of the disk."""
    wanted = {
        each.key: each
        for case in cases
        for each in models.needed(case.model, case.engine, case.precision, case.components)
    }
    return topologies.still_needed(list(wanted.values()))


def _known(what: str, given: Iterable[str], there: Iterable[str]) -> None:
    there = list(there)
    if unknown := [each for each in given if each not in there]:
        raise RequestError(f"unknown {what} '{unknown[0]}'; choose from {', '.join(there)}")
