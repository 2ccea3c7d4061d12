"""Pictures to start from, in a browser: files, the clipboard, the camera, and what is drawn over them."""

import base64
import io
import shlex

import numpy as np
from PIL import Image
from playwright.sync_api import expect

from page_server import painted

START = painted(3, 96, 64, 4, "PNG")


def sent(picture: str) -> np.ndarray:
    """(H, W, 3) uint8 of a data URL."""
    with Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))) as opened:
        return np.asarray(opened.convert("RGB"))


def start_from_a_file(page):
    page.locator(".start > summary").click()
    page.set_input_files("#start-file", {"name": "a.png", "mimeType": "image/png", "buffer": START})
    page.locator(".chosen img").wait_for()


def draw(page, *points):
    """A stroke through points of the canvas, each a share of its width and height."""
    box = page.locator(".editor canvas").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()


def carries_a_file(page, event: str, selector: str, name: str = "dataTransfer"):
    """Dispatches an event of the clipboard or of dragging with START in it."""
    page.evaluate(
        """async ([event, selector, name, text]) => {
            const bytes = Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], "a.png", { type: "image/png" }));
            const Kind = event === "paste" ? ClipboardEvent : DragEvent;
            const given = { bubbles: true, cancelable: true, [name]: transfer };
            document.querySelector(selector).dispatchEvent(new Kind(event, given));
        }""",
        [event, selector, name, base64.b64encode(START).decode()],
    )


def test_a_picture_is_painted_over(page, server, paint):
    start_from_a_file(page)
    page.locator(".start input[type=range]").fill("0.4")
    paint(page, "a boat")
    order = server.asked[0]
    assert order["strength"] == 0.4
    assert (sent(order["image"]) == np.asarray(Image.open(io.BytesIO(START)))).all()
    assert not {"mask", "outpaint"} & {*order}
    page.get_by_role("button", name="Without a picture").click()
    paint(page, "a house")
    assert not {"image", "strength"} & {*server.asked[1]}


def test_what_is_marked_becomes_the_mask_and_can_be_undone(page, server, paint):
    start_from_a_file(page)
    page.get_by_role("button", name="Draw on it").click()
    draw(page, (0.2, 0.5), (0.8, 0.5))
    draw(page, (0.5, 0.1), (0.5, 0.12))
    page.get_by_role("button", name="Eraser").click()
    draw(page, (0.8, 0.5), (0.81, 0.5))
    canvas = page.locator(".editor canvas")
    canvas.focus()
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    page.get_by_role("button", name="Redo").click()
    page.get_by_role("button", name="Redo").click()
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Remove what was drawn").click()
    expect(page.get_by_role("button", name="Remove what was drawn")).to_be_disabled()
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Zoom in").click()
    page.get_by_role("button", name="Done").click()
    paint(page, "a boat")
    mask = sent(server.asked[0]["mask"])
    assert mask.shape == (64, 96, 3)
    assert (mask[32, 20:76] == 255).all()
    assert (mask[:20] == 0).all() and (mask[44:] == 0).all()


def test_a_sketch_is_drawn_on_an_empty_canvas(page, server, paint):
    page.locator(".start > summary").click()
    page.get_by_role("button", name="Sketch").click()
    page.locator("input[type=color]").fill("#102030")
    draw(page, (0.5, 0.5), (0.52, 0.5))
    page.get_by_role("button", name="Done").click()
    paint(page, "a boat")
    sketch = sent(server.asked[0]["image"])
    assert sketch.shape == (128, 128, 3)
    assert tuple(sketch[64, 65]) == (16, 32, 48) and tuple(sketch[0, 0]) == (255, 255, 255)
    assert "mask" not in server.asked[0]


def test_the_keyboard_draws(page, server, paint):
    start_from_a_file(page)
    page.get_by_role("button", name="Draw on it").click()
    page.locator(".editor canvas").focus()
    for key in ["ArrowLeft", "ArrowUp", "Space"]:
        page.keyboard.press(key)
    page.get_by_role("button", name="Done").click()
    paint(page, "a boat")
    lit = np.argwhere(sent(server.asked[0]["mask"])[..., 0] > 127)
    assert np.allclose(lit.mean(axis=0), (31.5 - 2.5, 47.5 - 2.5), atol=0.6)  # the middle, a quarter brush left and up


def test_a_picture_is_extended(page, server, paint):
    start_from_a_file(page)
    page.get_by_role("button", name="Draw on it").click()
    page.get_by_role("button", name="Extend").click()
    page.get_by_label("Right").fill("64")
    page.get_by_role("button", name="Done").click()
    paint(page, "a boat")
    assert server.asked[0]["outpaint"] == [0, 0, 64, 0]
    expect(page.locator(".start")).to_contain_text("Only what is marked or added is painted")


