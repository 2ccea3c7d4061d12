"""Which of a repository's files are fetched: what a model needs, once, and nothing else."""

import json

import pytest

from bundles import light_copy
from pleinair.errors import PleinairError
from pleinair.library.choosing import BUNDLE, FOLDER, KINDS, ONNX, OPENVINO, files_of, kind_of, of_file
from pleinair.library.repository import Remote, Repository


def paths(**folders):
    """Paths of files that are named by folder; `root` is the repository itself."""
    return [name if folder == "root" else f"{folder}/{name}" for folder, names in folders.items() for name in names]


def variants(stem):
    return [f"{stem}.safetensors", f"{stem}.fp16.safetensors"]


WORDS = ["merges.txt", "vocab.json", "tokenizer_config.json"]
UNET = "diffusion_pytorch_model"
XL = paths(
    root=["model_index.json", "README.md", "LICENSE.md", "01.png", ".gitattributes", "sd_xl_base_1.0.safetensors"],
    scheduler=["scheduler_config.json"],
    tokenizer=WORDS,
    tokenizer_2=[*WORDS, "special_tokens_map.json"],
    text_encoder=["config.json", *variants("model"), "pytorch_model.bin", "flax_model.msgpack"],
    text_encoder_2=["config.json", *variants("model")],
    unet=["config.json", *variants(UNET), f"{UNET}.non_ema.safetensors", f"{UNET}.bin"],
    vae=["config.json", *variants(UNET)],
    vae_1_0=["config.json", f"{UNET}.safetensors"],
    safety_checker=["config.json", "model.safetensors"],
    feature_extractor=["preprocessor_config.json"],
)
IR = ["openvino_model.xml", "openvino_model.bin"]
GRAPHS = paths(
    root=["openvino_config.json"],
    text_encoder=[*IR, "model.onnx"],
    text_encoder_2=[*IR, "model.onnx", "model.onnx_data"],
    unet=[
        *IR,
        "model.onnx",
        "model.onnx_data",
        "conv_in.weight",
        "weights.pb",
        "model_fp16.onnx",
        "model_fp16.onnx_data",
    ],
    vae_decoder=["config.json", *IR, "model.onnx"],
    tokenizer=["openvino_tokenizer.xml", "openvino_tokenizer.bin", "openvino_detokenizer.xml"],
    safety_checker=["model.onnx", "openvino_model.xml"],
)
TEXTS = [name for name in XL if name.startswith(("tokenizer", "scheduler"))]
CONFIGS = ["text_encoder/config.json", "text_encoder_2/config.json", "unet/config.json"]


def repository(names):
    return Repository("org/model", "0" * 40, {name: Remote(1, None) for name in names})


@pytest.fixture
def read(tmp_path):
    """Where small files are, which tests write beforehand."""
    index = {"_class_name": "StableDiffusionXLPipeline"}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    return lambda name: tmp_path / name


def test_of_a_diffusers_folder_the_16_bit_safetensors(read):
    there = repository(XL)
    assert kind_of(there, KINDS) == FOLDER
    weights = [
        "text_encoder/model",
        "text_encoder_2/model",
        "unet/diffusion_pytorch_model",
        "vae/diffusion_pytorch_model",
    ]
    wanted = ["model_index.json", "README.md", *TEXTS, *CONFIGS, "vae/config.json"]
    assert sorted(files_of(there, FOLDER, read)) == sorted([*wanted, *(f"{each}.fp16.safetensors" for each in weights)])


