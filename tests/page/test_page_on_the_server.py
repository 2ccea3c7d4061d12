"""The page on `pleinair serve` itself, which paints with storybook: what both say to each other is the same."""

import importlib.util

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("starlette") is None, reason="pleinair[serve] is not installed"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    from serving import Running

    folder = tmp_path_factory.mktemp("served")
    running = Running(folder / "home", folder / "log")
    running.url += "/"
    yield running
    running.process.terminate()
    running.process.wait()


def small(page):
    """Sets the smallest picture, in one step."""
    page.locator(".format select").select_option("own")
    page.get_by_role("spinbutton", name="Width").fill("64")
    page.get_by_role("spinbutton", name="Height").fill("64")
    page.get_by_role("spinbutton", name="Height").blur()
    page.locator(".all > summary").click()
    page.fill("#search", "steps")
    page.fill("#option-steps", "1")
    page.locator("#option-steps").blur()
    page.locator(".all > summary").click()


def test_a_picture_is_painted_changed_and_restored(page, paint):
    small(page)
    page.fill("#seed", "5")
    paint(page, "a red house with a zeppelin")
    expect(page.locator("#tokens")).to_contain_text("The model does not know: zeppelin")
    expect(page.locator(".work figcaption")).to_contain_text("zeppelin")
    with page.expect_download() as started:
        page.get_by_role("button", name="Download").click()
    page.locator("#stage").focus()
    page.keyboard.press("e")
    page.locator(".editor canvas").focus()
    page.keyboard.press("Space")
    page.locator(".addons > summary").click()
    page.get_by_role("checkbox", name="storybook-chalk").check()
    page.get_by_role("checkbox", name="storybook-edges").check()
    page.get_by_role("button", name="Use the start picture").click()
    page.get_by_label("Prepare the picture").select_option("canny")
    paint(page, "a yellow castle")
    expect(page.locator(".tiles .tile")).to_have_count(2)
    page.set_input_files('.shelf input[type="file"]', started.value.path())
    expect(page.locator("#prompt")).to_have_value("a red house with a zeppelin")
    expect(page.locator("#seed")).to_have_value("5")
    page.fill("#seed", "none")
    page.locator("#seed").blur()
    page.click("#paint")
    expect(page.locator(".notice.error")).to_contain_text("eed")


def test_a_film_is_painted(page):
    small(page)
    page.locator(".series > summary").click()
    page.get_by_label("Prompts, one per line").fill("a red house\na blue boat")
    page.get_by_label("Frames").fill("3")
    page.get_by_role("button", name="Make the film").click()
    expect(page.locator(".player input")).to_have_attribute("max", "2")


def test_the_page_is_sent_packed(page):
    sizes = page.evaluate(
        """() => ["navigation", "resource"].flatMap((kind) => performance.getEntriesByType(kind))
            .filter((each) => !each.name.includes("/api/")).map((each) => each.encodedBodySize)"""
    )
    assert 0 < sum(sizes) < 90_000
