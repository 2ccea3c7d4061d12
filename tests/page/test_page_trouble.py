"""What the page makes of answers without sense, of lost connections, and of browsers that forbid this and that."""

from playwright.sync_api import expect

NOTHING_IS_KEPT = """for (const name of ["localStorage", "indexedDB"])
    Object.defineProperty(window, name, { get() { throw new DOMException("no", "SecurityError"); } });"""
NO_BLOBS = """const { put } = IDBObjectStore.prototype;
IDBObjectStore.prototype.put = function (record) {
    if (record.blob instanceof Blob) throw new DOMException("no blobs", "DataCloneError");
    return put.call(this, record);
};"""
PLAIN_HTTP = "delete Crypto.prototype.randomUUID; delete Navigator.prototype.clipboard;"


def test_a_picture_whose_transfer_breaks_is_fetched_again(page, paint):
    left = [2]

    def break_off(route):
        left[0] -= 1
        route.abort() if left[0] >= 0 else route.continue_()

    page.route("**/images/*", break_off)
    paint(page, "a boat")
    assert left[0] < 0


def test_events_that_cannot_be_read_are_passed_over(page, server):
    page.route("**/events", lambda route: route.fulfill(body="id: 1\nevent: step\ndata: {\n\n: hm\n\ndata: 3\n\n"))
    page.fill("#prompt", "a boat")
    page.click("#paint")
    page.get_by_alt_text("a boat", exact=True).wait_for()


def test_a_server_that_makes_no_sense_is_given_up(page):
    page.clock.install()  # its pauses need not be waited for
    page.route("**/jobs/*", lambda route: route.fulfill(body="<h1>"))
    page.route("**/events", lambda route: route.fulfill(body=""))
    page.fill("#prompt", "a boat")
    page.click("#paint")
    while not page.locator(".ended").count():
        page.clock.run_for(4000)
    expect(page.locator(".ended")).to_contain_text("The server’s answer cannot be read.")
    page.unroute("**/jobs/*")
    page.route("**/capabilities", lambda route: route.fulfill(body="{}"))
    page.reload()
    expect(page.locator(".notice")).to_contain_text("The server’s answer cannot be read.")


def test_more_jobs_than_a_browser_has_connections(page, server):
    server.held = True
    page.evaluate(
        """async () => {
            const order = { task: "generate", prompt: "a boat" };
            for (let k = 0; k < 6; k++) {
                const answer = await fetch("/api/v1/jobs", { method: "POST", body: JSON.stringify(order) });
                localStorage.setItem(`pleinair.job.${(await answer.json()).id}`, JSON.stringify(order));
            }
        }"""
    )
    page.reload()
    expect(page.locator(".tiles .blank")).to_have_count(6)
    page.fill("#prompt", "a house")
    page.click("#paint")
    expect(page.locator(".tiles .blank")).to_have_count(7)
    server.held = False
    expect(page.locator(".tiles .tile:not(.blank)")).to_have_count(7)


def test_a_browser_that_keeps_nothing_paints(page, paint):
    page.add_init_script(NOTHING_IS_KEPT)
    page.reload()
    paint(page, "a boat")
    expect(page.locator(".notice")).to_have_text(
        "This browser keeps nothing for this page. Download what you want to keep."
    )


def test_over_plain_http_and_without_blobs_pictures_are_kept(page, paint):
    page.add_init_script(NO_BLOBS + PLAIN_HTTP)
    page.reload()
    paint(page, "a boat")
    page.get_by_text("More", exact=True).click()
    page.get_by_role("button", name="Copy as command").click()
    expect(page.get_by_role("textbox", name="Copy this text")).to_have_value(
        'pleinair generate "a boat" --model storybook --seed 41 -o a-boat-41.png'
    )
    page.reload()
    expect(page.locator("#prompt")).to_have_value("a boat")  # so does the form
    page.locator(".tiles .tile").click()
    expect(page.get_by_alt_text("a boat", exact=True)).to_have_js_property("naturalWidth", 128)


def test_an_option_that_means_nothing_says_so_and_is_put_back(page):
    page.locator(".all > summary").click()
    page.fill("#search", "hires steps")
    page.fill("#option-hires_steps", "3")
    expect(page.locator(".option.set")).to_contain_text("it needs Second pass")
    page.get_by_role("button", name="Use default: Hires steps").click()
    expect(page.locator("#option-hires_steps")).to_have_value("")
    expect(page.locator("#option-hires_steps")).to_be_focused()
