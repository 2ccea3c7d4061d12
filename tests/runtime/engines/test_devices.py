"""Devices that nobody here has: what engines are told for them, exactly, and where a graph goes on that fails there.

The engines themselves are real and run on the CPU; what stands between is in tests/helpers/devices.py.
"""

import json
import os
import shutil

import numpy as np
import pytest

import pleinair
from bundles import edit_manifest, light_xl_copy, seal
from devices import DirectML, Machine
from pleinair.bundle.opening import open_bundle
from pleinair.engines import openvino_devices as devices
from pleinair.engines import placement
from pleinair.engines.components import written
from pleinair.engines.failures import failed
from pleinair.engines.fake import FakeEngine
from pleinair.engines.graphs import Graphs
from pleinair.engines.openvino import ov, read_model
from pleinair.engines.rows import RowByRow
from pleinair.errors import EngineError, RequestError, ResourceError
from pleinair.system import compiled
from pleinair.tasks.rerun import rerun
from vectors import safetensors, some_vectors

JOB = {"prompt": "a boat", "seed": 1, "steps": 1, "width": 64, "height": 64}
TEXT, UNET, DECODER = "last_hidden_state", "out_sample", "sample"  # the first outputs of the graphs
BATCH = {"sample": (2, 4, 8, 8), "timestep": (1,), "encoder_hidden_states": (2, 77, 128)}
ONE = {"sample": (1, 4, 8, 8), "timestep": (1,), "encoder_hidden_states": (1, 77, 128)}
IDS, LATENTS = {"input_ids": (1, 77)}, {"latent_sample": (1, 4, 8, 8)}
CPU = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
F16 = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f16"}


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    """Where OpenVINO is told to keep what it compiles."""
    monkeypatch.setenv("PLEINAIR_HOME", str(tmp_path / "home"))
    return {"CACHE_DIR": str(tmp_path / "home" / "compiled")}


def opened(sketch, **how):
    """As it is where no device gains from what the CPU shares between texts: the same calls on all of them."""
    return pleinair.load(sketch, share=False, **how)


def painted(sketch, device, engine="openvino", **more):
    return opened(sketch, engine=engine, device=device, **more).generate(**JOB)


@pytest.fixture(scope="module")
def on_the_cpu(sketch):
    return {engine: painted(sketch, "cpu", engine) for engine in ("openvino", "onnx")}


def test_what_openvino_is_told(sketch, monkeypatch, kept, on_the_cpu):
    """Device, properties and static shapes of each component, by device."""
    machine = Machine(monkeypatch, "CPU", "GPU.0", "GPU.1", "NPU")
    npu = F16 | {"NPU_COMPILATION_MODE_PARAMS": "performance-hint-override=latency"}
    gpu = {TEXT: F16 | kept, UNET: F16 | kept, DECODER: CPU | kept}  # this VAE does not say that f16 is enough
    both = {
        name: {"GPU.1": {"INFERENCE_PRECISION_HINT": "f16"}, "CPU": {"INFERENCE_PRECISION_HINT": "f32"}} for name in gpu
    }
    both[DECODER] = {name: {"INFERENCE_PRECISION_HINT": "f32"} for name in ("GPU.1", "CPU")}
    mixed = {name: {"PERFORMANCE_HINT": "LATENCY", "DEVICE_PROPERTIES": members} for name, members in both.items()}
    expected = {
        "cpu": ("CPU", dict.fromkeys(gpu, CPU), BATCH),
        " GPU": ("GPU", gpu, BATCH),
        "gpu.1": ("GPU.1", gpu, BATCH),
        "npu": ("NPU", dict.fromkeys(gpu, npu), ONE),
        "hetero:gpu.1,cpu": ("HETERO:GPU.1,CPU", mixed, BATCH),
        "auto:gpu.1+cpu": (
            "AUTO:GPU.1,CPU",
            {n: s | {"ENABLE_STARTUP_FALLBACK": False} for n, s in mixed.items()},
            BATCH,
        ),
    }
    machine.chosen = ["GPU.1"]
    for asked, (name, settings, shapes) in expected.items():
        machine.compiled.clear()
        result = painted(sketch, asked)
        assert machine.compiled == [
            (output, name, settings[output], of)
            for output, *_ in machine.compiled
            for of in [{TEXT: IDS, UNET: shapes, DECODER: LATENTS}[output]]
        ]
        assert {output for output, *_ in machine.compiled} == set(gpu)
        np.testing.assert_allclose(result.pixels, on_the_cpu["openvino"].pixels, atol=1e-5)
        recorded = {"hetero:gpu.1,cpu": "hetero:gpu.1+cpu", "auto:gpu.1+cpu": "gpu.1"}
        assert result.settings["device"] == recorded.get(asked, asked.strip().lower())
        assert result.settings["precision"] == {"cpu": "f32", "npu": "f16"}.get(asked, "text=f16,unet=f16,vae=f32")


