"""OpenAI's interface, asked by OpenAI's own client."""

import asyncio
import base64
import contextlib
import urllib.request
from dataclasses import replace
from io import BytesIO

import pytest
from PIL import Image

from pleinair.pictures.masks import open_mask
from pleinair.serve.painting import where_transparent
from serving import LIMITS, paint, png

openai = pytest.importorskip("openai")


@pytest.fixture
def ask(place):
    """`ask(**settings)`: the real client of such a server; `ask.specs` are the jobs it was given."""
    with contextlib.ExitStack() as stack:

        def make(*painter, **settings):
            url, make.specs = place(*painter, **settings), place.specs
            make.jobs = place.jobs
            return stack.enter_context(openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0))

        yield make


def as_declared(answer):
    """An answer that has what its type says, and no other values; the client itself looks at neither."""
    return type(answer).model_validate(answer.to_dict(), strict=True)


def picture(data):
    return Image.open(BytesIO(base64.b64decode(data)))


def test_a_picture_of_a_prompt(ask):
    client = ask()
    asked = {"model": "gpt-image-1", "prompt": "a house", "size": "64x64", "n": 2, "extra_body": {"steps": 4}}
    found = as_declared(client.images.generate(**asked))
    assert picture(found.data[0].b64_json).format == "PNG" and found.size == "8x8" and found.output_format == "png"
    (spec,) = ask.specs
    assert (spec.model, spec.kept) == ("other", False)
    assert {"size": "64x64", "count": 2, "steps": 4}.items() <= spec.options.items()


@pytest.mark.parametrize(
    "more, expected",
    [
        ({"num_inference_steps": 5, "guidance_scale": 3, "rng_seed": 9}, {"steps": 5, "guidance": 3, "seed": 9}),
        ({"sample_steps": 5, "cfg_scale": 3, "negative_prompt": "x"}, {"steps": 5, "guidance": 3, "negative": "x"}),
        ({"scheduler": "ddim", "lora": [{"name": "storybook-lcm"}]}, {"sampler": "ddim"}),
        ({"sampler_name": "Euler a", "anything": "else"}, {"sampler": "Euler a"}),
    ],
)
def test_what_other_servers_call_options(ask, more, expected):
    ask().images.generate(prompt="a house", size="auto", quality="hd", style="vivid", user="me", extra_body=more)
    assert expected.items() <= ask.specs[0].options.items() and "size" not in ask.specs[0].options


def test_formats_and_addresses(ask):
    client = ask()
    found = client.images.generate(prompt="a house", output_format="webp", output_compression=50)
    assert picture(found.data[0].b64_json).format == "WEBP"
    found = client.images.generate(prompt="a house", response_format="url", output_format="jpeg")
    with urllib.request.urlopen(found.data[0].url) as answer:
        assert Image.open(BytesIO(answer.read())).format == "JPEG"


def test_an_edit_repaints_where_the_mask_is_transparent(ask):
    client = ask()
    mask = png((64, 64), (0, 0, 0, 0), "RGBA")
    for image in (png((64, 64)), [png((64, 64))]):
        client.images.edit(image=image, mask=mask, prompt="a boat", n=1, extra_body={"strength": 0.9})
        spec = ask.specs.pop()
        assert sorted(spec.pictures) == ["image", "mask.alpha"]
        assert float(spec.options["strength"]) == 0.9
    with pytest.raises(openai.BadRequestError, match="send one"):
        client.images.edit(image=[png(), png()], prompt="a boat")
    with pytest.raises(openai.BadRequestError, match="PNG, JPEG or WebP"):
        client.images.edit(image=b"GIF89a", prompt="a boat")
    with pytest.raises(openai.BadRequestError, match="another name"):
        client.images.edit(image=png(), markup=png(), prompt="a boat")


