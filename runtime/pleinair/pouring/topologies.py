"""Graphs that ship without their weights: files of kept bytes and holes, each for a parameter in some form.

They lie in topologies/ and are made and proved by benchmarks/prove_topologies.py. A file is an xz of one graph's
topologies for models that differ in little: for each one line of JSON, {"version": 1, "model": ..., "config": ...,
"inputs": ..., "outputs": ..., "keys": {KEY: SHAPE}, "files": {NAME: [PART, ...]}}, and the kept bytes of all its files
in order. A PART is so many kept bytes, or [place in keys, form], with a third number where it is transposed.
"""

import json
import lzma
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pleinair.bundle.manifest import Port
from pleinair.errors import BundleError, ExportError
from pleinair.pouring.checkpoints import Shape
from pleinair.pouring.forms import size_of
from pleinair.sources.families import SUPPORTED

VERSION = 1
TOPOLOGIES = Path(__file__).parent / "topologies"
INDEX = "index.json"
KEY = ("graph", "weights", "format")  # what tells one model's topologies apart, in this order in a file's name


@dataclass(frozen=True)
class Hole:
    """Where a parameter belongs: its name as torch has it, its form, and whether it is transposed."""

    key: str
    form: str
    transposed: bool = False


Segment = bytes | memoryview | Hole


@dataclass(frozen=True)
class Topology:
    """One graph in one format: its files, the graph itself first, and the shapes of the parameters that it wants.

    `config` is what tells its network from others whose parameters have the same shapes: "own" are the values that
    another config must name, "usual" those that it may be silent about. `tools` are the versions that it was made with.
    """

    files: Mapping[str, tuple[Segment, ...]]
    shapes: Mapping[str, Shape]
    config: Mapping[str, Mapping[str, Any]]
    inputs: Mapping[str, Port]
    outputs: Mapping[str, Port]
    tools: Mapping[str, str] = field(default_factory=dict)

    def size(self, name: str) -> int:
        """Bytes of one of its files."""
        return sum(
            size_of(self.shapes[part.key], part.form) if isinstance(part, Hole) else len(part)
            for part in self.files[name]
        )

    @property
    def holes(self) -> list[Hole]:
        """Where parameters belong, file by file."""
        return [part for parts in self.files.values() for part in parts if isinstance(part, Hole)]


def pack(topologies: Mapping[str, Topology]) -> bytes:
    """Topologies by model, as one compressed file."""
    data = b"".join(packed(model, topology) for model, topology in topologies.items())
    return lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)


def packed(model: str, topology: Topology) -> bytes:
    places = {key: place for place, key in enumerate(topology.shapes)}

    def row(part: Segment) -> int | list:
        if not isinstance(part, Hole):
            return len(part)
        return [places[part.key], part.form, *([1] if part.transposed else [])]

    head = {
        "version": VERSION,
        "model": model,
        "config": topology.config,
        "inputs": {name: asdict(port) for name, port in topology.inputs.items()},
        "outputs": {name: asdict(port) for name, port in topology.outputs.items()},
        "keys": topology.shapes,
        "files": {name: [row(part) for part in parts] for name, parts in topology.files.items()},
    }
    kept = b"".join(part for parts in topology.files.values() for part in parts if not isinstance(part, Hole))
    return json.dumps(head, separators=(",", ":")).encode() + b"\n" + kept


def unpack(packed: bytes) -> dict[str, Topology]:
    """What `pack` was given; raises LZMAError, ValueError, TypeError or LookupError for anything else."""
    content = lzma.decompress(packed)
    data, start, found = memoryview(content), 0, {}
    while start < len(data):
        line = content.index(b"\n", start) + 1
        head = json.loads(content[start:line])
        if head["version"] != VERSION:
            raise ValueError(f"version {head['version']}")
        found[head["model"]], start = topology_in(head, data, line)
    return found


def topology_in(head: Mapping[str, Any], data: memoryview, start: int) -> tuple[Topology, int]:
    """The topology of a line of JSON whose kept bytes begin at `start`, and where they end."""
    keys = list(head["keys"])
    files = {}
    for name, row in head["files"].items():
        parts: list[Segment] = []
        for part in row:
            if isinstance(part, int):
                parts.append(data[start : start + part])
                start += part
            else:
                parts.append(Hole(keys[part[0]], part[1], len(part) > 2))
        files[name] = tuple(parts)
    ports = ({name: Port(port["dtype"], tuple(port["shape"])) for name, port in head[side].items()} for side in SIDES)
    shapes = {key: tuple(shape) for key, shape in head["keys"].items()}
    return Topology(files, shapes, head["config"], *ports), start


SIDES = ("inputs", "outputs")