def test_components_on_three_devices(sketch, monkeypatch, kept):
    machine = Machine(monkeypatch, "CPU", "GPU", "NPU")
    result = painted(sketch, "unet=npu,vae=gpu,text=cpu", cache=False)
    assert [machine.told(output)[0][0] for output in (TEXT, UNET, DECODER)] == ["CPU", "NPU", "GPU"]
    assert result.settings["device"] == "text=cpu,unet=npu,vae=gpu"
    assert not any("CACHE_DIR" in settings for _, _, settings, _ in machine.compiled)
    assert "npu takes one row at a time: 'unet' is called as with --batch 1 and --two-calls" in result.warnings


def test_a_batch_on_the_npu_is_as_many_calls(sketch, monkeypatch):
    """With guidance, for three pictures, six; and the pictures are those of a batch."""
    job = JOB | {"count": 3, "batch": 3}
    expected = opened(sketch, engine="openvino").generate(**job)
    machine = Machine(monkeypatch, "CPU", "NPU")
    result = opened(sketch, engine="openvino", device="unet=npu").generate(**job)
    np.testing.assert_allclose(result.pixels, expected.pixels, atol=1e-5)
    assert [shapes for device, shapes in machine.calls if device == "NPU"] == [ONE] * 6
    assert len(machine.told(UNET)) == 1


def test_ports_of_an_edit_have_a_row_for_each_call_too():
    """What ControlNets say goes to an NPU row by row, as latents do."""
    info = open_bundle().manifest.graphs["unet"]
    calls, said = [], []

    class Graph:
        def prepare(self, shapes):
            calls.append(shapes)

        def __call__(self, **inputs):
            calls.append({name: array.shape for name, array in inputs.items()})
            return {"out_sample": inputs["sample"] + inputs["added"].mean()}

    rows = RowByRow(Graph(), "unet", info, "npu", said.append, ["added"])
    rows.prepare(BATCH | {"added": (2, 8, 4, 4)})
    given = {name: np.zeros(shape, np.float32) for name, shape in BATCH.items()}
    answer = rows(**given, added=np.arange(2, dtype=np.float32).reshape(2, 1, 1, 1) * np.ones((2, 8, 4, 4)))
    assert calls == [ONE | {"added": (1, 8, 4, 4)}] * 3 and len(said) == 1
    assert answer["out_sample"].mean((1, 2, 3)).tolist() == [0, 1]


def test_an_older_npu_is_not_told_what_it_does_not_know(sketch, monkeypatch):
    monkeypatch.setattr("devices.NPU_PROPERTIES", ("FULL_DEVICE_NAME",))
    machine = Machine(monkeypatch, "CPU", "NPU")
    painted(sketch, "unet=npu")
    assert machine.told(UNET)[0][1] == F16


@pytest.mark.parametrize("asked, index", [("dml", 0), ("DML:1", 1)])
def test_what_directml_is_told(sketch, tmp_path, monkeypatch, on_the_cpu, asked, index):
    """Its rules: sequential, no memory patterns, every free dimension fixed, and the CPU for what it cannot do.

    The dimensions' names are the file's, which those of an adopted bundle need not be.
    """
    folder = shutil.copytree(sketch, tmp_path / "adopted")
    edit_manifest(folder, renamed)
    direct = DirectML(monkeypatch)
    result = painted(folder, asked, "onnx")
    assert result.settings["device"] == asked.lower() and result.settings["precision"] == "f32"
    np.testing.assert_allclose(result.pixels, on_the_cpu["onnx"].pixels, atol=1e-4)
    sizes = []
    for providers, options in direct.told:
        assert providers == [("DmlExecutionProvider", {"device_id": index}), "CPUExecutionProvider"]
        assert not options.enable_mem_pattern
        assert options.execution_mode == direct.real.ExecutionMode.ORT_SEQUENTIAL
        sizes.append(options.sizes)
    unet = {"batch": 2, "height": 8, "width": 8, "tokens": 77}
    latents = {"batch": 1, "height": 8, "width": 8}
    assert sorted(sizes, key=len) == [{"batch": 1}, latents, unet]


