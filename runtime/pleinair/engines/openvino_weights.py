"""The layers of an OpenVINO model, found from its constants, and other weights put into them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from pleinair.engines.edits import Change, Layer
from pleinair.engines.telemetry import without_telemetry

with without_telemetry():
    import openvino as ov
    from openvino import opset13 as ops

PASSED = ("Convert", "Multiply", "Subtract", "Reshape")  # between a stored weight and its reader
DEEPEST = 8  # of these behind each other
WEIGHED = ("MatMul", "Convolution")
PLAIN = ("f32", "f16", "i8", "u8")  # numbers that NumPy has, too
LARGEST_HALF = float(np.finfo(np.float16).max)
TRACED = re.compile(r"__module\.(.+)/aten::.*")  # names of nodes that were traced from torch
PART = re.compile(r"(.+)/part(\d)")  # names of the weights of a layer that was made several
SMOOTHED = "/nncf_smooth_quant"  # ends the name of a Multiply that makes activations even, for int8
MARK = "decompression_0"  # OpenVINO's own mark of what makes a weight as wide as it is computed with


@dataclass
class WeightPorts:
    """Where a layer is in a model: the inputs that read its weight and its bias.

    A weight may be (in, out); that of a norm is a vector, in the shape of what it is multiplied with. Its input
    channels may be divided by `smoothing` (in,), by which NNCF has multiplied those of the activations. Where several
    nodes compute its output channels, each some, `others` are those of the others.
    """

    readers: list[ov.Input]
    bias: ov.Input | None
    transposed: bool = False
    vector: bool = False
    smoothing: np.ndarray | None = None
    others: list["WeightPorts"] = field(default_factory=list)

    @property
    def layer(self) -> Layer:
        """The layer as torch has it."""
        rows = sum(each.shape[0] for each in self.parts)
        return Layer((rows, *self.shape[1:]), self.bias is not None)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weight, as torch has it, without that of `others`."""
        shape = tuple(self.readers[0].get_shape())
        return (max(shape, default=1),) if self.vector else shape[::-1] if self.transposed else shape

    @property
    def parts(self) -> list["WeightPorts"]:
        """This one and `others`, in the order of their output channels."""
        if not self.others:
            return [self]
        return sorted([self, *self.others], key=lambda each: each.stored.get_friendly_name())

    @property
    def stored(self) -> ov.Node:
        """The constant that has the weight."""
        return source(self.readers[0])

    @property
    def even(self) -> np.ndarray | float:
        """What its input channels are divided by, in the shape of its weight but for the first axis."""
        return 1.0 if self.smoothing is None else self.smoothing.reshape(-1, *[1] * (len(self.shape) - 2))

    def weight(self) -> np.ndarray:
        """The weight as torch has it, float32."""
        if self.others:
            return np.concatenate([replace(each, others=[]).weight() for each in self.parts])
        found = numbers(self.readers[0].get_source_output())
        shaped = (found.T if self.transposed else found).reshape(self.shape)
        return np.ascontiguousarray(shaped * self.even, np.float32)


def sites(model: ov.Model, named: Mapping[str, str]) -> dict[str, WeightPorts]:
    """Layer path -> where it is; `named` are the paths of constants whose layers bundle.json says.

    Others are told by the names of constants and nodes, as tools write them. A path that two weights have is left out.
    """
    found: dict[str, WeightPorts] = {}
    twice: set[str] = set()
    for path, site in found_sites(model, named):
        other = found.get(path)
        if other is None:
            found[path] = site
        elif source(other.readers[0]) is not None and same(source(other.readers[0]), source(site.readers[0])):
            other.readers += site.readers
        elif are_parts(other, site):
            other.others.append(site)
        else:
            twice.add(path)
    return {path: site for path, site in found.items() if path not in twice}


def found_sites(model: ov.Model, named: Mapping[str, str]) -> Iterator[tuple[str, WeightPorts]]:
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind in WEIGHED:
            constant = source(node.input(1))
            path = constant and path_of(constant, node, named)
            if path:
                turned = kind == "MatMul" and not node.get_attributes()["transpose_b"]
                ports = WeightPorts([node.input(1)], added(node.output(0)), transposed=turned)
                ports.smoothing = smoothing_of(node.input(0), ports.shape)
                yield path, ports
        elif kind == "GroupNormalization":
            constant = source(node.input(1))
            path = constant and path_of(constant, node, named)
            if path:
                bias = node.input(2) if source(node.input(2)) is not None else None
                yield path, WeightPorts([node.input(1)], bias, vector=True)
        elif kind == "MVN":
            path, scaled = traced(node), follower(node.output(0), "Multiply")
            if path and scaled and not scaled.get_node().get_friendly_name().endswith(SMOOTHED):
                yield path, WeightPorts([scaled], added(scaled.get_node().output(0)), vector=True)


def source(port: ov.Input, left: int = DEEPEST) -> ov.Node | None:
    """The constant that a port reads, maybe widened and scaled; None where it reads anything else."""
    node = port.get_source_output().get_node()
    if node.get_type_name() not in PASSED:
        return node if node.get_type_name() == "Constant" else None
    first, *others = node.inputs()
    if not left or any(source(other, left - 1) is None for other in others):
        return None
    return source(first, left - 1)


def same(one: ov.Node, other: ov.Node) -> bool:
    return one.get_friendly_name() == other.get_friendly_name()


def part_named(name: str, place: int) -> str:
    """What the weight of one part of a layer is called."""
    return f"{name}/part{place}"


def are_parts(one: WeightPorts, other: WeightPorts) -> bool:
    """Whether they are two parts of one layer, as their weights are called."""
    names = [PART.fullmatch(each.stored.get_friendly_name()) for each in (one, *one.others, other)]
    return all(names) and len({name[1] for name in names}) == 1 and len({name[2] for name in names}) == len(names)


