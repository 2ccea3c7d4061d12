"""What becomes of lines and requests when workers are lost, without a cluster: seats and streams of the tests' own."""

import asyncio
import io
from contextlib import aclosing, nullcontext
from functools import partial

import pytest

import pleinair
import saving
from pleinair.cli import app as cli
from pleinair.cluster.joining import Machine
from pleinair.errors import BundleError, Cancelled, EngineError, ResourceError
from pleinair.tasks import lists
from pleinair.tasks.lines import BadLine, read_lines
from pleinair.tasks.ray_painter import LinePainter
from pleinair.tasks.worker_messages import JobFailed
from serving import PREVIEW, png, spec

QUICK = {"steps": 1, "width": 32, "height": 32, "seed": 1}


@pytest.fixture(scope="module")
def pipe():
    return pleinair.load(engine="fake")


class Plan:
    """What each worker says when it is opened, with which prompts workers are lost, how often, and behind which.

    Prompts that are `held` are painted when the first line is said.
    """

    def __init__(self):
        self.opened = lambda number: None
        self.lost, self.numbers = {}, iter(range(100))
        self.late: set[str] = set()
        self.held: set[str] = set()
        self.holding: list[tuple] = []
        self.seats: list = []
        self.ended: list[str] = []

    def lose(self):
        """All workers that there are."""
        from pleinair.tasks import ray_workers

        for seat in self.seats:
            seat.say(ray_workers.WorkerLost("the node died"))
        return "pending"

    def release(self):
        held, self.holding = self.holding, []
        self.held = set()
        for seat, job in held:
            seat.give(job)


@pytest.fixture
def plan(monkeypatch):
    """A cluster of two machines whose workers are objects of this process, to which happens what the plan says."""
    from pleinair.tasks import crews, ray_workers

    plan = Plan()

    class Seat:
        def __init__(self, model, how, share, events):
            self.job, self.open, self._events = None, False, events
            self._painter = LinePainter(model, how)
            plan.seats.append(self)
            said = plan.opened(next(plan.numbers))
            if said != "pending":
                self.say(self._painter.open() if said is None else said)

        def say(self, message):
            self._events.put((self, message))

        def give(self, job):
            self.job = job
            if job.prompt in plan.held:
                plan.holding.append((self, job))
                return
            plan.lost[job.prompt] = plan.lost.get(job.prompt, 0) - 1
            if plan.lost[job.prompt] >= 0:
                self.say(ray_workers.WorkerLost("the node died"))
                return
            for each in self._painter.paint(job.prompt, job.negative, job.options, job.seeds):
                self.say(each)
            if job.prompt in plan.late:
                self.say(ray_workers.WorkerLost("the node died"))

        def close(self):
            plan.ended.append("closed")

        def wait(self):
            plan.ended.append("waited for")

    monkeypatch.setattr(ray_workers, "RaySeat", Seat)
    monkeypatch.setattr(crews, "joined", lambda address: nullcontext())
    monkeypatch.setattr(crews, "machines", lambda: [Machine(1, 1e12)] * 2)
    return plan


@pytest.fixture
def paint(pipe, plan, tmp_path):
    """`paint(text, **how)`: reports of a list; what was said is `paint.said`."""

    def say(line):
        run.said.append(line)
        plan.release()

    def run(text, **how):
        run.said = []
        lines = read_lines(io.BytesIO(text.encode()), pipe.bundle, QUICK)
        return list(lists.run(lines, pipe, tmp_path, workers="auto", cluster="auto", say=say, **how))

    return run


@pytest.mark.usefixtures("silent_storybook")
def test_a_line_that_workers_are_lost_with_is_tried_again_and_named_in_the_end(paint, plan, tmp_path):
    plan.lost = {"b": 3, "c": 2}
    reports = paint("a\nb\nc\nd")
    (bad,) = (each for each in reports if isinstance(each, BadLine))
    assert bad.line == 2 and "3 workers ended while they painted it (the node died); choose" in bad.reason
    names = sorted(path.name for path in tmp_path.glob("*.png"))
    assert names == ["0001-a-1.png", "0003-c-1.png", "0004-d-1.png"] and len(reports) == 4
    assert sum("painted by another one" in line for line in paint.said) == 4


@pytest.mark.usefixtures("silent_storybook")
def test_a_worker_that_is_lost_when_its_job_is_done_costs_nothing(paint, plan, tmp_path):
    plan.late = {"a", "c"}
    assert len(paint("a\nb\nc\nd")) == 4
    assert len(list(tmp_path.glob("*.png"))) == 4
    assert plan.ended.count("closed") == plan.ended.count("waited for") > 2


