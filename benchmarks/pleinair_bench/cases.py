"""What to measure: the matrix of all options that were given as lists."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from typing import Any

from pleinair.checks import one_of
from pleinair.errors import RequestError
from pleinair_bench import blocks, models
from pleinair_bench.models import COMPONENTS, STORYBOOK
from pleinair_bench.speeds import EXACT

PICTURES = ("cold", "warm")  # a whole picture from the start of the process, and in one that has painted before
BLOCKS = "blocks"  # a step and a decode of a real size, told from a few of its blocks
WORKS = (*COMPONENTS, *PICTURES, BLOCKS)
PRECISIONS = ("auto", "f32", "bf16", "f16")
MEMORIES = ("auto", "low", "high")
ROWS = [1, 2]  # of a UNet's call: without guidance, and with it
TAKEN_BY = {  # the options of the matrix that only some works have -> these works
    "batch": ("unet",),
    "size": ("unet", "vae_decoder", *PICTURES),
    "steps": PICTURES,
    "sampler": PICTURES,
    "speed": PICTURES,
    "memory": PICTURES,
}
ALWAYS_S = 1.5  # starting Python, importing an engine, compiling something small
SLOW_GFLOPS = 30.0  # a core of a modest laptop, for estimates
LARGE = 200.0  # GFLOP; such a case gets fewer processes
LONG = 50.0  # GFLOP; in such a case a process has time for few samples
ROUNDS, ROUNDS_LARGE = 5, 3
BLOCKS_GFLOP, BLOCKS_COMPILE_S = 268.0, 3.0  # of one call of all blocks
BLOCKS_BYTES = 700_000_000  # of memory: each block is compiled, measured and let go


PLAIN = {"device": ["cpu"], "weights": None, "precision": ["auto"], "threads": [None], "batch": None, "size": None,
         "steps": None, "sampler": None, "speed": None, "memory": None}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One row: `work` (WORKS) of `model` on an engine; None is what the engine or the model chooses by itself.

    `weights` is how they are stored, `precision` (PRECISIONS) what is computed in. `batch` counts the UNet's rows:
    guidance makes 2 of one picture. `steps`, `sampler`, `speed` (SPEEDS), `memory` (MEMORIES) and `vae`, a word for one
    that is not the model's own, are of whole pictures.
    """

    model: str
    work: str
    engine: str
    device: str
    weights: str
    precision: str
    threads: int | None
    batch: int
    width: int
    height: int
    steps: int | None
    sampler: str | None
    speed: str = EXACT
    memory: str = "auto"
    vae: str | None = None

    @property
    def is_picture(self) -> bool:
        return self.work in PICTURES

    @property
    def components(self) -> tuple[str, ...]:
        if self.work == BLOCKS:
            return ()
        return models.painting(self.model) if self.is_picture else (self.work,)

    @property
    def name(self) -> str:
        """For people: storybook unet b2 128x128, openvino cpu fp16."""
        what = f"{self.steps} steps {self.sampler}" if self.is_picture else f"b{self.batch}"
        what += f" {self.speed}" if self.speed != EXACT else ""
        what += f" memory {self.memory}" if self.memory != "auto" else ""
        size = "" if self.work == "text_encoder" else f" {self.width}x{self.height}"
        threads = f" {self.threads} threads" if self.threads else ""
        precision = f" in {self.precision}" if self.precision != "auto" else ""
        return f"{self.model} {self.work} {what}{size}, {self.engine} {self.device} {self.weights}{precision}{threads}"

    @property
    def gflop(self) -> float:
        """About how much arithmetic one sample is, for estimates."""
        full = models.GFLOP.get(self.model, models.GFLOP["sd15"])
        own = models.defaults(self.model)
        area = self.width * self.height / (own.width * own.height)
        if self.work == BLOCKS:
            return BLOCKS_GFLOP
        if not self.is_picture:
            return full[self.work] * self.batch * (area if self.work != "text_encoder" else 1)
        text = sum(full[name] for name in self.components if name in models.CLIPS)
        return text * 2 + (full["unet"] * 2 * self.steps + full["vae_decoder"]) * area

    @property
    def rounds(self) -> int:
        """How many processes measure it."""
        return ROUNDS_LARGE if self.gflop > LARGE or self.work == BLOCKS else ROUNDS

    @property
    def seconds(self) -> float:
        """About how long all rounds take on a modest laptop."""
        rate = SLOW_GFLOPS * min(self.threads or 4, 4)
        start = ALWAYS_S + 2e-9 * self.weight_bytes + (BLOCKS_COMPILE_S if self.work == BLOCKS else 0)
        samples = 1 if self.work in ("cold", BLOCKS) else 3 if self.gflop > LONG else 12
        return self.rounds * (start + (1 + samples) * self.gflop / rate + (0 if self.work == "cold" else 0.5))

    @property
    def weight_bytes(self) -> int:
        return models.weight_bytes(self.model, self.engine, self.weights, self.components)

    @property
    def memory_bytes(self) -> int:
        """About how much memory its process takes, as measured on SD 1.5: OpenVINO maps the file and packs a copy as
        float32, ONNX Runtime packs what it has read and lets go of it; and activations.
        """
        if self.work == BLOCKS:
            return BLOCKS_BYTES
        widened = self.weight_bytes * {"fp16": 2, "int8": 4}.get(self.weights, 1)
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
    weights: list[str] | None,
    precision: list[str],
    threads: list[int | None],
    batch: list[int] | None,
    size: list[tuple[int, int]] | None,
    steps: list[int] | None,
    sampler: list[str] | None,
    speed: list[str] | None,
    memory: list[str] | None,
) -> Iterator[Case]:
    """All combinations that mean something, each once; None: what is usual, of works those that take what is given.

    Usual is storybook whole and real sizes by component. Raises RequestError for names that nothing has, and where no
    combination is left; EngineError for an engine that is not installed.
    """
    for name in model:
        one_of("model", name, models.names())
    for name in engine:
        models.check_engine(name)
    options = {"batch": batch, "size": size, "steps": steps, "sampler": sampler, "speed": speed, "memory": memory}
    given = [name for name, values in options.items() if values]
    for name in work or []:
        one_of("work", name, WORKS)
    cases: dict[Case, None] = {}
    for name, where, place, count in product(model, engine, device, threads):
        for what in work or _usual(name, given):
            stored = [each for each in _stored(name, what, where) if weights is None or each in weights]
            for kind, wide in product(stored, precision):
                common = (where, place, kind, wide, count)
                sized = _sized(name, what, common, batch or ROWS, size, steps, sampler)
                cases |= dict.fromkeys(
                    replace(case, speed=quick, memory=kept) if what in PICTURES else case
                    for case, quick, kept in product(sized, speed or [EXACT], memory or ["auto"])
                )
    if not cases:
        shipped = {kind for n in model for e in engine for c in COMPONENTS for kind in models.stored(n, e, (c,))}
        raise RequestError(f"nothing of this ships; choose --weights from {', '.join(sorted(shipped)) or 'none'}")
    yield from cases


