"""Every way to paint: what a picture's file says is enough to make the picture again, to the byte."""

import json
import shlex
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pleinair
from bundles import edit_manifest, light_copy, light_inpaint_copy, light_upscaler, seal
from pleinair.cli import app as cli
from pleinair.errors import RequestError
from pleinair.files.metadata import read_record
from pleinair.files.output import write_pictures
from pleinair.sampling.samplers import SAMPLERS
from pleinair.sampling.spacings import SPACINGS
from pleinair.tasks.comparing import difference, open_pixels
from pleinair.tasks.rerun import rerun
from vectors import safetensors, some_vectors

pytestmark = pytest.mark.usefixtures("silent_storybook")
THRESHOLDING = {"thresholding": True, "dynamic_thresholding_ratio": 0.9, "sample_max_value": 1.5}
LONG = "a red house on a snowy hill, (old:1.3), " * 12
IMAGE = "--image picture.png"
HOLE = f"{IMAGE} --mask mask.png"
WIDER = f"{IMAGE} --outpaint 16,0,8,24"

JOBS = {
    "plain": "",
    "image": f"{IMAGE} --strength 0.5",
    "image of its own size": f"{IMAGE} --strength 0.5 --size 48x40",
    "image, stochastic": f"{IMAGE} --strength 0.6 --sampler euler_a",
    "image, all of it": f"{IMAGE} --strength 1",
    "mask": HOLE,
    "mask, noise": f"{HOLE} --fill noise",
    "mask, noise, strength": f"{HOLE} --fill noise --strength 0.5",
    "mask, blank": f"{HOLE} --fill blank --strength 0.5",
    "mask, blur": f"{HOLE} --mask-blur 0",
    "only masked": f"{HOLE} --only-masked --padding 8",
    "only masked, noise": f"{HOLE} --only-masked --fill noise --strength 0.7 --no-restore",
    "no restore": f"{HOLE} --no-restore",
    "outpaint": WIDER,
    "outpaint, noise": f"{WIDER} --fill noise",
    "outpaint, blank": f"{WIDER} --fill blank",
    "outpaint, strength": f"{WIDER} --strength 0.5",
    "outpaint, noise, strength": f"{WIDER} --fill noise --strength 0.5",
    "outpaint, blur, no restore": f"{WIDER} --mask-blur 2 --no-restore",
    "hires latent": "--hires 1.5x",
    "hires lanczos": "--hires 1.5x --enlarger lanczos --hires-strength 0.4 --hires-steps 6",
    "hires bundle": "--hires 2x --enlarger twice",
    "hires, its own spacing": "--hires 2x --hires-sampler 'DPM++ 2M Karras'",
    "hires, its own sampler": "--hires 2x --hires-sampler lcm",
    "hires, both": "--sampler 'Euler a' --spacing exponential --hires 2x --hires-sampler 'DPM++ 2M Karras'",
    "hires, a spacing": "--hires 2x --hires-spacing karras",
    "hires after sigmas": "--sampler euler --sigmas 14,5,1,0.2 --hires 2x",
    "hires after timesteps": "--timesteps 900,500,100 --hires 2x --hires-steps 5",
    "hires, its own eta": "--sampler euler_a --eta 0.5 --hires 2x --hires-eta 0.2 --hires-s-noise 1.1",
    "hires of a picture": f"{IMAGE} --strength 0.5 --hires 1.5x",
    "upscale": "--upscale twice",
    "hires and upscale": "--hires 2x --enlarger twice --upscale twice",
    "only masked and upscale": f"{HOLE} --only-masked --upscale twice",
    "tile": "--tile",
    "panorama": "--panorama",
    "tile, stochastic, larger": "--tile --sampler euler_a --hires 1.5x",
    "panorama of a picture": f"{IMAGE} --panorama --strength 0.5",
    "VAE in tiles": "--vae-tile 64 --size 96x128",
    "VAE never in tiles": "--vae-tile 0",
    "embedding": "--embedding wobbly.safetensors",
    "embeddings": "--embedding wobbly.safetensors --embedding soft.safetensors --clip-skip 2",
    "sigmas": "--sampler euler --sigmas 14.6,3.2,0.7",
    "sigmas to 0": "--sampler dpmpp_2m --sigmas 14.6,3.2,0.7,0",
    "timesteps": "--timesteps 999,600,200",
    "restart": "--sampler restart --steps 12",
    "eta": "--sampler dpmpp_sde --eta 0.5",
    "eta of ddim": "--sampler ddim --eta 1",
    "churn": "--sampler euler --s-churn 2 --s-noise 1.01",
    "s_noise": "--sampler euler_a --s-noise 0.9",
    "A1111's name": "--sampler 'DPM++ 2M SDE Karras'",
    "two spacings": "--sampler euler --spacing trailing,karras",
    "subseed": "--subseed 9 --subseed-strength 0.3",
    "subseed of a picture": f"{IMAGE} --strength 0.5 --subseed 9 --subseed-strength 0.3",
    "subseed of a hole": f"{HOLE} --fill noise --subseed 9 --subseed-strength 0.3",
    "subseed, larger": "--subseed 9 --subseed-strength 0.3 --hires 1.5x --sampler euler_a",
    "philox": "--noise philox --sampler euler_a",
    "numpy": "--noise numpy --sampler euler_a",
    "philox of a picture": f"{IMAGE} --noise philox --strength 0.5 --subseed 3 --subseed-strength 0.5",
    "clip skip": "--clip-skip 2",
    "no guidance": "--guidance 1 --negative ''",
    "rescale": "--rescale 0.7",
    "guidance interval": "--guidance-start 0.2 --guidance-end 0.7",
    "threshold": "--threshold 0.9",
    "parallel": "--parallel 0.2",
    "two calls": "--two-calls",
    "all guidance": "--rescale 0.3 --guidance-end 0.9 --threshold 0.99 --parallel 0.5 --two-calls",
    "thresholding model": "--model thresholding",
    "thresholding model, asked": "--model thresholding --threshold 0.95",
    "thresholding model, larger": "--model thresholding --hires 2x",
    "inpainting model": f"{HOLE} --model inpainting",
    "inpainting model, strength": f"{HOLE} --model inpainting --strength 0.5",
    "inpainting model, outpaint": f"{WIDER} --model inpainting",
    "refiner": "--refiner finisher --refiner-start 0.5",
    "refiner of a picture": f"{IMAGE} --strength 1 --sampler euler_a --refiner finisher --refiner-start 0.5",
    "refiner of a hole": f"{HOLE} --refiner finisher --refiner-start 0.4",
    "few timesteps of its own": "--model hyper",
    "largest seed": f"--seed {(1 << 64) - 2}",
    **{
        f"{sampler} on {spacing}": f"--sampler {sampler} --spacing {spacing}"
        for sampler, spacing in zip(SAMPLERS, cycle(SPACINGS), strict=False)
    },
    **{f"sampler {name}, picture": f"{IMAGE} --strength 0.5 --sampler {name}" for name in ("lcm", "tcd", "restart")},
}
INPUTS = ("--image", "--mask", "--embedding", "--model", "--refiner")  # what no record holds
ENLARGED = ("--enlarger", "--upscale")
PROMPTS = {
    "long": LONG,
    "parts": "a red house AND a boat:0.7 AND snow:-0.3",
    "schedules": "a [red:blue:0.5] [house|boat] in [the snow::2]",
    "all": LONG + "[a:b:0.5] AND (fog:1.2) [c|d]",
    "lines": "Steps: 3, Sampler: Euler\nNegative prompt: a\n",
    "letters": "家 (🏠:1.2) é\\(\\)",
    "nothing": "",
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with everything that a picture can be made of besides words."""
    folder = tmp_path_factory.mktemp("inputs")
    colours = np.random.RandomState(0).randint(0, 256, (56, 72, 3), np.uint8)
    Image.fromarray(colours).resize((72, 56)).save(folder / "picture.png")
    hole = Image.new("L", (72, 56), 0)
    hole.paste(255, (20, 16, 52, 44))
    hole.save(folder / "mask.png")
    width = pleinair.open_bundle().manifest.graphs["text_encoder"].outputs["last_hidden_state"].shape[-1]
    for number, name in enumerate(("wobbly", "soft")):
        (folder / f"{name}.safetensors").write_bytes(safetensors({"emb_params": some_vectors(2, width, number)}))
    light_upscaler(folder / "twice")
    light_inpaint_copy(folder / "inpainting")
    light_copy(folder / "finisher")
    hyper = {"sampler": "lcm", "steps": 2, "timesteps": [800, 300]}
    edit_manifest(light_copy(folder / "hyper"), lambda raw: raw["defaults"].update(hyper))
    config = light_copy(folder / "thresholding") / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **THRESHOLDING}))
    seal(folder / "thresholding")
    return folder


@pytest.fixture
def run(inputs, monkeypatch, capsys):
    """Run a command beside the inputs; returns its stdout, and fails for any complaint or warning."""
    monkeypatch.chdir(inputs)

    def call(*arguments):
        code = cli.run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert (code, captured.err) == (0, ""), captured.err
        return captured.out

    return call


def painted(run, tmp_path, prompt, options, count=2):
    """The files of `count` pictures."""
    usual = ["--engine", "fake", "--steps", "4", "--seed", "5", "--negative", "fog", "--count", count]
    run("generate", prompt, *_without(usual, options), *options, "-o", tmp_path / "a.png")
    return sorted(tmp_path.glob("a*.png"))


def made_again(run, files, options):
    """Make each of the files again, and assert that nothing differs."""
    given = [each for name, value in _pairs(options) if name in INPUTS for each in (name, value)]
    bundles = [value for name, value in _pairs(options) if name in ENLARGED and Path(value).is_dir()]
    given += ["--upscaler", bundles[0]] if bundles else []
    for file in files:
        again = file.with_name("again.png")
        report = json.loads(run("rerun", file, *given, "-o", again, "--force", "--json"))
        assert report["difference"] == {"max_abs": 0, "psnr_db": None, "equal_share": 1.0}, file.name
        assert report["warnings"] == [], file.name
        assert again.read_bytes() == file.read_bytes(), file.name


def _pairs(options):
    return list(zip(options, options[1:], strict=False))


def _without(usual, options):
    """The usual options that are not given, and make sense beside those that are: lists stand for steps."""
    stood_for = {*options, *(["--steps"] if {"--sigmas", "--timesteps", "hyper"} & set(options) else [])}
    size = [] if {"--size", "--image"} & set(options) else ["--size", "64x48"]
    pairs = zip(usual[::2], usual[1::2], strict=True)
    return [each for name, value in pairs if name not in stood_for for each in (name, value)] + size


@pytest.mark.parametrize("name", JOBS)
def test_a_picture_is_made_again_to_the_byte(run, tmp_path, name):
    prompt, options = "a wobbly house, soft" if "embedding" in name else "a red house", shlex.split(JOBS[name])
    first, second = painted(run, tmp_path, prompt, options)
    assert difference(open_pixels(first), open_pixels(second)).max_abs > 0
    made_again(run, [second], options)


@pytest.mark.parametrize("name", PROMPTS)
def test_any_prompt_is_read_again_as_it_was(run, tmp_path, name):
    options = ["--sampler", "euler_a"]
    made_again(run, painted(run, tmp_path, PROMPTS[name], options, count=1), options)


@pytest.mark.parametrize(
    "options",
    [
        "",
        "--sampler euler_a --tile",
        f"{HOLE} --fill noise",
        "--subseed 4 --subseed-strength 0.2 --hires 1.5x",
        f"{WIDER} --fill noise --strength 0.5",
    ],
)
def test_a_picture_of_a_batch_is_made_again_with_its_neighbours(run, tmp_path, options):
    options = [*shlex.split(options), "--batch", "2"]
    made_again(run, painted(run, tmp_path, "a red house", options, count=3), options)


def test_seeds_that_do_not_follow_each_other(inputs, tmp_path):
    pipe = pleinair.load(engine="fake")
    options = {"steps": 3, "width": 64, "height": 64, "tile": True, "sampler": "euler_a", "batch": 2}
    result = pipe.generate("a boat", seed=[9, 2, 700], **options)
    files = write_pictures(result, [tmp_path / f"{seed}.png" for seed in result.seeds], False)
    for file in files:
        again = rerun(file)
        assert again.difference.max_abs == 0 and again.warnings == ()


def test_what_was_made_again_can_be_made_again(run, tmp_path):
    """A record does not wear out: the third generation is the first."""
    options = shlex.split("--sampler lcm --hires 1.5x --hires-sampler tcd")
    first, *_ = painted(run, tmp_path, "a red house", options)
    second, third = tmp_path / "second.png", tmp_path / "third.png"
    run("rerun", first, "-o", second)
    run("rerun", second, "-o", third, "--memory", "low", "--no-verify")
    assert first.read_bytes() == second.read_bytes() == third.read_bytes()
    assert rerun(third, threads=2).result.settings["threads"] == 2
    with pytest.raises(RequestError, match="unknown option 'upscale'"):
        rerun(third, upscale=third)


@pytest.mark.parametrize("together", [False, True])
def test_records_under_older_names_are_followed(tmp_path, together):
    pipe = pleinair.load(engine="fake")
    result = pipe.generate("a boat", seed=3, steps=2, width=64, height=64, two_calls=not together)
    settings = {name: value for name, value in result.settings.items() if name != "two_calls"}
    (file,) = write_pictures(
        replace(result, settings={**settings, "together": together}), [tmp_path / "old.png"], False
    )
    assert read_record(file).ours["together"] is together and read_record(file).options()["two_calls"] is not together
    again = rerun(file)
    assert again.difference.max_abs == 0 and again.warnings == ()
    assert again.result.settings == result.settings


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
@pytest.mark.parametrize("options", ["", f"{HOLE} --subseed 2 --subseed-strength 0.5", "--hires 1.5x"])
def test_a_picture_without_metadata_tells_nothing_and_shows_the_same(run, inputs, tmp_path, capsys, name, options):
    told, silent = tmp_path / name, tmp_path / f"silent-{name}"
    job = ["generate", "a secret", "--engine", "fake", "--steps", "2", "--seed", "5", *shlex.split(options)]
    run(*job, "-o", told)
    run(*job, "-o", silent, "--no-metadata")
    assert read_record(told).prompt == "a secret"
    assert np.array_equal(open_pixels(told), open_pixels(silent))
    data = silent.read_bytes()
    for word in ("secret", "pleinair", "storybook", "adobe", "Exif", "parameters", "Steps"):
        assert not any(word.encode(encoding) in data for encoding in ("utf-8", "utf-16-be", "utf-16-le")), word
    with Image.open(silent) as picture:
        assert not {"exif", "xmp", "XML:com.adobe.xmp", "comment", "icc_profile"} & set(picture.info)
        assert not getattr(picture, "text", {}) and not picture.getexif()
    for command in ("metadata", "rerun"):
        assert cli.run([command, str(silent)]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and "has no record of how it was made" in err


def test_a_list_without_metadata(run, tmp_path):
    (tmp_path / "list").write_text('a secret\n{"prompt": "a boat", "output": "boat.jpg"}\n')
    quick = ["--engine", "fake", "--steps", "1", "--size", "64x64"]
    run("generate", "--prompts", tmp_path / "list", "-o", tmp_path / "out", *quick, "--no-metadata")
    pictures = [file for file in (tmp_path / "out").iterdir() if file.suffix != ".jsonl"]
    assert len(pictures) == 2 and not any(b"pleinair" in file.read_bytes() for file in pictures)


@pytest.mark.parametrize(
    "options",
    [
        f"--engine openvino {IMAGE} --strength 0.5 --count 1",
        f"--engine onnx --threads 1 {HOLE} --fill noise --size 64x48 --steps 2",
        "--engine onnx --threads 1 --tile --sampler euler_a --steps 2",
        "--engine onnx --threads 1 --subseed 9 --subseed-strength 0.4 --count 1",
    ],
)
@pytest.mark.usefixtures("sketched")
def test_a_real_engine_makes_its_pictures_again(run, tmp_path, options):
    options = shlex.split(options)
    made_again(run, painted(run, tmp_path, "a red house on a snowy hill", options), options)