def test_a_mask_of_theirs_is_white_where_it_is_transparent():
    mask = Image.new("RGBA", (2, 1), (9, 9, 9, 255))
    mask.putpixel((0, 0), (9, 9, 9, 0))
    stream = BytesIO()
    mask.save(stream, "PNG")
    found = open_mask(where_transparent(stream.getvalue()), (2, 1))
    assert [found.getpixel((x, 0)) for x in (0, 1)] == [255, 0]


def test_a_variation_repaints_a_part(ask):
    found = ask().images.create_variation(image=png((64, 64)), n=1, size="256x256")
    assert picture(found.data[0].b64_json).size == (8, 8)
    assert ask.specs[0].options["strength"] == 0.6 and ask.specs[0].options["size"] == "256x256"


def test_a_stream_has_partial_pictures(ask):
    painter = lambda jobs: paint(jobs, steps=6, pause=0.02)  # noqa: E731
    events = list(ask(painter).images.generate(prompt="a house", stream=True, partial_images=2))
    assert [each.type.rpartition(".")[2] for each in events] == ["partial_image", "partial_image", "completed"]
    assert [each.partial_image_index for each in events[:2]] == [0, 1]
    assert all(picture(as_declared(each).b64_json).format == "PNG" for each in events)
    assert events[-1].usage.total_tokens == 0


def test_an_edit_is_streamed_under_its_own_name(ask):
    asked = {"image": png((64, 64)), "prompt": "a boat", "stream": True, "partial_images": 1}
    events = list(ask(lambda jobs: paint(jobs, steps=4, pause=0.02)).images.edit(**asked))
    assert [as_declared(each).type for each in events] == ["image_edit.partial_image", "image_edit.completed"]


def test_models_are_listed(ask):
    client = ask()
    assert {"other", "storybook"} == {each.id for each in client.models.list()}
    assert client.models.retrieve("other").owned_by == "pleinair"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("another/model")


@pytest.mark.parametrize(
    "asked, kind, param",
    [
        ({"size": "12"}, openai.BadRequestError, "size"),
        ({"n": 0}, openai.BadRequestError, "n"),
        ({"n": 11}, openai.BadRequestError, "n"),
        ({"model": "flux"}, openai.NotFoundError, "model"),
        ({"output_format": "gif"}, openai.BadRequestError, "output_format"),
        ({"partial_images": 4}, openai.BadRequestError, "partial_images"),
        ({"output_compression": 101}, openai.BadRequestError, "output_compression"),
        ({"extra_body": {"steps": -1}}, openai.BadRequestError, "steps"),
        ({"extra_body": {"lora": 5}}, openai.BadRequestError, "loras"),
        ({"extra_body": {"prompt": None}}, openai.BadRequestError, "prompt"),
    ],
)
def test_errors_are_typed_and_not_asked_for_again(ask, asked, kind, param):
    with pytest.raises(kind) as refusal:
        ask().images.generate(**{"prompt": "a house", **asked})
    error = refusal.value
    assert error.param == param and error.code and "; " in error.message
    assert error.response.headers["x-should-retry"] == "false"


def test_a_full_queue_is_a_rate_limit(ask):
    async def asleep(jobs):
        await asyncio.sleep(3600)

    client = ask(asleep, limits=replace(LIMITS, queue=0))
    with pytest.raises(openai.RateLimitError) as refusal:
        client.images.generate(prompt="a house")
    headers = refusal.value.response.headers
    assert 1 <= int(headers["retry-after"]) <= 120 and headers["x-should-retry"] == "true"


def test_a_client_that_gives_up_cancels(ask):
    client = ask(lambda jobs: paint(jobs, steps=10_000, pause=0.01))
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.5).images.generate(prompt="a house")
    stream = client.images.generate(prompt="a house", stream=True, partial_images=1)
    stream.close()
    for _ in range(500):
        if not ask.jobs.running and len(ask.jobs._ended) == 2:
            break
        asyncio.run(asyncio.sleep(0.01))
    assert {job.status for job in ask.jobs._ended.values()} == {"cancelled"}
