"""Layers of the time that are computed before the first step, and then let go: the same bits, and nothing forgotten."""

import numpy as np
import pytest

import pleinair
from loras import kohya, write_lora
from pleinair.denoising import guided
from pleinair.engines import openvino_tabulated, settled
from pleinair.engines.edits import Tabulated
from pleinair.engines.fake import FakeEngine
from pleinair.engines.graphs import open_graph
from pleinair.foreseeing import MOST_STEPS, foreseen, sparable
from pleinair.preflight import STAGES
from pleinair.request.request import resolve
from pleinair.sampling.configured import make_solver
from pleinair.sampling.samplers import SAMPLERS
from sketch import TIMED, sketch

JOB = {"prompt": "a boat", "seed": 1, "steps": 2, "size": "64x64"}
TIMES = (981.0, 500.5, 1.0)


@pytest.fixture(scope="module")
def timed(tmp_path_factory):
    """A sketch whose UNet has layers of the time."""
    return sketch(tmp_path_factory.mktemp("models") / "timed", weighs_time=True)


@pytest.fixture
def small_too(monkeypatch):
    """Layers are let go, however small they are."""
    monkeypatch.setattr("pleinair.foreseeing.LEAST", 1.0)


@pytest.fixture
def compiled(monkeypatch):
    """The shapes for which layers were compiled alone."""
    found, plain = [], openvino_tabulated.SettledReader.__call__

    def noted(reader, ports, shapes):
        found.append(shapes)
        return plain(reader, ports, shapes)

    monkeypatch.setattr(openvino_tabulated.SettledReader, "__call__", noted)
    return found


def painted(model, memory, **how):
    with pleinair.load(model, engine="openvino", memory=memory, verify=False, share=False) as pipe:
        return pipe.generate(**{**JOB, **how})


