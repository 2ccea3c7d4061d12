"""Where results of `pleinair tune` cannot be stored, that is said before anything is tried."""

import pytest

from pleinair.errors import ResourceError
from pleinair.tuning.stored import FILE, require_place


@pytest.mark.parametrize("below", ["a file", FILE])
def test_a_place_that_cannot_be_written_is_refused(tmp_path, monkeypatch, below):
    (tmp_path / "a file").write_bytes(b"")
    (tmp_path / FILE).mkdir()
    monkeypatch.setenv("PLEINAIR_HOME", str(tmp_path if below == FILE else tmp_path / below))
    with pytest.raises(ResourceError, match="; set PLEINAIR_HOME to a folder that can be written$"):
        require_place()


def test_asking_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("PLEINAIR_HOME", str(tmp_path / "new"))
    require_place()
    assert not any((tmp_path / "new").iterdir())
