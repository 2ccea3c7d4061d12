"""The flags of commands: those of painting, made of the table of options, and those that open a model."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import wraps
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer

from pleinair.checks import one_line
from pleinair.errors import RequestError
from pleinair.request.help import ranged
from pleinair.request.loading import LOADING
from pleinair.request.option import Option
from pleinair.request.options import OPTIONS
from pleinair.sampling.samplers import SAMPLERS

FORMATS = {"openvino": ("openvino",), "onnx": ("onnx",), "both": ("openvino", "onnx")}
WEIGHTS = ("fp32", "fp16", "int8")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="FILE.png, .jpg, .webp or .npz.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]
Ray = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Paint on the machines of a Ray cluster: auto, or HOST:PORT.")
]
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
        help="The bundle's default sampler.",
        show_default="the model's own",
        autocompletion=offered(SAMPLERS),
    ),
]


def formats_of(form: str) -> tuple[str, ...]:
    """The formats that `--format` means; raises RequestError."""
    if form not in FORMATS:
        raise RequestError(f"unknown format '{one_line(form, 40)}'; choose openvino, onnx or both")
    return FORMATS[form]


PAINTING = tuple(name for name, option in OPTIONS.items() if option.flag)


def flag_of(option: Option, usual: str = "", help: str = "") -> Any:
    """The flag of a row of a table; `usual` (what holds without it) and `help` stand for what the row says."""
    option = replace(option, usual=usual or option.usual, help=help or option.help)
    if option.type.typed_as is bool:
        help = f"Do not {option.help[0].lower()}{option.help[1:]}" if option.default is True else option.help
        return flag(option.flag, bool, help, option.panel)
    usual = option.usual
    if not usual and option.default not in (None, "", ()):
        usual = f"{option.default:g}" if isinstance(option.default, float) else f"{option.default}"
    return flag(option.flag, option.type.typed_as, f"{ranged(option)}.", option.panel, usual, option.type.choices)


def takes(
    options: Iterable[str] = PAINTING,
    loading: Iterable[str] = LOADING,
    *,
    usual: Mapping[str, str] = MappingProxyType({}),
    help: Mapping[str, str] = MappingProxyType({}),
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command flags: it receives `options` and `loading`, as `resolve` and `load` take them.

    Those that it declares itself are left to it. `usual` says what holds where one of `loading` is not
    given, and `help` what one of the `options` is to this command.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        declared = inspect.signature(command).parameters.values()
        own = [each for each in declared if each.name not in ("loading", "options")]
        flags = {name: flag_of(OPTIONS[name], help=help.get(name, "")) for name in options} | {
            name: flag_of(LOADING[name], usual.get(name, "")) for name in loading
        }
        shared = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
            for name, kind in flags.items()
            if name not in {each.name for each in own}
        ]

        @wraps(command)
        def run(**values: Any) -> None:
            given = {each.name: values.pop(each.name) for each in shared}
            how = {name: said(LOADING[name], given[name]) for name in loading}
            command(**values, loading=how, options=wanted(given))

        every = sorted([*own, *shared], key=lambda each: each.kind is inspect.Parameter.KEYWORD_ONLY)
        run.__signature__ = inspect.Signature(every)
        run.__annotations__ = {each.name: each.annotation for each in every}
        return run

    return decorate


def wanted(given: dict[str, Any]) -> dict[str, Any]:
    """The options that flags ask for."""
    asked = {name: value for name, value in given.items() if name in OPTIONS and value not in (None, [])}
    return {name: said(OPTIONS[name], value) for name, value in asked.items()}


def said(option: Option, value: Any) -> Any:
    """What a flag says; that of an option which is on by default turns it off."""
    return not value if option.default is True else value
