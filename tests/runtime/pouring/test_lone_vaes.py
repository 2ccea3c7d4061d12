"""VAEs poured on their own: TAESD's two files, diffusers folders, and what is refused."""

import json
import shutil
import zipfile

import numpy as np
import pytest

import pleinair
from pleinair.bundle.opening import open_bundle
from pleinair.engines.fake import FakeEngine
from pleinair.engines.graphs import open_graph
from pleinair.errors import ExportError, RequestError
from pleinair.pictures.vae import decode
from pleinair.pouring.pour import pour
from pleinair.pouring.topologies import shipped
from pleinair.sources.architectures import PLAIN_VAE
from vectors import safetensors

SOURCE = pleinair.bundle.shipped.default_path().parent / "source"
KL = {"decoder.conv_in.weight": (512, 4, 3, 3), "decoder.mid_block.resnets.0.norm1.weight": (512,)}


def poured(source, out, **how):
    notes = [step.words for step in pour(source, out, **{"weights": "fp32", **how}) if step.note]
    return open_bundle(out), notes


@pytest.fixture(scope="module")
def halves():
    """TAESD's two files as they are published, random: half -> tensors."""
    rng = np.random.default_rng(1)
    made = {}
    for half, behind in (("decoder", 1), ("encoder", 0)):
        every = (topology for _, topology in shipped(f"vae_{half}", "fp32", "openvino"))
        topology = next(each for each in every if f"{half}.layers.0.weight" in each.shapes)
        made[half] = {}
        for key, shape in topology.shapes.items():
            number, _, rest = key.removeprefix(f"{half}.layers.").partition(".")
            fan = np.prod(shape[1:]) or 1
            numbers = rng.normal(0, fan**-0.5, shape) if len(shape) > 1 else np.full(shape, 0.1)
            made[half][f"{int(number) + behind}.{rest}"] = numbers.astype(np.float32)
    return made


@pytest.fixture
def files(tmp_path, halves):
    for half, tensors in halves.items():
        (tmp_path / f"taesd_{half}.safetensors").write_bytes(safetensors(tensors))
    return tmp_path


@pytest.mark.parametrize("half", ["decoder", "encoder"])
def test_either_of_taesds_files_is_both(files, half):
    bundle, notes = poured(files / f"taesd_{half}.safetensors", files / "out", formats=("openvino", "onnx"))
    manifest = bundle.manifest
    assert (manifest.name, manifest.is_vae, manifest.tasks, notes) == ("taesd", True, ("decode", "encode"), [])
    vae = manifest.vae
    assert (vae.scale, vae.shift, vae.kind, vae.downsample, manifest.latents.channels) == (1.0, 0.0, "plain", 8, 4)
    assert bundle.damage() == [] and manifest.origin.source == f"taesd_{half}.safetensors"
    if half == "decoder":
        z = np.random.default_rng(2).standard_normal((1, 4, 6, 5), np.float32)
        ours = [decode(open_graph(bundle, vae.decoder, engine), z, vae) for engine in ("openvino", "onnx")]
        assert np.abs(ours[0] - ours[1]).max() < 1e-5 and ours[0].std() > 0.01


def test_large_pictures_are_nearly_equal_in_tiles(files):
    """It normalises nothing; what it looks at reaches a little further than a tile's overlap."""
    bundle, _ = poured(files / "taesd_decoder.safetensors", files / "out")
    vae, graph = bundle.manifest.vae, open_graph(bundle, "vae_decoder", "openvino")
    z = np.random.default_rng(2).standard_normal((1, 4, 40, 24), np.float32)
    apart = np.abs(decode(graph, z, vae, tile=8192) - decode(graph, z, vae, tile=192))
    assert apart.max() < 0.05 and apart.mean() < 1e-3


def test_a_pickle_is_read_where_that_is_allowed(files, halves, tmp_path):
    file = tmp_path / "taesd_decoder.pth"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
    with pytest.raises(ExportError, match="is a pickle, which can run programs.*--allow-pickle"):
        poured(file, tmp_path / "out")