def renamed(raw):
    for port in raw["graphs"]["unet"]["inputs"].values():
        port["shape"] = [f"{side} of mine" if isinstance(side, str) else side for side in port["shape"]]


@pytest.mark.parametrize("device", ["unet=gpu", "unet=npu", "unet=hetero:gpu,cpu", "unet=auto:gpu,cpu"])
@pytest.mark.parametrize("fails", ["no_compiler", "broken"])
def test_what_fails_goes_on_on_the_cpu(sketch, monkeypatch, on_the_cpu, device, fails):
    """Where it is asked to; else the error names the flag."""
    name = {"auto:gpu,cpu": "AUTO:GPU,CPU", "hetero:gpu,cpu": "HETERO:GPU,CPU"}.get(device[5:], device[5:].upper())
    machine = Machine(monkeypatch, "CPU", "GPU", "NPU", chosen=["GPU"], **{fails: [name]})
    reason = {"no_compiler": "CL_OUT_OF_RESOURCES", "broken": "device removed"}[fails]
    with pytest.raises(EngineError, match=rf"'unet' failed on {placed(device)} \({reason}\); add --fallback"):
        painted(sketch, device)
    machine.compiled.clear()
    news = []
    pipe = opened(sketch, engine="openvino", device=device, fallback=True, on_news=news.append)
    frames = pipe.stream(**JOB)
    next(frames)
    moved = [line for line in news if line.startswith("unet continues on the CPU: 'unet' failed on")]
    assert len(moved) == 1  # it is told before the first step is done
    result = [frame.result for frame in frames][-1]
    assert set(news) <= set(result.warnings)
    assert [device for device, *_ in machine.told(UNET)] == [name, "CPU"]
    assert machine.told(UNET)[1][1:] == [CPU, BATCH]
    assert result.settings["device"] == pipe.device == pipe.graphs.device_of("unet") == "cpu"
    assert result.settings["precision"] == "f32"
    assert [line for line in result.warnings if line in moved] == moved
    np.testing.assert_allclose(result.pixels, on_the_cpu["openvino"].pixels, atol=1e-5)
    machine.compiled.clear()
    again = pipe.generate(**JOB | {"width": 72})
    assert [device for device, *_ in machine.told(UNET)] == ["CPU"]  # it stays there
    assert again.settings["device"] == "cpu" and again.warnings


def placed(device):
    """As errors name it, in a pattern."""
    return device[5:].replace(",", r"\+")


@pytest.mark.parametrize("device", ["gpu", "npu", "unet=gpu.1", "auto:gpu,cpu", "vae=hetero:gpu,npu"])
def test_a_device_that_is_not_here(sketch, monkeypatch, device):
    machine = Machine(monkeypatch, "CPU")
    with pytest.raises(RequestError, match="has no device '.*' here; choose from cpu, or add --fallback"):
        painted(sketch, device)
    result = painted(sketch, device, fallback=True)
    assert result.settings["device"] == "cpu" and {name for _, name, *_ in machine.compiled} == {"CPU"}
    assert [
        line
        for line in result.warnings
        if line.startswith("running on the CPU: ") and "(OpenVINO has no device" in line
    ]


class Refusing(FakeEngine):
    """Its GPU runs anything but the second text encoder."""

    def __init__(self):
        super().__init__()
        self.opened = []

    def open_graph(self, bundle, graph, how):
        self.opened.append((graph, how.device))
        opened = super().open_graph(bundle, graph, how)
        if (graph, how.device) == ("text_encoder_2", "gpu"):
            opened.prepare = self.refuse
        return opened

    def refuse(self, shapes):
        raise failed("text_encoder_2", "gpu", RuntimeError("no"))


