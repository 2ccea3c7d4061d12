"""Painting in a browser: from the prompt to the picture, its settings, and what goes wrong."""

import io
import json
import shlex

import pytest
from PIL import Image
from playwright.sync_api import expect

from page_server import painted

pytestmark = pytest.mark.usefixtures("page")


def test_a_prompt_becomes_a_picture_that_emerges(page, server):
    server.held = True
    page.fill("#prompt", "a red house")
    page.keyboard.press("Control+Enter")
    page.locator(".canvas img.rough").wait_for()
    expect(page.locator(".progress .line p")).to_contain_text("Step 2 of 4")
    server.held = False
    expect(page.locator(".canvas img")).to_have_attribute("alt", "a red house")
    assert server.asked == [{"task": "generate", "model": "storybook", "prompt": "a red house"}]
    assert page.evaluate("document.querySelector('.canvas img').naturalWidth") == 128


def test_what_is_set_is_asked_for_and_no_more(page, server, paint):
    page.select_option("select >> nth=1", "big")
    page.locator(".format select").select_option("448x640")
    page.fill("#seed", "7, 9")
    page.locator(".all > summary").click()
    page.fill("#search", "sampler")
    page.select_option("#option-sampler", label="euler")
    page.fill("#search", "strength of")  # of nothing that is on
    page.fill("#search", "second pass repaints")
    page.fill("#option-hires_strength", "0.3")
    page.locator("#option-hires_strength").blur()
    paint(page, "a boat")
    assert server.asked[0] == {
        "task": "generate",
        "model": "big",
        "prompt": "a boat",
        "width": 448,
        "height": 640,
        "seed": [7, 9],
        "sampler": "euler",
    }
    expect(page.locator(".strip .tile")).to_have_count(2)


def test_defaults_and_choices_come_from_the_server(page):
    page.locator(".all > summary").click()
    page.fill("#search", "steps")
    page.get_by_text("Steps", exact=True).first.wait_for()
    assert page.get_attribute("#option-steps", "placeholder") == "4"
    page.fill("#search", "")
    panels = page.locator(".group > summary h3").all_text_contents()
    assert panels == ["Picture", "Steps", "Text", "Guidance", "Start from a picture", "Larger pictures", "Model"]
    page.fill("#search", "no such option")
    expect(page.locator(".all")).to_contain_text("No option is called that.")


def test_words_that_the_model_does_not_know_are_named(page):
    page.fill("#prompt", "a zeppelin at dawn")
    expect(page.locator("#tokens")).to_have_text("4 of 75 tokensThe model does not know: zeppelin")


def test_a_job_that_waits_says_so_and_can_be_cancelled(page, server):
    server.queue = {"length": 3, "expected_wait_s": 240}
    page.fill("#prompt", "waits")
    page.click("#paint")
    status = page.locator(".progress [role=status]")
    expect(status).to_have_text("Waiting, number 3 in the queue, about 4 min")
    expect(page.locator(".progress")).to_contain_text("You may close this page")
    page.locator(".progress .stop").click()
    expect(page.locator(".ended")).to_contain_text("Cancelled.")
    assert [job.status for job in server.jobs.values()] == ["cancelled"]
    expect(page.locator(".health")).to_contain_text("Waiting jobs: 3, about 4 min")


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("refused", "Steps is 5000, and at most 1000 are painted; choose fewer."),
        ("full", "8 jobs are waiting already; ask again in 30 s."),
        ("fails", "The picture needs 9 GB and 2 GB are free; choose a smaller size."),
    ],
)
def test_errors_are_said_as_the_server_says_them(page, prompt, told):
    page.fill("#prompt", prompt)
    page.click("#paint")
    expect(page.locator(".notice.error, .ended")).to_contain_text(told)


