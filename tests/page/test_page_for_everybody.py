"""The page without a mouse, with a screen reader, small and large, dark, in German, and while the server is away."""

import re
from importlib.resources import files

import pytest
from playwright.sync_api import expect

from page_server import PAGE, Fake

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
WORDS = ("texts.js", "drawing-texts.js")
MOST_BYTES = 90_000  # of all that the page loads, as it is sent


def violations(page, rules: dict) -> list[str]:
    page.evaluate(AXE)
    found = page.evaluate("(rules) => axe.run(rules).then((found) => found.violations)", rules)
    return [f"{each['id']}: {[node['html'] for node in each['nodes']]}" for each in found]


@pytest.mark.parametrize(
    ("scheme", "rules"), [("light", {}), ("dark", {"runOnly": ["color-contrast"]})], ids=["light", "dark"]
)
def test_every_part_can_be_reached_and_read(open_page, server, paint, scheme, rules):
    page = open_page(color_scheme=scheme)
    assert violations(page, rules) == []
    page.fill("#seed", "1, 2")
    paint(page, "a zeppelin")
    page.locator(".facts > summary").click()
    page.get_by_text("More", exact=True).click()
    page.fill("#prompt", "refused zeppelin")
    page.click("#paint")
    page.locator(".notice.error").wait_for()
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    page.get_by_label("chalk").check()
    page.get_by_label("edges").check()
    assert violations(page, rules) == []
    page.locator(".start > summary").scroll_into_view_if_needed()
    page.get_by_role("button", name="Sketch").click()
    page.locator(".editor canvas").wait_for()
    assert violations(page, rules) == []
    page.get_by_role("button", name="Keys").click()
    assert violations(page, rules) == []


@pytest.mark.parametrize("width", [360, 1280, 3840])
def test_nothing_is_cut_off_at_any_width(open_page, paint, width):
    page = open_page(viewport={"width": width, "height": 800})
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    paint(page, "a boat")
    page.get_by_role("button", name="Draw on it").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = """() => [...document.querySelectorAll("button, input, select, textarea")].filter((each) => {
        const { left, right, width } = each.getBoundingClientRect();
        return width > 1 && !each.closest(".scroll") && (left < 0 || right > innerWidth);
    }).map((each) => each.outerHTML)"""
    assert page.evaluate(outside) == []


def test_the_keyboard_paints_and_browses(page, paint):
    for seed in ("1", "2"):
        page.fill("#seed", seed)
        paint(page, f"boat {seed}")
    page.locator("#stage").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_alt_text("boat 1")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_alt_text("boat 2")).to_be_visible()
    page.keyboard.press("Delete")
    expect(page.locator(".tiles .tile")).to_have_count(1)
    page.get_by_role("button", name="Keys").click()
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_tab_reaches_the_prompt_and_focus_is_seen(page):
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "prompt":
            break
    assert page.evaluate("document.activeElement.id") == "prompt"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_german_from_the_browser_and_english_by_choice(open_page, paint):
    page = open_page(locale="de-DE")
    expect(page.locator("#paint")).to_have_text("Malen")
    page.locator(".all > summary").click()
    page.fill("#search", "zufallszahlen")
    expect(page.get_by_label("Rauschen", exact=True)).to_be_visible()
    page.get_by_label("Sprache").select_option("en")
    expect(page.locator("#paint")).to_have_text("Paint")
    page.reload()
    expect(page.locator("#paint")).to_have_text("Paint")
    assert page.get_attribute("html", "lang") == "en"


def test_light_and_dark_by_choice(page):
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Appearance: same as the system").click()
    page.get_by_role("button", name="Appearance: light").click()
    page.get_by_role("button", name="Appearance: dark").wait_for()
    assert page.evaluate(ground) != light


def test_every_text_is_in_both_languages_and_used():
    sources = {file: file.read_text(encoding="utf-8") for file in PAGE.rglob("*.js") if "vendored" not in file.parts}
    texts = "\n".join(text for file, text in sources.items() if file.name in WORDS)
    entries = re.findall(r"^  (\w+): \{(.*?)\},?$", texts, re.M | re.S)
    assert len(entries) > 150
    assert [name for name, entry in entries if not re.search(r"\ben: .*\bde: ", entry, re.S)] == []
    code = "".join(text for file, text in sources.items() if file.name not in WORDS)
    named = set(re.findall(r"""["'](\w+)["']""", code)) | {f"mode_{each}" for each in ("mask", "sketch", "outside")}
    named |= {f"theme_{each}" for each in ("auto", "light", "dark")} | {
        f"{each}Hint" for each in ("mask", "sketch", "outside")
    }
    assert [name for name, _ in entries if name not in named] == []
    asked = set(re.findall(r"""\bt\("(\w+)""", code))
    assert asked - {name for name, _ in entries} == set()


def test_the_page_is_small_and_loads_all_from_here(page, server):
    loaded = page.evaluate(
        """() => ["navigation", "resource"].flatMap((kind) => performance.getEntriesByType(kind)).map((each) =>
            [new URL(each.name).pathname, each.encodedBodySize])"""
    )
    sizes = {path: size for path, size in loaded if not path.startswith("/api/")}
    files = {f"/{file.relative_to(PAGE).as_posix()}" for file in PAGE.rglob("*") if file.suffix in (".js", ".css")}
    assert {*sizes} - {"/icon.svg"} == {"/", *files}
    assert 0 < sum(sizes.values()) < MOST_BYTES


def test_a_job_goes_on_over_a_reload(page, server):
    server.held = True
    page.fill("#prompt", "a boat")
    page.click("#paint")
    page.locator(".canvas img.rough").wait_for()
    page.reload()
    page.locator(".canvas img.rough").wait_for()
    server.held = False
    expect(page.get_by_alt_text("a boat", exact=True)).to_be_visible()
    assert len(server.asked) == 1
    expect(page.locator(".tiles .tile")).to_have_count(1)


def test_a_server_that_restarts_is_noticed_and_the_job_can_be_repeated(open_page, server):
    page = open_page()
    server.held = True
    page.fill("#prompt", "a boat")
    page.click("#paint")
    page.locator(".canvas img.rough").wait_for()
    port = server.server_port
    server.stop()
    expect(page.locator(".health")).to_contain_text("The server does not answer")
    second = Fake(port)
    expect(page.locator(".ended")).to_contain_text("after a restart")
    page.get_by_role("button", name="Paint again").click()
    expect(page.get_by_alt_text("a boat", exact=True)).to_be_visible()
    assert second.asked[0]["prompt"] == "a boat"
    second.stop()


def test_short_memory_is_said_plainly(open_page, server):
    server.memory = {"free": 600 << 20, "total": 16 << 30}
    page = open_page()
    expect(page.locator(".health")).to_have_text(
        "Memory is short: 0.6 of 16 GB free. Close other programs or choose a smaller size."
    )