def test_a_component_goes_whole(tmp_path):
    """All its graphs, those that are open and those with edits, so that the record is true of each."""
    engine, edits = Refusing(), ["an edit"]
    graphs = Graphs(open_bundle(light_xl_copy(tmp_path / "xl")), engine, device="gpu", fallback=True)
    first, edited, second = (
        graphs.open("text_encoder"),
        graphs.open("text_encoder", edits),
        graphs.open("text_encoder_2"),
    )
    for graph in (first, edited, second, first, edited, second):
        graph.prepare({"input_ids": (1, 77)})
    at_first, moved = (
        [("text_encoder", "gpu")] * 2 + [("text_encoder_2", "gpu")],
        ["text_encoder_2", *["text_encoder"] * 2],
    )
    assert engine.opened == [*at_first, *((name, "cpu") for name in moved)]
    assert graphs.device == "text=cpu,unet=gpu,vae=gpu" and len(graphs.news) == 1


def test_the_command_line_says_where_it_went_on(sketched, run, monkeypatch, tmp_path):
    Machine(monkeypatch, "CPU", "GPU", no_compiler=["GPU"])
    how = ("--engine", "openvino", "--device", "unet=gpu", "--steps", 1, "--size", "64x64", "-o", tmp_path / "a.png")
    code, _, err = run("generate", "a boat", *how, "--no-cache")
    assert code == 5 and "add --fallback" in err and len(err.splitlines()) == 1
    code, _, err = run("generate", "a boat", *how, "--fallback", "--no-cache")
    assert code == 0 and err.count("unet continues on the CPU: 'unet' failed on gpu (CL_OUT_OF_RESOURCES)") == 1
    assert rerun(tmp_path / "a.png").difference.max_abs == 0


def test_a_graph_that_leaves_sizes_open_does_not_go_to_the_npu():
    npu, gpu = (devices.device_named(name, ["CPU", "GPU", "NPU"]) for name in ("npu", "gpu"))
    devices.check_takes(gpu, "unet", ONE, open_sizes=True)
    with pytest.raises(EngineError, match="'unet' leaves sizes open that 'npu' must know; choose another --device"):
        devices.check_takes(npu, "unet", ONE, open_sizes=True)


def test_directml_that_refuses(sketch, monkeypatch, on_the_cpu):
    """And one that is not here."""
    with pytest.raises(RequestError, match="ONNX Runtime has no device 'dml' here; choose from cpu, or add --fallback"):
        painted(sketch, "dml", "onnx")
    assert painted(sketch, "dml", "onnx", fallback=True).settings["device"] == "cpu"
    direct = DirectML(monkeypatch, refuses=True)
    with pytest.raises(EngineError, match="failed on dml:1 .887A0006 .*; add --fallback"):
        painted(sketch, "unet=dml:1", "onnx")
    direct.told.clear()
    result = painted(sketch, "unet=dml:1", "onnx", fallback=True)
    assert result.settings["device"] == "cpu"
    assert [providers for providers, options in direct.told if providers[0] != "CPUExecutionProvider"] == [
        [("DmlExecutionProvider", {"device_id": 1}), "CPUExecutionProvider"]
    ]
    np.testing.assert_allclose(result.pixels, on_the_cpu["onnx"].pixels, atol=1e-4)


def test_memory_of_a_device_that_ends(sketch, monkeypatch):
    machine = Machine(monkeypatch, "CPU", "GPU")
    monkeypatch.setattr("devices.BROKEN", "out of memory")
    machine.broken.add("GPU")
    with pytest.raises(ResourceError, match="not enough memory to run 'text_encoder' on gpu; .* or add --fallback"):
        painted(sketch, "gpu")
    assert painted(sketch, "gpu", fallback=True).settings["device"] == "cpu"


def survives_f16(sketch, tmp_path):
    """A copy whose VAE says that f16 is enough."""
    folder = shutil.copytree(sketch, tmp_path / "sketch")
    config = folder / "vae_decoder" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"force_upcast": False}))
    return seal(folder)


