"""Names of layers in LoRA files, held against a table of Stability's names that was written otherwise."""

import pytest

import original_names
from pleinair.adapters.sgm import original_names as names_there
from pleinair.pouring.topologies import open_topologies, read_topologies


def unet_paths(model):
    """Layer paths of a UNet whose graph ships."""
    rows = (row for row in read_topologies()["topologies"] if model in row["models"] and row["graph"] == "unet")
    shapes = open_topologies(next(rows))[model].shapes
    return [key.removesuffix(".weight") for key in shapes if key.endswith(".weight")]


@pytest.mark.parametrize("model", ["sd15", "sdxl", "ssd-1b"])
def test_every_layer_of_a_unet_has_its_original_name(model):
    paths = unet_paths(model)
    keys = original_names.unet({f"{path}.weight": path for path in paths})
    assert names_there(paths) == {path: key.removesuffix(".weight") for key, path in keys.items()}
