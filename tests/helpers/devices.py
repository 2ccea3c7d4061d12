"""OpenVINO and ONNX Runtime with devices that are not here: what they are told is kept, and computed on the CPU."""

from types import SimpleNamespace

import numpy as np

from pleinair.engines import onnx, openvino

CAPABILITIES = {"CPU": ["FP32", "INT8"], "GPU": ["FP32", "FP16", "INT8"], "NPU": ["FP16", "INT8"]}
BROKEN = "device removed"
COMPILED = {}
NPU_PROPERTIES = ("FULL_DEVICE_NAME", "NPU_DRIVER_VERSION", "NPU_COMPILATION_MODE_PARAMS")


class Machine:
    """An OpenVINO that has `devices`. Compiling fails on those in `no_compiler`, running on those in `broken`.

    `compiled` holds (device, settings, shapes of inputs) by the graph's first output, in the order of compiling;
    `chosen` is what AUTO says that it has chosen.
    """

    def __init__(self, monkeypatch, *devices, no_compiler=(), broken=(), chosen=None):
        self.devices, self.no_compiler, self.broken = [*devices], set(no_compiler), set(broken)
        self.chosen = chosen
        self.compiled, self.calls = [], []
        self.real = openvino.ov.Core
        monkeypatch.setattr(openvino.ov, "Core", lambda: Core(self))

    def answer(self, device, settings, array):
        """What a device answers where the CPU answers an array."""
        return array

    def told(self, output):
        """How graphs with this output were compiled."""
        return [how for name, *how in self.compiled if name == output]


class Core:
    def __init__(self, machine):
        self._machine, self._real = machine, machine.real()
        self.available_devices = machine.devices
        self.read_model = self._real.read_model

    def get_property(self, device, name):
        kind = device.split(".")[0]
        if name == "SUPPORTED_PROPERTIES":
            return dict.fromkeys(NPU_PROPERTIES if kind == "NPU" else NPU_PROPERTIES[:1], "RO")
        table = {"FULL_DEVICE_NAME": f"A {kind}", "NPU_DRIVER_VERSION": 17}
        return CAPABILITIES[kind] if name == "OPTIMIZATION_CAPABILITIES" else table[name]

    def compile_model(self, model, device, settings):
        shapes = {port.get_any_name(): tuple(port.shape) for port in model.inputs}
        self._machine.compiled.append((model.outputs[0].get_any_name(), device, dict(settings), shapes))
        if device in self._machine.no_compiler:
            raise RuntimeError(f"[{device}] clBuildProgram failed\nCL_OUT_OF_RESOURCES")
        key = tuple(sorted(shapes.items()))
        if key not in COMPILED:  # ports of other names are other graphs, of the one bundle that is tried here
            COMPILED[key] = self._real.compile_model(model, "CPU", {})
        return Compiled(self._machine, device, settings, COMPILED[key])


class Compiled:
    def __init__(self, machine, device, settings, real):
        self._machine, self._device, self._settings, self._real = machine, device, settings, real
        self.create_infer_request = lambda: self

    def infer(self, inputs):
        self._machine.calls.append((self._device, {name: array.shape for name, array in inputs.items()}))
        if self._device in self._machine.broken:
            raise RuntimeError(BROKEN)
        results = self._real.create_infer_request().infer(inputs)
        told = self._device, self._settings
        return {port: self._machine.answer(*told, np.array(array)) for port, array in results.items()}

    def get_compiled_model(self):
        return self

    def release_memory(self):
        self._real.release_memory()

    def get_property(self, name):
        return {"EXECUTION_DEVICES": self._machine.chosen}[name]


class DirectML:
    """An ONNX Runtime that has DirectML's provider; `told` holds (providers, options) of each session."""

    def __init__(self, monkeypatch, refuses=False):
        self.told, self._refuses, self.real = [], refuses, onnx.ort
        parts = {
            name: getattr(onnx.ort, name)
            for name in ("ExecutionMode", "GraphOptimizationLevel", "OrtValue", "RunOptions")
        }
        fake = SimpleNamespace(
            **parts,
            SessionOptions=lambda: Options(self.real.SessionOptions()),
            InferenceSession=self.session,
            get_available_providers=lambda: ["DmlExecutionProvider", "CPUExecutionProvider"],
        )
        monkeypatch.setattr(onnx, "ort", fake)

    def session(self, model, options, *, providers, enable_fallback):
        self.told.append((providers, options))
        first = providers[0] if isinstance(providers[0], str) else providers[0][0]
        if self._refuses and first == "DmlExecutionProvider":
            raise RuntimeError("887A0006 The GPU will not respond to more commands")
        real = self.real.InferenceSession(model, options.real, providers=["CPUExecutionProvider"])
        return Session(real, first)


class Options:
    """Session options that remember the sizes of free dimensions."""

    def __init__(self, real):
        vars(self).update(real=real, sizes={})

    def __setattr__(self, name, value):
        setattr(self.real, name, value)

    def __getattr__(self, name):
        return getattr(self.real, name)

    def add_free_dimension_override_by_name(self, name, size):
        self.sizes[name] = size
        self.real.add_free_dimension_override_by_name(name, size)


class Session:
    def __init__(self, real, provider):
        self._real, self._provider = real, provider

    def __getattr__(self, name):
        return getattr(self._real, name)

    def get_providers(self):
        return [self._provider, "CPUExecutionProvider"]