def beyond_f16(array):
    """What is left of a picture that has left the range of f16."""
    return np.full_like(array, np.inf) if array.shape[1] == 3 else array


def test_a_picture_that_leaves_f16_is_decoded_again_in_f32(sketch, monkeypatch, tmp_path, on_the_cpu):
    """And it is said and recorded; where f16 was asked for, it is an error that names the option."""
    folder = survives_f16(sketch, tmp_path)

    class Overflowing(Machine):
        def answer(self, device, settings, array):
            return beyond_f16(array) if settings.get("INFERENCE_PRECISION_HINT") == "f16" else array

    machine = Overflowing(monkeypatch, "CPU", "GPU", "NPU")
    result = painted(folder, "gpu")
    assert [settings["INFERENCE_PRECISION_HINT"] for _, settings, _ in machine.told(DECODER)] == ["f16", "f32"]
    assert result.settings["precision"] == "text=f16,unet=f16,vae=f32" and result.settings["device"] == "gpu"
    assert [line for line in result.warnings if "'vae_decoder' left the range of f16 on gpu" in line]
    np.testing.assert_allclose(result.pixels, on_the_cpu["openvino"].pixels, atol=1e-5)
    with pytest.raises(EngineError, match="left the range of f16 on gpu; add --precision vae=f32"):
        painted(folder, "gpu", precision="vae=f16")
    with pytest.raises(EngineError, match="left the range of f16, all that 'npu' computes in; .* add --fallback"):
        painted(folder, "npu")
    assert painted(folder, "npu", fallback=True).settings["device"] == "text=npu,unet=npu,vae=cpu"


def test_f16_that_a_vae_is_not_known_to_survive_is_said(sketch, monkeypatch):
    Machine(monkeypatch, "CPU", "GPU")
    result = painted(sketch, "gpu", precision="vae=f16")
    assert result.settings["precision"] == "f16"
    assert "'vae_decoder' computes in f16 on gpu, which its config does not say it survives" in result.warnings


def test_a_vector_for_a_prompt_does_not_go_to_the_npu(sketch, monkeypatch, tmp_path):
    file = tmp_path / "style.safetensors"
    file.write_bytes(safetensors({"<style>": some_vectors(2, 128)}))
    machine = Machine(monkeypatch, "CPU", "NPU")
    job = JOB | {"prompt": "a boat in <style>", "embeddings": [file]}
    with pytest.raises(
        EngineError, match="'text_encoder' takes no textual inversions on 'npu'; choose --device text=cpu"
    ):
        pleinair.load(sketch, engine="openvino", device="npu").generate(**job)
    result = opened(sketch, engine="openvino", device="npu", fallback=True).generate(**job)
    assert result.settings["device"] == "text=cpu,unet=npu,vae=npu"
    assert machine.told(TEXT)[-1][0] == "CPU"


def test_auto_is_what_openvino_chose(sketch):
    """For once the real one."""
    result = painted(sketch, "auto")
    assert result.settings["device"] == "cpu" and result.settings["precision"] in ("f32", "text=f32,unet=bf16,vae=bf16")


@pytest.mark.parametrize(
    "asked, unet, vae",
    [
        ("AUTO", "auto", "auto"),
        ("auto:GPU, cpu", "auto:gpu+cpu", "auto:gpu+cpu"),
        ("unet=hetero:gpu,cpu,vae=gpu.1", "hetero:gpu+cpu", "gpu.1"),
        ("unet=hetero:gpu+cpu", "hetero:gpu+cpu", "cpu"),
        ({"unet": "auto:npu,gpu"}, "auto:npu+gpu", "cpu"),
        ("DML:1", "dml:1", "dml:1"),
    ],
)
def test_how_devices_are_written(asked, unet, vae):
    found = placement.parse(asked)
    assert (found["unet"], found["vae"]) == (unet, vae) and placement.parse(written(found)) == found


