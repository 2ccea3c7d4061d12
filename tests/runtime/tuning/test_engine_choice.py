"""The engine that is chosen where nobody names one: by the table, by what was tuned, and never by chance."""

import json
import sys

import pytest

import pleinair
from pleinair.bundle.opening import open_bundle
from pleinair.cli.generate import work_of
from pleinair.errors import EngineError, RequestError
from pleinair.tasks import tuning as trials
from pleinair.tuning import choosing, stored
from pleinair.tuning.estimating import estimated_seconds
from pleinair.tuning.work import PaintingWork, kind_of_model, millions_of_weights, usual_work, work_kept_open

BF16 = ["avx2", "avx512f", "avx512_bf16"]


@pytest.fixture(scope="module")
def storybook():
    return open_bundle(None)


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """Two cores with bfloat16, both engines, and nothing tuned."""
    monkeypatch.setenv("PLEINAIR_HOME", str(tmp_path))
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr("pleinair.engines.int8.cpu.cpu_flags", lambda: BF16)
    monkeypatch.setattr(choosing, "usable_cores", lambda: 2)
    have(monkeypatch, "openvino", "onnx")


def have(monkeypatch, *engines):
    monkeypatch.setattr("pleinair.engines.engine.installed", lambda name: name in engines)


def chosen(bundle, pictures=1, **loading):
    return choosing.fitting_engine(bundle, usual_work(bundle.manifest, pictures), loading)


def tuned(bundle, *trials, **other):
    facts = {"machine": stored.machine_here(), "model": kind_of_model(bundle.manifest), "width": 256, "height": 256}
    return stored.Tuned(**{**facts, "trials": trials, **other})


def trial(engine="onnx", open_s=1.0, step_s=0.1, decode_s=0.1, **way):
    return stored.TimedWay(engine=engine, open_s=open_s, step_s=step_s, decode_s=decode_s, **way)


def test_one_picture_is_painted_by_what_opens_soonest_and_many_by_what_steps_fastest(storybook):
    assert chosen(storybook, 1).engine == "onnx"
    assert chosen(storybook, 100).engine == "openvino"
    assert set(chosen(storybook, 1).seconds) == {"openvino", "onnx"}


def test_many_steps_are_as_good_as_many_pictures(storybook):
    def by(steps):
        return choosing.fitting_engine(storybook, PaintingWork(256, 256, steps), {}).engine

    assert (by(1), by(500)) == ("onnx", "openvino")


def test_later_starts_count_where_compiled_graphs_are_kept(storybook):
    kept, anew = (chosen(storybook, cache=cache).seconds for cache in (True, None))
    assert kept["openvino"] < anew["openvino"] and kept["onnx"] == anew["onnx"]


def test_larger_pictures_take_longer(storybook):
    seconds = [
        estimated_seconds(storybook.manifest, "onnx", "f32", PaintingWork(side, side, 12), cores=1)
        for side in (128, 256, 512)
    ]
    assert seconds == sorted(seconds) and seconds[2] > 2 * seconds[0]


def test_opening_is_not_shared_among_cores_and_running_is(storybook):
    work = PaintingWork(256, 256, 12)
    one, two, many = (estimated_seconds(storybook.manifest, "onnx", "f32", work, cores) for cores in (1, 2, 10**6))
    assert one > two > many > 0.1


