"""Models fetched from a hub on the loopback interface: whole or resumable, compared, and only what is needed."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event
from time import sleep

import pytest

from bundles import light_copy
from hub_server import COMMIT, Repo, diffusers_files
from pleinair.bundle.opening import open_bundle
from pleinair.system import install

ID = "org/turbo"
WEIGHTS = bytes(range(256)) * 1200  # 300 kB
UNET = "unet/diffusion_pytorch_model"
FETCH = ("pull", ID, "--only-download")


def wanted(files):
    unwanted = (f"{UNET}.safetensors", f"{UNET}.bin", "safety_checker/model.safetensors", "picture.png", "turbo.ckpt")
    return {name: content for name, content in files.items() if name not in unwanted}


def content(folder):
    """The files of a folder by name, but for where they came from."""
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    origin = json.loads(files.pop("pleinair-origin.json").read_text())
    return {name: file.read_bytes() for name, file in files.items()}, origin


@pytest.fixture
def turbo(hub):
    """A repository of a diffusers folder."""
    hub.repos[ID] = Repo(diffusers_files())
    return hub.repos[ID]


def test_a_diffusers_folder_is_fetched_without_what_nobody_needs(hub, turbo, run, facts, home):
    turbo.revisions = ("main", "v1/beta")
    code, out, err = run(*FETCH, "--revision", "v1/beta")
    folder = home / "downloads" / "org" / "turbo"
    assert (code, out) == (0, f"{folder}\n")
    assert err.splitlines()[-1].endswith(f"continue with: pleinair export {folder}")
    assert content(folder) == (wanted(turbo.files), {"id": ID, "revision": COMMIT})
    assert [*folder.parent.iterdir()] == [folder]

    asked = len(hub.asked("/resolve/"))
    again = facts("pull", f"https://huggingface.co/{ID}", "--only-download")
    assert again["before"] and again["folder"] == str(folder) and again["revision"] == COMMIT
    assert len(hub.asked("/resolve/")) == asked == len(wanted(turbo.files))
    (download,) = facts("models")["downloads"]
    assert download["name"] == ID and download["whole"] and download["pulled"]["revision"] == COMMIT
    assert facts("models", "rm", ID, "--yes")["removed"] == str(folder)
    assert facts("models")["downloads"] == []


def test_a_bundle_paints_as_soon_as_it_is_here(hub, run, facts, tmp_path, home):
    source = light_copy(tmp_path / "source")
    listed = {name: source / name for name in [*open_bundle(source).manifest.files, "bundle.json"]}
    for file in listed.values():
        file.parent.mkdir(exist_ok=True)
        file.touch()
    hub.repos["org/castle"] = Repo({name: file.read_bytes() for name, file in listed.items()} | {"x.png": b"x" * 9999})
    found = facts("pull", "org/castle")
    assert found["kind"] == "bundle" and found["next"] == 'pleinair generate "a red house" --model castle'
    assert run("generate", "a", "--model", "castle", "--engine", "fake", "--steps", "1", "-o", "a.png")[0] == 0
    assert not hub.asked("x.png")
    assert facts("models", "info", "castle")["pulled"] == {"id": "org/castle", "revision": COMMIT}


def test_graphs_and_single_files_say_what_is_next(hub, facts, refused, home, tmp_path):
    graphs = {"unet/openvino_model.xml": b"<net/>", "unet/openvino_model.bin": b"w" * 2000, "unet/config.json": b"{}"}
    graphs |= {f"{name}/openvino_model.xml": b"<net/>" for name in ("text_encoder", "vae_decoder")}
    hub.repos["org/graphs"] = Repo({"model_index.json": b"{}", **graphs, "unet/model.safetensors": b"x" * 2000})
    found = facts("pull", "org/graphs", "--only-download")
    assert found["kind"] == "openvino" and found["next"] == f"pleinair adopt {home / 'models' / 'graphs'}"
    assert content(home / "models" / "graphs")[0] == {"model_index.json": b"{}", **graphs}
    assert "OpenVINO" in refused(3, "models", "info", "graphs")

    hub.repos["org/files"] = Repo({"a.safetensors": b"a" * 2000, "b.safetensors": b"b" * 2000})
    found = facts("pull", "org/files", "--only-download", "--file", "a.safetensors", "--to", tmp_path / "one")
    assert found["next"].startswith(f"pleinair pour {tmp_path / 'one' / 'a.safetensors'} ")
    assert content(tmp_path / "one")[0] == {"a.safetensors": b"a" * 2000}
    facts("pull", "org/files", "--only-download", "--file", "b.safetensors")
    assert (home / "downloads" / "org" / "files--b" / "b.safetensors").is_file()
    assert "is left alone" in refused(4, "pull", "org/files", "--file", "b.safetensors", "--to", tmp_path / "one")
    assert "a.safetensors, b.safetensors" in refused(3, "pull", "org/files", "--file", "c.safetensors")
    assert "NAME.safetensors" in refused(2, "pull", "org/files", "--file", "../a.safetensors")


def test_cuts_and_busy_servers_are_tried_again_from_where_they_ended(hub, turbo, facts, home):
    hub.statuses = [503, 429]
    hub.cuts = [1000, 70_000, 0, 150_000]
    folder = Path(facts(*FETCH)["folder"])
    assert content(folder)[0] == wanted(turbo.files)
    assert [each[2] for each in hub.asked("/cdn/") if each[2]] == ["bytes=1000-", "bytes=150000-"]


def test_what_never_comes_ends_and_goes_on_later(hub, turbo, refused, facts, home):
    hub.cuts = [2000, 100_000, *[0] * 9]  # the text encoder is whole, then the UNet breaks off
    assert "cannot fetch" in refused(6, *FETCH) and not (home / "downloads" / "org" / "turbo").exists()
    (unfinished,) = (home / "downloads" / "org").iterdir()
    hub.cuts, hub.requests = [], []
    (download,) = facts("models")["downloads"]
    assert download["name"] == ID and not download["whole"]
    folder = Path(facts(*FETCH)["folder"])
    assert content(folder)[0] == wanted(turbo.files) and not unfinished.exists()
    assert hub.asked("/cdn/")[0][2] == "bytes=100000-"
    assert not hub.asked("model_index.json") and not hub.asked("text_encoder"), "a whole file was fetched again"


def test_a_stage_of_another_revision_is_not_mixed_in(hub, turbo, refused, facts):
    hub.cuts = [2000, 1500, *[0] * 9]  # the text encoder is whole, then the UNet breaks off
    refused(6, *FETCH)
    hub.cuts = []
    hub.repos[ID] = Repo({**turbo.files, f"{UNET}.fp16.safetensors": b"new" * 1000, "README.md": b"new"}, "f" * 40)
    del hub.repos[ID].files["tokenizer/merges.txt"]
    found = facts(*FETCH)
    assert content(Path(found["folder"])) == (wanted(hub.repos[ID].files), {"id": ID, "revision": "f" * 40})


@pytest.mark.parametrize("name", [f"{UNET}.fp16.safetensors", "unet/config.json"])
def test_a_wrong_digest_is_refused_and_fetched_anew(hub, turbo, refused, facts, home, name):
    turbo.sent[name] = b"?" * len(turbo.files[name])
    assert "damaged" in refused(6, *FETCH) and not (home / "downloads" / "org" / "turbo").exists()
    turbo.sent.clear()
    assert content(Path(facts(*FETCH)["folder"]))[0] == wanted(turbo.files)


def test_more_than_was_announced_is_not_written(hub, turbo, refused):
    turbo.sent["unet/config.json"] = b"?" * 999
    assert "longer than" in refused(6, *FETCH)


@pytest.mark.parametrize(
    "change, token, words",
    [
        ({"refused": (404, "RepoNotFound")}, None, ["there is no 'org/turbo'", "HF_TOKEN"]),
        ({"refused": (401, None)}, None, ["it is private", "HF_TOKEN"]),
        ({"token": "hf_right"}, "hf_wrong", ["does not accept the token", "HF_TOKEN"]),
        ({"refused": (403, "GatedRepo")}, "hf_right", ["licence", "/org/turbo", "HF_TOKEN"]),
        ({"refused": (401, "GatedRepo")}, None, ["licence", "HF_TOKEN"]),
        ({"refused": (403, None)}, "hf_right", ["licence", "HF_TOKEN"]),
        ({"revisions": ("dev",)}, None, ["no revision 'main'", "--revision"]),
        ({"refused": (500, None)}, None, ["(500)", "try later"]),
        ({"commit": "not a commit", "revisions": ("main",)}, None, ["HF_ENDPOINT"]),
    ],
)
def test_a_refusal_says_what_helps(turbo, refused, monkeypatch, home, change, token, words):
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    for name, value in change.items():
        setattr(turbo, name, value)
    line = refused(6, *FETCH)
    assert all(word in line for word in words) and not home.exists()


def test_the_token_goes_to_the_hub_and_nowhere_else(hub, turbo, facts, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    turbo.token = "hf_right"
    facts(*FETCH)
    assert {each[3] for each in hub.requests if "/cdn/" not in each[1]} == {"Bearer hf_right"}
    assert hub.asked("/cdn/") and {each[3] for each in hub.asked("/cdn/")} == {None}


def test_no_hub_at_all(hub, turbo, refused, monkeypatch, home):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "check the network" in refused(6, *FETCH) and not home.exists()


@pytest.mark.parametrize("name", ["../x", "unet/../../x", "/etc/x", "..\\x", "C:x", "a\nb", "a\ud800"])
def test_a_list_that_leads_out_of_the_folder_is_refused(turbo, refused, tmp_path, name):
    turbo.files[name] = b"x"
    before = sorted(tmp_path.rglob("*"))
    assert "leads out of its folder" in refused(6, *FETCH)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_full_disk_is_found_before_and_while_it_fills(turbo, refused, facts, monkeypatch, home):
    space = shutil.disk_usage("/")._replace(free=1000)
    with monkeypatch.context() as full:
        full.setattr("shutil.disk_usage", lambda path: space)
        assert "GB are free" in refused(4, *FETCH)
    if os.name != "nt":
        import resource

        usual, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, most))  # writing past it fails like a full disk
        try:
            line = refused(4, *FETCH)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (usual, most))
        assert "free some disk space" in line and "continues from there" in line
    assert not (home / "downloads" / "org" / "turbo").exists()
    assert content(Path(facts(*FETCH)["folder"]))[0] == wanted(turbo.files)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is a folder that nobody can write in, on Linux alone")
def test_a_folder_that_cannot_be_written(turbo, refused):
    assert "another --to" in refused(4, *FETCH, "--to", "/proc/model")


def test_what_is_there_already_is_left_alone(hub, turbo, refused, facts, home, tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "precious").write_text("x")
    assert "is left alone" in refused(4, *FETCH, "--to", taken)
    (tmp_path / "empty").mkdir()
    facts(*FETCH, "--to", tmp_path / "empty")
    facts(*FETCH)
    turbo.commit = "f" * 40
    assert COMMIT[:12] in refused(4, *FETCH) and [*taken.iterdir()] == [taken / "precious"]
    assert "OWNER/NAME" in refused(2, "pull", "turbo") and "OWNER/NAME" in refused(2, "pull", "../turbo")


@pytest.mark.parametrize("name", ["x" * 300, "file/x", "link"])
def test_where_no_folder_can_be_is_said_before_anything_comes(hub, turbo, refused, tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("empty")
    (tmp_path / "empty").mkdir()
    for command in (FETCH, ("pull", ID)):
        assert "another --to" in refused(4, *command, "--to", tmp_path / name)
    assert not hub.asked("/resolve/") and not [*(tmp_path / "empty").iterdir()]


@pytest.mark.parametrize("name", ["ein Schloß 家 & 'x'", "long/" + "x" * 200 + "/" + "y" * 250])
def test_any_path(turbo, facts, tmp_path, name):
    folder = Path(facts(*FETCH, "--to", tmp_path / name)["folder"])
    assert folder == tmp_path / name and content(folder)[0] == wanted(turbo.files)


@pytest.fixture
def cache(hub, turbo, tmp_path):
    """The hub's cache on this machine, as huggingface_hub lays it out: links to blobs, which are named by digests."""
    home = tmp_path / "cache" / "models--org--turbo"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(COMMIT)
    for name, data in wanted(turbo.files).items():
        blob = home / "blobs" / turbo.entry(name).get("lfs", {}).get("sha256", turbo.entry(name)["blobId"])
        file = home / "snapshots" / COMMIT / name
        for folder in (blob.parent, file.parent):
            folder.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        file.symlink_to(os.path.relpath(blob, file.parent))
    return home


