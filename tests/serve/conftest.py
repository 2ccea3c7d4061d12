"""Servers in this process, which need no engine, and one in a process of its own."""

import importlib.util

import pytest

from bundles import light_control, light_copy, light_upscaler
from loras import kohya, write_lora

if importlib.util.find_spec("starlette") is None or importlib.util.find_spec("uvicorn") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A home with an upscaler, a ControlNet, LoRAs and a second model; nobody writes into it."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "models").mkdir()
    light_copy(folder / "models" / "other")
    light_upscaler(folder / "models" / "twice")
    light_control(folder / "models" / "canny")
    (folder / "loras").mkdir()
    reader = {"down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k": (16, 768)}  # of a text as wide as SD 1.5's
    write_lora(folder / "loras" / "wide.safetensors", kohya(reader))
    (folder / "loras" / "broken.safetensors").write_bytes(b"no LoRA")
    (folder / "embeddings").mkdir()
    (folder / "embeddings" / "watercolour.safetensors").write_bytes(b"")
    return folder


@pytest.fixture
def index(home, monkeypatch, request):
    from pleinair.serve.naming import Index

    monkeypatch.setenv("PLEINAIR_HOME", str(home))
    return Index("other")


@pytest.fixture
def client(index):
    """`client(**settings)`: a client of a server in this process."""
    import contextlib

    from starlette.testclient import TestClient

    from serving import application

    with contextlib.ExitStack() as stack:

        def make(headers=None, painter=None, **settings):
            app, jobs = application(index, **({"painter": painter} if painter else {}), **settings)
            found = stack.enter_context(TestClient(app, base_url="http://127.0.0.1:7860", headers=headers))
            found.jobs = jobs
            return found

        yield make


@pytest.fixture
def asked(client):
    """`asked(headers, **settings)`: a client of a server whose pictures have records; its `specs` are its jobs."""
    from serving import paint_recorded

    def make(headers=None, **settings):
        specs = []
        http = client(headers=headers, painter=lambda jobs: paint_recorded(jobs, specs), **settings)
        http.specs = specs
        return http

    return make


@pytest.fixture
def place(index):
    """`place(painter)`: where a server listens; `place.specs` are the jobs that it was given."""
    import contextlib

    from serving import at_a_port, paint

    with contextlib.ExitStack() as stack:

        def make(painter=paint, **settings):
            async def noted(jobs):
                before = jobs.next

                async def next_job():
                    job = await before()
                    make.specs.append(job.spec)
                    return job

                jobs.next = next_job
                await painter(jobs)

            url, make.jobs = stack.enter_context(at_a_port(index, noted, **settings))
            return url

        make.specs = []
        yield make
