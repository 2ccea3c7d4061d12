"""LoRAs, ControlNets, upscalers and the like, in a browser."""

from playwright.sync_api import expect

from page_server import painted


def test_add_ons_that_fit_the_model_are_offered(page, server, paint):
    page.locator(".addons > summary").click()
    expect(page.get_by_label("xl-only")).to_have_count(0)
    page.get_by_label("chalk").check()
    page.get_by_label("Strength of chalk").fill("0.6")
    page.get_by_label("edges").check()
    page.get_by_label("Prepare the picture").select_option("canny")
    paint(page, "a boat")
    assert server.asked[0]["lora"] == [{"name": "chalk", "strength": 0.6}]
    assert "control" not in server.asked[0]  # it has no picture to follow yet
    edges = {"name": "a.png", "mimeType": "image/png", "buffer": painted(3, 64, 64, 4, "PNG")}
    page.set_input_files('.addons input[type="file"]', edges)
    page.get_by_label("Enlarge the finished picture").select_option("twice 2×")
    paint(page, "a house")
    (control,) = server.asked[1]["control"]
    assert control.pop("image").startswith("data:image/png;base64,")
    assert control == {"name": "edges", "strength": 1, "start": 0, "end": 1, "preprocessor": "canny"}
    assert server.asked[1]["upscale"] == "twice"


def test_embeddings_and_vaes_are_chosen_by_name(page, server, paint):
    page.locator(".all > summary").click()
    page.fill("#search", "embeddings")
    page.get_by_label("style-1").check()
    page.fill("#search", "preview vae")
    page.select_option("#option-preview_vae", label="tiny")
    page.fill("#search", "restore")
    paint(page, "a boat")
    assert {name: server.asked[0].get(name) for name in ("embeddings", "preview_vae", "restore")} == {
        "embeddings": ["style-1"],
        "preview_vae": "tiny",
        "restore": None,
    }
    page.get_by_text("Back to the model’s defaults").click()
    paint(page, "a house")
    assert {*server.asked[1]} == {"task", "model", "prompt"}


def test_each_model_has_its_own(page, server, paint):
    page.locator(".addons > summary").click()
    page.get_by_label("chalk").check()
    page.select_option("select >> nth=1", "big")
    expect(page.get_by_label("chalk")).to_have_count(0)
    expect(page.locator(".prompt")).to_contain_text("This model reacts to: big style")
    page.get_by_role("button", name="Add").click()
    expect(page.locator("#prompt")).to_have_value("big style")
    page.get_by_label("xl-only").check()
    paint(page, "a boat")
    assert server.asked[0]["lora"] == [{"name": "xl-only", "strength": 1}]
    page.select_option("select >> nth=1", "storybook")
    expect(page.get_by_role("checkbox", name="chalk")).to_be_checked()


def test_a_finished_picture_is_enlarged(page, server, paint):
    paint(page, "a boat")
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Enlarge with").select_option("four 4×")
    page.get_by_role("button", name="Enlarge").click()
    expect(page.locator(".tiles .tile")).to_have_count(2)
    order = server.asked[1]
    assert (order["task"], order["upscale"], {*order}) == ("upscale", "four", {"task", "upscale", "image"})
