"""Plain arguments turned into what commands take, without Typer's own means, which take 0.1 s to import."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

PLAIN: dict[type, re.Pattern[str]] = {  # of which Typer makes what the type itself makes
    str: re.compile(r"(?s).*"),
    Path: re.compile(r"(?s).+"),
    int: re.compile(r"-?[0-9]{1,9}"),
    float: re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,9})?"),
}


def convert_plainly(command: Any) -> None:
    """Leave to Typer, of a command's arguments, only those that are given and not plain, or that it has to check."""
    listed = command.get_params

    def get_params(context: Any) -> list[Any]:
        every = listed(context)
        for parameter in every:
            described = getattr(parameter, "type_descriptor", None)  # earlier versions have none, and no pydantic
            plain = described is not None and not parameter.required and not described.is_ranged
            if plain and "process_value" not in vars(parameter):
                parameter.process_value = plainly(parameter, described.annotation)
        return every

    command.get_params = get_params


def plainly(parameter: Any, kind: Any) -> Callable[[Any, Any], Any]:
    """What takes the place of a parameter's `process_value`."""
    convert, several = parameter.process_value, parameter.multiple or parameter.nargs != 1

    def process(context: Any, value: Any) -> Any:
        if value is None:
            found: Any = () if several else None
        elif not several and isinstance(value, str) and kind in PLAIN and PLAIN[kind].fullmatch(value):
            found = kind(value)
        else:
            return convert(context, value)
        return found if parameter.callback is None else parameter.callback(context, parameter, found)

    return process