def _stored(model: str, work: str, engine: str) -> list[str]:
    """How weights of what this work needs may be stored; blocks are OpenVINO's and of one model."""
    if work == BLOCKS:
        return list(blocks.STORED) if (model, engine) == (blocks.MODEL, "openvino") else []
    return models.stored(model, engine, models.painting(model) if work in PICTURES else (work,))


def check_taken(work: list[str], given: Iterable[str]) -> None:
    """Raise RequestError for an option that none of these works takes."""
    for name in given:
        if not any(takes(each, name) for each in work):
            raise RequestError(
                f"--{name} is for {', '.join(TAKEN_BY[name])} and not for {', '.join(work)};"
                " leave it out, or choose another --work"
            )


def takes(work: str, option: str) -> bool:
    """Whether an option of the matrix says anything about this work."""
    return work in TAKEN_BY.get(option, WORKS)


def value(case: Case, option: str) -> Any:
    """What a case has for an option of the matrix."""
    return (case.width, case.height) if option == "size" else getattr(case, option)


def _usual(model: str, given: list[str]) -> list[str]:
    """What of a model is measured when nobody says: where options are given, the works that take all of them."""
    fitting = [work for work in WORKS if all(takes(work, option) for option in given)]
    if not fitting:
        raise RequestError(f"no work takes all of --{', --'.join(given)}; say which is for which with --work")
    usual = (*COMPONENTS, *PICTURES) if model == STORYBOOK else COMPONENTS
    return [work for work in usual if work in fitting] or fitting


def _sized(
    model: str,
    work: str,
    where: tuple[str, str, str, str, int | None],
    batch: list[int],
    size: list[tuple[int, int]] | None,
    steps: list[int] | None,
    sampler: list[str] | None,
) -> Iterator[Case]:
    """The cases of one kind of work: text has no size, and only the UNet comes in batches."""
    own = models.defaults(model)
    sizes = size if size and work != "text_encoder" else [(own.width, own.height)]
    for width, height in sizes:
        multiple = models.multiple(model)
        if min(width, height) < multiple or width % multiple or height % multiple:
            raise RequestError(f"size {width}x{height} is not a multiple of {multiple}; choose another --size")
        if work in PICTURES:
            for count, name in product(steps or [own.steps], sampler or [own.sampler]):
                yield Case(model, work, *where, 1, width, height, count, name)
        else:
            for rows in batch if work == "unet" else [blocks.ROWS if work == BLOCKS else 1]:
                yield Case(model, work, *where, rows, width, height, None, None)


def quick() -> Iterator[Case]:
    """Storybook in full on each engine, and what a step of SD 1.5 takes in each precision: within three minutes."""
    yield from matrix([STORYBOOK], [*PICTURES, "unet", "vae_decoder"], models.engines(), **PLAIN | {"batch": [2]})
    yield from of_blocks()


def of_blocks() -> Iterator[Case]:
    """A real step in each precision that OpenVINO has on this CPU, and in W8A8."""
    if "openvino" not in models.engines():
        return
    here = ["f32", "bf16"] if blocks.able("bf16") else ["f32"]
    for stored, precisions in (("fp32", here), ("w8a8", ["auto"])):
        told = {"weights": [stored], "precision": precisions}
        yield from matrix([blocks.MODEL], [BLOCKS], ["openvino"], **PLAIN | told)


def standard() -> Iterator[Case]:
    """`quick`, and a step and a decode of the first real model on the default engine, in fp32."""
    yield from quick()
    real = [name for name in models.names() if name != STORYBOOK][:1]
    alone = {"weights": ["fp32"], "batch": [1]}
    if real:
        yield from matrix(real, ["unet", "vae_decoder"], models.engines()[:1], **PLAIN | alone)


def disk_bytes(cases: Iterable[Case]) -> int:
    """What filling their graphs still takes of the disk."""
    from pleinair_bench import filling

    return filling.still_needed(
        {each for case in cases for each in models.needed(case.model, case.engine, case.weights, case.components)}
    )
