"""OpenVINO: CPU, Intel GPU and NPU."""

import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pleinair.bundle.manifest import Port
from pleinair.bundle.opening import Bundle
from pleinair.engines import openvino_devices as rules
from pleinair.engines import precision as precisions
from pleinair.engines.components import once_a_picture
from pleinair.engines.edits import Edit, Layer, Residuals, Tabulated, Unrounded
from pleinair.engines.engine import FOLDED, SHARED, Graph, Opening, Shapes, engine_version
from pleinair.engines.failures import CPU, failed, int8_in_part, no_extra, no_layer, no_residuals
from pleinair.engines.int8.cpu import form_here
from pleinair.engines.int8.forms import WEIGHTS_STAY, TakenForm
from pleinair.engines.int8.norms import spell_out_where_forced
from pleinair.engines.int8.rewriting import is_w8a8, put_in_form, unround
from pleinair.engines.openvino_extra import table_rows, take_extra
from pleinair.engines.openvino_kept import WITHOUT_WEIGHTS, KeptGraph, KeptPlace
from pleinair.engines.openvino_reading import read_model
from pleinair.engines.openvino_residuals import add_residuals, skip_joints
from pleinair.engines.openvino_sharing import share_rows
from pleinair.engines.openvino_tabulated import SettledReader, TabulatedGraph, take_tabulated
from pleinair.engines.openvino_upsampling import fold_upsampling
from pleinair.engines.openvino_weights import change, sites, widen_convolutions
from pleinair.engines.ports import EXTRA, check_opened
from pleinair.engines.rows import RowByRow, port_of_fewer
from pleinair.engines.telemetry import without_telemetry
from pleinair.errors import BundleError
from pleinair.system import compiled
from pleinair.system.giving_back import given_back, trim_heap

with without_telemetry():
    import openvino as ov

CAPABILITIES = {"FP32": "f32", "BF16": "bf16", "FP16": "f16"}
DTYPES = {"f32": "float32", "f16": "float16", "f64": "float64", "i64": "int64", "i32": "int32"}
BF16_SETS = ("BF16", "FP16", "AMX", "ALL", "DEFAULT")  # in the names of instruction sets that have bf16


class OpenVINOEngine:
    """OpenVINO's runtime, on its devices."""

    name, format = "openvino", "openvino"

    def __init__(self) -> None:
        self.version = engine_version(self.name)
        self._core = ov.Core()  # for questions alone: a new one looks for all devices again, which costs 10 ms
        self._devices: list[str] = []

    def devices(self) -> list[str]:
        if not self._devices:  # OpenVINO looks for them anew each time
            self._devices = list(self._core.available_devices)
        return [*self._devices]

    def device_names(self) -> dict[str, str]:
        """What each device calls itself, and the version of its driver where OpenVINO tells that."""
        return {device.lower(): rules.full_name(self._core, device) for device in self.devices()}

    def check_device(self, device: str | None, threads: int | None) -> None:
        self._named(device, threads)

    def offered(self, device: str | None) -> tuple[str, ...]:
        """What a device, or those that it is made of, compute in at full speed, as OpenVINO says."""
        name, *others = self._named(device).members
        if others:
            return tuple(dict.fromkeys(kind for member in (name, *others) for kind in self.offered(member)))
        has = self._core.get_property(name, "OPTIMIZATION_CAPABILITIES")
        forced = os.environ.get("ONEDNN_MAX_CPU_ISA", "ALL").upper()  # which OpenVINO obeys, and still says BF16
        slow = name == "CPU" and not any(mark in forced for mark in BF16_SETS)
        found = (kind for name, kind in CAPABILITIES.items() if name in has and not (slow and name == "BF16"))
        return tuple(found) or (precisions.F32,)

    def fastest(self, bundle: Bundle, graph: str, device: str | None) -> str:
        """Of a device that is made of others, that of the first."""
        first = self._named(device).members[0]
        return precisions.fastest(bundle, graph, rules.kind_of(first), self.offered(first))

    def layers(self, bundle: Bundle, graph: str) -> dict[str, Layer]:
        model = read_model(ov.Core(), bundle.graph_file(graph, "openvino"))
        found = sites(model, bundle.manifest.paths_of(graph, "openvino"))
        return {path: site.layer for path, site in found.items()}

    def open_graph(self, bundle: Bundle, graph: str, how: Opening) -> Graph:
        device = self._named(how.device, how.threads)
        tabulated = next((edit for edit in how.edits if isinstance(edit, Tabulated)), None)
        others = [edit for edit in how.edits if edit is not tabulated]
        precision = {member: self._precision(bundle, graph, member, how.precision) for member in device.members}
        known = {each: self._core.get_property(each, "SUPPORTED_PROPERTIES") for each in device.told_more}
        kept = how.cache is not False and device.rules.kept and not others  # each would be gigabytes of its own
        settings = rules.settings_of(device, precision, known, how.threads, compiled.made_folder() if kept else "")
        open_with = partial(
            OpenVINOGraph, bundle, graph, device, settings, ran_on=partial(rules.ran_on, device, precision)
        )
        opened = open_with(how=replace(how, edits=others))
        if tabulated and device.members == ("CPU",):
            named = bundle.manifest.paths_of(graph, "openvino")
            read = SettledReader(bundle.graph_file(graph, "openvino"), others, named, settings, how.int8)
            error = partial(failed, graph, device.spelled)
            return TabulatedGraph(tabulated, bundle.manifest.graphs[graph], read, open_with(how=how), opened, error)
        if not device.rules.one_row:
            return opened
        added = (port for edit in others if isinstance(edit, Residuals) for port in edit.ports)
        return RowByRow(opened, graph, bundle.manifest.graphs[graph], device.spelled, how.say, added)

    def shares(self, device: str | None) -> bool:
        return self._named(device).members == ("CPU",)

    def _named(self, device: str | None, threads: int | None = None) -> rules.OpenVINODevice:
        """A device by its name. For the CPU no other is looked for, which takes 8 MB and 10 ms, more with drivers."""
        here = ["CPU"] if (device or CPU).lower() == CPU else self.devices()
        return rules.device_named(device, here, threads)

    def _precision(self, bundle: Bundle, graph: str, member: str, asked: str) -> str:
        """What one of the devices that make one up computes in: what is asked for, where it has that."""
        return asked if asked in self.offered(member) else self.fastest(bundle, graph, member)


