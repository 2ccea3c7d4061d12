"""Painting from asyncio: the loop goes on, jobs end with their tasks, and pictures are those of `generate`."""

import asyncio
import threading
from contextlib import aclosing

import numpy as np
import pytest

import pleinair
from pleinair.engines.fake import FakeEngine

PATIENCE = 120  # seconds until a test gives up
JOB = {"prompt": "a house", "seed": 1, "steps": 4, "width": 64, "height": 64}


class Held:
    """A fake engine whose denoiser waits at its `number`th call until it is let go."""

    def __init__(self, number):
        self.reached, self.go, self.calls = threading.Event(), threading.Event(), []
        self._number = number
        self.pipe = pleinair.load(engine=FakeEngine(self._called))

    def _called(self, name, inputs):
        self.calls.append(name)
        if self.calls.count("unet") == self._number:
            self.reached.set()
            assert self.go.wait(PATIENCE)

    async def cancel(self, task):
        """Cancel a task within that call, which is only then let go; returns the calls after it."""
        assert await asyncio.to_thread(self.reached.wait, PATIENCE)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()  # what is computed cannot be interrupted, and nobody is to believe that it was
        before = len(self.calls)
        self.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        return self.calls[before:]


def nobody_works():
    return not [each for each in threading.enumerate() if each.name.startswith("pleinair")]


def test_pictures_are_those_of_generate():
    pipe = pleinair.load(engine="fake")
    expected = pipe.generate(**JOB, count=2)
    for found in (asyncio.run(pipe.agenerate(**JOB, count=2)), asyncio.run(pleinair.agenerate(pipe, **JOB, count=2))):
        assert np.array_equal(found.pixels, expected.pixels) and found.settings == expected.settings


def test_frames_are_those_of_stream():
    pipe = pleinair.load(engine="fake")

    async def painted():
        return [frame async for frame in pipe.astream(**JOB)]

    frames, expected = asyncio.run(painted()), list(pipe.stream(**JOB))
    assert [(each.step, each.steps, each.seeds) for each in frames] == [
        (each.step, each.steps, each.seeds) for each in expected
    ]
    assert np.array_equal(frames[1].rough()[0], expected[1].rough()[0])
    assert np.array_equal(frames[-1].result.pixels, expected[-1].result.pixels)


def test_the_loop_goes_on_while_a_network_computes():
    held = Held(2)

    async def main():
        job = asyncio.create_task(held.pipe.agenerate(**JOB))
        while not held.reached.is_set():
            await asyncio.sleep(0.001)
        held.go.set()
        return await asyncio.wait_for(job, PATIENCE)

    assert asyncio.run(main()).seeds == (1,)


def test_several_at_once_are_several_threads():
    """Each of three jobs waits in its first step until all have come there, more than there may be cores."""
    gate = threading.Barrier(3)

    def called(name, inputs):
        if name == "vae_decoder":
            gate.wait(PATIENCE)

    async def main():
        pipes = [pleinair.load(engine=FakeEngine(called)) for _ in range(3)]  # one graph answers one at a time
        jobs = [pipe.agenerate(**{**JOB, "seed": seed}) for seed, pipe in enumerate(pipes)]
        return await asyncio.gather(*jobs)

    assert [result.seeds for result in asyncio.run(main())] == [(0,), (1,), (2,)]


@pytest.mark.parametrize("engine", ["openvino", "onnx"])
def test_jobs_that_share_a_pipeline_paint_what_they_paint_alone(sketch, engine):
    pipe = pleinair.load(sketch, engine=engine, threads=1)
    jobs = [{**JOB, "steps": 2, "seed": seed} for seed in (1, 2)]

    async def streamed(job):
        return [frame.result async for frame in pipe.astream(**job) if frame.result][0]

    async def main():
        return await asyncio.gather(streamed(jobs[0]), pipe.agenerate(**jobs[1]))

    for found, job in zip(asyncio.run(main()), jobs, strict=True):
        assert np.array_equal(found.pixels, pipe.generate(**job).pixels)


