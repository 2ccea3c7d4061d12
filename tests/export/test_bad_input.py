"""Every wrong source, target and option: one line that ends with the remedy, nothing written, nothing large loaded."""

import json
import shutil

import pytest

from pleinair.bundle.manifest import Sizes
from pleinair.errors import ExportError, RequestError, ResourceError
from pleinair.sources.folder import open_source
from pleinair_export import export, parts
from tiny_pipeline import write_tiny_pipeline
from vectors import safetensors, some_vectors


@pytest.fixture
def source(tiny_sources, tmp_path):
    """A copy of the tiny SD 1 folder to damage."""
    return shutil.copytree(tiny_sources["sd1"], tmp_path / "model")


@pytest.fixture(autouse=True)
def nothing_is_loaded(request, monkeypatch):
    """Fail when weights are read, but for tests marked to get that far by taking `loads`."""
    if "loads" not in request.fixturenames:
        monkeypatch.setattr(parts, "load", lambda *_: pytest.fail("weights were loaded"))


@pytest.fixture
def loads():
    return True


def refused(kind, match, source, out, **options):
    before = sorted(source.parent.rglob("*"))
    with pytest.raises(kind, match=match) as caught:
        list(export(source, out, **options))
    assert "\n" not in str(caught.value)
    assert sorted(source.parent.rglob("*")) == before