def path_of(constant: ov.Node, node: ov.Node, named: Mapping[str, str]) -> str | None:
    """The path of a layer: as bundle.json has it, or as the name of its weight, or else of its node, says."""
    name = PART.sub(r"\1", constant.get_friendly_name())
    if name in named:
        return named[name]
    if name.startswith("self.") and name.endswith(".weight"):
        return name.removeprefix("self.").removeprefix("model.").removesuffix(".weight")
    return traced(node) or walked(node.get_friendly_name())


def traced(node: ov.Node) -> str | None:
    """ "__module.model.conv_in/aten::_convolution/Convolution" -> "conv_in"."""
    match = TRACED.fullmatch(node.get_friendly_name())
    return match[1].removeprefix("model.") if match else None


def walked(name: str) -> str | None:
    """ "/down_blocks.0/attentions.0/proj_in/Conv", as in ONNX files -> "down_blocks.0.attentions.0.proj_in"."""
    parts = name.split("/")[1:-1]
    return ".".join(parts).removeprefix("model.") if name.startswith("/") and parts else None


def added(output: ov.Output) -> ov.Input | None:
    """The constant that is added to a layer's product and to nothing else: its bias."""
    return follower(output, "Add")


def follower(output: ov.Output, kind: str) -> ov.Input | None:
    """The constant input of the one node of a kind that follows."""
    readers = list(output.get_target_inputs())
    if len(readers) != 1 or readers[0].get_node().get_type_name() != kind:
        return None
    node = readers[0].get_node()
    other = node.input(1 - readers[0].get_index())
    return other if source(other) is not None else None


def smoothing_of(activation: ov.Input, shape: tuple[int, ...]) -> np.ndarray | None:
    """What a layer's input channels are multiplied by before they are quantized; None where they are not."""
    node = activation.get_source_output().get_node()
    if node.get_type_name() == "FakeQuantize":
        node = node.input_value(0).get_node()
    if not node.get_friendly_name().endswith(SMOOTHED) or source(node.input(1)) is None:
        return None
    scale = numbers(node.input_value(1)).reshape(-1)
    return scale if len(shape) > 1 and scale.size == shape[1] else None


def change(site: WeightPorts, changed: Change) -> None:
    """Make a layer's weight and bias anew; raises what `changed` raises."""
    starts = np.cumsum([each.shape[0] for each in site.parts])[:-1]
    if changed.weight is not None:
        weights = np.split(changed.weight(site.weight()), starts)
        for part, weight in zip(site.parts, weights, strict=True):
            weight, shape = weight / part.even, tuple(part.readers[0].get_shape())
            put(part.readers, (weight.T if part.transposed else weight).reshape(shape))
    if changed.bias is not None and site.bias is not None:
        stored = [numbers(each.bias.get_source_output()) for each in site.parts]
        biases = np.split(changed.bias(np.concatenate([each.reshape(-1) for each in stored], dtype=np.float32)), starts)
        for part, bias, old in zip(site.parts, biases, stored, strict=True):
            put([part.bias], bias.reshape(old.shape))


def numbers(output: ov.Output) -> np.ndarray:
    """What a weight is when it is read: its constant, widened, scaled and shaped."""
    node = output.get_node()
    kind = node.get_type_name()
    if kind == "Constant":
        plain = node.get_element_type().get_type_name() in PLAIN  # which NumPy widens three times as fast
        return node.data.astype(np.float32) if plain else node.get_data(dtype=np.float32)
    first = numbers(node.input_value(0))
    if kind == "Convert":
        return first
    if kind == "Reshape":
        return first.reshape(node.get_output_shape(0))
    second = numbers(node.input_value(1))
    return first * second if kind == "Multiply" else first - second


def put(readers: list[ov.Input], array: np.ndarray) -> None:
    """Let ports read an array, stored in 16 bits where what they read is in no more, and its range allows that."""
    old, stored = readers[0].get_source_output(), source(readers[0])
    narrow = stored.get_element_type().bitwidth <= 16 and np.abs(array).max(initial=0) <= LARGEST_HALF
    kind = old.get_element_type()
    fresh = ops.constant(
        np.ascontiguousarray(array, np.float16 if narrow else np.float32), name=stored.get_friendly_name()
    )
    if fresh.get_element_type() != kind:
        fresh = ops.convert(fresh, kind.get_type_name())
        fresh.set_rt_info("", MARK)
    for reader in readers:
        reader.replace_source_output(fresh.output(0))


def mark_stored_small(model: ov.Model) -> None:
    """Tell OpenVINO which conversions make 16-bit weights float32.

    Without the mark the CPU folds each into a wide constant, which it keeps beside the one that its kernels read.
    """
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Convert" and node.get_output_element_type(0) == ov.Type.f32:
            stored = node.input_value(0).get_node()
            if stored.get_type_name() == "Constant" and stored.get_output_element_type(0) == ov.Type.f16:
                node.set_rt_info("", MARK)


def widen_convolutions(model: ov.Model) -> bool:
    """Make the 8-bit weights of convolutions 16-bit ones, unless they are computed with in 8 bits; whether any was.

    The CPU has no kernel that reads them, and would keep float32 ones beside what its kernels read.
    """
    nodes = model.get_ordered_ops()
    if any(node.get_type_name() == "FakeQuantize" for node in nodes):
        return False
    found = False
    for node in nodes:
        stored = source(node.input(1)) if node.get_type_name() == "Convolution" else None
        if stored is not None and stored.get_element_type().bitwidth <= 8:
            put([node.input(1)], numbers(node.input_value(1)))
            found = True
    return found