class OpenVINOGraph:
    """A graph compiled for the shapes it is called with: static shapes are what OpenVINO is fast with."""

    def __init__(
        self,
        bundle: Bundle,
        graph: str,
        device: rules.OpenVINODevice,
        settings: dict[str, Any],
        how: Opening,
        ran_on: Callable[[str], tuple[str, str]],
    ) -> None:
        self._bundle = bundle
        self._name = graph
        self._device = device
        self._settings = settings
        self._edits = how.edits
        self._how = how
        self._ran_on = ran_on
        self._keeps = how.cache is True and device.name == "CPU"
        self._rests = once_a_picture(bundle, graph) and device.members == ("CPU",)
        self._outputs: list[str] = []
        self._tokens: int | None = None  # rows of the table that input_ids choose from
        self._requests: OrderedDict[tuple, ov.InferRequest] = OrderedDict()  # by shapes, those used last at the end

    def prepare(self, shapes: Shapes) -> None:
        self._request(shapes)

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        request = self._request({name: array.shape for name, array in inputs.items()})
        if self._tokens is not None and (inputs["input_ids"] >= self._tokens).any():
            raise BundleError(
                f"'{self._name}' knows {self._tokens} tokens, and its tokenizer makes others; export the model again"
            )
        try:
            results = request.infer(inputs)
        except RuntimeError as error:
            raise failed(self._name, self._device.spelled, error) from None
        if self._device.chooses:
            (chosen, *_) = request.get_compiled_model().get_property("EXECUTION_DEVICES")
            self._how.ran(*self._ran_on(chosen))
        answers = {name: np.array(array) for name, array in zip(self._outputs, results.values(), strict=True)}
        if self._rests:
            request.get_compiled_model().release_memory()
        return answers

    def _request(self, shapes: Shapes) -> ov.InferRequest:
        """The graph compiled for these shapes; the memory of the oldest is given back before another is made."""
        key = tuple(sorted(shapes.items()))
        if key not in self._requests:
            while len(self._requests) >= self._how.max_shapes:
                self._requests.popitem(last=False)
            self._requests[key] = self._compiled(shapes)
        self._requests.move_to_end(key)
        return self._requests[key]

    def _compiled(self, shapes: Shapes) -> ov.InferRequest:
        core = ov.Core()
        file = self._bundle.graph_file(self._name, "openvino")
        place = self._place(shapes, file)
        kept = place and place.opened(core)
        if kept:
            self._outputs, self._tokens = kept.outputs, kept.tokens
            if kept.formed:
                self._how.formed(TakenForm(**kept.formed))
            for kind, count in kept.rewritten.items():
                self._how.rewritten(kind, count)
            return kept.model.create_infer_request()
        model = read_model(core, file)
        info = self._bundle.manifest.graphs[self._name]
        try:
            inputs, outputs = ports_of(model.inputs, info.inputs), ports_of(model.outputs, info.outputs)
            check_opened(self._name, info, inputs, outputs)
            self._tokens = table_rows(model)
            if EXTRA in shapes and not take_extra(model):
                raise no_extra(self._name)
            for edit in self._edits:
                self._change(model, edit)
            edited = False
            if self._device.members == ("CPU",) and self._how.precision == "bf16":  # which hides the rounding to f16
                edited = widen_convolutions(model)
            # compiling drops operations that these shapes make idle, and gives their names to the port that remains
            self._outputs = list(outputs)
            fewer = port_of_fewer(info, shapes)
            model.reshape(dict(shapes) | ({fewer.port: fewer.whole} if fewer else {}))
            rules.check_takes(self._device, self._name, shapes, open_sizes=model.is_dynamic())
            rewritten = {FOLDED: self._fold(model)}
            taken = self._take_form(model)
            rewritten[SHARED] = share_rows(model, fewer) if fewer else 0
            for kind, count in rewritten.items():
                self._how.rewritten(kind, count)
            if self._device.members == ("CPU",):
                edited |= spell_out_where_forced(model) > 0
            settings = self._settings | (WITHOUT_WEIGHTS if place else {})
            with given_back(file.with_suffix(".bin")):
                network = core.compile_model(model, self._device.name, settings)
            request = network.create_infer_request()
            own = edited or (taken is not None and taken.form not in WEIGHTS_STAY)
            if place and not own:
                formed = None if taken is None else asdict(taken)
                place.keep(KeptGraph(network, self._outputs, self._tokens, formed, rewritten))
        except RuntimeError as error:
            raise failed(self._name, self._device.spelled, error) from None
        if "CACHE_DIR" in self._settings:
            compiled.trim()
        del model
        trim_heap()  # of it, and of what compiling has freed in pieces
        return request

    def _place(self, shapes: Shapes, file: Path) -> KeptPlace | None:
        """Where the graph is kept for these shapes; None where it is not.

        What has been edited is not, for its weights are no longer those on the disk, nor what nobody has verified.
        """
        edited = any(not isinstance(edit, Tabulated) for edit in self._edits)
        if not self._keeps or EXTRA in shapes or edited or not self._bundle.files.hashed:
            return None
        weights = file.with_suffix(".bin")
        return KeptPlace(self._bundle, self._name, weights, shapes, self._settings, self._how.int8, self._how.fold)

    def _fold(self, model: ov.Model) -> int:
        """Into how many convolutions upsampling was folded. Other devices than the CPU were not measured."""
        if not self._how.fold or self._device.members != ("CPU",) or model.is_dynamic():
            return 0
        return fold_upsampling(model, halves=self._how.precision != precisions.F32)

    def _take_form(self, model: ov.Model) -> TakenForm | None:
        """Give a graph in int8 the form that the CPU computes well; other devices take it as it is stored."""
        if self._device.members != ("CPU",) or not is_w8a8(model):
            return None
        taken = put_in_form(model, form_here(self._how.int8))
        if taken.unknown or (taken.left and skip_joints(model)):  # of what is no UNet, no linear layer is expected
            self._how.say(int8_in_part(self._name, taken))
        self._how.formed(taken)
        return taken

    def _change(self, model: ov.Model, edit: Edit) -> None:
        if isinstance(edit, Unrounded):
            unround(model)
            return
        if isinstance(edit, Tabulated):
            take_tabulated(model, edit.ports)
            return
        if isinstance(edit, Residuals):
            others = add_residuals(model, edit)
            if others is not None:
                raise no_residuals(self._bundle.manifest.name, edit, others)
            return
        found = sites(model, self._bundle.manifest.paths_of(self._name, "openvino"))
        for path, changed in edit.changes.items():
            if path not in found:
                raise no_layer(self._name, path)
            change(found[path], changed)


def ports_of(ports: list[ov.Output], described: dict[str, Port]) -> dict[str, str]:
    """Name -> what numbers a port takes or gives: its name in the manifest where it has that among others."""
    found = {}
    for place, port in enumerate(ports):
        names = sorted(port.get_names()) or [f"number {place}"]
        kind = port.get_element_type().get_type_name()
        found[next((name for name in names if name in described), names[0])] = DTYPES.get(kind, kind)
    return found
