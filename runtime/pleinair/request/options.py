"""The command-line options of everything that paints, in one table: `generate`, `morph` and `rerun` share them."""

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from pleinair.errors import RequestError
from pleinair.pictures.masks import FILLS
from pleinair.request.request import ENLARGERS, STRENGTH
from pleinair.sampling.noise import KINDS
from pleinair.sampling.samplers import SAMPLERS
from pleinair.sampling.spacings import SPACINGS

THE_MODELS = "the model's"


def option(
    kind: Any, help: str, panel: str, *names: str, default: str | None = None, choices: Iterable[str] = ()
) -> Any:
    """An option that is None when not given, which `default` puts in words; a shell offers the `choices`."""
    complete = offered(choices) if choices else None
    words = f"{help} \\[default: {default}]" if default else help  # a backslash keeps rich from reading a style
    return Annotated[
        kind | None,
        typer.Option(*names, help=words, rich_help_panel=panel, show_default=False, autocompletion=complete),
    ]


def offered(choices: Iterable[str]) -> Callable[[str], list[str]]:
    """What a shell is told: the choices that begin as the word does, the last one of a comma-separated list."""
    names = list(choices)

    def complete(incomplete: str) -> list[str]:
        before, comma, word = incomplete.rpartition(",")
        return [f"{before}{comma}{name}" for name in names if name.startswith(word)]

    return complete


MODEL = {
    "model": option(Path, "Bundle folder.", "Model", default="storybook"),
    "engine": option(
        str,
        "openvino or onnx.",
        "Model",
        default="what is installed",
        choices=("openvino", "onnx"),
    ),
    "device": option(
        str,
        "cpu, gpu, npu (OpenVINO); cpu, dml (ONNX Runtime).",
        "Model",
        default="cpu",
        choices=("cpu", "gpu", "npu", "dml"),
    ),
    "threads": option(int, "CPU threads.", "Model", default="the engine's choice"),
    "precision": option(
        str, "What is computed in: auto, f32, bf16, f16; by component: unet=bf16,vae=f32.", "Model", default="auto"
    ),
    "no_verify": option(bool, "Do not compare the model's files with their SHA-256.", "Model", "--no-verify"),
}
PICTURE = {
    "size": option(str, "WIDTHxHEIGHT in pixels.", "Picture", default=THE_MODELS),
    "seed": option(int, "First seed.", "Picture", default="random"),
    "count": option(int, "How many pictures, with consecutive seeds.", "Picture", default="1"),
    "batch": option(int, "Pictures in one network call.", "Picture", default="1"),
    "noise": option(
        str,
        f"Whose random numbers: {', '.join(KINDS)} (philox: A1111's NV).",
        "Picture",
        default=KINDS[0],
        choices=KINDS,
    ),
    "subseed": option(int, "A second seed, whose noise is mixed in.", "Picture"),
    "subseed_strength": option(float, "How much of it: 0 to 1.", "Picture"),
    "tile": option(bool, "A texture: all borders meet.", "Picture", "--tile"),
    "panorama": option(bool, "Left and right meet.", "Picture", "--panorama"),
    "vae_tile": option(int, "Side in pixels of the VAE's tiles; 0 never tiles.", "Picture", default="by size"),
}
STEPS = {
    "sampler": option(
        str,
        f"One of: {', '.join(SAMPLERS)}; or A1111's name for it.",
        "Steps",
        default=THE_MODELS,
        choices=SAMPLERS,
    ),
    "spacing": option(
        str, f"Any of: {', '.join(SPACINGS)}; comma-separated.", "Steps", default=THE_MODELS, choices=SPACINGS
    ),
    "steps": option(int, "Denoising steps.", "Steps", default=THE_MODELS),
    "sigmas": option(str, "Noise levels instead: 14.6,3.2,0.7.", "Steps"),
    "timesteps": option(str, "Timesteps instead: 999,600,200.", "Steps"),
    "eta": option(float, "Share of the noise that is renewed.", "Steps", default="the sampler's"),
    "s_churn": option(float, "Noise added before a step (euler, heun, dpm2).", "Steps", default="0"),
    "s_noise": option(float, "Scale of renewed noise.", "Steps", default="1"),
}
TEXT = {
    "negative": option(str, "What to keep out of the picture.", "Text"),
    "clip_skip": option(int, "1: the text encoder's last layer; 2: the one before.", "Text", default="1"),
    "embedding": option(list[Path], "Textual inversion file; may be repeated.", "Text", "--embedding"),
}
GUIDANCE = {
    "guidance": option(float, "How strictly to follow the prompt; 1 turns it off.", "Guidance", default=THE_MODELS),
    "rescale": option(float, "Against overexposure: 0 to 1.", "Guidance", default="0"),
    "guidance_start": option(float, "Share of the steps before guidance begins.", "Guidance", default="0"),
    "guidance_end": option(float, "Share of the steps after which it ends.", "Guidance", default="1"),
    "threshold": option(float, "Dynamic thresholding percentile: 0.995.", "Guidance"),
    "parallel": option(float, "Share kept of the guidance that only saturates: 0 to 1.", "Guidance", default="1"),
    "two_calls": option(bool, "Ask the network twice a step: less memory.", "Guidance", "--two-calls"),
}
CANVAS = {
    "image": option(Path, "A picture to start from.", "Start from a picture"),
    "strength": option(
        float,
        "How much of it is repainted: 0 to 1.",
        "Start from a picture",
        default=f"{STRENGTH}; 1 with --mask or --outpaint",
    ),
    "mask": option(Path, "White is repainted; of the picture's size.", "Start from a picture"),
    "mask_blur": option(float, "Soft edge of the mask in pixels.", "Start from a picture", default="4"),
    "fill": option(
        str,
        f"What lies under the mask: {', '.join(FILLS)}.",
        "Start from a picture",
        default=FILLS[0],
        choices=FILLS,
    ),
    "only_masked": option(
        bool, "Paint the masked region alone, in full size.", "Start from a picture", "--only-masked"
    ),
    "padding": option(int, "Pixels around that region.", "Start from a picture", default="32"),
    "no_restore": option(bool, "Keep what the VAE made of unmasked pixels.", "Start from a picture", "--no-restore"),
    "outpaint": option(str, "Pixels to add: LEFT,TOP,RIGHT,BOTTOM.", "Start from a picture"),
}
LARGER = {
    "hires": option(str, "Paint again at a multiple of the size: 2x.", "Larger pictures"),
    "hires_strength": option(float, "How much the second pass repaints.", "Larger pictures", default="0.5"),
    "hires_steps": option(int, "Its steps.", "Larger pictures", default="the first pass's"),
    "hires_sampler": option(str, "Its sampler.", "Larger pictures", default="the first pass's", choices=SAMPLERS),
    "hires_spacing": option(str, "Its spacing.", "Larger pictures", default="the first pass's", choices=SPACINGS),
    "enlarger": option(
        str,
        f"{', '.join(ENLARGERS)} or an upscaler bundle.",
        "Larger pictures",
        default=ENLARGERS[0],
        choices=ENLARGERS,
    ),
    "upscale": option(Path, "Upscaler bundle for the finished picture.", "Larger pictures"),
}
MASKING = ("mask_blur", "fill", "only_masked", "padding", "no_restore")
PAINTING = {**PICTURE, **STEPS, **TEXT, **GUIDANCE, **CANVAS, **LARGER}