def test_a_cancelled_task_ends_its_job_within_the_call_that_runs():
    held = Held(2)

    async def main():
        after = await held.cancel(asyncio.create_task(held.pipe.agenerate(**JOB)))
        assert nobody_works()
        again = await held.pipe.agenerate(**JOB)
        return after, again

    after, again = asyncio.run(main())
    assert after == [] and again.seeds == (1,)


def test_a_cancelled_stream_ends_within_the_call_that_runs():
    held, steps = Held(3), []

    async def main():
        async def watch():
            async for frame in held.pipe.astream(**JOB):
                steps.append(frame.step)

        after = await held.cancel(asyncio.create_task(watch()))
        assert nobody_works()
        return after

    assert asyncio.run(main()) == [] and steps == [1, 2]


def test_cancelling_twice_waits_for_the_same_call():
    held = Held(2)

    async def main():
        task = asyncio.create_task(held.pipe.agenerate(**JOB))
        assert await asyncio.to_thread(held.reached.wait, PATIENCE)
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
        return await held.cancel(task)

    assert asyncio.run(main()) == []


def test_a_timeout_ends_the_job():
    held = Held(2)

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(None) as limit:
                threading.Timer(0.05, held.go.set).start()
                asyncio.get_running_loop().call_soon(limit.reschedule, 0)
                await held.pipe.agenerate(**JOB)
        assert nobody_works()

    asyncio.run(main())
    assert held.calls.count("unet") <= 2


def test_leaving_the_loop_cancels_and_frees_the_thread():
    calls = []
    pipe = pleinair.load(engine=FakeEngine(lambda name, inputs: calls.append(name)))

    async def main():
        async with aclosing(pipe.astream(**JOB)) as frames:
            async for frame in frames:
                if frame.step == 2:
                    break
        assert nobody_works()

    asyncio.run(main())
    assert calls.count("unet") == 2 and "vae_decoder" not in calls


def test_nothing_is_painted_for_a_loop_that_was_left_without_closing():
    calls = []
    pipe = pleinair.load(engine=FakeEngine(lambda name, inputs: calls.append(name)))

    async def main():
        async for _ in pipe.astream(**JOB):
            break
        await asyncio.sleep(0.05)

    asyncio.run(main())
    assert calls.count("unet") == 1 and nobody_works()


@pytest.mark.parametrize(
    "options, error", [({"steps": 0}, pleinair.RequestError), ({"stop": 5}, pleinair.RequestError)]
)
def test_what_makes_no_sense_is_refused_as_elsewhere(options, error):
    pipe = pleinair.load(engine="fake")

    async def first():
        return await anext(pipe.astream(**{**JOB, **options}))

    with pytest.raises(error) as expected:
        pipe.generate(**{**JOB, **options})
    for call in (lambda: pipe.agenerate(**{**JOB, **options}), first):
        with pytest.raises(error) as found:
            asyncio.run(call())
        assert str(found.value) == str(expected.value)
    assert nobody_works()


def test_an_error_in_the_middle_is_raised_and_the_pipeline_goes_on():
    failing = [True]

    def called(name, inputs):
        if name == "vae_decoder" and failing:
            failing.clear()
            raise pleinair.EngineError("the device is gone; try again")

    pipe = pleinair.load(engine=FakeEngine(called))
    with pytest.raises(pleinair.EngineError, match="the device is gone"):
        asyncio.run(pipe.agenerate(**JOB))
    assert asyncio.run(pipe.agenerate(**JOB)).seeds == (1,) and nobody_works()


def test_the_stop_of_a_caller_is_asked_too():
    """It is `Cancelled`, which is an error of the job; a task that was cancelled ends as asyncio has it."""
    pipe, steps = pleinair.load(engine="fake"), []

    async def main():
        async for frame in pipe.astream(**JOB, stop=lambda: len(steps) == 2):
            steps.append(frame.step)

    with pytest.raises(pleinair.Cancelled):
        asyncio.run(main())
    assert steps == [1, 2]