def test_no_engine_is_imported_for_the_choice(storybook, monkeypatch):
    for name in ("openvino", "onnxruntime", "pleinair.engines.openvino", "pleinair.engines.onnx"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it fails
    assert chosen(storybook).engine == "onnx"


@pytest.mark.parametrize("given", [{"device": "gpu"}, {"device": "auto"}, {"precision": "bf16"}, {"int8": "paired"}])
def test_what_not_every_engine_takes_leaves_the_first(storybook, given):
    assert chosen(storybook, **given).engine is None


def test_an_engine_that_is_asked_for_holds(storybook):
    assert chosen(storybook, engine="openvino").engine == "openvino"
    assert chosen(storybook, engine="auto").engine == chosen(storybook).engine == "onnx"


def test_there_is_no_choice_with_one_engine(storybook, monkeypatch):
    have(monkeypatch, "openvino")
    assert chosen(storybook).engine is None


def test_other_models_may_have_graphs_for_the_first_engine_alone(storybook):
    assert choosing.fitting_engine(storybook, None, {}).engine == "openvino"


def test_large_models_and_forms_that_nobody_has_measured_stay_with_the_first(storybook, monkeypatch):
    monkeypatch.setattr(choosing, "LARGEST", 1)
    assert chosen(storybook).engine == "openvino"
    monkeypatch.undo()


def test_the_size_of_a_graph_follows_from_its_files(storybook):
    assert millions_of_weights(storybook.manifest, "unet") == pytest.approx(11, abs=0.5)
    assert kind_of_model(storybook.manifest) == "sd1 fp16 11M"


@pytest.mark.parametrize(
    ("flags", "forced", "kind"), [(BF16, "", "bf16"), (BF16, "AVX2", "f32"), (["avx2"], "", "f32")]
)
def test_what_openvino_computes_in_is_told_by_the_processor(monkeypatch, flags, forced, kind):
    monkeypatch.setattr("pleinair.engines.int8.cpu.cpu_flags", lambda: flags)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", forced)
    assert choosing.told_precision("openvino") == kind
    assert choosing.told_precision("onnx") == "f32"


def test_what_was_tuned_wins_over_the_table(storybook):
    stored.store_tuned(tuned(storybook, trial("openvino", open_s=0.2, threads=1), trial("onnx", open_s=3.0)))
    found = chosen(storybook)
    assert (found.engine, found.threads) == ("openvino", 1)
    assert found.how == {"engine": "openvino", "threads": 1, "precision": "auto", "int8": "auto"}


def test_what_was_tuned_is_weighed_by_the_work(storybook):
    quick, fast = trial("onnx", open_s=0.1, step_s=0.2), trial("openvino", open_s=2.0, step_s=0.1)
    stored.store_tuned(tuned(storybook, fast, quick))
    assert (chosen(storybook, 1).engine, chosen(storybook, 50).engine) == ("onnx", "openvino")


def test_a_later_trial_must_be_clearly_faster(storybook):
    first, later = trial("openvino", step_s=0.100), trial("openvino", step_s=0.099, two_calls=True)
    assert choosing.best_trial(tuned(storybook, first, later), usual_work(storybook.manifest), ["openvino"]) == first


@pytest.mark.parametrize("change", [{"cpu": "another"}, {"cores": 99}, {"engines": {"openvino": "1", "onnx": "1"}}])
def test_what_was_tuned_on_another_machine_or_engine_is_ignored(storybook, change):
    here = stored.machine_here()
    other = stored.TunedMachine(**{**vars(here), **change})
    stored.store_tuned(tuned(storybook, trial("openvino"), machine=other))
    assert stored.tuned_results()[0].stale
    assert stored.tuned_for(kind_of_model(storybook.manifest)) is None
    assert chosen(storybook).engine == "onnx"


def test_a_result_replaces_the_one_before_and_leaves_other_models(storybook):
    stored.store_tuned(tuned(storybook, trial("onnx"), model="another"))
    for engine in ("onnx", "openvino"):
        stored.store_tuned(tuned(storybook, trial(engine)))
    assert [(each.model, each.trials[0].engine) for each in stored.tuned_results()] == [
        ("another", "onnx"),
        (kind_of_model(storybook.manifest), "openvino"),
    ]
    assert stored.forget_tuned() == 2 and stored.tuned_results() == ()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"results": 3}', '{"results": [{"machine": {}}]}', "\x00" * 99])
def test_a_damaged_file_of_results_counts_as_none(storybook, content):
    stored.tuned_file().write_text(content, encoding="utf-8")
    assert stored.tuned_results() == () and chosen(storybook).engine == "onnx"