def fed(time, rows=2):
    noise = np.random.default_rng(0)
    shapes = {"sample": (rows, 4, 8, 8), "encoder_hidden_states": (rows, 77, 128)}
    inputs = {name: noise.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    return {**inputs, "timestep": np.array([time], np.float32)}


def edit_for(*times):
    return Tabulated.of({"timestep": np.array([time], np.float32)} for time in times)


@pytest.mark.parametrize("how", [{}, {"guidance": 1.0}, {"sampler": "heun", "count": 3, "batch": 2}])
def test_pictures_are_the_same_to_the_bit_and_the_record_says_so(timed, small_too, compiled, how):
    whole, tabulated = (painted(timed, memory, **how) for memory in ("high", "low"))
    assert np.array_equal(whole.pixels, tabulated.pixels)
    assert tabulated.settings["tabulated"] is True and "tabulated" not in whole.settings
    assert len(compiled) == len({tuple(sorted(each.items())) for each in compiled})  # no call was unforeseen


def test_small_layers_stay(timed, compiled):
    assert "tabulated" not in painted(timed, "low").settings and not compiled


def test_calls_that_nobody_foresaw_are_answered_as_well(timed, compiled):
    bundle = pleinair.open_bundle(timed)
    whole, tabulated = (open_graph(bundle, "unet", "openvino", edits=edits) for edits in ((), (edit_for(*TIMES),)))
    for time in (*TIMES, 3.5, 77.25):
        assert np.array_equal(tabulated(**fed(time))["out_sample"], whole(**fed(time))["out_sample"])
    assert len(compiled) == 2
    fewer = fed(TIMES[0], rows=1)
    assert np.array_equal(tabulated(**fewer)["out_sample"], whole(**fewer)["out_sample"])


def test_a_lora_for_layers_of_the_time_counts(timed, tmp_path, small_too):
    lora = write_lora(tmp_path / "style.safetensors", kohya(TIMED))
    plain, tabulated, whole = (
        painted(timed, memory, loras=loras) for memory, loras in (("low", []), ("low", [lora]), ("high", [lora]))
    )
    assert np.array_equal(whole.pixels, tabulated.pixels) and tabulated.settings["tabulated"]
    assert not np.array_equal(tabulated.pixels, plain.pixels)


def test_graphs_without_such_layers_and_other_engines_stay_whole(sketch):
    bundle = pleinair.open_bundle(sketch)
    for engine in ("openvino", "onnx", FakeEngine()):
        graphs = [open_graph(bundle, "unet", engine, edits=edits) for edits in ((edit_for(2.0),), ())]
        one, other = (graph(**fed(1.0))["out_sample"] for graph in graphs)
        assert np.array_equal(one, other)


def test_what_is_left_of_a_graph_is_kept_for_later_starts(timed, small_too, compiled, tmp_path, monkeypatch):
    monkeypatch.setenv("PLEINAIR_HOME", str(tmp_path))
    how = {"engine": "openvino", "memory": "low", "cache": True}
    first = pleinair.load(timed, **how).generate(**JOB)
    monkeypatch.setattr("pleinair.engines.openvino.read_model", None)  # for graphs that have to be compiled
    again = pleinair.load(timed, **how).generate(**JOB)
    assert np.array_equal(first.pixels, again.pixels) and len(compiled) == 2
    assert first.settings["tabulated"] and again.settings["tabulated"]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_call_of_a_sampler_is_foreseen(sampler):
    asked = set()
    engine = FakeEngine(lambda graph, inputs: graph == "unet" and asked.add(float(inputs["timestep"][0])))
    with pleinair.load(engine=engine, verify=False) as pipe:
        request = resolve(pipe.bundle, "a [boat|house]", seed=1, steps=5, sampler=sampler, size="64x64")
        painting = pipe._painting(request)
        (stage,) = painting.passes
        solver = make_solver(sampler, pipe.bundle.scheduler_config)
        model = painting._model(stage)
        denoise = guided(model, request, stage, painting.read().at, None)
        edit = foreseen(model, request, stage, solver, denoise, None, 1)
        assert not asked
        list(painting.run())
    assert {float(call["timestep"][0]) for call in edit.calls} == asked


def test_memory_is_predicted_without_them(small_too, monkeypatch):
    with pleinair.load(engine="openvino", verify=False, precision="f32") as pipe:
        job = pipe._painting(resolve(pipe.bundle, **JOB)).preflight()
        (stage,) = (each for each in job._stages if each.again)
        spared = stage.held - stage.least
        assert 4 * 0.3e6 < spared < 4 * 0.6e6  # bytes of some half a million weights
        many = pipe._painting(resolve(pipe.bundle, **{**JOB, "steps": MOST_STEPS + 1})).preflight()
        assert all(each.held == each.least for each in many._stages)
        monkeypatch.setattr("pleinair.foreseeing.LEAST", spared + 1)
        assert stage.held == stage.least
    with pleinair.load(engine="onnx", verify=False) as pipe:
        job = pipe._painting(resolve(pipe.bundle, **JOB)).preflight()
        assert all(each.held == each.least for each in job._stages)


def test_a_graph_that_is_open_is_used_as_it_is(timed, small_too):
    with pleinair.load(timed, engine="openvino", verify=False) as pipe:
        pipe.generate(**JOB)
        painting = pipe._painting(resolve(pipe.bundle, **JOB))
        assert sparable(painting._model(painting.passes[0]), painting.passes[0], ()) == 0
        *_, last = painting.run(spared=STAGES)
    assert "tabulated" not in last.result.settings


def test_what_follows_from_settled_inputs_alone():
    nodes = [
        settled.GraphNode("time", "Parameter", ()),
        settled.GraphNode("picture", "Parameter", ()),
        settled.GraphNode("weight", "Constant", ()),
        settled.GraphNode("rows", "ShapeOf", ("picture",)),
        settled.GraphNode("spread", "Broadcast", ("time", "rows")),
        settled.GraphNode("projected", "MatMul", ("spread", "weight")),
        settled.GraphNode("half", "Multiply", ("weight", "weight")),
        settled.GraphNode("added", "Add", ("picture", "projected")),
        settled.GraphNode("unknown", "Add", ("projected", "later")),
    ]
    assert settled.settled_nodes(nodes, {"time"}) == {"time", "spread", "projected"}
    assert settled.settled_nodes(nodes, ()) == set()