def test_pictures_stay_in_this_browser_with_their_settings(page, server, paint):
    page.fill("#seed", "5")
    paint(page, "first")
    page.fill("#seed", "6")
    paint(page, "second")
    page.reload()
    tiles = page.locator(".tiles .tile")
    expect(tiles).to_have_count(2)
    tiles.nth(1).click()
    page.get_by_text("More", exact=True).click()
    page.get_by_role("button", name="Use its settings").click()
    expect(page.locator("#prompt")).to_have_value("first")
    expect(page.locator("#seed")).to_have_value("5")
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(tiles).to_have_count(1)


def test_a_dropped_picture_restores_its_settings(page, tmp_path):
    settings = {"prompt": "a castle", "seed": 12, "steps": 9, "bundle": {"name": "gone"}, "vae": "lost"}
    settings["loras"] = {"ink": {"weight": 1}, "chalk": {"weight": 0.7}}
    file = tmp_path / "castle.png"
    file.write_bytes(painted(12, 64, 64, 4, "PNG", json.dumps(settings)))
    page.set_input_files('.shelf input[type="file"]', file)
    expect(page.locator("#prompt")).to_have_value("a castle")
    expect(page.locator("#seed")).to_have_value("12")
    notices = page.locator(".notices")
    expect(notices).to_contain_text("made with the model gone, which is not here")
    expect(notices).to_contain_text("LoRA: ink is not here")
    expect(notices).to_contain_text("VAE: lost is not here")
    page.locator(".addons > summary").click()
    expect(page.get_by_label("Strength of chalk")).to_have_value("0.7")
    plain = io.BytesIO()
    Image.new("RGB", (8, 8)).save(plain, "JPEG")
    page.set_input_files(
        '.shelf input[type="file"]', {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": plain.getvalue()}
    )
    expect(notices).to_contain_text("This file has no settings.")


def test_a_picture_is_downloaded_as_the_server_made_it(page, paint):
    page.fill("#seed", "5")
    paint(page, "a red house")
    with page.expect_download() as started:
        page.get_by_role("button", name="Download").click()
    assert started.value.suggested_filename == "a-red-house-5.png"
    with Image.open(started.value.path()) as picture:
        assert json.loads(picture.info["settings"])["seed"] == 5


def test_settings_are_copied_as_a_command_and_as_python(open_page, paint):
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    page.fill("#seed", "5")
    page.locator(".addons > summary").click()
    page.get_by_label("chalk").check()
    paint(page, "it's a boat")
    page.get_by_text("More", exact=True).click()
    page.get_by_role("button", name="Copy as command").click()
    expect(page.locator(".notices")).to_contain_text("Copied.")
    command = shlex.split(page.evaluate("navigator.clipboard.readText()"))
    assert command[:5] == ["pleinair", "generate", "it's a boat", "--model", "storybook"]
    assert command[5:] == ["--seed", "5", "--lora", "chalk:1", "-o", "it-s-a-boat-5.png"]
    page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Copy as Python").click()
    expect(page.locator(".notices")).to_contain_text("Copied.")
    code = page.evaluate("navigator.clipboard.readText()")
    compile(code, "copied", "exec")
    assert 'pipe.generate(\n    "it\'s a boat",\n    seed=5,\n    loras=[("chalk", 1)],\n)' in code


def test_what_is_typed_stays_while_the_page_is_drawn_anew(page, server):
    server.pace = 0.05
    page.locator(".all > summary").click()
    page.fill("#prompt", "a boat")
    page.click("#paint")
    page.fill("#search", "eta")
    for field, typed in (("#seed", "12, "), ("#option-eta", "0.50"), ("#option-sigmas", "14.6, ")):
        page.fill("#search", field.removeprefix("#option-").replace("#seed", "eta"))
        page.locator(field).press_sequentially(typed, delay=30)  # previews and tokens come in between
        expect(page.locator(field)).to_have_value(typed)
    page.fill("#seed", "3")
    page.locator("#seed").press("Control+Enter")
    page.get_by_alt_text("a boat", exact=True).wait_for()
    assert len(server.asked) == 2
    assert (server.asked[-1]["seed"], server.asked[-1]["eta"], server.asked[-1]["sigmas"]) == (3, 0.5, [14.6])
