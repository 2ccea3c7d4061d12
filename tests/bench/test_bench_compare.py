"""Comparing, and the page and tables that records become."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from bench_records import case, record
from pleinair.errors import RequestError, ResourceError
from pleinair_bench import report, tables
from pleinair_bench.compare import of_the_machine, pairs, slower, table, within

FAST = [[0.1, 0.101, 0.1]] * 3
SLOW = [[0.12, 0.121, 0.12]] * 3


def words(a, b, **more):
    return [pair.word for pair in pairs(a, b, **more)]


def test_faster_slower_and_no_difference():
    assert words([record(FAST)], [record(SLOW)]) == ["slower"]
    assert words([record(SLOW)], [record(FAST)]) == ["faster"]
    assert words([record(FAST)], [record(FAST)]) == ["no difference"]


def test_cases_meet_their_like():
    a = [record(FAST), record(FAST, of=case(batch=1))]
    b = [record(SLOW, of=case(batch=1)), record(FAST, of=case(threads=2))]
    assert words(a, b) == ["only in A", "slower", "only in B"]


def test_a_case_that_fails_is_told():
    broken = record([]) | {"status": "killed", "reason": "SIGKILL"}
    found = list(pairs([record(FAST)], [broken]))
    assert [pair.word for pair in found] == ["fails in B"]
    assert slower(found, 0.05) == found


def test_the_last_record_of_a_case_counts():
    assert words([record(SLOW), record(FAST)], [record(FAST)]) == ["no difference"]


def test_a_result_that_differs_is_told():
    other = record(FAST, output={"mean": 0.0, "std": 2.0})
    assert words([record(FAST)], [other]) == ["no difference", "other result"]
    wrong = record(FAST, output=None, picture={"sha256": "0" * 64, "same": False, "psnr_db": 9.0, "ssim": 0.1})
    assert words([record(FAST)], [wrong]) == ["no difference", "other result"]


def test_everything_is_stages_and_memory():
    found = list(pairs([record(FAST)], [record(FAST, peak_rss_mb=300.0)], everything=True))
    assert [pair.measure for pair in found] == ["run", "load", "first", "peak_rss_mb"]
    assert found[-1].word == "larger"


def test_only_what_differs_is_shown():
    a, b = [record(FAST), record(FAST, of=case(batch=1))], [record(SLOW), record(FAST, of=case(batch=1))]
    text = table(list(pairs(a, b)), False)
    assert "batch 2" in text and "batch 1" not in text and "**slower**" in text
    assert "1 of 2 show no difference" in text and "in all: model storybook" in text
    assert "batch 1" in table(list(pairs(a, b)), True)
    same = "2 of 2 show no difference; the middle one of their intervals is ±"
    assert table(list(pairs(a, a)), False) == f"{same}2%"
    vague = [record([[0.1], [0.13], [0.09]]), record([[0.1], [0.13], [0.09]], of=case(batch=1))]
    assert int(table(list(pairs(vague, vague)), False).removeprefix(same).removesuffix("%")) > 20


def test_a_machine_that_became_slower_is_no_slower_program():
    found = list(pairs([record(FAST)], [record(SLOW, pace=0.003)]))
    assert [pair.word for pair in found] == ["machine differs"] and slower(found, 0.05) == []
    assert of_the_machine(found) == "the machine itself was 20% slower in B during 1 of 1; measure both again"
    assert "**machine differs**" in table(found, False)
    assert words([record(SLOW)], [record(FAST, pace=0.002)]) == ["machine differs"]
    assert words([record(FAST)], [record(SLOW, pace=0.002)]) == ["slower"]  # although the machine was faster
    assert words([record(FAST)], [record(SLOW, pace=0.00255)]) == ["slower"]
    assert of_the_machine(list(pairs([record(FAST)], [record(SLOW)]))) is None


def test_two_machines_are_compared_as_they_are():
    other = record(SLOW, pace=0.005)
    other["machine"] = other["machine"] | {"cpu": "another"}
    assert words([record(FAST)], [other]) == ["slower"]


def test_slower_than_allowed():
    found = list(pairs([record(FAST)], [record(SLOW)]))
    assert slower(found, 0.05) == found and slower(found, 0.25) == []


def test_inside_one_file():
    both = [record(FAST, of=case(engine="openvino")), record(SLOW, of=case(engine="onnx"))]
    a, b, first, second = within(both, "engine")
    assert (first, second) == ("openvino", "onnx") and words(a, b) == ["slower"]
    for field, told in (("colour", "unknown field of a case 'colour'; choose from model"),
                        ("engin", "did you mean 'engine'"), ("threads", "needs two values")):  # fmt: skip
        with pytest.raises(RequestError, match=told):
            within(both, field)


def every_kind():
    failed = record([], of=case(batch=1)) | {"status": "out of memory", "reason": "too | large </script><b>"}
    return [record(FAST), failed, record(SLOW, of=case(engine="onnx", threads=2))]


def test_markdown_is_a_table_for_people():
    text = tables.table(every_kind(), "md")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 5 and len({line.count("|") for line in lines}) == 1
    assert "100 ms" in lines[2] and "**out of memory**: too / large" in lines[3] and "onnx 2t" in lines[4]
    assert record(FAST)["machine"]["cpu"] in text


def test_pictures_come_before_their_parts_and_engines_stand_side_by_side():
    works = [("unet", "openvino"), ("cold", "onnx"), ("unet", "onnx"), ("cold", "openvino")]
    mixed = [record(FAST, of=case(work=work, engine=engine)) for work, engine in works]
    mixed.insert(0, record(FAST, of=case(model="sd15")))
    found = [record["case"] for record in tables.ordered(mixed)]
    assert [(each["work"], each["engine"]) for each in found[:4]] == sorted(works)
    assert found[4]["model"] == "sd15"


def test_csv_json_and_jsonl_hold_the_same():
    found = every_kind()
    rows = list(csv.DictReader(io.StringIO(tables.table(found, "csv"))))
    assert [row["run_median"] for row in rows] == ["0.1", "", "0.12"] and rows[1]["status"] == "out of memory"
    assert json.loads(tables.table(found, "json")) == found
    assert [json.loads(line) for line in tables.table(found, "jsonl").splitlines()] == found
    assert tables.table([], "csv") == "" and tables.table([], "md") == ""


class Page(HTMLParser):
    """What a browser would load, and the data inside."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.outside, self.data, self.inside = [], [], "", None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.inside = dict(attributes).get("id")
        self.outside += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.data += data if self.inside == "data" else ""

    def handle_endtag(self, tag):
        self.inside = None


