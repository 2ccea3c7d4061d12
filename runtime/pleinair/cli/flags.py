"""The flags of commands: those of painting, made of the table of options, and those that open a model."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer

from pleinair.checks import one_line
from pleinair.errors import RequestError
from pleinair.request.help import ranged
from pleinair.request.option import Option
from pleinair.request.options import OPTIONS
from pleinair.sampling.samplers import SAMPLERS

FORMATS = {"openvino": ("openvino",), "onnx": ("onnx",), "both": ("openvino", "onnx")}
WEIGHTS = ("fp32", "fp16", "int8")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="FILE.png, .jpg, .webp or .npz.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]
NoMetadata = Annotated[bool, typer.Option("--no-metadata", help="Write nothing but the picture.")]


def flag(name: str, kind: Any, help: str, panel: str = "Model", usual: str = "", choices: Iterable[str] = ()) -> Any:
    """A flag that is None when not given, which `usual` puts in words; a shell offers the `choices`."""
    complete = offered(choices) if choices else None
    words = f"{help} \\[default: {usual}]" if usual else help  # a backslash keeps rich from reading a style
    return Annotated[
        kind | None,
        typer.Option(name, help=words, rich_help_panel=panel, show_default=False, autocompletion=complete),
    ]


def offered(choices: Iterable[str]) -> Callable[[str], list[str]]:
    """What a shell is told: the choices that begin as the word does, the last one of a comma-separated list."""
    names = list(choices)

    def complete(incomplete: str) -> list[str]:
        before, comma, word = incomplete.rpartition(",")
        return [f"{before}{comma}{name}" for name in names if name.startswith(word)]

    return complete


FormatFlag = Annotated[str, typer.Option("--format", help="openvino, onnx or both.", autocompletion=offered(FORMATS))]
WeightsFlag = Annotated[
    str, typer.Option(help="fp32, fp16 or int8: how weights are stored.", autocompletion=offered(WEIGHTS))
]
Replace = Annotated[bool, typer.Option("--force", help="Replace an existing bundle.")]
OwnSampler = Annotated[
    str | None,
    typer.Option(
        "--sampler",
        help="What the bundle paints with unless told.",
        show_default="the model's own",
        autocompletion=offered(SAMPLERS),
    ),
]


def formats_of(form: str) -> tuple[str, ...]:
    """The formats that `--format` means; raises RequestError."""
    if form not in FORMATS:
        raise RequestError(f"unknown format '{one_line(form, 40)}'; choose openvino, onnx or both")
    return FORMATS[form]


MODEL = {  # keyword arguments of `load`, and no_verify
    "model": {
        "kind": Path,
        "help": "Bundle, .safetensors file, diffusers folder, or a name that `pleinair models` lists.",
        "usual": "storybook",
    },
    "engine": {
        "kind": str,
        "help": "openvino or onnx.",
        "usual": "what is installed",
        "choices": ("openvino", "onnx"),
    },
    "device": {
        "kind": str,
        "help": "cpu, gpu, npu (OpenVINO); cpu, dml (ONNX Runtime); by component: unet=npu,vae=gpu.",
        "usual": "cpu",
        "choices": ("cpu", "gpu", "npu", "dml"),
    },
    "threads": {"kind": int, "help": "CPU threads.", "usual": "the engine's choice"},
    "precision": {
        "kind": str,
        "help": "What is computed in: auto, f32, bf16, f16; by component: unet=bf16,vae=f32.",
        "usual": "auto",
    },
    "memory": {
        "kind": str,
        "help": "high, or low: each stage is done for all pictures, and then leaves memory.",
        "usual": "high",
        "choices": ("high", "low"),
    },
    "no_verify": {"kind": bool, "help": "Do not compare the model's files with their SHA-256."},
}
PAINTING = tuple(name for name, option in OPTIONS.items() if option.flag)


def flag_of(option: Option) -> Any:
    """The flag of an option of the table."""
    if option.type.flag is bool:
        help = f"Do not {option.help[0].lower()}{option.help[1:]}" if option.default is True else option.help
        return flag(option.flag, bool, help, option.panel)
    usual = option.usual
    if not usual and option.default not in (None, "", ()):
        usual = f"{option.default:g}" if isinstance(option.default, float) else f"{option.default}"
    return flag(option.flag, option.type.flag, f"{ranged(option)}.", option.panel, usual, option.type.choices)


def loading_flag(name: str, usual: str | None = None) -> Any:
    """The flag of a keyword argument of `load`."""
    said = MODEL[name] if usual is None else {**MODEL[name], "usual": usual}
    return flag(f"--{name.replace('_', '-')}", **said)


def takes(
    options: Iterable[str] = PAINTING, loading: Iterable[str] = MODEL, usual: Mapping[str, str] = MappingProxyType({})
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command flags: it receives `options` and `loading`, as `resolve` and `load` take them.

    Those that it declares itself are left to it. `usual` says what holds where one of `loading` is not given.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        declared = inspect.signature(command).parameters.values()
        own = [each for each in declared if each.name not in ("loading", "options")]
        flags = {name: flag_of(OPTIONS[name]) for name in options} | {
            name: loading_flag(name, usual.get(name)) for name in loading
        }
        shared = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
            for name, kind in flags.items()
            if name not in {each.name for each in own}
        ]

        @wraps(command)
        def run(**values: Any) -> None:
            given = {each.name: values.pop(each.name) for each in shared}
            how = {name: value for name, value in given.items() if name in MODEL}
            if "no_verify" in how:
                how["verify"] = not how.pop("no_verify")
            command(**values, loading=how, options=wanted(given))

        every = sorted([*own, *shared], key=lambda each: each.kind is inspect.Parameter.KEYWORD_ONLY)
        run.__signature__ = inspect.Signature(every)
        run.__annotations__ = {each.name: each.annotation for each in every}
        return run

    return decorate


def wanted(given: dict[str, Any]) -> dict[str, Any]:
    """The options that flags ask for; the flag of one that is on by default turns it off."""
    asked = {name: value for name, value in given.items() if name in OPTIONS and value not in (None, [])}
    return {name: not value if OPTIONS[name].default is True else value for name, value in asked.items()}
