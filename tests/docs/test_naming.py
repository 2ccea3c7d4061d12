"""Names: a class's means one thing everywhere, and what another room or a user calls says what it is."""

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pleinair
from rooms import REPOSITORY, RUNTIME, imported, parsed, room_of, target

EXPORT = REPOSITORY / "export" / "pleinair_export"
BENCHMARKS = REPOSITORY / "benchmarks"
FILES = [*RUNTIME.rglob("*.py"), *EXPORT.rglob("*.py")]


def test_a_class_name_means_one_thing():
    files = [*FILES, *BENCHMARKS.rglob("*.py")]
    names = Counter(node.name for file in files for node in parsed(file).body if isinstance(node, ast.ClassDef))
    assert [name for name, count in names.items() if count > 1] == []


def test_a_function_that_rooms_share_has_a_name_of_its_own():
    """The command line's are aside: they are called as their commands are."""
    names = Counter(
        node.name
        for file in RUNTIME.rglob("*.py")
        for node in parsed(file).body
        if isinstance(node, ast.FunctionDef) and (file, node.name) in called_from_elsewhere()
        if room_of(file.relative_to(RUNTIME)) != "cli"
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_what_is_called_from_elsewhere_says_what_it_is():
    """Functions and classes of other rooms, and the public methods of these classes, unless their base says it."""
    silent = [
        f"{file.relative_to(REPOSITORY)}: {name}"
        for file in FILES
        for node in parsed(file).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and (file, node.name) in called_from_elsewhere()
        for name in undocumented(node)
    ]
    assert silent == []


def undocumented(node: ast.FunctionDef | ast.ClassDef) -> Iterator[str]:
    if not ast.get_docstring(node):
        yield node.name
    if isinstance(node, ast.ClassDef):
        inherited = {name for base in (*map(ast.unparse, node.bases), *PROTOCOLS) for name in documented(base)}
        for name, method in methods(node).items():
            if not ast.get_docstring(method) and name not in inherited:
                yield f"{node.name}.{name}"


def methods(node: ast.ClassDef) -> dict[str, ast.FunctionDef]:
    return {
        each.name: each for each in node.body if isinstance(each, ast.FunctionDef) and not each.name.startswith("_")
    }


CLASSES = {node.name: node for file in FILES for node in parsed(file).body if isinstance(node, ast.ClassDef)}
PROTOCOLS = [name for name, node in CLASSES.items() if "Protocol" in map(ast.unparse, node.bases)]


def documented(name: str) -> set[str]:
    """The methods that a class or its bases document."""
    if name not in CLASSES:
        return set()
    own = {name for name, method in methods(CLASSES[name]).items() if ast.get_docstring(method)}
    return own.union(*map(documented, map(ast.unparse, CLASSES[name].bases)))


@cache
def called_from_elsewhere() -> set[tuple[Path, str]]:
    """(module, name) of what is taken from the runtime by other rooms of it, by other packages, and by users."""
    found = {(file, name) for file in RUNTIME.rglob("*.py") for name in pleinair.__all__}
    for package in (RUNTIME, EXPORT, BENCHMARKS):
        for file in package.rglob("*.py"):
            here = room_of(file.relative_to(RUNTIME)) if package is RUNTIME else ""
            used = attributes(file)
            for names in imported(file, "pleinair"):
                module = target(RUNTIME, names)
                if names and room_of(module) != here:
                    found |= {(RUNTIME / module, name) for name in (names[-1], *used.get(names[-1], ()))}
    return found


def attributes(file: Path) -> dict[str, set[str]]:
    """What a module takes out of those that it imports whole, by their names: `guidance.with_feeds`."""
    found: dict[str, set[str]] = {}
    called: dict[str, str] = {}
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.ImportFrom):
            called |= {alias.asname: alias.name for alias in node.names if alias.asname}
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found.setdefault(node.value.id, set()).add(node.attr)
    return {called.get(name, name): names for name, names in found.items()}