def painting(without: Iterable[str] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the painting options: it receives `loading` and `options`, ready for `load` and `resolve`.

    Those it declares itself, and those named `without`, are left to it.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        declared = inspect.signature(command).parameters.values()
        own = [each for each in declared if each.name not in ("loading", "options")]
        left = {each.name for each in own} | set(without)
        shared = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
            for name, kind in {**PAINTING, **MODEL}.items()
            if name not in left
        ]

        @wraps(command)
        def run(**values: Any) -> None:
            given = {each.name: values.pop(each.name) for each in shared}
            loading = {name: given[name] for name in MODEL}
            loading["verify"] = not loading.pop("no_verify")
            options = wanted({name: value for name, value in given.items() if name in PAINTING})
            command(**values, loading=loading, options=options)

        every = sorted([*own, *shared], key=lambda each: each.kind is inspect.Parameter.KEYWORD_ONLY)
        run.__signature__ = inspect.Signature(every)
        run.__annotations__ = {each.name: each.annotation for each in every}
        return run

    return decorate


def wanted(values: dict[str, Any]) -> dict[str, Any]:
    """The values of PAINTING's options -> keyword arguments of `Pipeline.generate`, without what was not given."""
    given = {name: value for name, value in values.items() if value not in (None, [])}
    if "size" in given:
        given["width"], given["height"] = parse_size(given.pop("size"))
    for name, kind in (("sigmas", float), ("timesteps", int), ("outpaint", int)):
        if name in given:
            given[name] = parse_list(name, given[name], kind)
    if "hires" in given:
        given["hires"] = parse_factor(given["hires"])
    if "embedding" in given:
        given["embeddings"] = given.pop("embedding")
    if given.pop("panorama", False):
        given["tile"] = "xy" if given.get("tile") else "x"
    if given.pop("two_calls", False):
        given["together"] = False
    if given.pop("no_restore", False):
        given["restore"] = False
    return given


def parse_size(size: str) -> tuple[int, int]:
    """'512x768' -> (512, 768)."""
    width, _, height = size.lower().partition("x")
    if not (width.isascii() and width.isdigit() and height.isascii() and height.isdigit() and len(size) < 20):
        raise RequestError(f"size '{size}' is not WIDTHxHEIGHT; write for example 512x512")
    return int(width), int(height)


def parse_list(name: str, text: str, kind: type) -> list:
    """'14.6,3.2' -> [14.6, 3.2]."""
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise RequestError(f"{name} '{text[:60]}' is not a list of numbers; separate them by commas") from None


def parse_factor(text: str) -> float:
    """'2x' or '1.5' -> the number."""
    try:
        return float(text.lower().removesuffix("x"))
    except ValueError:
        raise RequestError(f"hires '{text[:20]}' is not a factor; write for example 2x") from None