def test_what_is_missing_or_broken(files, halves, tmp_path):
    lonely = tmp_path / "lonely"
    lonely.mkdir()
    shutil.copy(files / "taesd_decoder.safetensors", lonely)
    with pytest.raises(ExportError, match="'taesd_encoder.safetensors', the other half of TAESD, is not beside it"):
        poured(lonely / "taesd_decoder.safetensors", tmp_path / "out")
    broken = dict(halves["encoder"])
    broken["0.bias"] = broken["0.bias"] * np.nan
    (lonely / "taesd_encoder.safetensors").write_bytes(safetensors(broken))
    with pytest.raises(ExportError, match=r"encoder.*(NaN|finite)"):
        poured(lonely / "taesd_decoder.safetensors", tmp_path / "out")
    deeper = {
        name: np.zeros((64, 32, 3, 3), np.float32) if name == "1.weight" else each
        for name, each in halves["decoder"].items()
    }
    (files / "taesd_decoder.safetensors").write_bytes(safetensors(deeper))
    with pytest.raises(ExportError, match="no graph is included for its vae_"):
        poured(files / "taesd_encoder.safetensors", tmp_path / "out")
    assert not (tmp_path / "out").exists()


REFUSED = {
    "a sampler": ({"sampler": "euler"}, "is a VAE, which paints nothing"),
    "defaults": ({"defaults": {"steps": 3}}, "is a VAE, which paints nothing"),
    "no number": ({"scaling_factor": 0.0}, "scaling factor 0 is out of range"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_options_that_no_vae_has(files, case):
    how, words = REFUSED[case]
    with pytest.raises(RequestError, match=words):
        poured(files / "taesd_decoder.safetensors", files / "out", **how)


def test_a_file_of_autoencoder_kl_says_how_it_scales_or_is_asked(tmp_path):
    """Stable Diffusion's and XL's have the same names and sizes."""
    tensors = {name: np.zeros(shape, np.float32) for name, shape in KL.items()}
    file = tmp_path / "fixed.safetensors"
    file.write_bytes(safetensors(tensors))
    with pytest.raises(RequestError, match="does not say how its latents are scaled; give --scaling-factor 0.13025"):
        poured(file, tmp_path / "out")
    with pytest.raises(pleinair.PleinairError, match="fixed.safetensors --scaling-factor 0.13025"):
        pleinair.load(engine=FakeEngine()).generate("a boat", vae=file)
    for how, words in (({"scaling_factor": 0.13025}, "no weights of"), ({}, "does not say")):
        with pytest.raises(pleinair.PleinairError, match=words):
            poured(file, tmp_path / "out", **how)
    file.write_bytes(safetensors(tensors, {"modelspec.architecture": "stable-diffusion-xl-v1-base/vae"}))
    with pytest.raises(ExportError, match="no weights of"):
        poured(file, tmp_path / "out")


def test_a_vae_of_sixteen_channels_takes_its_config(tmp_path):
    """FLUX's and Stable Diffusion 3's have the same names and sizes, and no factor says how they shift latents."""
    tensors = {"decoder.conv_in.weight": np.zeros((512, 16, 3, 3), np.float32)}
    file = tmp_path / "ae.safetensors"
    file.write_bytes(safetensors(tensors | {"decoder.mid_block.resnets.0.norm1.weight": np.zeros(512, np.float32)}))
    for how in ({}, {"scaling_factor": 0.3611}):
        with pytest.raises(RequestError, match="scaled and shifted, .*; put its config.json beside it"):
            poured(file, tmp_path / "out", **how)
    config = {"_class_name": "AutoencoderKL", **PLAIN_VAE, "scaling_factor": 0.3611, "shift_factor": 0.1159}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ExportError, match="no weights of"):  # now it is known what it should have
        poured(file, tmp_path / "out")


def test_a_folder_of_autoencoder_kl_has_its_own_scale_and_decodes_in_a_job(
    known, without_engines, tmp_path, monkeypatch
):
    folder = tmp_path / "other vae"
    shutil.copytree(SOURCE / "vae", folder)
    config = json.loads((folder / "config.json").read_text()) | {"scaling_factor": 0.3, "shift_factor": 0.1}
    (folder / "config.json").write_text(json.dumps(config))
    bundle, _ = poured(folder, tmp_path / "out", weights="fp16")
    vae = bundle.manifest.vae
    assert (bundle.manifest.name, vae.scale, vae.shift, vae.kind) == ("other vae", 0.3, 0.1, "gaussian")
    monkeypatch.setenv("PLEINAIR_HOME", str(tmp_path / "home"))
    result = pleinair.load(engine=FakeEngine()).generate("a boat", steps=1, size="64x64", vae=folder)
    assert result.settings["vae"] == "other vae"  # poured among the models, where it is found again
    assert (tmp_path / "home" / "models" / "other vae" / "bundle.json").is_file()