@pytest.mark.usefixtures("silent_storybook")
def test_a_machine_without_the_model_is_left_out_and_where_none_has_it_that_is_told(paint, plan):
    from ray.exceptions import ActorDiedError, RayActorError

    from pleinair.tasks.ray_workers import not_imported

    lacking = JobFailed(BundleError("there has no model; copy its folder"))
    plan.opened = lambda number: lacking if number == 0 else None
    assert len(paint("a\nb\nc")) == 3
    assert paint.said == ["a worker is left out: there has no model; copy its folder"]
    plan.opened = lambda number: lacking
    with pytest.raises(BundleError, match="copy its folder"):
        paint("d\ne")
    assert not_imported(ActorDiedError()) is None
    failed = not_imported(RayActorError(error_msg="a\nNo module named 'pleinair'\n", actor_init_failed=True))
    plan.opened = lambda number: failed
    with pytest.raises(EngineError, match="No module named 'pleinair'.; install pleinair on all machines"):
        paint("f")


@pytest.fixture
def at_once(monkeypatch):
    """No pause before workers are started again."""
    from pleinair.tasks import ray_starts, ray_workers

    monkeypatch.setattr(ray_starts, "PAUSES_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(ray_workers, "LOOK_S", 0.01)


@pytest.mark.usefixtures("silent_storybook", "at_once")
def test_a_node_that_dies_with_all_that_start_there_ends_no_list(paint, plan, monkeypatch):
    from pleinair.tasks import crews

    monkeypatch.setattr(crews, "machines", lambda: [Machine(1, 1e12)] * 5)
    plan.opened = lambda number: "pending" if number < 4 else plan.lose() if number == 4 else None
    assert len(paint("a\nb\nc\nd\ne\nf")) == 6 and not paint.said


@pytest.mark.usefixtures("silent_storybook", "at_once")
def test_places_whose_workers_do_not_start_are_left_out_until_the_last_worker_is_lost(paint, plan):
    from pleinair.tasks import ray_workers

    lost = ray_workers.WorkerLost("the node died")
    plan.opened = lambda number: lost if 0 < number < 5 else None
    plan.held, plan.lost = {"a"}, {"b": 1}
    assert len(paint("a\nb\nc\nd")) == 4
    assert paint.said == [
        "no further workers are started, for the last ones did not come up: the node died",
        "a worker is gone, and line 2 is painted by another one",
    ]


@pytest.mark.usefixtures("silent_storybook", "at_once")
def test_workers_that_never_start_and_clusters_without_room_are_given_up(paint, plan, monkeypatch):
    from pleinair.tasks import ray_workers

    plan.opened = lambda number: ray_workers.WorkerLost("killed")
    with pytest.raises(EngineError, match=r"no worker starts on the cluster, after 4 rounds of tries \(killed\)"):
        paint("a\nb")
    plan.opened = lambda number: "pending"
    with pytest.raises(Cancelled):
        paint("c", stop=lambda: True)
    monkeypatch.setattr(ray_workers, "NO_ROOM_S", 0.1)
    with pytest.raises(ResourceError, match="no machine of the cluster has had room"):
        paint("d")


@pytest.mark.usefixtures("silent_storybook")
def test_the_pictures_of_a_count_are_those_of_one_process_and_a_full_disk_ends_a_list(
    paint, plan, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("pleinair.cli.workers.check_address", lambda address: None)
    monkeypatch.chdir(tmp_path)
    plan.lost = {"a": 1}
    small = ["--engine", "fake", "--threads", "1", "--steps", "1", "--size", "32x32"]
    command = ["generate", "a", *small, "--seed", "1", "--count", "3"]
    assert cli.run([*command, "-o", "alone.png"]) == cli.run([*command, "-o", "both.png", "--ray", "auto"]) == 0
    files = [f"{name}-{number}.png" for name in ("alone", "both") for number in (1, 2, 3)]
    assert capsys.readouterr().out.split() == files
    pictures = [(tmp_path / file).read_bytes() for file in files]
    assert pictures[:3] == pictures[3:]
    with pytest.raises(ResourceError, match="free space"):
        paint("b\nc", save=saving.full)
    assert sorted(path.name for path in tmp_path.glob("*.png")) == files


class Stream:
    """What a replica says: messages, and errors that are raised."""

    def __init__(self, said):
        self._said = iter(said)

    async def __anext__(self):
        for each in self._said:
            if isinstance(each, Exception):
                raise each
            return each
        raise StopAsyncIteration

    def cancel(self):
        pass


def painted(*streams):
    """A job of two pictures after each stream has been its replica's, one after the other; and how many were asked."""
    from pleinair.serve import ray_painters
    from pleinair.serve.jobs import Jobs
    from pleinair.serve.settings import ServeSettings
    from pleinair.serve.supervising import Supervisor

    left = list(streams)

    class Handle:
        paint = property(lambda self: self)

        def options(self, stream):
            return self

        def remote(self, id, spec, server):
            assert server == "this"
            return Stream(left.pop(0))

    async def run():
        jobs = Jobs(ServeSettings())
        worker = partial(ray_painters.RayWorker, server="this", handle=Handle())
        supervisor = Supervisor(jobs.settings, jobs, worker)
        job, _ = await jobs.submit(spec())
        supervisor.start()
        await job.over()
        await supervisor.close(0)
        return job

    return asyncio.run(run()), len(streams) - len(left)


def step(number):
    return {"event": "step", "step": number, "steps": 2, "seeds": [7]}, (PREVIEW.encode(),)


def image(seed):
    return {"event": "image", "seed": seed, "width": 8, "height": 8, "settings": {}}, (png(),)


DONE = {"event": "done"}, ()


@pytest.fixture
def lost(monkeypatch):
    from ray.exceptions import ActorDiedError

    from pleinair.serve import ray_painters

    monkeypatch.setattr(ray_painters, "PAUSE_S", 0)
    return ActorDiedError()


def test_a_request_whose_replica_is_lost_goes_on_with_another_and_tells_no_picture_twice(lost):
    job, asked = painted([step(1), image(7), lost], [step(1), image(7), step(2), image(8), DONE])
    assert (job.status, [each.seed for each in job.pictures], asked) == ("done", [7, 8], 2)
    assert [event.data["index"] for event in job.events if event.kind == "image"] == [0, 1]


def test_a_request_that_replicas_are_lost_with_is_answered_with_its_id_and_what_to_do(lost):
    job, asked = painted([lost], [step(1), lost], [step(1)], [DONE])
    assert (job.status, job.trouble.code, asked) == ("failed", "worker_lost", 3)
    assert job.id in job.trouble.message and job.trouble.message.endswith("try a smaller picture or another model")


def test_words_of_another_version_and_a_bug_end_their_job_alone(lost):
    job, asked = painted([(image(7)[0], ())], [image(7), DONE])
    assert (job.status, asked) == ("done", 2)
    job, asked = painted([AttributeError("a secret prompt")])
    assert (job.status, job.trouble.code, asked) == ("failed", "internal", 1) and "secret" not in job.trouble.message


def test_a_full_queue_of_serve_loses_no_job(lost):
    from ray.serve.exceptions import BackPressureError

    full = [BackPressureError(num_queued_requests=1, max_queued_requests=1)]
    job, asked = painted(*[full] * 5, [image(7), DONE])
    assert (job.status, asked) == ("done", 6)


@pytest.mark.usefixtures("silent_storybook")
def test_a_replica_cancels_the_job_of_a_server_that_is_gone_and_ends_that_servers_application(monkeypatch):
    from ray.exceptions import RpcError

    from pleinair.serve import ray_painting

    gone, deleted = [], []

    def is_present(server):
        if not gone:
            raise RpcError("no answer")
        return server not in gone

    monkeypatch.setattr(ray_painting, "is_present", is_present)
    monkeypatch.setattr(ray_painting.serve, "delete", lambda name, _blocking: deleted.append(name))
    replica = ray_painting.RayPainter.func_or_class("storybook", {"engine": "fake"}, 60.0, "mine")

    async def last(server, *lost):
        """What a job's last word is, where these servers are found to be lost in the middle."""
        count = 100 if lost else 1  # so many that it is not done by then
        job = spec(steps=500 if lost else 4, size="32x32", count=count, batch=1)
        async with aclosing(replica.paint("1", job, server)) as told:
            async for message, _ in told:
                if message["event"] == "step" and message["step"] == 2:
                    gone[:] = lost or gone
                    await replica.check_health()
        return message["event"]

    assert asyncio.run(last("mine")) == "done"
    gone[:] = ["another"]
    assert asyncio.run(last("other")) == "done" and not deleted
    assert asyncio.run(last("other", "other")) == "cancelled" and not deleted
    assert asyncio.run(last("mine", "mine")) == "cancelled" and deleted == ["mine"]


def test_arguments_of_a_serve_config_are_checked():
    from pleinair.errors import RequestError
    from pleinair.serve.ray_painting import application

    for args, words in [
        ({"steps": 3}, "steps"),
        ({"threads": 0}, "threads"),
        ({"stall": "long"}, "stall must be a number"),
    ]:
        with pytest.raises(RequestError, match=words):
            application(args)
