"""A picture made again from what its file says, and how far the two are apart."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from pleinair import pipeline
from pleinair.bundle.opening import Bundle, bundle_identity
from pleinair.checks import one_of, shown_path
from pleinair.engines.int8.cpu import form_here
from pleinair.engines.int8.forms import form_again
from pleinair.errors import BundleError, EngineError, RequestError
from pleinair.files.foreign.record import shown
from pleinair.files.metadata import FILMED, FoundRecord, read_record
from pleinair.library.given import with_models
from pleinair.library.listing import model_called
from pleinair.pipeline import Pipeline
from pleinair.request.file_types import Folder, InputPicture
from pleinair.request.loading import LOADING
from pleinair.request.options import INPUTS, OPTIONS
from pleinair.request.pass_options import ENLARGERS
from pleinair.request.request import Request, resolve
from pleinair.request.value_types import MAX_COUNT
from pleinair.results import Frame, Result
from pleinair.tasks.comparing import Difference, difference, open_pixels
from pleinair.tasks.controls import recalled
from pleinair.tasks.loras import recalled_loras
from pleinair.text.syntax import WORD_AND

PICTURES = tuple(name for name in INPUTS if isinstance(OPTIONS[name].type, InputPicture))
MUCH = 8  # times the usual work, from which on it is announced
MANY_LETTERS = 2000


@dataclass(frozen=True)
class Remake:
    """What `rerun` is about to do: its pipeline, the request, and the picture to compare with."""

    pipe: Pipeline
    found: FoundRecord
    options: dict[str, Any]
    original: np.ndarray  # (H, W, 3) uint8
    warnings: tuple[str, ...]
    much: str | None = None  # what is about to be done, where that is far more than the model's usual picture

    def frames(self) -> Iterator[Frame]:
        """The steps of making it again, as Pipeline.stream yields them."""
        return self.pipe.stream(**self.options)

    def finish(self, result: Result) -> "Rerun":
        """Compare a finished result with the picture."""
        again = alone(result, self.found.arguments.get("seed", result.seeds[0]))
        lossy = ("the file is a JPEG, which never holds the exact pixels",) if self.found.kind == "JPEG" else ()
        if self.found.kind == "WEBP":
            lossy = ("the file is a WebP, which pleinair writes with losses",)
        pixels = np.asarray(again.images[0])
        said = (*self.warnings, *self._other_inputs(result), *result.warnings, *lossy)
        if pixels.shape != self.original.shape:
            height, width, _ = self.original.shape
            size = f"{again.images[0].width}x{again.images[0].height}"
            return Rerun(again, None, (*said, f"not compared: the file is {width}x{height}, made again it is {size}"))
        return Rerun(again, difference(self.original, pixels), said)

    def _other_inputs(self, result: Result) -> Iterator[str]:
        """A warning for each given file that is not the recorded one."""
        for name in INPUTS:
            was, here = (_digests(settings or {}, name) for settings in (self.found.ours, result.settings))
            if was and was != here:
                yield f"what {OPTIONS[name].flag} gives is not what this picture was made with; the picture differs"
        for name in ("enlarger", "upscale"):
            was, here = ((settings or {}).get(name) for settings in (self.found.ours, result.settings))
            if was != here:
                yield f"enlarged by '{shown(here)}' and not by '{shown(was)}'; the picture differs"


@dataclass(frozen=True)
class Rerun:
    """A picture made again; `difference` is None where the sizes differ."""

    result: Result
    difference: Difference | None
    warnings: tuple[str, ...]


def rerun(file: str | Path, model: str | Path | None = None, **given: Any) -> Rerun:
    """Make a picture again from its record and compare; keyword arguments as those of `plan`."""
    planned = plan_rerun(file, model, **given)
    results = [frame.result for frame in planned.frames() if frame.result]
    return planned.finish(pipeline.merged(results))


def plan_rerun(
    file: str | Path,
    model: str | Path | None = None,
    *,
    upscaler: Path | None = None,
    on_load: Callable[[str], None] | None = None,
    **given: Any,
) -> Remake:
    """Read a picture's record and load what is to make it again, on the recorded engine and device where they are here.

    `given` are keyword arguments of `load`, and the options that are files, but for those that enlarge: `upscaler` is
    all of them. Raises RequestError where the record cannot be read, or asks for a file that is not given.
    """
    for name in given:
        one_of("option", name, (*LOADING, *INPUTS))
    files = {name: given.get(name) for name in INPUTS}
    files |= {name: None for name, each in files.items() if isinstance(each, list | tuple) and not each}
    found = read_record(file)
    if film := [name for name in FILMED if name in (found.ours or {})]:
        command = {"film": "generate --film", "morph": "morph"}[film[0]]
        raise RequestError(
            f"'{shown_path(file)}' is a film, and only pictures are made again; make it with `pleinair {command}` and"
            " the settings that `pleinair metadata` shows"
        )
    recorded = found.ours or {}
    files |= found_again(recorded, files)
    enlarged = [name for name in ("enlarger", "upscale") if recorded.get(name) not in (None, *ENLARGERS)]
    _check_inputs(file, found, {name: files[name] for name in INPUTS if name in PICTURES})
    loras = recalled_loras(file, found, files["loras"] or ())
    files["loras"] = loras.loras or None
    apart = (*PICTURES, "loras", "controls")
    _check_models(file, found, {name: files[name] for name in INPUTS if name not in apart})
    files["controls"] = recalled(file, recorded.get("controls"), files["controls"])
    if enlarged and upscaler is None:
        name = shown(recorded[enlarged[0]])
        raise RequestError(
            f"'{shown_path(file)}' was enlarged by '{name}', which no record holds; give --upscaler BUNDLE"
        )
    asked = {name: value for name, value in given.items() if name in LOADING and value is not None}
    pipe, otherwise = _load(model, recorded, asked, on_load)
    warnings = [*found.warnings, *loras.warnings, *otherwise, *_other_model(pipe, found)]
    options, unknown = _accepted(found.options() | {"prompt": loras.prompt}, found)
    if unknown:
        warnings.append(f"not followed, because this version has no such option: {', '.join(map(shown, unknown[:8]))}")
    if "seed" not in options:
        warnings.append("the record has no seed; another picture with the same words is made")
    options |= {name: value for name, value in files.items() if value is not None}
    options |= {name: str(upscaler) for name in enlarged}
    options = with_models(options, pipe.engine)
    request = resolve(pipe.bundle, **options)  # what makes no sense is refused before anything is loaded
    return Remake(pipe, found, options, open_pixels(Path(file)), tuple(warnings), _much(pipe.bundle, request))


def found_again(recorded: dict[str, Any], given: dict[str, Any]) -> dict[str, Path]:
    """The bundles that a record names and that are not given, as far as they lie among the models."""
    absent = [name for name in INPUTS if isinstance(OPTIONS[name].type, Folder) and given[name] is None]
    named = {name: model_called(recorded.get(name), recorded.get(f"{name}_sha256")) for name in absent}
    return {name: folder for name, folder in named.items() if folder is not None}


def _check_inputs(file: str | Path, found: FoundRecord, inputs: dict[str, Path | None]) -> None:
    """RequestError where the pictures that are given are not those that the record asks for."""
    if missing := [name for name in found.inputs if inputs[name] is None]:
        what = "another picture" if missing[0] == "image" else "a picture and a mask"
        raise RequestError(
            f"'{shown_path(file)}' was made from {what}, which no record holds;"
            f" give {' and '.join(f'--{name} FILE' for name in missing)}"
        )
    unused = [name for name, value in inputs.items() if value is not None and name not in found.inputs]
    if unused:
        raise RequestError(
            f"'{shown_path(file)}' was made from no {'other picture' if unused[0] == 'image' else 'mask'}; leave it out"
        )


def _check_models(file: str | Path, found: FoundRecord, models: dict[str, Any]) -> None:
    """RequestError where the files that a prompt is read or finished with are not those that the record asks for."""
    for name, given in models.items():
        named, flag = (found.ours or {}).get(name), OPTIONS[name].flag
        if named and not given:
            names = ", ".join(map(shown, islice(named, 8))) if isinstance(named, dict) else shown(named)
            kind = "BUNDLE" if isinstance(OPTIONS[name].type, Folder) else "FILE"
            raise RequestError(
                f"'{shown_path(file)}' was made with {name}, which no record holds: {names}; give {flag} {kind}"
            )
        if given and found.ours and not named:
            raise RequestError(f"'{shown_path(file)}' was made without {flag}; leave it out")


def _digests(settings: dict[str, Any], name: str) -> Any:
    """What a record tells the file of an option by, or the files; None where it has none."""
    told = settings.get(f"{name}_sha256", settings.get(name))
    return sorted(map(str, told.values())) if isinstance(told, dict) else told


def _much(bundle: Bundle, request: Request) -> str | None:
    """One line about a request of many times the usual work, or with a prompt that takes long to read."""
    defaults = bundle.manifest.defaults
    work = request.width * request.height * request.steps.count
    passes = f"{request.width}x{request.height} in {request.steps.count} steps"
    if hires := request.hires:
        work += request.width * request.height * hires.factor**2 * hires.steps.count
        passes += f", enlarged {hires.factor:g} times in {hires.steps.count} steps"
    parts = len(WORD_AND.findall(request.prompt)) + 1
    times = work * len(request.seeds) * parts / (defaults.width * defaults.height * defaults.steps)
    letters = len(request.prompt) + len(request.negative or "")
    if times < MUCH and letters < MANY_LETTERS:
        return None
    count = f"{len(request.seeds)} pictures" if len(request.seeds) > 1 else "a picture"
    words = f" and prompts of {letters:,} characters" if letters >= MANY_LETTERS else ""
    return (
        f"the record asks for {count} of {passes}{words}, about {times:.3g} times the steps and pixels that"
        f" '{bundle.manifest.name}' usually paints; Ctrl-C stops it"
    )


def alone(result: Result, seed: int) -> Result:
    """The picture of one seed out of those that shared a batch; its settings keep the batch."""
    at = result.seeds.index(seed) if seed in result.seeds else 0
    return result.picture(at)


def _load(
    model: str | Path | None,
    recorded: dict[str, Any],
    asked: dict[str, Any],
    on_load: Callable[[str], None] | None,
) -> tuple[Pipeline, list[str]]:
    """A pipeline on the recorded engine, device, threads and precision unless others are asked for or not here.

    With it come warnings about all that is otherwise than recorded.
    """
    warnings = []
    engine = asked.get("engine")
    was = {name: recorded.get(name) for name in ("engine", "device") if isinstance(recorded.get(name), str)}
    if recorded:  # records from before the option hold none, and were all made in f32 on the CPU
        was["precision"] = recorded.get("precision", "f32" if recorded.get("device", "cpu") == "cpu" else None)
    if form := form_again(recorded.get("int8"), form_here().form):
        was["int8"] = form
    if recorded:
        was |= {"fold": bool(recorded.get("folded")), "share": bool(recorded.get("shared"))}
    threads = recorded.get("threads")
    was["threads"] = threads if isinstance(threads, int) and not isinstance(threads, bool) else None
    if engine is not None and engine != was.get("engine"):
        was = {"engine": None}
    asked = {name: value for name, value in asked.items() if name not in was or value != LOADING[name].default}
    try:
        pipe = pipeline.load(model, **{**was, **asked}, on_load=on_load)
    except BundleError:
        raise
    except (EngineError, RequestError) as error:
        if all(value is None for value in was.values()):
            raise
        pipe = pipeline.load(model, **asked, on_load=on_load)
        warnings.append(f"not painted as recorded: {error.reason}; the picture may differ")
    for name, here in {"engine": pipe.engine, "device": pipe.device, "precision": pipe.precision}.items():
        if recorded.get(name) not in (None, here):
            warnings.append(f"made with {name} {shown(recorded[name])}, painted with {here}; the picture may differ")
    version = pipe.graphs.engine_version
    if recorded.get("engine") == pipe.engine and recorded.get("engine_version") not in (None, version):
        was_version = shown(recorded["engine_version"])
        warnings.append(f"made with {pipe.engine} {was_version}, painted with {version}; the picture may differ")
    return pipe, warnings


def _other_model(pipe: Pipeline, found: FoundRecord) -> list[str]:
    """A warning where the bundle is not the one that made the picture, by content if the record has that."""
    here = bundle_identity(pipe.bundle)
    recorded = found.ours or {}
    bundle = recorded.get("bundle")
    name = recorded.get("model") or found.settings.get("model") or found.settings.get("Model")
    if isinstance(name, dict):  # InvokeAI
        name = name.get("name")
    if isinstance(bundle, dict):
        if bundle.get("sha256") == here["sha256"]:
            return []
        if name == here["name"]:
            return [f"made with another edition of '{here['name']}', whose files differ; the picture may differ"]
    elif name == here["name"]:
        return []
    made_by = f"model '{shown(name)}'" if name else "a model that the record does not name"
    return [f"made with {made_by}, painted with '{here['name']}'; name another bundle with --model"]


def _accepted(options: dict[str, Any], found: FoundRecord) -> tuple[dict[str, Any], list[str]]:
    """The options this version has, and the names of the others; seeds that shared a batch are painted together."""
    accepted = {name: value for name, value in options.items() if name in OPTIONS}
    unknown = [name for name in options if name not in OPTIONS]
    mates = (found.ours or {}).get("batch_seeds")
    if isinstance(mates, list) and options.get("seed") in mates and len(mates) <= MAX_COUNT:
        accepted |= {"seed": mates, "batch": len(mates)}
    return accepted, unknown
