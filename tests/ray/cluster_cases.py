"""Lists and requests that the nodes of a Ray cluster paint: nothing is lost and nothing painted twice."""

import asyncio
import json
import os
import signal
import threading
from pathlib import Path

import pytest

import pleinair
from pleinair.cli import app as cli
from pleinair.files.output import write_pictures
from pleinair.serve.serving import serve
from pleinair.serve.settings import ServeSettings
from pleinair.tasks import lists
from pleinair.tasks.lines import BadLine, read_lines
from serving import Asking

MOST, MORE = 200, 4  # lines: at most, and after the death of a node
SHAPE = {"steps": 300, "width": 64, "height": 64}  # so many that a node dies in the middle of a picture
CONFIG = Path(__file__).parents[2] / "docs" / "examples" / "ray.yaml"


@pytest.fixture
def served(tmp_path, monkeypatch):
    """`served(use, **settings)`: `use(server)` in another thread while a server runs in this one; what it returns."""
    monkeypatch.setenv("PLEINAIR_HOME", str(tmp_path))

    def run(use, workers=0, **settings):
        found = []

        def client(url):
            try:
                found.append(use(Asking(url.rstrip("/"))))
            except BaseException as error:
                found.append(error)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)

        def ready(url):
            threading.Thread(target=client, args=(url,), daemon=True).start()

        asyncio.run(serve(ServeSettings(port=0, workers=workers, grace_s=0, **settings), ready))
        if isinstance(found[0], BaseException):
            raise found[0]
        return found[0]

    return run


def test_a_server_paints_on_the_cluster_and_leaves_there_what_is_not_its_own(head, sketch, served, caplog):
    from ray import serve as ray_serve

    from pleinair.cluster.joining import joined
    from pleinair.cluster.presence import present
    from pleinair.serve.ray_applications import start
    from pleinair.serve.ray_painting import bound

    living, orphan, other = names = (f"pleinair-one-{1:016x}", f"pleinair-two-{2:016x}", "another")
    empty = {"min_replicas": 0, "initial_replicas": 0, "max_replicas": 1}
    with joined(head.address), present(living):
        start()
        targets = [
            ray_serve.RunTarget(bound({}, autoscaling_config=empty), name=name, route_prefix=None) for name in names
        ]
        ray_serve.run_many(targets, wait_for_applications_running=False)
        job = served(
            lambda server: server.when(server.job(), "done"),
            model=str(sketch),
            workers=1,
            cluster=head.address,
            loading={"engine": "onnx", "threads": 2},
        )
        left = {name for name, app in ray_serve.status().applications.items() if app.status != "DELETING"}
        for name in left:
            ray_serve.delete(name)
    assert job["settings"]["engine"] == "onnx" and job["settings"]["threads"] == 2 and len(job["images"]) == 1
    assert left == {living, other}
    assert [each.message for each in caplog.records if each.levelname == "WARNING"] == [
        f"deleting the cluster's application '{orphan}', whose server is gone"
    ]


def test_a_node_that_dies_in_the_middle_of_a_list_costs_nothing(cluster, sketch, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("painted").mkdir()
    text = ['{"prompt": "a", "steps": 0}']
    text += [json.dumps({"prompt": f"house {number}", "seed": number, **SHAPE}) for number in range(2, MOST)]
    Path("list").write_text("\n".join(text))
    pipe = pleinair.load(sketch, engine="onnx", threads=2)
    said, saved, taken = [], [], []

    def save(result, files, overwrite):
        saved.extend(file.name for file in files)
        return write_pictures(result, files, overwrite)

    def alive():
        return cluster.other in cluster.list_all_nodes()

    def lines():
        """As many as it takes until both nodes paint, and some more."""
        left = MORE
        for line in read_lines(Path("list"), pipe.bundle):
            left -= not alive()
            if left < 0:
                return
            taken.append(line)
            yield line

    def watch(frames):
        running = set()
        for frame in frames:
            (running.add if frame.result is None else running.discard)(frame.seeds)
            if len(running) == 2 and alive():
                cluster.remove_node(cluster.other, allow_graceful=False)
            yield frame

    how = {"workers": "auto", "cluster": cluster.address, "say": said.append, "save": save, "watch": watch}
    ledger = Path("painted", "list.pictures.jsonl")
    reports = [*lists.run(lines(), pipe, Path("painted"), ledger=ledger, **how)]

    assert not alive() and len(said) == 1 and "painted by another one" in said[0]
    (bad,) = (each for each in reports if isinstance(each, BadLine))
    assert bad.line == 1 and "steps" in bad.reason
    names = [f"{number:04}-house-{number}-{number}.png" for number in range(2, len(taken) + 1)]
    assert sorted(saved) == names and len(reports) == len(taken) > MORE
    painted = {name: Path("painted", name).read_bytes() for name in names}
    assert sorted(each.name for each in Path("painted").iterdir()) == [*names, ledger.name]

    pipe.generate("house 3", seed=3, **SHAPE).save("alone.png")
    assert painted[names[1]] == Path("alone.png").read_bytes()
    Path("painted", names[1]).unlink()
    Path("list").write_text("\n".join(text[: len(taken)]))
    same = ["--model", str(sketch), "--engine", "onnx", "--threads", "2", "-o", "painted"]
    assert cli.run(["generate", "--prompts", "list", *same, "--ray", cluster.address]) == 7
    out, err = capsys.readouterr()
    assert out.split() == [f"painted/{names[1]}"] and f"already there: {len(names) - 1}" in err
    assert painted == {name: Path("painted", name).read_bytes() for name in names}


def test_requests_outlive_a_node_of_the_declared_painters(cluster, served, caplog):
    import ray
    from ray.serve.scripts import cli as ray_serve

    ray.init(cluster.address)
    ray_serve.main(["run", "--non-blocking", "--address", cluster.address, str(CONFIG)], standalone_mode=False)

    def use(server):
        cut = server.job(steps=900, seed=1)
        jobs = [server.job(steps=120, seed=seed) for seed in (2, 3)]
        server.when(cut, "painting")
        assert server.ask(f"/api/v1/jobs/{cut}/cancel", {})[0] == 200
        for job in jobs:
            server.when(job, "painting")
        cluster.remove_node(cluster.other, allow_graceful=False)
        return server.ask(f"/api/v1/jobs/{cut}")[1], [server.when(job, "done") for job in jobs]

    cut, jobs = served(use, cluster=cluster.address)
    assert cut["status"] == "cancelled" and not cut["images"]
    assert [len(job["images"]) for job in jobs] == [1, 1] and not any(job["error"] for job in jobs)
    assert [job["settings"]["seeds"] for job in jobs] == [[2], [3]]
    assert "its painter on the cluster is lost" in caplog.text