def edit(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_unknown_format_and_weights(source, tmp_path):
    refused(
        RequestError, "unknown format tflite; choose from: openvino, onnx", source, tmp_path / "o", formats=("tflite",)
    )
    refused(RequestError, "unknown format none", source, tmp_path / "o", formats=())
    refused(RequestError, "unknown weights 'int4'; choose from: fp32", source, tmp_path / "o", weights="int4")


def test_source_that_is_missing_or_something_else(tmp_path):
    refused(RequestError, "no folder or file .*check the path", tmp_path / "absent", tmp_path / "out")
    (tmp_path / "photos").mkdir()
    refused(ExportError, "not a diffusers folder .no model_index.json.", tmp_path / "photos", tmp_path / "out")
    (tmp_path / "file").touch()
    refused(ExportError, "neither a diffusers folder", tmp_path / "file", tmp_path / "out")
    (tmp_path / "0a1b2c").write_bytes(safetensors({"model.diffusion_model.x": some_vectors(2, 2)}))
    (tmp_path / "model.safetensors").symlink_to("0a1b2c")  # as in the hub's cache: the link has the suffix
    refused(ExportError, "not a model that its weights", tmp_path / "model.safetensors", tmp_path / "out")


@pytest.mark.parametrize("text, match", [("{", "is malformed"), ("[]", "not a JSON object"), ("\xff", "is malformed")])
def test_damaged_index(source, tmp_path, text, match):
    (source / "model_index.json").write_bytes(text.encode("latin-1"))
    refused(ExportError, f"{match}.*download the model again", source, tmp_path / "out")


def test_other_pipelines(source, tmp_path):
    edit(source / "model_index.json", _class_name="AuraFlowPipeline")
    refused(ExportError, "AuraFlowPipeline, which cannot be exported yet; choose .* FLUX.1", source, tmp_path / "out")


def test_other_components(source, tmp_path):
    edit(source / "model_index.json", text_encoder=["transformers", "T5EncoderModel"])
    refused(ExportError, "T5EncoderModel as text_encoder; .* CLIPTextModel", source, tmp_path / "out")
    edit(source / "model_index.json", text_encoder=[None, None])
    refused(ExportError, "nothing as text_encoder", source, tmp_path / "out")


def test_unets_with_inputs_of_their_own(source, tmp_path):
    edit(source / "unet" / "config.json", in_channels=8)
    refused(ExportError, "8 channels in and 4 out for latents of 4; choose", source, tmp_path / "out")
    edit(source / "unet" / "config.json", in_channels=9, out_channels=9)
    refused(ExportError, "9 channels in and 9 out", source, tmp_path / "out")
    plain = {"in_channels": 4, "out_channels": 4}
    edit(source / "unet" / "config.json", **plain, class_embed_type="timestep")
    refused(ExportError, "class_embed_type 'timestep', which is not supported", source, tmp_path / "out")
    edit(source / "unet" / "config.json", class_embed_type=None, addition_embed_type="text_time")
    refused(ExportError, "addition_embed_type 'text_time', which is not supported", source, tmp_path / "out")
    edit(source / "unet" / "config.json", addition_embed_type=None, cross_attention_dim=48)
    refused(ExportError, "reads another width than its text is .32.; download", source, tmp_path / "out")


def test_networks_that_are_told_other_numbers(tiny_sources, tmp_path):
    """SDXL's are told six numbers beside the text, and its refiner's five."""
    source = shutil.copytree(tiny_sources["sdxl"], tmp_path / "model")
    for width in (56, 71, 8):
        edit(source / "unet" / "config.json", projection_class_embeddings_input_dim=width)
        refused(ExportError, "other inputs than a text and its sizes, which is not", source, tmp_path / "out")
    edit(source / "model_index.json", text_encoder=[None, None])
    refused(ExportError, "nothing as text_encoder; choose", source, tmp_path / "out")


def test_other_predictions(source, tmp_path):
    edit(source / "scheduler" / "scheduler_config.json", prediction_type="score")
    refused(ExportError, "prediction type 'score' is not supported; export", source, tmp_path / "out")


@pytest.mark.parametrize("name", ["unet/config.json", "scheduler/scheduler_config.json"])
def test_missing_configs(source, tmp_path, name):
    (source / name).unlink()
    refused(ExportError, "is missing; download the model again", source, tmp_path / "out")


def test_missing_weights(source, tmp_path):
    weights = source / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    refused(
        ExportError, "no diffusion_pytorch_model.safetensors but a pickle, .*--allow-pickle$", source, tmp_path / "out"
    )
    index = {"weight_map": {"conv_in.weight": "part-1.safetensors"}}
    (source / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    refused(ExportError, "part-1.safetensors' is missing", source, tmp_path / "out")


@pytest.mark.parametrize("keep", [0, 5, 100, 20_000, -1])
def test_truncated_weights(source, tmp_path, keep):
    file = source / "vae" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    refused(ExportError, "(cut short|not a safetensors file).*download the model again", source, tmp_path / "out")


def test_weights_that_do_not_fill_the_model(source, tmp_path, loads):
    from safetensors.torch import load_file, save_file

    file = source / "text_encoder" / "model.safetensors"
    weights = load_file(file)
    del weights[sorted(weights)[0]]
    save_file(weights, file, {"format": "pt"})
    refused(ExportError, "'text_encoder' .* lacks 1 weights .*download", source, tmp_path / "out", formats=("onnx",))


def test_weights_of_another_shape(source, tmp_path, loads):
    edit(source / "text_encoder" / "config.json", intermediate_size=80)
    refused(ExportError, "cannot load 'text_encoder'", source, tmp_path / "out", formats=("onnx",))


def test_tokenizer_that_is_missing_or_damaged(source, tmp_path):
    (source / "tokenizer" / "vocab.json").write_text("{")
    refused(ExportError, "cannot read the tokenizer .*download the model again", source, tmp_path / "out")
    shutil.rmtree(source / "tokenizer")
    refused(ExportError, "tokenizer' is missing", source, tmp_path / "out")


def test_out_and_source_overlap(source):
    for out in (source, source / "bundle", source.parent):
        refused(RequestError, "overlap; choose an OUT folder elsewhere", source, out, force=True)


def test_out_that_cannot_be_written(source, tmp_path):
    (tmp_path / "file").touch()
    refused(ResourceError, "cannot write .*choose another OUT", source, tmp_path / "file" / "out")
    refused(ResourceError, "not a pleinair bundle", source, tmp_path / "file", force=True)


def test_defaults_of_the_source(source, tmp_path):
    (source / "pleinair.json").write_text(json.dumps({"name": "painter", "defaults": {"guidance": 4.0, "width": 96}}))
    opened = open_source(source)
    assert opened.name == "painter"
    assert (opened.defaults.guidance, opened.defaults.width, opened.defaults.height) == (4.0, 96, 64)
    (source / "pleinair.json").write_text(json.dumps({"defaults": {"cfg": 4.0}}))
    refused(ExportError, "cannot set 'cfg' to 4.0; choose from: width", source, tmp_path / "out")
    (source / "pleinair.json").write_text(json.dumps({"defaults": {"width": "wide"}}))
    refused(ExportError, "cannot set 'width' to 'wide'", source, tmp_path / "out")


def test_words_and_sizes_of_the_source(source):
    opened = open_source(source).settings
    assert (opened.vocabulary, opened.sizes) == ((), None)
    claims = {"vocabulary": ["house", "hot air"], "sizes": {"smallest": 32, "largest": 64}}
    (source / "pleinair.json").write_text(json.dumps(claims))
    opened = open_source(source).settings
    assert opened.vocabulary == ("house", "hot air") and opened.sizes == Sizes(smallest=32, largest=64)


@pytest.mark.parametrize(
    "claims, match",
    [
        ({"vocabulary": "house"}, "vocabulary that is not a list of words; give at most 10,000"),
        ({"vocabulary": ["house", 1]}, "not a list of words"),
        ({"vocabulary": None}, "not a list of words"),
        ({"vocabulary": ["x" * 41]}, "at most 40 printable characters"),
        ({"vocabulary": ["\x1b[31mred"]}, "not a list of words"),
        ({"vocabulary": ["house"] * 10_001}, "not a list of words"),
        ({"sizes": [32, 64]}, "impossible sizes; give smallest and largest, whole numbers of pixels"),
        ({"sizes": {"smallest": 32}}, "impossible sizes"),
        ({"sizes": {"smallest": True, "largest": 64}}, "impossible sizes"),
        ({"sizes": {"smallest": 32.0, "largest": 64}}, "impossible sizes"),
        ({"sizes": {"smallest": 64, "largest": 32}}, "impossible sizes"),
        ({"sizes": {"smallest": 1, "largest": 10**400}}, "impossible sizes"),
        ({"sizes": {"smallest": 96, "largest": 160}}, "leaves the default size of 64x64 out of its sizes .96 to 160."),
        ({"sizes": {"smallest": 32, "largest": 64}, "defaults": {"height": 96}}, "default size of 64x96 out of"),
    ],
)
def test_claims_that_no_bundle_may_make(source, tmp_path, claims, match):
    (source / "pleinair.json").write_text(json.dumps(claims))
    refused(ExportError, match, source, tmp_path / "out")


def test_licence_is_read_from_the_card(source):
    assert open_source(source).licence == "apache-2.0"
    (source / "README.md").write_text("no front matter")
    assert open_source(source).licence is None
    (source / "README.md").unlink()
    assert open_source(source).licence is None


def test_tiny_pipelines_are_small_and_reproducible(tmp_path):
    for family in ("sd1", "sd2"):
        first, second = (write_tiny_pipeline(tmp_path / f"{family}-{n}", family) for n in "ab")
        assert sum(open_source(first).sizes.values()) < 1_000_000
        name = "unet/diffusion_pytorch_model.safetensors"
        assert (first / name).read_bytes() == (second / name).read_bytes()