def test_of_a_folder_without_16_bit_weights_the_others_and_all_shards(read, tmp_path):
    names = [name for name in XL if "fp16" not in name and name != "unet/diffusion_pytorch_model.safetensors"]
    shards = [f"diffusion_pytorch_model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    index = "unet/diffusion_pytorch_model.safetensors.index.json"
    (tmp_path / "unet").mkdir()
    (tmp_path / index).write_text(json.dumps({"weight_map": dict(zip("ab", shards, strict=True))}))
    chosen = files_of(repository([*names, index, *(f"unet/{name}" for name in shards)]), FOLDER, read)
    assert {index, *(f"unet/{name}" for name in shards), "vae/diffusion_pytorch_model.safetensors"} <= {*chosen}
    assert len(chosen) == len({*chosen})
    with pytest.raises(PleinairError, match="lacks 'unet/.*00002"):
        files_of(repository([*names, index, f"unet/{shards[0]}"]), FOLDER, read)


def test_of_graphs_one_format_and_its_weights_under_any_name(read):
    there = repository([*XL, *GRAPHS])
    assert kind_of(there, KINDS) == OPENVINO and kind_of(there, (ONNX, FOLDER)) == ONNX
    shared = ["model_index.json", "README.md", "openvino_config.json", *TEXTS, *CONFIGS, "vae_decoder/config.json"]
    ours = [f"{folder}/openvino_model" for folder in ("text_encoder", "text_encoder_2", "unet", "vae_decoder")]
    ours = [*(f"{each}{end}" for each in ours for end in (".xml", ".bin"))]
    ours += ["tokenizer/openvino_tokenizer.xml", "tokenizer/openvino_tokenizer.bin"]
    assert sorted(files_of(there, OPENVINO, read)) == sorted([*shared, *ours])
    onnx = ["text_encoder/model.onnx", "text_encoder_2/model.onnx", "text_encoder_2/model.onnx_data", "unet/model.onnx"]
    onnx += ["unet/model.onnx_data", "unet/conv_in.weight", "unet/weights.pb", "vae_decoder/model.onnx"]
    assert sorted(files_of(there, ONNX, read)) == sorted([*shared, *onnx])


def test_one_stray_graph_makes_no_export_and_fp32_takes_the_plain_weights(read):
    for stray in ("text_encoder/model.onnx", "unet/openvino_model.xml", "vae_decoder/openvino_model.xml"):
        assert kind_of(repository([*XL, stray]), KINDS) == FOLDER
    plain = files_of(repository(XL), FOLDER, read, "fp32")
    assert f"unet/{UNET}.safetensors" in plain and not [name for name in plain if "fp16" in name]
    only = [name for name in XL if not name.startswith("unet/") or ".non_ema." in name or name.endswith(".json")]
    assert f"unet/{UNET}.non_ema.safetensors" in files_of(repository(only), FOLDER, read)


def test_single_files_are_listed_as_they_may_be_models():
    names = ["a_lora.safetensors", "vae/b.safetensors", "deep/c.safetensors", *(f"{n}.safetensors" for n in range(5))]
    there = Repository("org/m", "0" * 40, {name: Remote(len(name), None) for name in names})
    with pytest.raises(PleinairError) as caught:
        kind_of(there, KINDS)
    line = str(caught.value)
    assert line.endswith("pleinair pull org/m --file deep/c.safetensors") and "and 3 more" in line
    assert "lora" not in line and "vae" not in line


def test_of_a_bundle_what_it_lists(tmp_path):
    bundle = light_copy(tmp_path / "bundle")
    listed = json.loads((bundle / "bundle.json").read_text())["files"]
    there = repository([*listed, "bundle.json", "picture.png", ".verified.json", "unet/extra.safetensors"])
    assert kind_of(there, KINDS) == BUNDLE
    assert sorted(files_of(there, BUNDLE, lambda name: bundle / name)) == sorted([*listed, "bundle.json"])
    with pytest.raises(PleinairError, match="lacks '"):
        files_of(repository(["bundle.json"]), BUNDLE, lambda name: bundle / name)


def test_one_file_that_is_named():
    assert of_file(repository(XL), "sd_xl_base_1.0.safetensors") == ["sd_xl_base_1.0.safetensors", "README.md"]
    for name in ("no.safetensors", "unet/diffusion_pytorch_model.bin", "../x.safetensors"):
        with pytest.raises(PleinairError, match="choose from|--allow-pickle$"):
            of_file(repository(XL), name)
    beside = ["README.md", "unet/config.json"]  # without which a VAE does not say how it scales latents
    assert of_file(repository(XL), f"unet/{UNET}.bin", pickles=True) == [f"unet/{UNET}.bin", *beside]
    halves = ["taesd_decoder.safetensors", "taesd_encoder.safetensors"]
    assert of_file(repository(halves), halves[0]) == halves


def test_pickles_are_chosen_only_where_they_are_allowed_and_there_is_nothing_else(read):
    text = "text_encoder/pytorch_model.bin"
    there = repository(
        [name for name in XL if not name.startswith(("text_encoder/model", "unet/diff")) or name.endswith(".bin")]
    )
    with pytest.raises(PleinairError, match="no safetensors in 'text_encoder' but a pickle.* --allow-pickle$"):
        files_of(there, FOLDER, read)
    chosen = files_of(there, FOLDER, read, pickles=True)
    assert [name for name in chosen if name.endswith(".bin")] == [text, f"unet/{UNET}.bin"]


@pytest.mark.parametrize(
    "names, kinds, match",
    [
        (["a.safetensors", "b.safetensors"], KINDS, "pleinair pull org/model --file a.safetensors"),
        (["sd-v1-4.ckpt", "sd-v1-4-full-ema.ckpt"], KINDS, "--file sd-v1-4-full-ema.ckpt --allow-pickle$"),
        (["bundle.json"], (FOLDER,), "pleinair pull org/model$"),
        (["config.json", "model.onnx", "a/b/unet/model.onnx"], KINDS, "choose a model that has"),
        ([], KINDS, "choose a model that has"),
    ],
)
def test_what_holds_no_model_leads_on(names, kinds, match):
    with pytest.raises(PleinairError, match=match):
        kind_of(repository(names), kinds)


@pytest.mark.parametrize(
    "index, names, match",
    [
        ({"_class_name": "SomeOtherPipeline"}, XL, "SomeOtherPipeline"),
        (
            {"_class_name": "StableDiffusionXLPipeline"},
            [n for n in XL if n != "unet/config.json"],
            "lacks 'unet/config.json'",
        ),
        (
            {"_class_name": "StableDiffusionXLPipeline"},
            [name for name in XL if not (name.startswith("vae/") and name.endswith(".safetensors"))],
            "no safetensors in 'vae'",
        ),
    ],
)
def test_what_cannot_become_a_model_is_refused_before_its_weights(tmp_path, read, index, names, match):
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(PleinairError, match=match):
        files_of(repository(names), FOLDER, read)
