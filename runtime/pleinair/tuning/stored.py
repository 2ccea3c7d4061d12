"""What `pleinair tune` has found on this machine: a file beside the models, which counts for the machine as it was."""

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pleinair.bundle.typed import build
from pleinair.checks import one_line, shown_path
from pleinair.engines.engine import ENGINES, engine_version, installed
from pleinair.engines.int8.cpu import cpu_flags
from pleinair.engines.int8.forms import AUTO
from pleinair.errors import BundleError, ResourceError
from pleinair.system.files import read_json
from pleinair.system.home import home
from pleinair.system.machine import cpu_name, usable_cores

FILE = "tuned.json"
LARGEST = 1 << 20  # bytes


@dataclass(frozen=True)
class TunedMachine:
    """What a result holds for: another processor or another version of an engine may be fast with something else."""

    cpu: str
    instruction_sets: tuple[str, ...]
    forced: str
    cores: int
    engines: dict[str, str]


@dataclass(frozen=True)
class OpeningWay:
    """How a model is opened, and whether the negative prompt has a call of the network of its own.

    `threads` None is the engine's own choice.
    """

    engine: str
    precision: str = AUTO
    int8: str = AUTO
    threads: int | None = None
    two_calls: bool = False

    @property
    def words(self) -> str:
        """The way on one line, for people."""
        told = [] if self.precision == AUTO else [self.precision]
        told += [] if self.int8 == AUTO else [self.int8]
        told += [] if self.threads is None else [f"{self.threads} threads"]
        return ", ".join([self.engine, *told, *(["two calls a step"] if self.two_calls else [])])


@dataclass(frozen=True, kw_only=True)
class TimedWay(OpeningWay):
    """Seconds that a way took: to open the model, for a step, and to decode a picture."""

    open_s: float
    step_s: float
    decode_s: float


@dataclass(frozen=True)
class Tuned:
    """The trials of a kind of model, of pictures of one size."""

    machine: TunedMachine
    model: str
    width: int
    height: int
    trials: tuple[TimedWay, ...]

    @property
    def stale(self) -> bool:
        """Whether the machine or an engine has changed since."""
        return self.machine != machine_here()


@dataclass(frozen=True)
class TunedFile:
    """All that is stored."""

    results: tuple[Tuned, ...] = field(default=())


def machine_here() -> TunedMachine:
    """This machine as a result names it."""
    versions = {name: engine_version(name) for name, info in ENGINES.items() if info.format and installed(name)}
    forced = os.environ.get("ONEDNN_MAX_CPU_ISA", "")
    return TunedMachine(cpu_name(), tuple(cpu_flags()), forced, usable_cores(), versions)


def tuned_file() -> Path:
    """Where results are stored."""
    return home() / FILE


def tuned_results() -> tuple[Tuned, ...]:
    """All results, those of other machines too; none where the file is not there or damaged."""
    try:
        return build(TunedFile, read_json(tuned_file(), LARGEST, BundleError, ""), FILE).results
    except (BundleError, ResourceError, ValueError):
        return ()


def tuned_for(model: str) -> Tuned | None:
    """The result for a kind of model that still holds."""
    return next((each for each in tuned_results() if each.model == model and not each.stale), None)


def require_place() -> None:
    """Raise ResourceError where no result could be stored, before minutes are spent on one."""
    folder = tuned_file().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if tuned_file().is_dir():
            raise IsADirectoryError(None, "Is a directory")
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        why = one_line(error.strerror or error, 80)
        raise ResourceError(
            f"what tune finds could not be stored in '{shown_path(folder)}' ({why}); set PLEINAIR_HOME to a folder that"
            " can be written"
        ) from None


def store_tuned(result: Tuned) -> None:
    """Store a result in place of those of the same kind of model; raises OSError where that cannot be."""
    others = [each for each in tuned_results() if each.model != result.model or each.machine.cpu != result.machine.cpu]
    write_tuned([*others, result])


def forget_tuned() -> int:
    """Delete all results; returns how many there were."""
    found = tuned_results()
    tuned_file().unlink(missing_ok=True)
    return len(found)


def write_tuned(results: Sequence[Tuned]) -> None:
    """Write all results, whole or not at all."""
    file = tuned_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{FILE}.{os.getpid()}")
    try:
        part.write_text(json.dumps(asdict(TunedFile(tuple(results))), indent=1) + "\n", encoding="utf-8")
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
