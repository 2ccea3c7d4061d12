"""What tests of several rooms share."""

import pytest

from pleinair.bundle.opening import default_path
from shelves import write_shelf


@pytest.fixture(scope="session")
def shelf(tmp_path_factory):
    """The topologies of storybook's graphs, as those of real models ship."""
    folder = tmp_path_factory.mktemp("topologies")
    write_shelf(folder, default_path(), default_path().parent / "source")
    return folder
