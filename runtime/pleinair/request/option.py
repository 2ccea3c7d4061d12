"""One row of a table of options, and the rows that a group of them has."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from pleinair.request.value_types import ValueType

MODELS = "the model's"  # what is usual where nothing else is said


@dataclass(frozen=True)
class Option:
    """One thing that a caller may ask for."""

    type: ValueType
    help: str
    default: Any  # where it is left out; None where that depends on something, which `usual` names
    usual: str = ""
    name: str = ""  # as callers say it; that of the field where none is given
    flag: str | None = ""  # --name, --no-name for what is on by default; None where the command line has none
    needs: tuple[str, ...] = ()  # the options without any of which it means nothing
    a1111: str = ""  # its field in A1111's text
    a1111_values: Mapping[Any, Any] | None = None  # what that calls its values, where it has words of its own
    recorded: bool = False  # at its default too
    by_sampler: bool = False  # whether only some samplers have it
    group: type | None = None
    field: str = ""  # of its group
    panel: str = ""  # where the command line's help shows it
    path: tuple[str, ...] | None = None  # of its group in a request; None where it only stands for something else

    def of(self, request: Any) -> Any:
        """What a request has of it; its default where the request lacks its group, or holds what it stands for."""
        if self.path is None:
            return self.default
        for name in self.path:
            request = getattr(request, name)
            if request is None:
                return self.default
        return getattr(request, self.field)


def option(default: Any, type: ValueType, help: str, *, compare: bool = True, **more: Any) -> Any:
    """A field of a group that is an option; `more` are the fields of `Option`."""
    return field(default=default, compare=compare, metadata={"option": Option(type, help, default, **more)})


def options_of(group: type, panel: str, path: tuple[str, ...] | None = None) -> Iterator[Option]:
    """What the fields of a group say, with their names and flags; --no-NAME turns off what is on by default."""
    for each in fields(group):
        found = each.metadata.get("option")
        if found:
            name = found.name or each.name
            negated = "no-" if found.default is True else ""
            flag = f"--{negated}{name.replace('_', '-')}" if found.flag == "" else found.flag
            yield replace(found, name=name, flag=flag, group=group, field=each.name, panel=panel, path=path)
