"""What workers get of a cluster, which models are the same there, and addresses that lead to none."""

import shutil
import signal
from dataclasses import replace

import pytest

from pleinair.bundle.opening import open_bundle
from pleinair.cli import app as cli
from pleinair.cluster import joining
from pleinair.cluster.joining import Machine, joined, signals_kept
from pleinair.cluster.models import SharedModel
from pleinair.cluster.shares import Share, shared_out
from pleinair.errors import BundleError, EngineError, RequestError, ResourceError
from pleinair.system import install

GB = 10**9
CLUSTER = [Machine(8, 16 * GB), Machine(16, 64 * GB), Machine(4, 4 * GB)]


@pytest.mark.parametrize(
    "asked, share",
    [
        ({"workers": None, "cpus": None}, Share(2 + 4 + 1, 4)),  # the smallest machine is one worker's
        ({"workers": None, "cpus": 8}, Share(1 + 2, 8)),
        ({"workers": None, "cpus": None, "memory": 8 * GB}, Share(1 + 2, 8, 8 * GB)),  # the smallest lacks memory
        ({"workers": None, "cpus": 1, "memory": 3 * GB}, Share(5 + 16 + 1, 1, 3 * GB)),
        ({"workers": 2, "cpus": None}, Share(2, 4)),
        ({"workers": 9, "cpus": None}, Share(9, 2)),  # fewer CPUs each make room
        ({"workers": 3, "cpus": 8}, Share(3, 8)),
        ({"workers": None, "cpus": None, "most": 3}, Share(3, 4)),
        ({"workers": 100, "cpus": 8, "most": 2}, Share(2, 8)),
    ],
)
def test_all_workers_have_the_same_share(asked, share):
    assert shared_out(CLUSTER, **asked) == share


@pytest.mark.parametrize(
    "asked, words",
    [
        ({"workers": 4, "cpus": 8}, "no room for 4 workers; choose 3 with --workers"),
        ({"workers": 30, "cpus": None}, "no room for 30 workers; choose 28 with --workers"),
        ({"workers": None, "cpus": 32}, "no machine of the cluster has 32 CPUs; choose fewer --threads"),
        ({"workers": None, "cpus": None, "memory": 100 * GB}, "no machine of the cluster has about 100.0 GB of memory"),
    ],
)
def test_what_a_cluster_has_no_room_for_is_refused(asked, words):
    with pytest.raises(ResourceError, match=words):
        shared_out(CLUSTER, **asked)


def test_a_cluster_without_machines_has_no_room():
    with pytest.raises(ResourceError, match="no machine of the cluster has a CPU"):
        shared_out([], None, None)


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setitem(install.PARTS, "Ray", ((), ""))


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    "address", ["", "localhost", "ray://localhost:10001", "127.0.0.1:99999", "local", "a b:1", "127.0.0.1:1\n"]
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(RequestError, match="write auto, or HOST:PORT"), joined(address):
        pass


@pytest.mark.usefixtures("installed")
def test_where_nobody_listens_is_told_before_anything_is_loaded(tmp_path, capsys):
    assert cli.run(["generate", "a house", "--ray", "127.0.0.1:1", "-o", str(tmp_path / "a.png")]) == 4
    assert "no Ray cluster answers at 127.0.0.1:1" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_without_ray_the_line_that_installs_it_is_told(monkeypatch):
    monkeypatch.setitem(install.PARTS, "Ray", (("no_such_package",), install.line("ray")))
    with pytest.raises(EngineError, match=r"no_such_package, not installed; install with: pip install .*\[ray\]"):
        joining.check_address("auto")


def test_signals_stay_those_of_the_program():
    """They are not sent: with some libraries loaded that ends this process."""

    def heard(number, frame):
        raise AssertionError

    before = signal.signal(signal.SIGTERM, heard)
    try:
        with signals_kept():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGTERM) is heard
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_model_is_found_in_its_folder_or_by_its_name_and_must_be_the_same(sketch, tmp_path, monkeypatch):
    model = SharedModel.of(open_bundle(sketch))
    assert model.here() == sketch
    elsewhere = replace(model, folder=tmp_path / "nowhere" / "sketch")
    monkeypatch.setenv("PLEINAIR_HOME", str(tmp_path))
    with pytest.raises(BundleError, match=f"no model '{model.name}' of the same content; copy its folder"):
        elsewhere.here()
    kept = shutil.copytree(sketch, tmp_path / "models" / "called-otherwise")
    assert elsewhere.here() == kept
    with pytest.raises(BundleError, match="of the same content"):
        replace(elsewhere, sha256="0" * 64).here()
    with pytest.raises(EngineError, match="install the same on all machines"):
        replace(model, version="0.0.1").here()
