"""The files of a folder that another tool has written: ordinary ones inside it, and the graphs of each format."""

import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pleinair.adopting.ir import AGAIN, read_ir
from pleinair.adopting.onnx import read_onnx
from pleinair.adopting.outline import Outline
from pleinair.bundle import onnx_data
from pleinair.bundle.manifest_checks import plain_path
from pleinair.checks import one_line, shown_path
from pleinair.errors import BundleError
from pleinair.sources.hub_cache import cached
from pleinair.system.files import CONFIG, read_json

USUAL = {"openvino": "openvino_model.xml", "onnx": "model.onnx"}
READERS: Mapping[str, Callable[[Path], Outline]] = {"openvino": read_ir, "onnx": read_onnx}


@dataclass(frozen=True)
class FoundGraph:
    """A graph of one format: its files by their names in the bundle, the graph itself first, and its outline."""

    files: dict[str, Path]
    outline: Outline


def find_graph(root: Path, folder: str, form: str, prefix: str = "") -> FoundGraph | None:
    """The graph of a format in a folder below `root`, which will be in the bundle behind `prefix`; None without one.

    Raises BundleError: several and none with the usual name, damaged, or weights that do not lie beside it.
    """
    file = graph_file(root, folder, form)
    if file is None:
        return None
    path = inside(root, file)
    outline = READERS[form](path)
    if form == "openvino":
        beside = [file.removesuffix(".xml") + ".bin"]
    else:
        beside = [f"{folder}/{name}" for name in sorted(located(path))]
    sizes = [inside(root, name).stat().st_size for name in beside]
    if outline.ends > sum(sizes):
        raise BundleError(
            f"'{shown_path(root / beside[0])}' is cut short ({sizes[0]} bytes of {outline.ends}); {AGAIN}"
        )
    return FoundGraph({f"{prefix}{name}": root / name for name in (file, *beside)}, outline)


def graph_file(root: Path, folder: str, form: str) -> str | None:
    """The usual file of a format in a folder, or the only one; BundleError where it must be guessed."""
    usual = USUAL[form]
    if (root / folder / usual).exists() or (root / folder / usual).is_symlink():
        return f"{folder}/{usual}"
    suffix = usual.rpartition(".")[2]
    found = sorted(each.name for each in (root / folder).glob(f"[!.]*.{suffix}"))
    if len(found) > 1:
        raise BundleError(
            f"'{shown_path(root / folder)}' has {len(found)} .{suffix} files and no {usual}; name the one to be used"
            f" {usual}"
        )
    return f"{folder}/{found[0]}" if found else None


def located(graph: Path) -> set[str]:
    """The names of an ONNX graph's files of weights; BundleError for any that does not lie beside it."""
    names = onnx_data.locations(graph)
    outside = next((name for name in sorted(names) if "/" in name or not plain_path(name)), None)
    if outside is not None:
        raise BundleError(
            f"'{shown_path(graph)}' takes weights from '{one_line(outside, 80)}', which is not beside it; do not"
            " use this model unless you trust its maker, and save it again with all its data in one folder"
        )
    return names


def inside(root: Path, name: str) -> Path:
    """The path of an ordinary file below `root`; BundleError: missing, no ordinary file, or a link that leaves it."""
    path = root / name
    if not plain_path(name):
        raise BundleError(f"'{shown_path(path)}' has a name that some systems do not allow; rename it")
    try:
        real = path.resolve(strict=True)
        ordinary = stat.S_ISREG(real.stat().st_mode)
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        why = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({one_line(error, 80)})"
        raise BundleError(f"'{shown_path(path)}' {why}; {AGAIN}") from None
    if not real.is_relative_to(root.resolve()):
        id, _ = cached(root) or ("OWNER/NAME", "")
        raise BundleError(
            f"'{shown_path(path)}' is a link out of the folder; put the file itself there (from a hub's cache:"
            f" pleinair pull {id}, which copies)"
        )
    if not ordinary:
        raise BundleError(f"'{shown_path(path)}' is not an ordinary file; {AGAIN}")
    return path


def has(root: Path, name: str) -> bool:
    """Whether there is anything of this name, be it a link that leads nowhere."""
    return (root / name).exists() or (root / name).is_symlink()


def small_json(root: Path, name: str) -> dict | None:
    """The JSON object in a small file below `root`; None where there is none of that name."""
    return read_json(inside(root, name), CONFIG, BundleError, AGAIN) if has(root, name) else None
