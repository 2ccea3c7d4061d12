"""`pleinair export OWNER/NAME`: fetched first, and only where nothing of that name is here. The export is made up."""

import pytest

import pleinair_export
from bundles import light_copy
from hub_server import COMMIT, Repo, diffusers_files
from pleinair.sources.origins import Pulled, read_origin
from pleinair.system import install

ID = "org/turbo"


@pytest.fixture(autouse=True)
def exported(monkeypatch):
    """What the export was asked for: (source, out), the newest last."""
    calls = []

    def export(source, out, **how):
        calls.append((source, out))
        if not source.exists():
            raise AssertionError(source)
        light_copy(out)
        return []

    monkeypatch.setitem(install.PARTS, "model export", ((), ""))
    monkeypatch.setattr(pleinair_export, "export", export, raising=False)
    return calls


@pytest.fixture
def turbo(hub):
    hub.repos[ID] = Repo({**diffusers_files(), "unet/openvino_model.xml": b"<net/>", "unet/openvino_model.bin": b"x"})
    return hub.repos[ID]


@pytest.mark.usefixtures("turbo")
def test_a_name_on_the_hub_is_fetched_and_exported(hub, run, home, exported):
    """From its safetensors, even where somebody else's graphs are there too."""
    code, out, err = run("export", ID)
    source, bundle = home / "downloads" / "org" / "turbo", home / "models" / "turbo"
    assert (code, out) == (0, f"{bundle}\n") and exported == [(source, bundle)]
    assert "'org/turbo' is not on this disk, so it is fetched from the hub" in err
    assert read_origin(source) == Pulled(ID, COMMIT) and not hub.asked("openvino_model")
    assert run("generate", "a", "--model", "turbo", "--engine", "fake", "--steps", "1", "-o", "a.png")[0] == 0

    asked = len(hub.asked("/resolve/"))
    assert run("export", ID, "other")[0] == 0 and len(hub.asked("/resolve/")) == asked


@pytest.mark.usefixtures("turbo")
def test_what_cannot_be_exported_is_not_fetched(hub, refused, run, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("x")
    assert "is left alone" in refused(4, "export", ID, tmp_path / "taken")
    assert "int8" in refused(2, "export", ID, "out", "--weights", "int3")
    assert "openvino" in refused(2, "export", ID, "out", "--format", "tflite")
    assert hub.requests == []


@pytest.mark.usefixtures("turbo")
def test_a_path_is_never_looked_for_on_the_hub(hub, run, exported, tmp_path):
    here = tmp_path / "here"
    (here / "org" / "turbo").mkdir(parents=True)
    assert run("export", ID, "out")[0] == 0 and exported[0][0].resolve() == here / "org" / "turbo"
    assert run("export", ID, "out", "--revision", "main")[0] == 2
    assert run("generate", "a", "--model", "org/other")[0] == run("info", "org/other")[0] == 3
    for source in ("org/turbp", "./org2/turbo", "turbo", "/org/turbo"):
        with pytest.raises(AssertionError):
            run("export", source, "out")
    assert hub.requests == []
