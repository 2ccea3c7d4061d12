"""MCP's tools, asked by the official client over HTTP and over a process's streams."""

import asyncio
import base64
import json
import os
import sys
from io import BytesIO

import pytest
from PIL import Image

from pleinair.system import install
from serving import PATIENCE, at_a_port, paint, png

mcp = pytest.importorskip("mcp")

from mcp.client.stdio import StdioServerParameters  # noqa: E402

KEY = "0123456789abcdef"


@pytest.fixture
def ask(index):
    """`ask(talk, mode)`: what `talk(client, jobs)` returns, with the real client of a server with a fake painter."""

    def make(talk, mode="auto", painter=paint, **settings):
        async def met(url, jobs):
            async with mcp.Client(f"{url}/mcp", mode=mode) as client:
                return await talk(client, jobs)

        with at_a_port(index, painter, **settings) as (url, jobs):
            return asyncio.run(met(url, jobs))

    return make


def opened(content):
    assert content.mime_type == "image/png"
    return Image.open(BytesIO(base64.b64decode(content.data)))


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_pictures_with_progress_and_settings(ask, mode):
    async def talk(client, jobs):
        steps = []

        async def progress(step, steps_in_all, message):
            steps.append((step, steps_in_all))

        asked = {"prompt": "a house", "size": "64x64", "options": {"clip_skip": 1}}
        found = await client.call_tool("generate", asked, progress_callback=progress)
        return found, steps

    found, steps = ask(talk, mode, lambda jobs: paint(jobs, steps=2, pause=0.05))
    picture, text = found.content
    assert not found.is_error and opened(picture).size == (8, 8) and steps[-1] == (2, 2)
    assert json.loads(text.text)["pictures"][0]["seed"] == 7


def test_an_earlier_picture_is_edited_and_enlarged(ask):
    async def talk(client, jobs):
        first = await client.call_tool("generate", {"prompt": "a house", "size": "64x64"})
        earlier = json.loads(first.content[-1].text)["pictures"][0]["picture"]
        sent = base64.b64encode(png((64, 64))).decode()
        edit = {"image": sent, "mask": sent, "prompt": "a boat", "strength": 0.9, "size": "64x64"}
        answers = [await client.call_tool("edit", edit), await client.call_tool("upscale", {"image": earlier})]
        gone = await client.call_tool("upscale", {"image": f"{earlier[:-1]}9"})
        return answers, gone

    answers, gone = ask(talk)
    assert [each.is_error for each in answers] == [False, False], answers
    assert gone.is_error and "choose one" in gone.content[0].text


def test_large_pictures_are_parsed_beside_the_event_loop_and_come_whole(ask, monkeypatch):
    """The package that speaks the protocol parses on the loop: it sees short names for them."""
    from PIL import Image
    from starlette.requests import Request

    sizes, before = [], Request.body

    async def body(request):
        found = await before(request)
        sizes.append(len(found))
        return found

    noise = BytesIO()
    Image.effect_noise((400, 400), 90).save(noise, "PNG")
    picture = noise.getvalue()
    monkeypatch.setattr(Request, "body", body)

    async def talk(client, jobs):
        specs, submit = [], jobs.submit

        async def noted(spec, *rest, **more):
            specs.append(spec)
            return await submit(spec, *rest, **more)

        jobs.submit = noted
        sent = base64.b64encode(picture * 2).decode()  # what follows a PNG's end is passed over
        found = await client.call_tool("edit", {"image": sent, "prompt": "a boat", "size": "64x64"})
        return found, specs, await client.call_tool("generate", {"prompt": sent})

    found, (spec,), refused = ask(talk, "legacy")
    assert not found.is_error and spec.pictures["image"] == picture * 2
    assert refused.is_error and f"{len(base64.b64encode(picture * 2)):,} characters" in refused.content[0].text
    whole = [size for size in sizes if size > 1 << 18]
    assert len(whole) == 2 and len([size for size in sizes if size < 1 << 12]) >= 4  # read whole once, then lightened


def test_loras_controlnets_and_upscalers_are_arguments(ask):
    async def talk(client, jobs):
        specs, before = [], jobs.submit

        async def submit(spec, *rest, **more):
            specs.append(spec)
            return await before(spec, *rest, **more)

        jobs.submit = submit
        first = await client.call_tool("generate", {"prompt": "a house", "size": "64x64"})
        earlier = json.loads(first.content[-1].text)["pictures"][0]["picture"]
        more = {"loras": [{"name": "storybook-chalk", "strength": 0.5}], "upscale": "twice", "model": "storybook"}
        control = {"name": "canny", "image": earlier, "strength": 0.7, "preprocessor": "canny"}
        found = await client.call_tool("generate", {"prompt": "a boat", "size": "64x64", "controls": [control], **more})
        wrong = [{**control, "image": f"{earlier[:-1]}7"}, {"name": "canny"}, "canny"]
        return specs, [found, *[await client.call_tool("generate", {"prompt": "x", "controls": [w]}) for w in wrong]]

    (_, spec), (found, *refused) = ask(talk)
    assert not found.is_error, found.content
    assert spec.options["loras"] == [{"name": "storybook-chalk", "strength": 0.5}]
    assert spec.options["upscale"] == "twice" and spec.options["controls"][0]["strength"] == 0.7
    assert spec.pictures["controls.0"] == png()
    assert all(each.is_error and "; " in each.content[0].text for each in refused)


