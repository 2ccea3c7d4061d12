"""A graph as bundle.json describes it: the ports that the file has, held against those that the model needs."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pleinair.adopting.layout import FoundGraph
from pleinair.adopting.outline import FoundPort, Outline
from pleinair.bundle.manifest import GraphInfo, Port
from pleinair.bundle.ports import numbers
from pleinair.checks import shown_path
from pleinair.errors import BundleError

EXPORT = "export the diffusers folder that it was made of"
TIMESTEP = "timestep"
RESHAPED = ("openvino",)  # formats whose engine gives a graph other sizes and numbers than it was saved with
WIDENED = {"bfloat16": "float32"}  # numbers that a port is saved with -> those that such an engine makes of it

Ports = Mapping[str, Port]


def graph_info(where: Path, form: str, found: FoundGraph, inputs: Ports, outputs: Ports) -> GraphInfo:
    """A graph of one format; `inputs` and `outputs` are the ports that the model needs.

    Raises BundleError, which names `where` it lies, for a graph that wants or gives something else, or other numbers.
    """
    outline = widened(found.outline) if form in RESHAPED else found.outline
    taken, made = input_ports(where, form, outline, inputs), output_ports(where, outline, outputs)
    return GraphInfo(
        files={form: tuple(found.files)},
        weights=found.outline.mostly,
        activations="fp16" if any(port.dtype == "float16" for port in made.values()) else "fp32",
        inputs=taken,
        outputs=made,
        fidelity={},
    )


def widened(outline: Outline) -> Outline:
    """The ports as an engine has them that changes their numbers."""
    sides = (outline.inputs, outline.outputs)
    inputs, outputs = (
        tuple(replace(port, dtype=WIDENED.get(port.dtype, port.dtype)) for port in ports) for ports in sides
    )
    return replace(outline, inputs=inputs, outputs=outputs)


def together(infos: Mapping[str, Mapping[str, GraphInfo]]) -> tuple[dict[str, GraphInfo], tuple[str, ...]]:
    """Graphs by format -> graphs in all formats that have the ports of the first; and the formats that do not."""
    (_, first), *others = infos.items()
    graphs, left_out = dict(first), []
    for form, more in others:
        same = more.keys() == graphs.keys() and all(
            (more[name].inputs, more[name].outputs) == (info.inputs, info.outputs) for name, info in graphs.items()
        )
        if same:
            graphs = {name: replace(info, files=info.files | more[name].files) for name, info in graphs.items()}
        else:
            left_out.append(form)
    return graphs, tuple(left_out)


def input_ports(where: Path, form: str, outline: Outline, wanted: Ports) -> dict[str, Port]:
    """The inputs of a graph; BundleError where it lacks one that is wanted, or has one that nothing here gives."""
    strange = next((port for port in outline.inputs if not set(port.names) & set(wanted)), None)
    if strange is not None:
        raise BundleError(
            f"'{shown_path(where)}' wants an input '{strange.names[0]}', which nothing here gives; {EXPORT}"
        )
    ports = {}
    for name, port in wanted.items():
        found = outline.input(name)
        if found is None:
            raise BundleError(f"'{shown_path(where)}' has no input '{name}', which this model needs; {EXPORT}")
        ports[name] = checked(where, name, port, found, fixed=form not in RESHAPED)
        if name == TIMESTEP and form in RESHAPED:
            ports[name] = Port("float32", ports[name].shape)  # the engine widens it when it opens the graph
    return ports


def output_ports(where: Path, outline: Outline, wanted: Ports) -> dict[str, Port]:
    """The outputs of a graph that are wanted; BundleError where it lacks one."""
    ports = {}
    for name, port in wanted.items():
        found = outline.output(name)
        if found is None:
            raise BundleError(f"'{shown_path(where)}' has no output '{name}', which this model needs; {EXPORT}")
        ports[name] = checked(where, name, port, found, fixed=False)
    return ports


def checked(where: Path, name: str, wanted: Port, found: FoundPort, fixed: bool) -> Port:
    """A port with the file's numbers and the sizes that matter; with `fixed`, those that the file allows no others of.

    Raises BundleError for other numbers, ranks and sizes than the model can have there.
    """
    shape = found.shape if found.shape is not None else tuple(None for _ in wanted.shape)
    if name == TIMESTEP and (shape == () or (len(shape) == 1 and not fixed)):  # which an engine may reshape to one
        return Port(found.dtype, shape and wanted.shape)
    fits = found.dtype in numbers(name) and len(shape) == len(wanted.shape)
    if not fits or any(
        isinstance(side, int) and size not in (None, side) for side, size in zip(wanted.shape, shape, strict=True)
    ):
        sizes, needed = [size or "any" for size in shape], list(wanted.shape)
        raise BundleError(
            f"'{shown_path(where)}' has {found.dtype} {sizes} as '{name}' where this model has {needed}; {EXPORT}"
        )
    sides = zip(wanted.shape, shape, strict=True)
    return Port(found.dtype, tuple(size if fixed and size else side for side, size in sides))
