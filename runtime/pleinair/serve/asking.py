"""A request's JSON as a job: checked wholly before it waits, with models by name and pictures as bytes."""

from collections.abc import Iterator, Mapping
from typing import Any

from PIL import Image

from pleinair.bundle.opening import Bundle, open_bundle
from pleinair.checks import flag, number, one_of
from pleinair.errors import PleinairError, RequestError
from pleinair.request.controls import MAX_CONTROLS, MAX_STRENGTH
from pleinair.request.file_types import MAX_FILES, InputPicture
from pleinair.request.lora_types import MAX_LORAS, given_lora
from pleinair.request.options import OPTIONS
from pleinair.request.planning import planned_passes
from pleinair.request.request import Request, resolve
from pleinair.serve.job import JobSpec
from pleinair.serve.morphs import SHAPE, morph_keys, morph_shape
from pleinair.serve.naming import Index, found
from pleinair.serve.pictures_in import picture_bytes, size_of
from pleinair.serve.refusals import Refused, refused
from pleinair.serve.settings import RequestLimits

GENERATE, UPSCALE, MORPH = "generate", "upscale", "morph"
TASKS = (GENERATE, UPSCALE, MORPH)
PREPARE = "prepare"  # a task that A1111's interface alone asks for
RESIZING = "Lanczos"  # in place of an upscaler's name, where none is asked
ABOUT = ("task", "model")  # of a body, beside the options
OFFERED = {name: each for name, each in OPTIONS.items() if each.type.json}
PICTURES = tuple(name for name, each in OFFERED.items() if isinstance(each.type, InputPicture))
FLAGS = {each.flag[2:]: name for name, each in OFFERED.items() if each.flag and each.flag[2:] != name}
ALIASES = {flag: name for flag, name in FLAGS.items() if not flag.startswith("no-") and "-" not in flag}
SEEN = (8, 8)  # pixels in place of what a ControlNet sees, whose size changes nothing of a request
LORA = ("name", "strength")
CONTROL = ("name", "image", "strength", "start", "end", "guess", "preprocessor")


def asked_job(body: object, index: Index, limits: RequestLimits, kept: bool = True) -> JobSpec:
    """What a body asks for. Raises Refused, with the field, for what cannot be followed or is over a limit."""
    if not isinstance(body, Mapping):
        raise Refused(422, "invalid_request", "a job is a JSON object; send one with a prompt")
    given = plainly(body)
    task = checked("task", one_of, "task", given.pop("task", GENERATE), TASKS)
    if task == UPSCALE:
        return upscaling(given, index, limits, kept)
    model, bundle = checked("model", index.model, given.pop("model", None))
    if task == MORPH:
        return morphing(given, model, bundle, index, limits, kept)
    for name in given:
        checked(name, one_of, "option", name, OFFERED)
    pictures: dict[str, bytes] = {}
    said = {name: checked(name, read, name, value, pictures, limits) for name, value in given.items()}
    options = {"prompt": "", **{name: value for name, value in said.items() if name not in PICTURES}}
    request = tried(index, bundle, options, pictures)
    check_limits(request, limits)
    if "seed" not in options:
        options["seed"] = request.seeds[0]  # so that it is the same picture if it is begun again
    return JobSpec(task, model, options, pictures, work_of(request), kept)


def upscaling(given: Mapping[str, Any], index: Index, limits: RequestLimits, kept: bool) -> JobSpec:
    """A picture that is only made larger."""
    for name in given:
        checked(name, one_of, "option", name, ("image", "upscale", "tile"))
    there = index.listed().upscalers
    if not there:
        none = "no upscaler is here; make one of an ESRGAN file with: pleinair export"
        raise Refused(422, "invalid_request", none, field="upscale")
    name = given.get("upscale", next(iter(there), None))
    bundle = checked("upscale", found, "upscaler", name, there)
    data = checked("image", picture_bytes, "image", given.get("image"), limits.input_pixels)
    width, height = size_of("image", data, limits.input_pixels)
    pixels = width * height * bundle.manifest.scale**2
    if pixels > limits.input_pixels:
        raise over("image", f"the larger picture has {pixels:,} pixels", limits.input_pixels, "send a smaller one")
    tile = {"tile": checked("tile", OPTIONS["tile"].type.read, "tile", given["tile"])} if "tile" in given else {}
    return JobSpec(UPSCALE, name, tile, {"image": data}, pixels, kept)


