"""What names say: addresses of a hub, files of weights, classes of pipelines, folders of a cache."""

from pathlib import Path

import pytest

from pleinair.errors import ExportError
from pleinair.sources.families import FAMILIES, as_plain, family_of
from pleinair.sources.folder import known_family
from pleinair.sources.hub_cache import usual_name
from pleinair.sources.hub_ids import on_hub
from pleinair.sources.weight_files import VARIANTS, first_of, sets_of

COMMIT = "a" * 40
HUB = "https://huggingface.co/org/m"
COMMANDS = {
    "org/m": "pleinair pull org/m",
    HUB: "pleinair pull org/m",
    f"{HUB}/": "pleinair pull org/m",
    f"{HUB}/tree/main": "pleinair pull org/m",
    f"{HUB}/tree/main/unet": "pleinair pull org/m",
    f"{HUB}/tree/v2": "pleinair pull org/m --revision v2",
    f"{HUB}/tree/refs%2Fpr%2F7": "pleinair pull org/m --revision refs/pr/7",
    f"{HUB}/blob/main/x.safetensors": "pleinair pull org/m --file x.safetensors",
    f"{HUB}/resolve/main/a/x%20y.safetensors?download=true": 'pleinair pull org/m --file "a/x y.safetensors"',
    f"{HUB}/blob/main/model_index.json": "pleinair pull org/m",
    f"{HUB}?library=diffusers#files": "pleinair pull org/m",
    "hf.co/org/m": "pleinair pull org/m",
    "https:/huggingface.co/org/m/blob/main/x.safetensors": "pleinair pull org/m --file x.safetensors",  # of pathlib
    "checkpoints/xl.safetensors": None,
    "models/xl.gguf": None,
    "org/m/tree/main": None,
    "org/a--b": None,
    "/org/m": None,
    "m": None,
}
NAMES = {
    ("model.safetensors", "model.fp16.safetensors"): (None, "model.safetensors"),
    ("model.bf16.safetensors", "model.fp16.safetensors"): ("fp16", "model.fp16.safetensors"),
    ("model.non_ema.safetensors", "model.bin"): ("non_ema", "model.non_ema.safetensors"),
    ("model.safetensors.index.fp16.json", "model.fp16-00001-of-00002.safetensors"): (
        "fp16",
        "model.safetensors.index.fp16.json",
    ),
    ("model.fp16.safetensors.index.json",): ("fp16", "model.fp16.safetensors.index.json"),
    ("model.safetensors.fp16.index.json",): ("fp16", "model.safetensors.fp16.index.json"),
    ("model-00001-of-00002.safetensors", "model_ema.safetensors", "other.safetensors"): (None, None),
}
CLASSES = {
    "LatentConsistencyModelImg2ImgPipeline": "LatentConsistencyModelPipeline",
    "StableDiffusionControlNetPipeline": "StableDiffusionPipeline",
    "StableDiffusionControlNetInpaintPipeline": "StableDiffusionInpaintPipeline",
    "StableDiffusionKDiffusionPipeline": "StableDiffusionPipeline",
    "StableDiffusionPipelineSafe": "StableDiffusionPipeline",
    "StableDiffusionXLPAGImg2ImgPipeline": "StableDiffusionXLImg2ImgPipeline",
    "StableDiffusionXLControlNetUnionPipeline": "StableDiffusionXLPipeline",
    "StableDiffusion3Img2ImgPipeline": "StableDiffusion3Pipeline",
    "StableDiffusion3ControlNetInpaintingPipeline": "StableDiffusion3Pipeline",
    "FluxInpaintPipeline": "FluxPipeline",
    "SanaSprintImg2ImgPipeline": "SanaSprintPipeline",
    "StableDiffusionUpscalePipeline": "StableDiffusionUpscalePipeline",
    "FluxFillPipeline": "FluxFillPipeline",
}


def test_names_and_addresses_of_the_hub():
    found = {text: on_hub(text) and on_hub(text).command for text in COMMANDS}
    assert found == COMMANDS


def test_files_of_weights_are_found_under_every_variant():
    found = {names: sets_of("model", names) for names in NAMES}
    chosen = {names: (first_of(sets, VARIANTS), sets.get(first_of(sets, VARIANTS))) for names, sets in found.items()}
    assert chosen == NAMES
    assert first_of({None: "a", "fp16": "b"}, ("fp16", None)) == "fp16"


def test_pipelines_that_steer_are_the_plain_one_of_their_parts():
    assert {kind: as_plain({"_class_name": kind})["_class_name"] for kind in CLASSES} == CLASSES
    assert all(as_plain({"_class_name": kind})["_class_name"] == kind for kind in FAMILIES)
    with pytest.raises(ExportError, match="without a _class_name"):
        known_family(Path("m"), {})


def test_a_text_encoder_with_a_projection_stands_in_where_nothing_pools():
    text = {"text_encoder": ["transformers", "CLIPTextModelWithProjection"]}
    kinds = {
        pipeline: family_of({"_class_name": pipeline, **text}).part("text_encoder").kind
        for pipeline in ("StableDiffusionPipeline", "StableDiffusionXLPipeline", "FluxPipeline")
    }
    assert kinds == {
        "StableDiffusionPipeline": "CLIPTextModelWithProjection",
        "StableDiffusionXLPipeline": "CLIPTextModelWithProjection",
        "FluxPipeline": "CLIPTextModel",
    }


def test_models_of_a_cache_are_called_by_their_repository():
    cache = Path("hub") / "models--org--my-model"
    names = {cache: "my-model", cache / "snapshots" / COMMIT: "my-model", Path("a") / "b": "b"}
    assert {path: usual_name(path) for path in names} == names