@pytest.mark.parametrize(
    "asked, engine, words",
    [
        ("cat=gpu", "openvino", "unknown component 'cat'"),
        ("unet=gpu,", "openvino", "several devices"),
        ("gpu,cpu", "openvino", "write auto:gpu,cpu"),
        ("unet=gpu,,vae=cpu", "openvino", "several devices"),
        ("hetero:gpu", "openvino", "each device exactly once"),
        ("hetero", "openvino", "each device exactly once"),
        ("hetero:gpu,gpu", "openvino", "each device exactly once"),
        ("auto:", "openvino", "each device exactly once"),
        ("auto:hetero", "openvino", "each device exactly once"),
        ("gpu:1", "openvino", "no device 'gpu:1' here; choose from cpu, gpu, npu$"),
        ("gpu.9", "openvino", "no device 'gpu.9' here; choose from cpu, gpu, npu, or add --fallback"),
        ("auto:gpu,tpu", "openvino", r"no device 'auto:gpu\+tpu' here; choose from cpu, gpu, npu$"),
        ("cpu.0", "openvino", "no device 'cpu.0' here; choose from cpu, gpu, npu$"),
        ("auto:cpu.0", "openvino", "no device 'auto:cpu.0' here"),
        ("dml:x", "onnx", "no device 'dml:x' here; choose from cpu, dml$"),
        ("dml:", "onnx", "no device 'dml:' here"),
        ("gpu", "onnx", "no device 'gpu' here; choose from cpu, dml, or try --engine openvino$"),
        ("dml:1", "openvino", "no device 'dml:1' here; choose from cpu, gpu, npu, or try --engine onnx$"),
    ],
)
def test_devices_that_make_no_sense_are_one_line(sketch, monkeypatch, asked, engine, words):
    Machine(monkeypatch, "CPU", "GPU", "NPU")
    DirectML(monkeypatch)
    with pytest.raises(RequestError, match=words) as caught:
        pleinair.load(sketch, engine=engine, device=asked)
    assert "\n" not in str(caught.value) and "; " in str(caught.value)


@pytest.mark.parametrize("device", ["npu", "gpu", "auto", "hetero:gpu,cpu"])
def test_threads_are_for_the_cpu(sketch, monkeypatch, device):
    Machine(monkeypatch, "CPU", "GPU", "NPU")
    with pytest.raises(RequestError, match="threads are for the CPU, not for"):
        pleinair.load(sketch, engine="openvino", device=device, threads=2, fallback=True)


def test_no_more_is_kept_than_fits(kept):
    folder = compiled.compiled_folder()
    compiled.made_folder()
    for age, name in enumerate(["old", "older", "oldest"]):
        (folder / name).write_bytes(bytes(100))
        os.utime(folder / name, (1e9 - age, 1e9 - age))
    compiled.trim(250)
    assert {each.name for each in folder.iterdir()} == {"old", "older"}


def test_openvino_keeps_models_of_other_weights_apart(sketch, kept, tmp_path):
    """The real one: fine-tunes differ in nothing else, and would be taken for each other."""
    other = shutil.copytree(sketch / "unet", tmp_path / "unet")
    weights = bytearray((other / "openvino_model.bin").read_bytes())
    weights[300:308] = bytes(8)  # of the first convolution
    (other / "openvino_model.bin").write_bytes(weights)
    random = np.random.default_rng(0)
    given = {name: random.standard_normal(shape, np.float32) for name, shape in ONE.items()}

    def answer(folder, settings):
        core = ov.Core()
        model = read_model(core, folder / "openvino_model.xml")
        model.reshape(ONE)
        network = core.compile_model(model, "CPU", CPU | settings)
        return np.array(next(iter(network.create_infer_request().infer(given).values())))

    first, second = (answer(folder, {}) for folder in (sketch / "unet", other))
    for _ in range(2):
        assert np.array_equal(answer(sketch / "unet", kept), first) and np.array_equal(answer(other, kept), second)
    assert not np.array_equal(first, second) and len([*compiled.compiled_folder().iterdir()]) == 2


def test_a_picture_is_made_again_where_its_device_is_not(sketch, monkeypatch, tmp_path):
    with monkeypatch.context() as elsewhere:
        Machine(elsewhere, "CPU", "GPU", chosen=["GPU"])
        painted(sketch, "unet=hetero:gpu,cpu").save(tmp_path / "a.png")
    again = rerun(tmp_path / "a.png", model=sketch)
    assert again.result.settings["device"] == "cpu"
    assert [line for line in again.warnings if "has no device 'hetero:gpu+cpu' here" in line]