def test_the_page_holds_its_data_and_loads_nothing():
    text = report.page(every_kind())
    page = Page(text)
    rows = json.loads(page.data)
    assert [row["status"] for row in rows] == ["ok", "out of memory", "ok"]
    assert rows[1]["reason"] == "too | large </script><b>" and "b" not in page.tags
    assert page.outside == [] and page.tags.count("script") == 2
    assert re.findall(r"https?://[^\s\"']+", text) == ["http://www.w3.org/2000/svg"]  # a name, not a place
    with pytest.raises(RequestError, match="no records"):
        report.page([])


def test_the_page_overwrites_nothing_unasked(tmp_path):
    report.write("new", tmp_path / "r.html", False)
    with pytest.raises(ResourceError, match="--force"):
        report.write("newer", tmp_path / "r.html", False)
    report.write("newer", tmp_path / "r.html", True)
    assert [file.name for file in tmp_path.iterdir()] == ["r.html"]
    with pytest.raises(ResourceError, match="choose another"):
        report.write("x", tmp_path / "no" / "r.html", False)


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


@pytest.mark.skipif(BROWSER is None and "CI" not in os.environ, reason="no Chromium here")
def test_a_browser_draws_the_page(tmp_path):
    (tmp_path / "r.html").write_text(report.page(every_kind()), encoding="utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--virtual-time-budget=2000", "--dump-dom", (tmp_path / "r.html").as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    assert 'data-drawn="yes"' in shown, shown[-2000:]
    body = shown.split("<tbody>")[1].split("</tbody>")[0]
    assert body.count("<tr>") == 3 and "100 ms" in body and "out of memory: too | large &lt;/script&gt;" in body
    assert shown.count("<circle") == 4 and shown.count("<rect") >= 6  # two cases that worked, in two scatters
    assert 'name="engine"' in shown and 'name="model"' not in shown  # a filter where there is a choice
