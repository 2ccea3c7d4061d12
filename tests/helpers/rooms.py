"""Rooms (the folders and single modules of a package), the arrows between them, and circles: counted from the imports.

    python tests/helpers/rooms.py [COMMIT]

counts those of the runtime, as it is or as it was in a commit; which arrows lead upward is told by the map of today. An
arrow leads from a room to one that it imports anything from: anywhere in a module, within functions and for type
checkers too, since a reader follows those as well.
"""

import ast
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
RUNTIME = REPOSITORY / "runtime" / "pleinair"
PAGE = REPOSITORY / "docs" / "architecture.md"

Arrow = tuple[str, str]  # importing, imported


def arrows(package: Path) -> dict[Arrow, list[str]]:
    """Each arrow between two rooms, with the modules that draw it."""
    drawn: dict[Arrow, list[str]] = {}
    for file in sorted(package.rglob("*.py")):
        here = room_of(file.relative_to(package))
        for module in imported(file, package.name):
            there = room_of(target(package, module))
            if there != here:
                drawn.setdefault((here, there), []).append(str(file.relative_to(package)))
    return drawn


def imported(file: Path, package: str, at_import: bool = False) -> Iterator[list[str]]:
    """What a module imports of its package, as the names behind the package's own; anywhere, or when it is imported."""
    for node in at_once(parsed(file)) if at_import else ast.walk(parsed(file)):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            first, *rest = name.split(".")
            if first == package:
                yield rest


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def at_once(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when a module is imported: all but functions, and what only type checkers read."""
    for child in ast.iter_child_nodes(node):
        checked = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        if not checked and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from at_once(child)


def target(package: Path, names: list[str]) -> Path:
    """The module in which a dotted name is looked up, relative to the package."""
    folder = package
    for name in names:
        if (folder / f"{name}.py").is_file():
            return (folder / f"{name}.py").relative_to(package)
        if not (folder / name).is_dir():
            break
        folder /= name
    return (folder / "__init__.py").relative_to(package)


def room_of(module: Path) -> str:
    return module.parts[0].removesuffix(".py")


def imports_at_import(package: Path) -> list[Arrow]:
    """Which modules of a package run before another is ready: those that it imports outside functions.

    With a module run the packages that it lies in, but for those that the importing one lies in as well.
    """
    drawn = []
    for file in sorted(package.rglob("*.py")):
        here = file.relative_to(package)
        for module in imported(file, package.name, at_import=True):
            there = target(package, module)
            needed = {there} | {folder / "__init__.py" for folder in there.parents if folder not in here.parents}
            drawn += [(str(here), str(each)) for each in needed if each != here]
    return drawn


def upward(drawn: Iterable[Arrow], order: list[str]) -> list[Arrow]:
    """The arrows that do not lead down `order`, which lists the rooms from the top."""
    place = {room: floor for floor, room in enumerate(order)}
    return [(here, there) for here, there in drawn if place[here] > place[there]]


def circles(drawn: Iterable[Arrow]) -> list[set[str]]:
    """Rooms that lead to each other, in groups."""
    to: dict[str, set[str]] = {}
    for here, there in drawn:
        to.setdefault(here, set()).add(there)
    reached = {room: reachable(room, to) for room in to}
    groups = []
    for room in sorted(to):
        group = {other for other in reached[room] if room in reached.get(other, ())}
        if group and group not in groups:
            groups.append(group)
    return groups


def reachable(room: str, to: dict[str, set[str]]) -> set[str]:
    """Every room that arrows lead to from here, this one only where they lead back."""
    seen: set[str] = set()
    waiting = [room]
    while waiting:
        new = to.get(waiting.pop(), set()) - seen
        seen |= new
        waiting += new
    return seen


def rooms(package: Path) -> set[str]:
    return {room_of(file.relative_to(package)) for file in package.rglob("*.py")}


def order_of(page: str) -> list[str]:
    """The rooms of the page's map, from the top."""
    table = page.partition("| room |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| `")]
    return [row.strip("`").rstrip("/").removesuffix(".py") for row in rows]


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        package = checked_out(sys.argv[1], Path(scratch)) if len(sys.argv) > 1 else RUNTIME
        drawn, count = arrows(package), len(rooms(package))
    order = order_of(PAGE.read_text(encoding="utf-8"))
    up = upward((arrow for arrow in drawn if {*arrow} <= {*order}), order)
    print(f"{count} rooms, {len(drawn)} arrows, {len(up)} upward, {len(circles(drawn))} circles")
    for group in circles(drawn):
        print("circle:", *sorted(group))
    for here, there in up:
        print(f"upward: {here} -> {there} ({', '.join(drawn[here, there])})")


def checked_out(commit: str, folder: Path) -> Path:
    """The runtime of a commit, in a folder."""
    place = RUNTIME.relative_to(REPOSITORY)
    archive = subprocess.run(
        ["git", "archive", commit, str(place)], cwd=REPOSITORY, check=True, capture_output=True
    ).stdout
    subprocess.run(["tar", "x"], cwd=folder, input=archive, check=True)
    return folder / place


if __name__ == "__main__":
    main()
