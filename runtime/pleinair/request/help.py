"""The table of options in words and in JSON: docstrings, docs/options.md and a schema for programs."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from pleinair.request.loading import LOADING
from pleinair.request.option import Option
from pleinair.request.options import OPTIONS, PARAMETERS
from pleinair.sampling.samplers import SAMPLERS

PAGE = """# Options

An option has one name in Python (`pipe.generate("a boat", guidance=7)`) and in lists of prompts
(`{"prompt": "a boat", "guidance": 7}`), and nearly the same name on the command line. Numbers and lists of numbers may
be text everywhere: `sigmas="14.6,3.2,0.7"`. *Without* is what applies if you leave an option out. *Needs* lists
options without which it has no effect. *A1111* is its field in the text that A1111's web UI writes and reads.
"""
LOADING_PAGE = """
## Opening a model

These are keyword arguments of `pleinair.load`, and flags of the commands that open a model. Two differ in Python:
without `engine`, `load` takes the engine with the fastest steps, and without `cache` it keeps only networks for GPUs.

`python tests/golden/options.py` writes this page from the tables in `runtime/pleinair/request/options.py` and
`runtime/pleinair/request/loading.py`, and a test compares them.
"""


def lists_options(method: Callable) -> Callable:
    """Say in a method's docstring what each option is."""
    lines = [f"{each.name} = {each.default!r}" for each in _python()]
    listed = "\n".join(f"{line:30}  {words(each)}" for line, each in zip(lines, _python(), strict=True))
    head = "Options, each with its default; None is the same as leaving it out."
    method.__doc__ = "\n\n".join([inspect.getdoc(method) or "", head, listed])
    return method


def words(option: Option) -> str:
    """One line about an option: what it does, what may be chosen, who has it, and what decides where nothing does."""
    having = [name for name, info in SAMPLERS.items() if option.by_sampler and option.field in info.options]
    having = f"only {', '.join(having)}" if having else ""
    return "; ".join(filter(None, [ranged(option), having, option.usual and f"else {option.usual}"]))


def ranged(option: Option) -> str:
    """What an option does, and what may be chosen: "How much of it is repainted (0 to 1)"."""
    span = option.type.span()
    return option.help.removesuffix(".") + (f" ({span})" if span else "")


def page() -> str:
    """docs/options.md."""
    head = ["| option | flag | | without | needs | A1111 |", "|---|---|---|---|---|---|"]
    opening = ["| option | flag | | without |", "|---|---|---|---|"]
    loading = (" | ".join(_cells(each)) for each in LOADING.values())
    return "\n".join(
        [PAGE, *head, *map(_row, OPTIONS.values()), LOADING_PAGE, *opening, *(f"| {row} |" for row in loading), ""]
    )


def schema() -> dict[str, Any]:
    """The options that can be written in JSON, as a JSON schema."""
    properties = {name: _property(each) for name, each in OPTIONS.items() if each.type.json}
    return {"type": "object", "properties": properties, "required": ["prompt"], "additionalProperties": False}


def _property(option: Option) -> dict[str, Any]:
    default = {} if option.default is None else {"default": option.default}
    return {**option.type.schema(), "description": words(option), **default}


def _python() -> Iterator[Option]:
    return (each for name, each in OPTIONS.items() if name not in PARAMETERS)


def _row(option: Option) -> str:
    needs = " or ".join(f"`{name}`" for name in option.needs)
    return f"| {' | '.join([*_cells(option), needs, option.a1111])} |"


def _cells(option: Option) -> list[str]:
    default = option.usual or ("" if option.default in (None, (), "") else f"`{option.default}`")
    return [f"`{option.name}`", f"`{option.flag}`" if option.flag else "", ranged(option), default]