def costs(monkeypatch, openvino, onnx):
    """Engines that open in no time, or in a minute, and paint as they are said to."""
    opening = {name: (60.0 * (openvino < onnx), 0) for name in ("denoiser", "others", "denoiser_kept", "others_kept")}
    rows = {"openvino bf16": openvino, "onnx f32": onnx}
    table = {name: {"importing": 0, **opening, "step": (cost, 0), "decoding": (0, 0)} for name, cost in rows.items()}
    table["onnx f32"] |= dict.fromkeys(opening, (0, 0))
    monkeypatch.setattr("pleinair.tuning.estimating.COSTS", table)


@pytest.mark.parametrize(
    ("openvino", "onnx", "engine", "why"),
    [
        (1.0, 2.0, "openvino", "no other is estimated to be a tenth faster"),
        (1.0, 0.95, "openvino", "no other is estimated to be a tenth faster"),
        (1.0, 0.5, "onnx", "its steps are estimated to be fastest"),
    ],
)
def test_python_takes_what_steps_fastest(sketch, monkeypatch, openvino, onnx, engine, why):
    costs(monkeypatch, openvino, onnx)
    pipe = pleinair.load(sketch)
    settings = pipe.generate("a house", steps=1).settings
    assert (settings["engine"], settings["engine_reason"]) == (engine, why)


def test_opening_counts_for_a_command_and_not_for_a_program_that_keeps_the_model_open(sketch, monkeypatch):
    costs(monkeypatch, openvino=1.0, onnx=1.5)
    bundle = open_bundle(sketch)
    assert chosen(bundle, 1).engine == "onnx"
    assert choosing.fitting_engine(bundle, work_kept_open(bundle.manifest), {}).engine == "openvino"


def test_python_takes_a_large_model_too_by_what_it_paints_fastest_with(sketch, monkeypatch):
    costs(monkeypatch, openvino=1.0, onnx=0.5)
    monkeypatch.setattr(choosing, "LARGEST", 0)
    assert pleinair.load(sketch).engine == "onnx"


@pytest.mark.parametrize("given", [{"engine": "openvino"}, {"precision": "f32"}, {"device": "auto"}])
def test_what_python_asks_for_holds(sketch, monkeypatch, given):
    costs(monkeypatch, openvino=1.0, onnx=0.5)
    pipe = pleinair.load(sketch, **given)
    assert pipe.engine == "openvino"
    why = None if "engine" in given else f"{next(iter(given))} was asked for"
    assert pipe.engine_reason == why


def test_a_record_says_nothing_of_a_choice_where_the_engine_was_named(sketch):
    settings = pleinair.load(sketch, engine="onnx").generate("a house", steps=1).settings
    assert settings["engine"] == "onnx" and "engine_reason" not in settings


def test_python_takes_what_was_tuned(sketch):
    bundle = open_bundle(sketch)
    stored.store_tuned(tuned(bundle, trial("onnx", open_s=99.0, threads=1), trial("openvino", step_s=0.2)))
    pipe = pleinair.load(sketch)
    assert (pipe.engine, pipe.threads, pipe.engine_reason) == ("onnx", 1, "tuned on this machine")
    assert pleinair.load(sketch, engine="openvino").threads is None
    assert pleinair.load(sketch, threads=2).engine == "openvino"


@pytest.mark.parametrize("threads", ["many", 0, 2.5])
def test_threads_that_make_no_sense_are_refused_before_anything_is_chosen(sketch, threads):
    with pytest.raises(RequestError, match="threads"):
        pleinair.load(sketch, threads=threads)


class Painter:
    """Paints nothing, in the seconds that a way is said to take; keeps what was asked of it."""

    def __init__(self, **seconds):
        self.seconds, self.asked, self.now = seconds, [], 0.0

    def __call__(self, bundle, way, size):
        self.asked.append(way)
        self.now += 10
        step = self.seconds.get(way.engine, 1.0) * (0.5 if way.two_calls else 1)
        return trials.PaintedOnce(open_s=1.0, steps_s=(9.0, step, step, step), decode_s=0.5)

    def clock(self):
        return self.now


