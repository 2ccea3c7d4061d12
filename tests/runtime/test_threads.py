"""Threads: pipelines that they share, pipelines side by side, and cancelling from another one."""

import threading
from concurrent.futures import ThreadPoolExecutor
from time import sleep

import numpy as np
import pytest
from PIL import Image

import pleinair
from bundles import light_control, light_copy, light_upscaler, light_vae
from pleinair.engines.fake import FakeEngine
from pleinair.engines.graphs import OneAtATime
from pleinair.errors import Cancelled
from pleinair.files import film
from pleinair.tasks.filming import Filming
from pleinair.tasks.morph import morph

PATIENCE = 120  # seconds until a test gives up on a thread
JOBS = [
    {"prompt": "a red house", "seed": 1, "width": 64, "height": 48, "sampler": "euler_a", "steps": 2},
    {"prompt": "a blue boat", "seed": 2, "width": 48, "height": 64, "steps": 2, "negative": "fog"},
    {"prompt": "a dog AND snow", "seed": 3, "width": 72, "height": 72, "guidance": 2.0, "steps": 2},
]


def painted(pipe, job):
    return pipe.generate(**job).pixels


def at_once(calls):
    """Run functions at the same time, each in its own thread; returns what they return, and raises what they raise."""
    gate = threading.Barrier(len(calls))

    def run(call):
        gate.wait(PATIENCE)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        waiting = [pool.submit(run, call) for call in calls]
        return [each.result(PATIENCE) for each in waiting]


@pytest.fixture(scope="module", params=["openvino", "onnx"])
def engine(request):
    return request.param


@pytest.fixture(scope="module")
def alone(sketch, engine):
    """The pictures of JOBS, made one after the other."""
    pipe = pleinair.load(sketch, engine=engine, threads=1)
    return [painted(pipe, job) for job in JOBS]


def test_threads_that_share_a_pipeline_paint_what_they_paint_alone(sketch, engine, alone):
    pipe = pleinair.load(sketch, engine=engine, threads=1)  # whose graphs the threads open, too
    for found, expected in zip(at_once([lambda job=job: painted(pipe, job) for job in JOBS]), alone, strict=True):
        assert np.array_equal(found, expected)


def test_threads_with_controlnets_and_vaes_of_their_own_paint_what_they_paint_alone(tmp_path):
    """Each switches what stands beside the model while the others paint."""
    model, vae = light_copy(tmp_path / "model"), light_vae(tmp_path / "vae", scale=0.3)
    nets = [light_control(tmp_path / "wide"), light_control(tmp_path / "deep", block_out_channels=(8, 8, 16))]
    white = Image.new("RGB", (64, 64), "white")
    beside = [{}, {"vae": vae}, *({"controls": [{"model": net, "image": white}]} for net in nets)]
    jobs = [{**JOBS[0], "seed": seed, **each} for seed in (1, 2) for each in beside]
    pipe = pleinair.load(model, engine=FakeEngine())
    expected = [painted(pipe, job) for job in jobs]
    assert len({pixels.tobytes() for pixels in expected}) == len(jobs)
    pipe = pleinair.load(model, engine=FakeEngine())
    for found, alone in zip(at_once([lambda job=job: painted(pipe, job) for job in jobs]), expected, strict=True):
        assert np.array_equal(found, alone)


def test_pipelines_side_by_side_paint_what_they_paint_alone(sketch, engine, alone):
    pipes = [pleinair.load(sketch, engine=engine, threads=1) for _ in range(2)]
    calls = [lambda pipe=pipe, job=job: painted(pipe, job) for pipe, job in zip(pipes, JOBS, strict=False)]
    for found, expected in zip(at_once(calls), alone, strict=False):
        assert np.array_equal(found, expected)


def test_unloading_while_another_thread_paints(sketch, engine, alone):
    pipe = pleinair.load(sketch, engine=engine, threads=1)
    done = threading.Event()

    def paint():
        try:
            return painted(pipe, JOBS[0])
        finally:
            done.set()

    def unload():
        while not done.wait(0.05):
            pipe.unload()

    assert np.array_equal(at_once([paint, unload])[0], alone[0])


class Touchy:
    """A graph that does not bear company."""

    def __init__(self):
        self.inside = 0

    def _visit(self):
        self.inside += 1
        sleep(0.002)
        assert self.inside == 1
        self.inside -= 1

    def prepare(self, shapes):
        self._visit()

    def __call__(self, **inputs):
        self._visit()
        return inputs


def test_a_graph_is_never_entered_twice():
    graph = OneAtATime(Touchy())

    def use():
        for _ in range(5):
            graph.prepare({"x": (1,)})
            assert graph(x=1) == {"x": 1}

    at_once([use] * 3)


def test_a_graph_that_fails_lets_the_next_one_in():
    def failing(**_):
        raise ValueError

    graph = OneAtATime(failing)
    for _ in range(2):
        with pytest.raises(ValueError):
            graph()


# ---- cancelling from another thread: the network call that runs is the last one ----


class Caller:
    """Somebody in another thread, who wants to stop when a network is called for the `number`th time."""

    def __init__(self, graph, number):
        self.stop, self._reached = threading.Event(), threading.Event()
        self._graph, self._number = graph, number
        self.calls, self.frames, self.at_stop = [], 0, None
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self):
        if self._reached.wait(PATIENCE):
            self.at_stop = self.frames
            self.stop.set()

    def called(self, name, inputs):
        self.calls.append(name)
        if not self._reached.is_set() and self.calls.count(self._graph) == self._number:
            self.calls.clear()
            self._reached.set()
            assert self.stop.wait(PATIENCE)


