"""/metrics, read by Prometheus' own parsers."""

import pytest

parser = pytest.importorskip("prometheus_client.parser")
KEY = "0123456789abcdef"
SECRET = "a secret prompt"


def samples(answer, parse=parser.text_string_to_metric_families):
    assert answer.status_code == 200, answer.text
    families = list(parse(answer.text))
    assert all(family.documentation for family in families)
    return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}


def test_it_is_off_unless_it_is_asked_for(client):
    assert client().get("/metrics").status_code == 404


def test_it_wants_the_key_as_everything_does(client):
    http = client(key=KEY, metrics=True)
    assert http.get("/metrics").status_code == 401
    answer = http.get("/metrics", headers={"Authorization": f"Bearer {KEY}"})
    assert samples(answer)["pleinair_requests_refused_total", "unauthorized"] == 1


def test_jobs_and_refusals_are_counted_by_interface_and_by_reason(client):
    http = client(metrics=True)
    assert http.get("/metrics").headers["content-type"].startswith("text/plain; version=0.0.4")
    assert samples(http.get("/metrics"))["pleinair_jobs_ended_total", "openai", "failed"] == 0
    asked = {"prompt": SECRET, "size": "64x64", "steps": 2}
    assert http.post("/api/v1/jobs?wait=true", json=asked).status_code == 200
    assert http.post("/v1/images/generations", json={"prompt": SECRET}).status_code == 200
    assert http.post("/sdapi/v1/txt2img", json={"prompt": SECRET}).status_code == 200
    assert http.post("/api/v1/jobs", json={"prompt": SECRET, "steps": 0}).status_code == 422
    assert http.post("/v1/images/generations", json={"prompt": SECRET, "model": SECRET}).status_code == 404
    assert http.post("/sdapi/v1/txt2img", json={"prompt": SECRET, "steps": 0}).status_code == 422
    assert http.post("/api/v1/jobs", json=asked, headers={"Origin": "http://evil.example"}).status_code == 403
    assert http.get(f"/{SECRET}").status_code == 404
    http.jobs.held = lambda: [7, 8]
    answer = http.get("/metrics")
    found = samples(answer)
    for interface in ("own", "openai", "a1111"):
        assert found["pleinair_jobs_accepted_total", interface, "generate"] == 1
        assert found["pleinair_jobs_ended_total", interface, "done"] == 1
    assert found["pleinair_jobs_accepted_total", "mcp", "upscale"] == 0
    refused = {"invalid_request": 2, "model_not_found": 1, "origin_not_allowed": 1, "not_found": 1}
    assert {name[1]: value for name, value in found.items() if name[0] == "pleinair_requests_refused_total"} == refused
    assert found["pleinair_pictures_total",] == 3 and found["pleinair_painting_seconds_total",] > 0
    assert (found["pleinair_jobs_queued",], found["pleinair_jobs_running",]) == (0, 0)
    assert found["pleinair_results_kept",] == 3 and found["pleinair_results_bytes",] > 0
    assert found["pleinair_worker_memory_bytes", "1"] == 8 and found["pleinair_worker_restarts_total",] == 0
    assert "secret" not in answer.text


def test_openmetrics_is_given_where_it_is_asked_for(client):
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    http = client(metrics=True)
    answer = http.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert ("pleinair_jobs_accepted_total", "own", "generate") in samples(answer, text_string_to_metric_families)