def morphing(
    given: dict[str, Any], model: str, bundle: Bundle, index: Index, limits: RequestLimits, kept: bool
) -> JobSpec:
    """Frames from prompt to prompt."""
    shape = checked("prompts", morph_shape, {name: given.pop(name) for name in SHAPE if name in given}, limits.frames)
    offered = [name for name in OFFERED if name not in (*PICTURES, "prompt", "controls")]
    for name in given:
        checked(name, one_of, "option of a morph", name, offered)
    options = {name: checked(name, read, name, value, {}, limits) for name, value in given.items()}
    keys = checked("prompts", morph_keys, bundle, shape, checked("prompts", index.paths, options))
    check_limits(keys[0], limits, shape["frames"])
    shape["seeds"] = [key.seeds[0] for key in keys]  # so that they are the same frames if it is begun again
    return JobSpec(MORPH, model, {**options, "morph": shape}, {}, work_of(keys[0]) * shape["frames"], kept)


def plainly(body: Mapping[str, Any]) -> dict[str, Any]:
    """A body under the names of the table of options; null is as good as left out."""
    given: dict[str, Any] = {}
    for name, value in body.items():
        plain = ALIASES.get(name, name)
        if plain in given:
            raise Refused(422, "invalid_request", f"{plain} is given twice; leave one of them out", field=name)
        if value is not None:
            given[plain] = value
    return given


def read(name: str, value: Any, pictures: dict[str, bytes], limits: RequestLimits) -> Any:
    """An option's value as a job has it; a picture goes into `pictures`."""
    if name in PICTURES:
        pictures[name] = picture_bytes(name, value, limits.input_pixels)
        return None
    if name == "loras":
        return [read_lora(each) for each in listed(name, value, MAX_LORAS)]
    if name == "controls":
        return [read_control(n, each, pictures, limits) for n, each in enumerate(listed(name, value, MAX_CONTROLS))]
    if name == "embeddings":
        return [text(name, each) for each in listed(name, value, MAX_FILES)]
    if name in ("prompt", "negative") and isinstance(value, str) and len(value) > limits.prompt:
        raise over(name, f"the {name} has {len(value):,} characters", limits.prompt, "shorten it")
    OPTIONS[name].type.read(name, value)
    return value


def read_lora(value: Any) -> dict[str, Any]:
    """{"name", "strength"}, or the name alone."""
    entry = {"name": value} if isinstance(value, str) else mapping("lora", value, LORA)
    strength = entry.get("strength")
    weight = 1.0 if strength is None else given_lora("lora", (text("lora name", entry.get("name")), strength)).weight
    return {"name": text("lora name", entry.get("name")), "strength": weight}


def read_control(place: int, value: Any, pictures: dict[str, bytes], limits: RequestLimits) -> dict[str, Any]:
    """A ControlNet as `Control` has it, with its name for the bundle; its picture goes into `pictures`."""
    entry = mapping("control", value, CONTROL)
    pictures[f"controls.{place}"] = picture_bytes("control image", entry.get("image"), limits.input_pixels)
    shares = {"strength": MAX_STRENGTH, "start": 1, "end": 1}
    how: dict[str, Any] = {
        name: number(f"control {name}", entry[name], 0, high) for name, high in shares.items() if name in entry
    }
    if "guess" in entry:
        how["guess"] = flag("control guess", entry["guess"])
    if "preprocessor" in entry:
        how["prepare"] = text("control preprocessor", entry["preprocessor"])
    return {"name": text("control name", entry.get("name")), **how}


