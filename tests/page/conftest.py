"""One headless Chromium for the tests of the page, and for each test a server and a page that has kept nothing."""

import os
import shutil

import pytest
from playwright.sync_api import expect, sync_playwright

from page_server import Fake

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
PATIENCE_MS = 20_000


def pytest_collection_modifyitems(items):
    if BROWSER is None and "CI" not in os.environ:
        for item in items:
            if "page" in item.fixturenames:
                item.add_marker(pytest.mark.skip(reason="no Chromium here"))


@pytest.fixture(scope="package")  # and not longer: while it lives, no other test of this process can run asyncio
def browser():
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playing:
        browser = playing.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", *CAMERA])
        yield browser
        browser.close()


@pytest.fixture
def server():
    fake = Fake()
    yield fake
    fake.stop()


@pytest.fixture
def open_page(browser, server):
    """Opens the page as `open_page(**context)`; after the test there was no error, and no request to another origin."""
    contexts, troubles = [], []

    def opened(**given):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "locale": "en-GB", **given})
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        page.on("console", lambda told: told.type in ("error", "warning") and troubles.append(told.text))
        page.on("request", lambda asked: troubles.append(asked.url) if foreign(asked.url, server.url) else None)
        page.goto(server.url)
        page.locator("#paint:enabled").wait_for()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not [each for each in troubles if not each.startswith("Failed to load resource")]


def foreign(address: str, home: str) -> bool:
    return not address.startswith((home, f"blob:{home}", "data:"))


@pytest.fixture
def page(open_page):
    return open_page()


@pytest.fixture
def paint():
    """Paints a prompt to its end, and returns the address of the picture that is shown."""

    def painted(page, prompt: str) -> str:
        page.fill("#prompt", prompt)
        page.click("#paint")
        picture = page.locator(f'.canvas img[alt="{prompt}"]')
        picture.wait_for()
        return picture.get_attribute("src")

    return painted