def picture(width=128, height=128):
    image = Image.new("RGB", (width, height), (200, 40, 90))
    image.paste((20, 160, 220), (width // 4, height // 4, width // 2, height // 2))
    return image


def mask(width=128, height=128):
    hole = Image.new("L", (width, height), 0)
    hole.paste(255, (32, 48, 96, 80))
    return hole


STAGES = {  # options, and which call of which graph is interrupted
    "a long prompt": ({"prompt": "a house AND a boat AND " + "snow " * 200}, "text_encoder", 1),
    "a step": ({}, "unet", 3),
    "half a step": ({"two_calls": True}, "unet", 3),
    "a step of two calls": ({"sampler": "heun"}, "unet", 4),
    "the next picture": ({"count": 3}, "unet", 6),
    "encoding": ({"image": picture()}, "vae_encoder", 1),
    "encoding in tiles": ({"image": picture(192, 192), "width": 192, "height": 192, "vae_tile": 64}, "vae_encoder", 1),
    "painting over": ({"image": picture(), "strength": 0.8}, "unet", 2),
    "inpainting": ({"image": picture(), "mask": mask()}, "unet", 2),
    "only masked": ({"image": picture(), "mask": mask(), "only_masked": True, "fill": "noise"}, "unet", 4),
    "outpainting": ({"image": picture(), "outpaint": (16, 0, 0, 8)}, "unet", 2),
    "the end of the first pass": ({"hires": 1.5}, "unet", 4),
    "the second pass": ({"hires": 1.5}, "unet", 5),
    "between the passes, decoding": ({"hires": 1.5, "enlarger": "lanczos"}, "vae_decoder", 1),
    "between the passes, encoding": ({"hires": 1.5, "enlarger": "lanczos"}, "vae_encoder", 1),
    "between the passes, enlarging": ({"hires": 1.5, "enlarger": "twice"}, "upscaler", 1),
    "the last step": ({}, "unet", 4),
    "decoding a batch": ({"count": 2, "batch": 2}, "vae_decoder", 1),
    "decoding in tiles": ({"width": 192, "height": 192, "vae_tile": 64}, "vae_decoder", 1),
    "decoding a texture": ({"tile": True, "count": 2, "batch": 2}, "vae_decoder", 1),
    "upscaling in tiles": ({"width": 320, "upscale": "twice"}, "upscaler", 1),
    "upscaling a batch": ({"count": 2, "batch": 2, "upscale": "twice"}, "upscaler", 1),
}


def cancelled(graph, number, frames):
    """Iterate over `frames(pipe, stop)` until somebody stops it at a call of a graph; returns the calls after that."""
    caller = Caller(graph, number)
    pipe = pleinair.load(engine=FakeEngine(caller.called))
    with pytest.raises(Cancelled, match="used again"):
        for _ in frames(pipe, caller.stop.is_set):
            caller.frames += 1
    assert caller.at_stop is not None, "nobody was there to stop it"
    assert caller.frames - caller.at_stop <= 1
    after = list(caller.calls)
    assert pipe.generate("a boat", seed=1, steps=1, width=64, height=64).pixels.shape == (1, 64, 64, 3)
    return after


@pytest.mark.parametrize("name", STAGES)
def test_stopping_takes_effect_before_the_next_network_call(monkeypatch, tmp_path, name):
    light_upscaler(tmp_path / "twice")
    monkeypatch.chdir(tmp_path)
    options, graph, number = STAGES[name]
    usual = {"prompt": "a house", "seed": 1, "steps": 4}
    if "image" not in options:
        usual |= {"width": 64, "height": 64}
    job = {**usual, **options}
    assert cancelled(graph, number, lambda pipe, stop: pipe.stream(**job, stop=stop)) == []


def test_stopping_while_a_film_is_made_writes_none(tmp_path):
    """The preview of the step that is under way may still be decoded, nothing more."""

    def frames(pipe, stop):
        steps = pipe.stream("a house", seed=1, steps=6, width=64, height=64, stop=stop)
        return Filming([tmp_path / "film.gif"]).through(steps)

    assert set(cancelled("unet", 3, frames)) <= {"vae_decoder"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [2, 6, 11])
@pytest.mark.parametrize("ease", ["even", "linear"])
def test_stopping_a_morph(number, ease):
    def frames(pipe, stop):
        options = {"seeds": [1, 2], "steps": 4, "width": 64, "height": 64, "ease": ease, "stop": stop}
        return morph(pipe, ["a house", "a boat"], frames=6, **options)

    assert cancelled("unet", number, frames) == []


def test_stopping_a_morph_between_its_films_pictures_writes_no_film(tmp_path):
    pipe, stop = pleinair.load(engine="fake"), threading.Event()
    frames = morph(pipe, ["a", "b"], frames=6, ease="linear", steps=2, width=64, height=64, stop=stop.is_set)

    def pictures():
        for frame in frames:
            if frame.result:
                stop.set()
                yield frame.result.images[0]

    with pytest.raises(Cancelled):
        film.save(pictures(), tmp_path / "film.gif")
    assert list(tmp_path.iterdir()) == []


def test_stopping_storybook_takes_effect_within_a_step(engine):
    pipe, stop, painted_steps, first = pleinair.load(engine=engine, threads=1), threading.Event(), [], threading.Event()

    def paint():
        with pytest.raises(Cancelled):
            for frame in pipe.stream("a house", seed=1, steps=300, width=64, height=64, stop=stop.is_set):
                painted_steps.append(frame.step)
                first.set()

    def interrupt():
        assert first.wait(PATIENCE)
        sleep(0.05)
        before = len(painted_steps)
        stop.set()
        return before, len(painted_steps)

    _, (before, after) = at_once([paint, interrupt])
    assert before >= 1 and len(painted_steps) <= after + 1 < 300
