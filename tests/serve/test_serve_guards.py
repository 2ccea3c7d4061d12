"""Who may ask, and how much: names of hosts, pages of other origins, keys, bodies, and the page's own files."""

import base64
from dataclasses import replace

import pytest

from pleinair.serve import page_files
from serving import LIMITS, png

KEY = "0123456789abcdef"
OWN = "http://127.0.0.1:7860"


@pytest.mark.parametrize(
    "host, status",
    [
        ("127.0.0.1:7860", 200),
        ("localhost", 200),
        ("LOCALHOST.:1", 200),
        ("[::1]:7860", 200),
        ("192.168.1.5:7860", 200),
        ("a.localhost", 200),
        ("mine.example", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example", 403),
        ("user@localhost", 403),
        ("localhost/x", 403),
        ("localhost:port", 403),
        ("[::1", 403),
        ("", 403),
    ],
)
def test_names_that_somebody_else_could_bind_to_this_machine_are_refused(client, host, status):
    http = client(hosts=("mine.example",))
    assert http.get("/api/v1/openapi.json", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 202),
        ({"Origin": OWN}, 202),
        ({"Origin": OWN, "Sec-Fetch-Site": "same-origin"}, 202),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_pages_of_other_origins_change_nothing(client, headers, status):
    answer = client().post("/api/v1/jobs", json={"prompt": "a house"}, headers=headers)
    assert answer.status_code == status
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_other_origins_are_told_nothing_before_either(client):
    answer = client().options("/api/v1/jobs", headers={"Origin": "http://evil.example"})
    assert answer.status_code == 204 and "access-control-allow-origin" not in answer.headers


def basic(password, user="anybody"):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    "authorization, status",
    [
        (f"Bearer {KEY}", 200),
        (f"bearer {KEY}", 200),
        (basic(KEY), 200),
        (None, 401),
        ("", 401),
        (KEY, 401),
        (f"Bearer {KEY}x", 401),
        (f"Bearer {KEY[:-1]}", 401),
        ("Bearer ", 401),
        ("Basic !!!", 401),
        ("Basic " + base64.b64encode(b"\xff\xff").decode(), 401),
        (basic("wrong"), 401),
        (basic("", KEY), 401),
    ],
)
def test_a_key_is_asked_for(client, authorization, status):
    http = client(key=KEY)
    headers = {} if authorization is None else {"Authorization": authorization}
    for path in ("/api/v1/openapi.json", "/api/v1/capabilities"):
        answer = http.get(path, headers=headers)
        assert answer.status_code == status
        assert ("www-authenticate" in answer.headers) == (status == 401) and KEY not in answer.text
    assert http.get("/health", headers=headers).status_code == 200


def test_large_bodies_are_refused_by_what_they_say_and_by_what_they_are(client):
    http = client(limits=replace(LIMITS, body=1000))
    kind = {"content-type": "application/json"}
    for content in (b"x" * 1001, iter([b"x" * 600, b"x" * 600])):
        answer = http.post("/api/v1/jobs", content=content, headers=kind)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    assert http.post("/api/v1/tokens", content=b"{}", headers=kind | {"content-encoding": "gzip"}).status_code == 415


def test_large_bodies_are_refused_where_too_many_come_at_once(client):
    http = client(limits=replace(LIMITS, bodies=1000))
    kind = {"content-type": "application/json"}
    body = b'{"prompt": "' + b"x" * 700 + b'"}'
    for _ in range(3):  # one after the other
        assert http.post("/api/v1/tokens", content=body, headers=kind).status_code == 200
    answer = http.post("/api/v1/tokens", content=iter([body, body]), headers=kind)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "busy") and answer.headers["retry-after"]
    assert http.post("/api/v1/tokens", content=body, headers=kind).status_code == 200


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/v1/images/generations", "/sdapi/v1/txt2img", "/mcp"])
@pytest.mark.parametrize(
    "body, statuses",
    [
        (b'{"prompt": "a house", "\\ud800": 1}', (400,)),
        (b'{"prompt": "a house", "extra": "\\ud800"}', (400,)),
        (b'{"prompt": "a house", "extra": 1e999}', (400,)),
        (b'{"prompt": "a house", "extra": NaN}', (400,)),
        (b'{"prompt": "a house", "extra": [' + b"[]," * 100_000 + b"1]}", (400, 422)),
        (b'{"prompt": "a house", "extra": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", (400, 422)),
        (b'{"prompt": "a house", "seed": ' + b"9" * 10_000 + b"}", (400, 422)),
    ],
    ids=["surrogate name", "surrogate", "infinite", "nan", "many", "deep", "long number"],
)
def test_hostile_json_is_the_clients_error_in_every_interface(client, path, body, statuses):
    kind = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    assert client().post(path, content=body, headers=kind).status_code in statuses


@pytest.mark.parametrize(
    "charset, parts, words",
    [
        ("utf-8", 60, "is no PNG, JPEG or WebP"),
        ("utf-8", 65, "Too many fields"),
        ("unicode_escape", 1, "not valid Unicode"),
    ],
)
def test_forms_are_bounded_and_of_text_that_can_be_written(client, charset, parts, words):
    part = "--b\r\nContent-Disposition: form-data; name="
    fields = [f'{part}"prompt"\r\n\r\n\\ud800\r\n', *[f'{part}"more"\r\n\r\nx\r\n'] * (parts - 1)]
    file = f'{part}"image"; filename="a"\r\nContent-Type: image/png\r\n\r\nno picture\r\n--b--'
    kind = f"multipart/form-data; boundary=b; charset={charset}"
    answer = client().post("/v1/images/edits", content="".join([*fields, file]), headers={"content-type": kind})
    assert answer.status_code == 400 and words in answer.json()["error"]["message"], answer.text


@pytest.mark.parametrize("full", [OSError(28, "No space left on device"), MemoryError()])
def test_what_is_short_is_said(client, monkeypatch, full):
    def broken(*_):
        raise full

    monkeypatch.setattr("pleinair.serve.own.recorded", broken)
    answer = client().post("/api/v1/metadata", content=b"x")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "out_of_resources")


