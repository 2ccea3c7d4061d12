"""Several pictures of one idea, in a browser: variations, seeds, grids, two side by side, films."""

import pytest
from PIL import Image
from playwright.sync_api import expect

WEBM = b"\x1aE\xdf\xa3"


def test_variations_keep_the_seed_and_mix_others_in(page, server, paint):
    paint(page, "a boat")
    page.get_by_role("button", name="More like this").click()
    expect(page.locator(".sheet .tile img")).to_have_count(6)
    variations = server.asked[1:]
    assert {each["seed"] for each in variations} == {41}
    assert {each["subseed_strength"] for each in variations} == {0.2}
    first = variations[0]["subseed"]
    assert [each["subseed"] - first for each in variations] == [*range(6)]


def test_a_strip_of_the_next_seeds(page, server, paint):
    paint(page, "a boat")
    page.get_by_role("button", name="Next seeds").click()
    expect(page.locator(".sheet .tile img")).to_have_count(6)
    assert [each["seed"] for each in server.asked[1:]] == [42, 43, 44, 45, 46, 47]
    page.locator(".sheet .tile").nth(2).click()
    page.locator(".facts > summary").click()
    expect(page.locator(".facts")).to_contain_text("Seed44")


def test_a_grid_over_two_options(page, server):
    page.fill("#prompt", "a boat")
    page.fill("#seed", "7")
    page.locator(".series > summary").click()
    values, names = page.locator(".axis input"), page.locator(".axis select")
    values.nth(0).fill("1-3:2")
    names.nth(1).select_option("sampler")
    values.nth(1).fill("euler, heun")
    page.get_by_role("button", name="Paint the grid").click()
    expect(page.locator(".sheet td .tile img")).to_have_count(4)
    expect(page.get_by_role("button", name="Steps 3, Sampler heun")).to_be_visible()
    painted = [(each["steps"], each["sampler"], each["seed"]) for each in server.asked]
    assert painted == [(1, "euler", 7), (3, "euler", 7), (1, "heun", 7), (3, "heun", 7)]
    with page.expect_download() as started:
        page.get_by_role("button", name="Save as one picture").click()
    with Image.open(started.value.path()) as sheet:
        assert sheet.size == (256, 256)


def test_a_series_can_be_stopped(page, server):
    server.held = True
    grid_of(page, "10, 11, 12")
    page.locator(".sheet .now img").wait_for()
    page.locator(".sheet .stop").click()
    expect(page.locator(".sheet .stop")).to_have_count(0)
    page.locator("#paint", has_text="Paint").wait_for()
    assert len(server.asked) == 1 and [*server.jobs.values()][0].cancelled
    server.held = False
    page.get_by_role("button", name="Continue").click()
    expect(page.locator(".sheet .tile img")).to_have_count(3)
    assert [each["steps"] for each in server.asked] == [10, 10, 11, 12]


def test_a_series_that_goes_on_while_its_last_run_ends_paints_each_picture_once(page, server):
    server.held = True
    grid_of(page, "10, 11, 12")
    page.locator(".sheet .now img").wait_for()
    waiting = []
    page.route(
        "**/api/v1/capabilities", lambda route: waiting.append(route)
    )  # which a run asks for when its job is over
    with page.expect_request("**/api/v1/capabilities"):
        page.locator(".sheet .stop").click()
    with page.expect_request("**/api/v1/jobs"):
        page.get_by_role("button", name="Continue").click()
    for each in waiting:
        each.continue_()
    page.unroute("**/api/v1/capabilities")
    server.held = False
    expect(page.locator(".sheet .tile img")).to_have_count(3)
    assert [each["steps"] for each in server.asked] == [10, 10, 11, 12]


def test_a_picture_that_is_being_ordered_when_its_series_is_stopped_is_cancelled(page, server):
    waiting = []
    page.route("**/api/v1/jobs", lambda route: waiting.append(route))
    with page.expect_request("**/api/v1/jobs"):
        grid_of(page, "10, 11")
    page.locator(".sheet .stop").click()
    server.held = True
    with page.expect_response("**/cancel"):
        waiting[0].continue_()
    assert len(server.asked) == 1 and [*server.jobs.values()][0].cancelled


def grid_of(page, steps: str) -> None:
    page.fill("#prompt", "a boat")
    page.locator(".series > summary").click()
    page.locator(".axis input").nth(0).fill(steps)
    page.get_by_role("button", name="Paint the grid").click()


@pytest.mark.parametrize(
    ("across", "told"), [("", "some values"), ("1-500:1", "more than 64 pictures"), ("5-1:1", "some values")]
)
def test_grids_that_cannot_be_are_refused(page, server, across, told):
    page.locator(".series > summary").click()
    page.locator(".axis input").nth(0).fill(across)
    page.get_by_role("button", name="Paint the grid").click()
    expect(page.locator(".notice.error")).to_contain_text(told)
    assert not server.asked


def test_two_pictures_are_compared(page, paint):
    page.fill("#seed", "1")
    paint(page, "a boat")
    page.fill("#seed", "2")
    paint(page, "a boat at night")
    page.get_by_role("button", name="Compare").click()
    page.locator(".tiles .tile").nth(1).click()
    expect(page.locator(".compare img")).to_have_count(2)
    rows = page.locator(".differences tbody tr")
    assert [row.split("\t") for row in rows.all_inner_texts()] == [
        ["Prompt", "a boat at night", "a boat"],
        ["Seed", "2", "1"],
    ]
    page.get_by_label("How much of the left picture").fill("20")
    assert (
        page.locator(".compare .over").evaluate("(each) => getComputedStyle(each).clipPath") == "inset(0px 80% 0px 0px)"
    )


def test_a_film_goes_from_prompt_to_prompt(page, server):
    page.locator(".series > summary").click()
    page.get_by_label("Prompts, one per line").fill("a meadow in spring\n\na meadow in winter")
    page.get_by_label("Frames").fill("5")
    page.get_by_label("Seconds").fill("1")
    page.get_by_role("button", name="Make the film").click()
    expect(page.get_by_alt_text("a meadow in spring → a meadow in winter")).to_be_visible()
    morph = {"task": "morph", "model": "storybook", "frames": 5, "loop": False}
    assert server.asked == [{**morph, "prompts": ["a meadow in spring", "a meadow in winter"]}]
    expect(page.locator(".tiles .tile")).to_have_count(1)
    expect(page.locator(".player input")).to_have_attribute("max", "4")
    expect(page.get_by_role("button", name="Use its settings")).to_have_count(0)
    with page.expect_download() as started:
        page.get_by_role("button", name="Save as film").click()
    assert started.value.suggested_filename == "a-meadow-in-spring-a-meadow-in-winter.webm"
    assert started.value.path().read_bytes()[:4] == WEBM


def test_a_picture_is_watched_emerging_again(page, paint):
    paint(page, "a boat")
    page.get_by_text("More", exact=True).click()
    page.get_by_role("button", name="Watch it emerge").click()
    slider = page.locator(".player input")
    expect(slider).to_have_attribute("max", "4")
    slider.fill("1")
    expect(page.locator(".canvas img")).to_have_js_property("naturalWidth", 16)
    with page.expect_download() as started:
        page.get_by_role("button", name="Save as film").click()
    assert started.value.path().read_bytes()[:4] == WEBM