def test_offline_the_cache_of_the_hub_is_enough(hub, turbo, cache, refused, facts, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    found = facts(*FETCH)
    assert hub.requests == [] and found["revision"] == COMMIT
    folder = Path(found["folder"])
    assert content(folder)[0] == wanted(turbo.files) and not [file for file in folder.rglob("*") if file.is_symlink()]
    assert "HF_HUB_OFFLINE" in refused(6, "pull", "org/other")
    shutil.rmtree(cache)
    assert facts(*FETCH)["before"] and facts(*FETCH, "--revision", COMMIT)["folder"] == str(folder)
    assert "HF_HUB_OFFLINE" in refused(6, *FETCH, "--revision", "v2", "--to", "b")


def test_what_the_cache_has_is_not_fetched_unless_it_is_damaged(hub, turbo, cache, facts):
    spoilt = hashlib.sha256(turbo.files["text_encoder/model.safetensors"]).hexdigest()
    (cache / "blobs" / spoilt).write_bytes(b"evil" * 500)
    assert content(Path(facts(*FETCH)["folder"]))[0] == wanted(turbo.files)
    assert {each[1].rpartition("/")[2] for each in hub.asked("/resolve/")} == {"model.safetensors"}


def test_without_the_extra_the_line_that_installs_it(refused, monkeypatch):
    monkeypatch.setitem(install.PARTS, "downloads from the hub", (("no_such_package",), install.line("hub")))
    assert "[hub]" in refused(5, *FETCH)


def test_a_folder_being_fetched_by_another_process_is_not_touched(hub, turbo, refused, tmp_path, monkeypatch):
    hub.cuts = [2000, *[0] * 9]
    refused(6, *FETCH, "--to", tmp_path / "a")
    from pleinair.system.locks import only_one

    (stage,) = tmp_path.glob(".pulling-*")
    with only_one(stage.with_suffix(".lock"), "busy"):
        assert "wait for it" in refused(4, *FETCH, "--to", tmp_path / "a")


def heeding():
    """Let a process that is started answer Ctrl-C: one in the background of a script is told not to."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent another way there")
def test_ctrl_c_keeps_what_has_come_and_the_environment_says_where_from(hub, turbo, tmp_path):
    """A process of its own, which reads HF_ENDPOINT, HF_HOME (with the token in it) and HF_HUB_OFFLINE."""
    turbo.token = "hf_secret"
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text("hf_secret")
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "-m", "pleinair", *FETCH, "--to", str(tmp_path / "a"), "--json"]
    started = {"env": environment, "text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}

    hub.stuck = stuck = Event()
    turbo.files = {name: data for name, data in turbo.files.items() if name != "text_encoder/model.safetensors"}
    turbo.files["text_encoder/model.safetensors"] = WEIGHTS[::-1]
    running = subprocess.Popen(command, preexec_fn=heeding, **started)
    assert stuck.wait(60)
    for _ in range(1000):  # until what was sent has been written
        if any(part.stat().st_size == len(WEIGHTS) // 2 for part in tmp_path.glob(".pulling-*/.parts/*")):
            break
        sleep(0.02)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130 and json.loads(out)["error"]["kind"] == "Cancelled", err
    assert "continues from there" in err and not (tmp_path / "a").exists() and "hf_secret" not in out + err

    hub.requests = []
    outcome = subprocess.run(command, **started, timeout=60)
    assert outcome.returncode == 0, outcome.stderr
    assert content(tmp_path / "a")[0] == wanted(turbo.files)
    assert hub.asked("/cdn/")[0][2] == f"bytes={len(WEIGHTS) // 2}-"