@pytest.fixture
def cores(monkeypatch):
    monkeypatch.setattr(trials, "usable_cores", lambda: 8)


def tried(bundle, paint, seconds=1000):
    return list(trials.tried_ways(bundle, (64, 64), seconds, paint=paint, clock=paint.clock))


def test_each_engine_is_tried_and_then_what_else_the_fastest_can_do(sketch, cores):
    paint = Painter(openvino=0.3, onnx=0.2)
    found = tried(open_bundle(sketch), paint)
    assert {way.engine for way in paint.asked} == {"openvino", "onnx"}
    assert paint.asked[-2:] == [stored.OpeningWay("onnx", threads=4), stored.OpeningWay("onnx", two_calls=True)]
    assert found[-1].trial.step_s == 0.1  # the first step, in which memory is taken, does not count


def test_nothing_new_is_tried_when_the_time_is_over(sketch, cores):
    paint = Painter()
    assert len(tried(open_bundle(sketch), paint, seconds=1)) == 1


def test_a_way_that_fails_is_a_row_and_the_others_are_tried(sketch, cores):
    class Failing(Painter):
        def __call__(self, bundle, way, size):
            if way.engine == "openvino":
                raise EngineError("no kernel; choose another")
            return super().__call__(bundle, way, size)

    found = tried(open_bundle(sketch), Failing())
    assert {each.problem for each in found if each.way.engine == "openvino"} == {"no kernel"}
    assert all(each.trial for each in found if each.way.engine == "onnx")


def test_tune_stores_what_doctor_shows_and_generate_follows(run, sketch, monkeypatch, tmp_path):
    monkeypatch.setattr(trials, "usable_cores", lambda: 2)
    code, out, _ = run("tune", sketch, "--json")
    facts = json.loads(out)
    assert code == 0 and {row["engine"] for row in facts["trials"]} == {"openvino", "onnx"}
    assert set(facts["best"]) == {"one picture", "many pictures"}
    stored.store_tuned(tuned(open_bundle(sketch), trial("onnx", threads=1, two_calls=True)))
    code, out, _ = run("generate", "a house", "--model", sketch, "-o", tmp_path / "a.png", "--json")
    settings = json.loads(out)["settings"]
    assert code == 0 and (settings["engine"], settings["threads"], settings["two_calls"]) == ("onnx", 1, True)
    assert settings["engine_reason"] == "tuned on this machine"
    _, out, _ = run("doctor", "--json")
    told = json.loads(out)
    assert "onnx, 1 threads, two calls a step" in next(iter(told["tuned"].values()))
    assert set(told["recommended"]["storybook"]) == {"one picture", "many pictures", "kept open"}
    _, out, _ = run("tune", "--forget")
    assert out == "1 result forgotten\n" and not stored.tuned_file().exists()


def test_doctor_says_what_no_longer_holds(run, storybook):
    other = stored.TunedMachine(**{**vars(stored.machine_here()), "cpu": "another"})
    stored.store_tuned(tuned(storybook, trial(), machine=other))
    _, out, _ = run("doctor")
    assert "ignored, because the processor or an engine has changed" in out


@pytest.mark.parametrize("arguments", [("--forget", "storybook"), ("--size", "big"), ("--seconds", "0"), ("nowhere",)])
def test_tune_refuses_what_makes_no_sense(run, arguments):
    code, _, err = run("tune", *arguments)
    assert code in (2, 3) and "Traceback" not in err


def test_work_counts_the_calls_that_are_made(storybook):
    assert work_of(storybook, "a house", {"steps": 20, "size": "128x64", "count": 3}) == PaintingWork(128, 64, 20, 2, 3)
    assert work_of(storybook, "a house", {"steps": 20, "speed": "balanced", "guidance": 1}).steps == 10
    assert work_of(storybook, "a house", {"guidance": 1}).rows == 1
    assert work_of(storybook, "a house", {"upscale": "larger"}) is None