def with_pictures(options: Mapping[str, Any], pictures: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a job, models as paths, with its pictures where they belong."""
    placed = {**options, **{name: pictures[name] for name in PICTURES if name in pictures}}
    if "controls" in options:
        placed["controls"] = [
            {**each, "image": pictures[f"controls.{place}"]} for place, each in enumerate(options["controls"])
        ]
    return placed


def tried(index: Index, bundle: Bundle, options: Mapping[str, Any], pictures: Mapping[str, bytes]) -> Request:
    """The request resolved with white pictures in place of those that were sent, which are decoded where it paints."""
    try:
        sizes = {name: size_of(name, data, 1 << 40) if name in PICTURES else SEEN for name, data in pictures.items()}
        blanks = {name: Image.new("L" if name == "mask" else "RGB", size, "white") for name, size in sizes.items()}
        placed = with_pictures(index.paths(options), blanks)
        request = resolve(bundle, placed.pop("prompt"), placed.pop("negative", None), **placed)
        planned_passes(bundle, request, open_bundle(request.refining.bundle) if request.refining else None)
        return request
    except PleinairError as error:
        raise refused(error, next(named_in(error, {**options, **pictures}), None)) from None


def check_limits(request: Request, limits: RequestLimits, frames: int = 1) -> None:
    """Raise Refused for what this server does not paint, however much memory there is."""
    pixels = pixels_of(request)
    if pixels > limits.pixels:
        raise over("size", f"the picture would have {pixels:,} pixels", limits.pixels, "choose a smaller size")
    if (steps := max(each.count for each in passes_of(request))) > limits.steps:
        raise over("steps", f"the job has {steps:,} steps", limits.steps, "ask for fewer")
    if len(request.seeds) > limits.count:
        raise over("count", f"the job has {len(request.seeds)} pictures", limits.count, "ask for fewer at a time")
    if (work := work_of(request) * frames) > limits.pixel_steps:
        raise over("steps", f"the job is {work:,} pixels x steps", limits.pixel_steps, "take fewer steps or pictures")
    if (larger := pixels * scale_of(request) ** 2) > limits.input_pixels:
        raise over("upscale", f"the larger picture has {larger:,} pixels", limits.input_pixels, "choose a smaller size")
    if (size := 3 * larger * len(request.seeds) * frames) > limits.result:
        raise over("size", f"the job's pictures are {size:,} bytes", limits.result, "ask for fewer or smaller ones")


def scale_of(request: Request) -> int:
    """How much larger a finished picture is made."""
    return open_bundle(request.upscale, verify=False).manifest.scale if request.upscale else 1


def passes_of(request: Request) -> list[Any]:
    """The steps of each pass."""
    return [request.steps, *([request.hires.steps] if request.hires else [])]


def pixels_of(request: Request) -> int:
    """Pixels of one picture at its largest."""
    factor = request.hires.factor if request.hires else 1
    return int(request.width * request.height * factor**2)


def work_of(request: Request) -> int:
    """Pixels x steps of all pictures, an upper bound."""
    steps = sum(each.count for each in passes_of(request))
    return pixels_of(request) * steps * len(request.seeds)


def over(field: str, what: str, most: int, remedy: str) -> Refused:
    """A refusal of what is over a limit."""
    return Refused(422, "over_limit", f"{what}, and this server takes at most {most:,}; {remedy}", field=field)


def checked(field: str, check: Any, *arguments: Any) -> Any:
    """`check(*arguments)`, whose expected errors become refusals that name the field."""
    try:
        return check(*arguments)
    except PleinairError as error:
        raise refused(error, field) from None


def named_in(error: PleinairError, options: Mapping[str, Any]) -> Iterator[str]:
    """The options that an error speaks of."""
    words = str(error).replace("'", " ").split()
    return (name for name in options if name in words)


def listed(name: str, value: Any, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise RequestError(f"{name} must be a list of at most {most}; send [] for none")
    return value


def mapping(what: str, value: Any, known: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise RequestError(f'a {what} must be an object; send for example {{"name": "..."}}')
    for name in value:
        one_of(f"part of a {what}", name, known)
    return {name: each for name, each in value.items() if each is not None}


def text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise RequestError(f"the {name} must be text; send a name from the capabilities")
    return value