def test_pictures_are_pasted_and_dropped(page, server, paint):
    carries_a_file(page, "paste", "body", "clipboardData")
    expect(page.locator(".chosen img")).to_be_visible()
    page.get_by_role("button", name="Without a picture").click()
    carries_a_file(page, "dragenter", "body")
    expect(page.locator(".drop")).to_be_visible()
    carries_a_file(page, "drop", "[data-drop=start]")
    expect(page.locator(".chosen img")).to_be_visible()
    carries_a_file(page, "drop", "[data-drop=settings]")
    expect(page.locator(".notices")).to_contain_text("This file has no settings.")
    expect(page.locator(".drop")).to_be_hidden()


def test_the_camera_gives_a_picture(open_page):
    page = open_page(permissions=["camera"])
    page.locator(".start > summary").click()
    page.get_by_role("button", name="Camera").click()
    expect(page.locator("video")).to_have_js_property("readyState", 4)
    page.get_by_role("button", name="Take the picture").click()
    page.locator(".chosen img").wait_for()
    expect(page.locator("dialog")).to_have_count(0)


def test_what_is_no_picture_is_refused(page):
    page.locator(".start > summary").click()
    page.set_input_files("#start-file", {"name": "a.png", "mimeType": "image/png", "buffer": b"no picture"})
    expect(page.locator(".notice.error")).to_contain_text("Choose a PNG, JPEG or WebP.")


def test_a_finished_picture_is_drawn_on(page, server, paint):
    paint(page, "a boat")
    page.locator("#stage").focus()
    page.keyboard.press("e")
    draw(page, (0.4, 0.5), (0.6, 0.5))
    page.get_by_role("button", name="Done").click()
    paint(page, "a house")
    assert {"image", "mask"} <= {*server.asked[1]}


def test_marks_wait_while_a_picture_is_extended(page, server, paint):
    start_from_a_file(page)
    page.get_by_role("button", name="Draw on it").click()
    draw(page, (0.4, 0.5), (0.6, 0.5))
    page.get_by_role("button", name="Extend").click()
    page.get_by_label("Right").fill("64")
    expect(page.locator(".editor")).to_contain_text("one comes after the other")
    paint(page, "a boat")
    assert server.asked[0]["outpaint"] == [0, 0, 64, 0] and "mask" not in server.asked[0]


def test_two_fingers_zoom_and_leave_no_stroke(open_page):
    page = open_page(has_touch=True, viewport={"width": 360, "height": 740})
    start_from_a_file(page)
    page.get_by_role("button", name="Draw on it").click()
    canvas = page.locator(".editor canvas")
    canvas.scroll_into_view_if_needed()
    before = canvas.bounding_box()
    middle, at = before["x"] + before["width"] / 2, before["y"] + before["height"] / 2
    touches = page.context.new_cdp_session(page)

    def touch(kind: str, *apart: int):
        points = [{"x": middle + each, "y": at, "id": k} for k, each in enumerate(apart)]
        touches.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", -40)
    touch("touchStart", -40, 40)
    touch("touchMove", -60, 60)
    touch("touchMove", -80, 80)
    touch("touchEnd")
    wide = page.evaluate("document.querySelector('.editor canvas').getBoundingClientRect().width")
    assert abs(wide / before["width"] - 2) < 0.05
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()


def test_a_controlnet_follows_a_dropped_picture(page, server, paint):
    page.locator(".addons > summary").click()
    page.get_by_label("edges").check()
    page.locator("[data-drop=control]").wait_for(state="attached")
    carries_a_file(page, "drop", "[data-drop=control]")
    page.locator(".addons img").wait_for()
    paint(page, "a boat")
    assert (sent(server.asked[0]["control"][0]["image"]) == np.asarray(Image.open(io.BytesIO(START)))).all()


def test_what_is_copied_names_the_pictures_and_gives_them(open_page, paint):
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    start_from_a_file(page)
    paint(page, "-a boat")
    page.get_by_text("More", exact=True).click()
    page.get_by_role("button", name="Copy as command").click()
    with page.expect_download() as started:
        page.get_by_role("button", name="start.png").click()
    assert (np.asarray(Image.open(started.value.path()))[..., :3] == np.asarray(Image.open(io.BytesIO(START)))).all()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Copy as command")).to_be_focused()
    words = shlex.split(page.evaluate("navigator.clipboard.readText()"))
    assert words[words.index("--image") + 1] == "start.png" and words[-2:] == ["--", "-a boat"]