def test_tools_have_the_table_s_schemas_and_models_are_listed(ask):
    async def talk(client, jobs):
        return await client.list_tools(), await client.call_tool("list_models")

    listed, models = ask(talk)
    schemas = {each.name: each.input_schema for each in listed.tools}
    assert set(schemas) == {"generate", "edit", "upscale", "list_models"}
    assert schemas["generate"]["properties"]["steps"]["type"] == "integer"
    assert {"image", "mask", "strength"} <= set(schemas["edit"]["properties"])
    for name in ("generate", "edit"):
        lora, control = (schemas[name]["properties"][each]["items"]["properties"] for each in ("loras", "controls"))
        assert lora["strength"]["maximum"] > 1 and "earlier" in control["image"]["description"]
    here = json.loads(models.content[0].text)
    assert [each["name"] for each in here["models"] if each["default"]] == ["other"] and "twice" in here["upscalers"]
    assert here["loras"]["wide"] == ["other"] and set(here["controlnets"]["canny"]) == {"other", "storybook"}


WRONG = [
    ("generate", {}, "no prompt"),
    ("generate", {"prompt": "a house", "steps": -1}, "steps"),
    ("generate", {"prompt": "a house", "options": {"nothing": 1}}, "nothing"),
    ("generate", {"prompt": "a house", "model": "../x"}, "choose from"),
    ("edit", {"prompt": "a house", "image": "/etc/passwd"}, "base64"),
    ("paint", {}, "tool"),
]


def test_errors_are_one_sentence_of_the_tool(ask):
    async def talk(client, jobs):
        return [await client.call_tool(name, asked) for name, asked, _ in WRONG]

    for found, (_, _, said) in zip(ask(talk), WRONG, strict=True):
        (text,) = found.content
        assert found.is_error and said in text.text and "; " in text.text and "\n" not in text.text


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_client_that_cancels_frees_the_painter(ask, mode):
    async def talk(client, jobs):
        call = asyncio.create_task(client.call_tool("generate", {"prompt": "a house", "size": "64x64"}))
        while not jobs.running:
            await asyncio.sleep(0.01)
        (job,) = jobs.running.values()
        call.cancel()
        async with asyncio.timeout(10):
            while job.status != "cancelled":
                await asyncio.sleep(0.01)

    ask(talk, mode, lambda jobs: paint(jobs, steps=10_000, pause=0.01))


def test_the_guard_holds(client):
    hello = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    server = client(key=KEY)
    assert server.post("/mcp", json=hello).status_code == 401
    key = {"Authorization": f"Bearer {KEY}"}
    assert server.post("/mcp", json=hello, headers={**key, "Host": "evil.example"}).status_code == 403
    assert server.post("/mcp", json=hello, headers={**key, "Origin": "http://evil.example"}).status_code == 403
    assert server.post("/mcp", json=hello, headers=key).status_code not in (401, 403)


def test_a_server_without_the_package_says_so(client, monkeypatch):
    monkeypatch.setattr("pleinair.serve.app.speaks_mcp", lambda: False)
    answer = client().post("/mcp", json={})
    assert answer.status_code == 501 and install.line("mcp") in answer.json()["error"]["message"]


def test_the_command_paints_and_cancels_over_its_streams(home):
    async def talk():
        environment = {**os.environ, "PLEINAIR_HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)}
        command = StdioServerParameters(command=sys.executable, args=["-m", "pleinair", "mcp"], env=environment)
        begun = asyncio.Event()

        async def progress(step, steps, message):
            begun.set()

        async with mcp.Client(command) as client, asyncio.timeout(PATIENCE):
            long = {"prompt": "a house", "steps": 400, "count": 9, "options": {"batch": 1}}
            call = asyncio.create_task(client.call_tool("generate", long, progress_callback=progress))
            await begun.wait()
            call.cancel()  # otherwise the next one waits some minutes
            return await client.call_tool("generate", {"prompt": "a house", "size": "64x64", "steps": 1, "seed": 1})

    found = asyncio.run(talk())
    assert not found.is_error, found.content
    assert opened(found.content[0]).size == (64, 64)
    told = json.loads(found.content[1].text)
    assert told["pictures"][0]["seed"] == 1 and told["settings"]["prompt"] == "a house"
