"""What torch.save has written is read as torch reads it, and nothing in it is made."""

import argparse
import collections
import os
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch

from pleinair.errors import ExportError
from pleinair.pouring.checkpoints import Checkpoint, widened
from pleinair.sources import torch_files
from pleinair.sources.torch_files import read_torch_file
from pleinair.system import pickles


class Mischief:
    def __reduce__(self):
        return os.mkdir, ("mischief",)


class Callback(dict):
    """As Lightning's, by its class."""


WEIGHTS = collections.OrderedDict(
    {
        "a.weight": torch.randn(3, 4),
        "half": torch.randn(5).half(),
        "brain": torch.randn(2, 4).bfloat16(),
        "eight": torch.randn(4, 4).to(torch.float8_e4m3fn),
        "turned": torch.randn(4, 6).T,
        "last": torch.randn(1, 4, 2, 2).to(memory_format=torch.channels_last),
        "piece": torch.randn(10, 4)[3:5],
        "parameter": torch.nn.Parameter(torch.randn(2, 2)),
        "position_ids": torch.arange(5),
    }
)
BESIDE = {
    "callbacks": {Callback: Callback(best=np.float64(2.5), all=np.arange(4))},
    "optimizer": {"state": {0: {"average": torch.randn(300), "step": 7}}, "groups": [{"lr": 1e-4}]},
    "hyper_parameters": argparse.Namespace(a=(1, 2), b={3}, c=b"x", d=frozenset((4,)), e=2**70, f=None),
    "mischief": Mischief(),
}
LAYOUTS = {
    "training": ({"state_dict": WEIGHTS, **BESIDE}, {}),
    "before 1.6": ({**BESIDE, "state_dict": WEIGHTS}, {"_use_new_zipfile_serialization": False}),
    "weights alone": (dict(WEIGHTS), {"pickle_protocol": 4}),
    "another name": ({"model": dict(WEIGHTS), **BESIDE}, {"pickle_protocol": 5}),
    "on two devices": ({"module": {f"module.{name}": each for name, each in WEIGHTS.items()}}, {}),
    "deeper": ({"ema": {"shadow": WEIGHTS}}, {"pickle_protocol": 3}),
}


def test_tensors_are_those_of_torch_and_nothing_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, (content, options) in LAYOUTS.items():
        file = tmp_path / "model.ckpt"
        torch.save(content, file, **options)
        found = Checkpoint([file])
        assert found.kinds.keys() == WEIGHTS.keys() and found.others == {"position_ids"}, name
        for key in found:
            assert np.array_equal(widened(*found[key]), WEIGHTS[key].detach().float().numpy()), (name, key)
        named = read_torch_file(file).named
        assert ("posix.mkdir" in named or "nt.mkdir" in named) == ("mischief" in content), name
    assert [each.name for each in tmp_path.iterdir()] == ["model.ckpt"]


def test_a_pickle_that_cannot_be_read_is_one_line(tmp_path):
    missed, file = [], tmp_path / "model.ckpt"
    torch.save({"state_dict": WEIGHTS, **BESIDE}, file)
    whole = file.read_bytes()
    torch.save(dict(WEIGHTS), file, _use_new_zipfile_serialization=False)
    old = file.read_bytes()
    torch.save([1, Mischief()], file)
    empty = file.read_bytes()
    contents = [
        b"",
        b"x",
        b"\x80\x02",
        empty,
        *(each[: len(each) * part // 9] for each in (whole, old) for part in range(9)),
    ]
    for content in contents:
        file.write_bytes(content)
        try:
            missed.append((len(content), read_torch_file(file)))
        except ExportError as error:
            if "\n" in str(error) or "cannot read 'model.ckpt' as weights alone (" not in str(error):
                missed.append((len(content), error))
    assert missed == []
    rng = np.random.default_rng(1)
    for content in (whole, old):
        for _ in range(60):
            spoilt = np.frombuffer(content, np.uint8).copy()
            spoilt[rng.integers(0, min(3000, len(spoilt)), 3)] = rng.integers(0, 256, 3)
            file.write_bytes(spoilt.tobytes())
            try:
                found = Checkpoint([file])
                assert all(np.asarray(found[key].raw).size for key in found)
            except ExportError as error:
                assert "\n" not in str(error)


LONG = b"X" + (1 << 20).to_bytes(4, "little") + b"n" * (1 << 20)
HOSTILE = {
    "a loop of tuples": b"\x80\x02" + b")" + b"2\x86" * 60 + b"}" + b"0.",
    "a key that takes for ever": b"\x80\x02}(" + b")" + b"2\x86" * 90 + b"Nu.",
    "a long number": b"\x80\x02L" + b"9" * 10_000 + b"\n.",
    "four gigabytes of text": b"\x80\x02\x8d" + (1 << 32).to_bytes(8, "little") + b"x.",
    "a memo at two billion": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "deep lists": b"\x80\x02" + b"]" * 4_000 + b"a" * 3_999 + b".",
    "too long": b"\x80\x02" + b"N0" * 6_000 + b".",
    "no end": b"\x80\x02N",
    "a mark too many": b"\x80\x02(u.",
    "a name of a number": b"\x80\x04K\x01K\x02\x93.",
    "a long name many times": b"\x80\x04" + LONG + b"q\x010}(" + b"Nh\x01h\x01\x93" * 2_000 + b"u.",
    "storages of a long name": b"\x80\x04}(c" + b"m" * 100_000 + b"\nq\nq\x010" + b"NNh\x01N\x87Q" * 1_500 + b"u.",
    "a long key many times": b"\x80\x04\x8b" + (100_000).to_bytes(4, "little") + b"\x01" * 100_000 + b"q\x010}"
    + b"h\x01Ns" * 2_000 + b".",
    "a long tuple many times": b"\x80\x02ctorch._utils\n_rebuild_parameter\nq\x010(" + b"N" * 4_000 + b"tq\x020}"
    + b"".join(b"X\x04\0\0\0%04dh\x01h\x02Rs" % number for number in range(1_000)) + b".",
}  # fmt: skip


@pytest.mark.parametrize("steps", HOSTILE.values(), ids=HOSTILE)
def test_hostile_pickles_take_no_time_and_no_memory(tmp_path, monkeypatch, steps):
    monkeypatch.setattr(pickles, "MOST", 10_000)
    file = tmp_path / "model.ckpt"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("m/data.pkl", steps)
    tracemalloc.start()
    with pytest.raises(ExportError, match="as weights alone"):
        read_torch_file(file)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 32 << 20


def test_an_archive_of_very_many_members_is_not_listed(tmp_path, monkeypatch):
    file = tmp_path / "model.ckpt"
    torch.save(dict(WEIGHTS), file)
    assert read_torch_file(file).tensors
    monkeypatch.setattr(torch_files, "LIST", 500)
    with pytest.raises(ExportError, match="a list in it is too long"):
        read_torch_file(file)


@pytest.mark.skipif(os.name == "nt", reason="there are no pipes with names there")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "model.ckpt")
    with pytest.raises(ExportError, match="not an ordinary file"):
        Checkpoint([tmp_path / "model.ckpt"])