def test_every_answer_has_what_browsers_are_told(client):
    http = client()
    for path in ("/health", "/nothing", "/api/v1/jobs/x"):
        headers = http.get(path).headers
        assert headers["content-security-policy"].startswith(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:"
        )
        assert headers["x-content-type-options"] == "nosniff" and len(headers["x-request-id"]) == 16
    assert "unsafe" not in headers["content-security-policy"]


def test_a_bug_is_answered_with_its_id_and_without_what_was_asked(client, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("a secret prompt")

    monkeypatch.setattr("pleinair.serve.own.asked_job", broken)
    answer = client().post("/api/v1/jobs", json={"prompt": "a secret prompt"})
    assert answer.status_code == 500 and answer.headers["x-request-id"] in answer.json()["error"]["message"]
    assert "secret" not in answer.text + caplog.text and "RuntimeError" in caplog.text


@pytest.mark.parametrize("path", ["/v1/models", "/v1/nothing"])
def test_refusals_in_front_of_openais_interface_have_its_form(client, path):
    http = client(key=KEY)
    answer = http.get(path)
    assert answer.status_code == 401 and answer.headers["x-should-retry"] == "false"
    assert answer.headers["www-authenticate"].startswith("Basic") and answer.json()["error"]["type"]
    if path == "/v1/nothing":
        there = http.get(path, headers={"Authorization": f"Bearer {KEY}"})
        assert there.status_code == 404 and there.json()["error"]["type"] == "not_found_error"


def test_refusals_in_front_of_a1111s_interface_have_its_form(client):
    answer = client(key=KEY).get("/sdapi/v1/progress")
    assert answer.status_code == 401 and answer.json()["error"] == "unauthorized" and answer.json()["detail"]


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A page of two files, beside one that is not of it."""
    folder = tmp_path / "page"
    (folder / "core").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html>")
    (folder / "core" / "main.js").write_text("'use strict'")
    (folder / "core" / "notes.py").write_text("secret")
    (tmp_path / "secret.html").write_text("secret")
    monkeypatch.setattr("pleinair.serve.app.page_files", lambda: page_files.page_files(folder))


@pytest.mark.usefixtures("page")
def test_the_page_is_served_with_types_and_kept_by_browsers(client):
    http = client()
    first, script = http.get("/"), http.get("/core/main.js")
    assert (first.text, first.headers["content-type"]) == ("<!doctype html>", "text/html; charset=utf-8")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    again = http.get("/core/main.js", headers={"If-None-Match": script.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert http.head("/").status_code == 200 and http.post("/").status_code == 405


@pytest.mark.usefixtures("page")
@pytest.mark.parametrize(
    "path",
    [
        "/../secret.html",
        "/%2e%2e/secret.html",
        "/..%2fsecret.html",
        "/core/../../secret.html",
        "/core/..%5c..%5csecret.html",
        "/.//secret.html",
        "/core/notes.py",
        "/core",
        "/core/",
        "/core/main.js%00.html",
        "/file:/etc/passwd",
        "/C:/secret.html",
    ],
)
def test_no_name_leads_out_of_the_page(client, path):
    answer = client().get(path)
    assert answer.status_code == 404 and "secret" not in answer.text


def test_what_a_controlnet_sees_takes_no_memory_where_a_request_is_checked(index):
    from pleinair.serve.asking import tried

    options = {"prompt": "a house", "controls": [{"name": "canny"}]}
    request = tried(index, index.model()[1], options, {"controls.0": png((4000, 4000))})
    assert request.controls[0].image.size == (8, 8)