def read_topologies() -> dict[str, Any]:
    """index.json: "topologies", a row for each file with its KEY, its models, and the versions that made it."""
    try:
        return json.loads((TOPOLOGIES / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"cannot read '{TOPOLOGIES / INDEX}' ({error}); install pleinair again") from error


def file_of(row: Mapping[str, Any]) -> Path:
    """The file of a row of the index."""
    return TOPOLOGIES / ("-".join([row["models"][0], *(row[part] for part in KEY)]) + ".xz")


def open_topologies(row: Mapping[str, Any]) -> dict[str, Topology]:
    """Those of a file, by model."""
    file = file_of(row)
    try:
        found = unpack(file.read_bytes())
        return {model: replace(topology, tools=row["tools"]) for model, topology in found.items()}
    except (OSError, lzma.LZMAError, ValueError, TypeError, LookupError) as error:
        raise BundleError(f"cannot read '{file}' ({error}); install pleinair again") from error


def shipped(graph: str, weights: str, form: str) -> Iterator[tuple[str, Topology]]:
    """All topologies that ship of a kind of graph in one format, with their models."""
    for row in read_topologies()["topologies"]:
        if tuple(row[part] for part in KEY) == (graph, weights, form):
            yield from open_topologies(row).items()


def find(graph: str, weights: str, form: str, shapes: Mapping[str, Shape], config: Mapping[str, Any]) -> Topology:
    """The topology that parameters of these shapes, of a component with this config, fit into.

    Raises ExportError where none that ships is of this architecture, and where the parameters are those of one but for
    a few that are missing.
    """
    missing: list[str] = []
    for _, topology in shipped(graph, weights, form):
        wrong = misfits(topology, shapes)
        if not wrong and agrees(config, topology.config):
            return topology
        if wrong and all(key not in shapes for key in wrong) and len(wrong) < len(topology.shapes) / 2:
            missing = wrong
    if missing:
        raise ExportError(f"its {graph} lacks {len(missing)} weights ({missing[0]}); download the model again")
    raise none_fits(graph, weights, form, shapes, config)


def none_fits(
    graph: str, weights: str, form: str, shapes: Mapping[str, Shape], config: Mapping[str, Any]
) -> ExportError:
    """What is wrong with parameters that no topology of a kind fits, and what leads on."""
    kinds = [(row["weights"], row["format"]) for row in read_topologies()["topologies"] if row["graph"] == graph]
    known = {kind: [topology for _, topology in shipped(graph, *kind)] for kind in dict.fromkeys(kinds)}
    keys = {plain(key) for topologies in known.values() for topology in topologies for key in topology.shapes}
    if keys and not keys & set(shapes):
        whole = "give the file of a whole VAE" if graph.startswith("vae_") else "choose a file of the whole model"
        return ExportError(f"it has no weights of a {graph}; {whole}")
    fitting = [
        (kind != weights, other != form, f"--format {other} --weights {kind}")
        for (kind, other), topologies in known.items()
        if any(not misfits(topology, shapes) and agrees(config, topology.config) for topology in topologies)
    ]
    if fitting:
        option = min(fitting)[-1]
        return ExportError(
            f"no graph is included for its {graph} ({form}, {weights}); pour it with {option}", option=option
        )
    return ExportError(
        f"no graph is included for its {graph}, which has sizes or a kind of its own; export it with PyTorch"
        f" (pleinair export), or choose a model of the sizes of {SUPPORTED}"
    )


def misfits(topology: Topology, shapes: Mapping[str, Shape]) -> list[str]:
    """The parameters that are absent or of another size; a matrix may be a kernel of one pixel."""
    return [
        plain(key)
        for key, shape in topology.shapes.items()
        if plain(key) not in shapes or without_ones(shapes[plain(key)]) != without_ones(shape)
    ]


def plain(key: str) -> str:
    """The name of a text encoder's parameter without what transformers has put before it at times."""
    return key.removeprefix("text_model.")


def without_ones(shape: Shape) -> list[int]:
    return [side for side in shape if side != 1]


def agrees(config: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a component's config describes the network that a topology was made of."""
    own = all(is_same(as_json(config.get(key, silent(key, value))), value) for key, value in known["own"].items())
    return own and all(is_same(as_json(config.get(key, value)), value) for key, value in known["usual"].items())


def silent(key: str, value: Any) -> Any:
    """What a config without a key means: blocks that are all of one kind, whose number shapes tell, need no list."""
    return value if key.endswith("_block_types") and len(set(value)) == 1 else None


def is_same(one: Any, other: Any) -> bool:
    """Whether two values of a config mean the same: one for all blocks, and false where there may be nothing."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, list) or isinstance(other, list):
        several, value = (one, other) if isinstance(one, list) else (other, one)
        return bool(several) and all(is_same(each, value) for each in several)
    return one == other or all(value is None or value is False for value in (one, other))


def as_json(value: Any) -> Any:
    """A value of a config as JSON has it: lists, and whole numbers where they are whole."""
    return [as_json(each) for each in value] if isinstance(value, list | tuple) else value
