"""Options in every kind and company: what changes the picture is recorded, what has no effect changes nothing."""

import json
from itertools import product

import numpy as np
import pytest
from PIL import Image

import pleinair
from bundles import light_control, light_copy, light_upscaler, light_vae
from loras import kohya, write_lora
from pleinair.errors import PleinairError, RequestError
from pleinair.request.options import OPTIONS, PARAMETERS
from pleinair.request.request import resolve
from pleinair.sampling.samplers import OFF, SAMPLERS
from pleinair.tasks import morph
from pleinair.tasks.rerun import rerun
from vectors import safetensors, some_vectors

BASE = {"seed": 1, "steps": 4, "width": 64, "height": 64}


@pytest.fixture(scope="module")
def pipe():
    return pleinair.load(engine="fake")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Input files by name: two pictures, two masks, an upscaler, a ControlNet, a VAE, an embedding and a LoRA."""
    folder, random = tmp_path_factory.mktemp("inputs"), np.random.default_rng(1)
    for name in ("image", "other image"):
        Image.fromarray(random.integers(0, 256, (64, 64, 3), np.uint8)).save(folder / f"{name}.png")
    for name, box in {"mask": (16, 16, 48, 48), "other mask": (8, 24, 32, 60)}.items():
        mask = Image.new("L", (64, 64))
        mask.paste(255, box)
        mask.save(folder / f"{name}.png")
    light_upscaler(folder / "twice")
    light_copy(folder / "finisher")
    light_vae(folder / "brighter", scale=0.5)
    light_control(folder / "wire")
    width = pleinair.open_bundle().manifest.graphs["text_encoder"].outputs["last_hidden_state"].shape[-1]
    (folder / "wobbly.safetensors").write_bytes(safetensors({"emb_params": some_vectors(2, width)}))
    write_lora(folder / "style.safetensors", kohya({"conv_in": (64, 4, 3, 3)}))
    return folder


def named(values, files):
    """Options in which words beginning with @ stand for input files."""

    def of(value):
        if isinstance(value, dict):
            return {part: of(each) for part, each in value.items()}
        return str(files / value[1:]) if isinstance(value, str) and value.startswith("@") else value

    return {name: list(map(of, value)) if isinstance(value, list) else of(value) for name, value in values.items()}


COMPANY = {
    "alone": {},
    "a picture": {"image": "@image.png"},
    "a mask": {"image": "@image.png", "mask": "@mask.png"},
    "a mask, repainted softly": {"image": "@image.png", "mask": "@mask.png", "strength": 0.6},
    "a masked region": {"image": "@image.png", "mask": "@mask.png", "only_masked": True},
    "outpainting": {"image": "@image.png", "outpaint": [16, 0, 16, 0], "width": None, "height": None},
    "hires": {"hires": 1.5},
    "hires by another sampler": {"hires": 1.5, "sampler": "dpmpp_2m", "hires_sampler": "euler_a"},
    "a sampler that renews noise": {"sampler": "euler_a"},
    "a sampler that churns": {"sampler": "euler"},
    "a subseed": {"subseed": 5},
    "a subseed and a picture": {"subseed": 5, "image": "@image.png"},
    "a subseed of 0 and its strength": {"subseed": 0, "subseed_strength": 0.5},
    "no guidance": {"guidance": 1},
    "a refiner": {"refiner": "@finisher", "refiner_start": 0.5},
}
CHANGES = {
    "size": "96x32", "panorama": True,
    "width": 96, "height": 32, "count": 2, "batch": 2, "sampler": "ddpm", "spacing": "karras", "steps": 3,
    "speed": "fast", "reuse": 2, "wide_steps": 1,
    "sigmas": [9, 3, 1], "timesteps": [900, 500, 100], "eta": 0.5, "s_churn": 3, "s_noise": 1.2, "seed": 2,
    "noise": "philox", "subseed": 7, "subseed_strength": 0.4, "clip_skip": 2, "embeddings": ["@wobbly.safetensors"],
    "guidance": 3.5, "rescale": 0.7, "guidance_start": 0.3, "guidance_end": 0.6, "threshold": 0.9, "parallel": 0.3,
    "two_calls": True, "image_guidance": 2,
    "image": "@other image.png", "strength": 0.5, "mask": "@other mask.png", "mask_blur": 12,
    "fill": "noise", "only_masked": True, "padding": 4, "restore": False, "outpaint": [0, 8, 0, 8], "hires": 2,
    "hires_strength": 0.9, "hires_steps": 3, "hires_sampler": "ddim", "hires_spacing": "karras",
    "hires_eta": 0.3, "hires_s_churn": 2, "hires_s_noise": 1.1,
    "refiner": "@finisher", "refiner_start": 0.4,
    "enlarger": "lanczos", "upscale": "@twice", "tile": True, "vae_tile": 64, "loras": ["@style.safetensors:0.5"],
    "vae": "@brighter", "preview_vae": "@brighter",
    "controls": [{"model": "@wire", "image": "@other image.png", "strength": 0.8}],
}  # fmt: skip
PROMPT = "a wobbly boat on the sea"


def test_every_option_is_tried():
    assert {*CHANGES, "stop", *PARAMETERS} == {*OPTIONS}


@pytest.fixture(scope="module")
def plain(pipe, files):
    """The picture of each company, before anything is changed."""
    return {name: pipe.generate(PROMPT, "fog", **named(BASE | COMPANY[name], files)) for name in COMPANY}


@pytest.mark.parametrize("option", CHANGES)
def test_what_changes_the_picture_stands_in_its_record(pipe, files, plain, tmp_path, option):
    """In every second company, by turns: what is said to have no effect has none; in every sixth the record makes the
    same picture again."""
    number = list(CHANGES).index(option)
    for place, company in enumerate(list(COMPANY)[number % 2 :: 2], start=number // 2):
        options = named(BASE | COMPANY[company] | {option: CHANGES[option]}, files)
        try:
            changed = pipe.generate(PROMPT, "fog", **options)
        except PleinairError as error:
            assert "; " in str(error), company  # what does not go together is refused
            continue
        same = np.array_equal(plain[company].pixels, changed.pixels)
        assert same or plain[company].settings != changed.settings, company
        for name in OPTIONS:
            if any(f"'{name}' has no effect" in warning for warning in changed.warnings):
                without = pipe.generate(PROMPT, "fog", **{key: options[key] for key in options if key != name})
                assert np.array_equal(without.pixels, changed.pixels), (company, name)
                assert without.settings == changed.settings, (company, name)
        if place % 3:
            continue
        changed.picture(0).save(tmp_path / f"{company}.png")
        inputs = {name: options[name] for name in ("image", "mask") if options.get(name)}
        given = {"embeddings": options.get("embeddings", ()), "upscaler": options.get("upscale")}
        given |= {name: options.get(name) for name in ("refiner", "vae", "loras", "controls")}
        again = rerun(tmp_path / f"{company}.png", **inputs, **given)
        assert again.difference.max_abs == 0, (company, again.warnings)


# ---- numbers ----

NUMBERS = {
    "width": 32, "height": 32, "count": 2, "batch": 2, "steps": 3, "eta": 0.5, "s_churn": 3.0, "s_noise": 1.5,
    "seed": 7, "subseed": 7, "subseed_strength": 0.5, "clip_skip": 2, "guidance": 7.5, "rescale": 0.5,
    "guidance_start": 0.25, "guidance_end": 0.5, "threshold": 0.75, "parallel": 0.5, "strength": 0.5,
    "image_guidance": 2.5,
    "mask_blur": 8.0, "padding": 8, "hires": 1.5, "hires_strength": 0.5, "hires_steps": 3, "vae_tile": 64,
}  # fmt: skip
NEEDED = {
    "eta": {"sampler": "euler_a"},
    "s_churn": {"sampler": "euler"},
    "s_noise": {"sampler": "euler"},
    "subseed": {"subseed_strength": 0.5},
    "subseed_strength": {"subseed": 5},
    **dict.fromkeys(("strength", "mask_blur"), {"image": "@image.png", "mask": "@mask.png"}),
    "image_guidance": {"image": "@image.png"},
    "padding": {"image": "@image.png", "mask": "@mask.png", "only_masked": True},
    **dict.fromkeys(("hires_strength", "hires_steps"), {"hires": 1.5}),
}
KINDS = {
    "text": str,
    "float32": np.float32,
    "float64": np.float64,
    "int64": np.int64,
    "uint8": np.uint8,
    "an array without dimensions": np.array,
}


def fitting(option):
    return [kind for kind in KINDS if isinstance(NUMBERS[option], float) == ("float" in kind) or kind[0] in "ta"]


@pytest.mark.parametrize("option", NUMBERS)
def test_a_number_is_a_number_of_whatever_kind(pipe, files, tmp_path, option):
    company = named(BASE | NEEDED.get(option, {}), files)
    plain = pipe.generate("a boat", **company | {option: NUMBERS[option]})
    for kind in fitting(option):
        other = pipe.generate("a boat", **company | {option: KINDS[kind](NUMBERS[option])})
        assert json.dumps(plain.settings) == json.dumps(other.settings), kind
        assert np.array_equal(plain.pixels, other.pixels), kind
        other.save(tmp_path / f"{kind}.png")
        other.save(tmp_path / f"{kind}.npz")


NO_NUMBERS = {
    "true": True, "a flag of NumPy's": np.True_, "bytes": b"3", "a list": [3], "an array": np.array([3]),
    "a matrix": np.ones((2, 2)), "a complex number": 3j, "a complex number of NumPy's": np.complex64(3),
    "words": "three", "nothing": "", "an object": {}, "a function": abs, "not a number": float("nan"),
    "infinity": np.float32("inf"), "minus": -1, "huge": 10**400, "huge text": "9" * 5000,
}  # fmt: skip
LISTS_TOO = {"seed": ("a list", "an array")}


@pytest.mark.parametrize("option", NUMBERS)
def test_what_is_no_number_is_refused(pipe, files, option):
    company = named(BASE | NEEDED.get(option, {}), files)
    for kind, value in NO_NUMBERS.items():
        if kind in LISTS_TOO.get(option, ()):
            assert resolve(pipe.bundle, "a boat", **company | {option: value}).seeds == (3,)
            continue
        with pytest.raises(RequestError, match=f"{option}.*choose") as raised:
            resolve(pipe.bundle, "a boat", **company | {option: value})
        assert len(str(raised.value)) < 300 and str(raised.value).isprintable(), kind


@pytest.mark.parametrize("option", NUMBERS)
def test_an_option_has_one_range(pipe, files, option):
    """Just outside and far outside are told the same, wherever they are found out."""
    company, told = named(BASE | NEEDED.get(option, {}), files), set()
    for value in (-1, -0.001, -1e9, 1e6, 11, 101, 1001, 5000, 10**9, 2.0**70):
        value = int(value) if isinstance(NUMBERS[option], int) else value
        try:
            pipe.stream("a boat", **company | {option: value})
        except RequestError as error:
            if "is out of range" in str(error):
                told.add(str(error).partition("; ")[2])
    assert len(told) == 1, told


ROWS = {
    "sigmas": [9.0, 3.0, 1.0],
    "timesteps": [900.0, 500.0, 100.0],
    "seed": [3, 1, 2],
    "outpaint": [8, 0, 8, 0],
}
ROW_KINDS = {
    "a tuple": tuple,
    "an array": np.array,
    "32 bits": lambda row: np.array(row, np.float32 if isinstance(row[0], float) else np.int32),
    "numbers of NumPy's": lambda row: list(map(np.array, row)),
    "words": lambda row: list(map(str, row)),
    "text": lambda row: ",".join(map(str, row)),
    "a generator": lambda row: iter(list(row)),
}


@pytest.mark.parametrize("kind", ROW_KINDS)
@pytest.mark.parametrize("option", ROWS)
def test_a_list_is_a_list_of_whatever_kind(pipe, files, option, kind):
    company = named({"image": "@image.png"}, files) if option == "outpaint" else {"seed": 1}
    company = {"seed": 1} | company
    plain, other = (
        pipe.generate("a boat", **company | {option: row}) for row in (ROWS[option], ROW_KINDS[kind](ROWS[option]))
    )
    assert json.dumps(plain.settings) == json.dumps(other.settings) and np.array_equal(plain.pixels, other.pixels)


NO_ROWS = {
    "text": "9 7 5", "bytes": b"\x09\x05", "by name": {9: 1, 5: 2}, "a set": {9, 5}, "a matrix": np.ones((4, 1)),
    "flags": [True, False], "nested": [[9], [5]], "nothing": [], "words": ["x", "y"], "a number": 2.5,
    "not numbers": [float("nan")] * 4, "bytes within": [b"9", b"5"], "without end": range(10**12, 0, -1),
}  # fmt: skip


@pytest.mark.parametrize("option", ROWS)
def test_what_is_no_list_is_refused(pipe, files, option):
    company = named({"image": "@image.png"}, files) if option == "outpaint" else {}
    for value in NO_ROWS.values():
        with pytest.raises(RequestError, match=f"{option}|steps") as raised:
            resolve(pipe.bundle, "a boat", **company | {option: value})
        assert len(str(raised.value)) < 300


@pytest.mark.parametrize("option", ["two_calls", "only_masked", "restore", "tile"])
def test_flags_of_numpy_are_flags(pipe, files, option):
    company = named(BASE | {"image": "@image.png"}, files) | (
        {} if option == "tile" else named({"mask": "@mask.png"}, files)
    )
    for value in (True, False):
        plain, other = (pipe.generate("a boat", **company | {option: flag}) for flag in (value, np.bool_(value)))
        assert json.dumps(plain.settings) == json.dumps(other.settings)
    for wrong in (1, 0, "yes", [True], np.array([True, False])):
        with pytest.raises(RequestError, match=option):
            resolve(pipe.bundle, "a boat", **company | {option: wrong})


# ---- pictures and masks ----


def array(file):
    return np.asarray(Image.open(file))


PICTURES = {
    "a path": lambda file: file,
    "text": str,
    "bytes": lambda file: file.read_bytes(),
    "a PIL image": Image.open,
    "an array": array,
    "floats": lambda file: array(file).astype(np.float32) / 255,
    "half floats": lambda file: (array(file) / 255).astype(np.float64),
    "16 bits": lambda file: array(file).astype(np.uint16) * 257,
    "columns first in memory": lambda file: np.asfortranarray(array(file)),
}
MASKS = PICTURES | {
    "flags": lambda file: array(file) > 127,
    "a channel": lambda file: array(file)[:, :, None],
    "upside down": lambda file: array(file)[::-1][::-1],
}


@pytest.mark.parametrize(
    "image, mask", [(image, "a path") for image in PICTURES] + [("an array", mask) for mask in MASKS]
)
def test_pictures_and_masks_come_in_every_kind(pipe, files, tmp_path, image, mask):
    sources = files / "image.png", files / "mask.png"
    plain = pipe.generate("a boat", **BASE, image=sources[0], mask=sources[1])
    given = {"image": PICTURES[image](sources[0]), "mask": MASKS[mask](sources[1])}
    other = pipe.generate("a boat", **BASE, **given)
    assert json.dumps(plain.settings) == json.dumps(other.settings) and np.array_equal(plain.pixels, other.pixels)
    other.save(tmp_path / "made.png")


NO_PICTURES = {
    "a number": 5, "a list": [[0, 255]], "by name": {}, "no pixels": np.ones((0, 4)), "a row": np.ones(4),
    "five channels": np.ones((4, 4, 5)), "integers": np.ones((4, 4), np.int64), "a scalar": np.float32(1), "empty": "",
    "NUL": "a\0.png", "surrogate": "\ud800.png", "a device": "/dev/zero", "a folder": "/", "no bytes": b"",
    "noise": b"x" * 99,
    "not numbers": np.full((4, 4), np.nan), "a function": open,
}  # fmt: skip


@pytest.mark.parametrize("option", ["image", "mask"])
@pytest.mark.parametrize("value", NO_PICTURES)
def test_what_is_no_picture_is_refused(pipe, files, option, value):
    company = named({"image": "@image.png"}, files)
    with pytest.raises(RequestError):
        resolve(pipe.bundle, "a boat", **company | {option: NO_PICTURES[value]})


@pytest.mark.parametrize("mask", [np.ones((64, 64), bool), Image.new("L", (64, 64), 255), "mask.png", [1]])
@pytest.mark.parametrize("more", [{}, {"fill": "noise"}, {"subseed": 1}])
def test_a_mask_without_a_picture_is_refused_whatever_its_kind(pipe, mask, more):
    with pytest.raises(RequestError, match="'mask' works only with a picture"):
        resolve(pipe.bundle, "a boat", mask=mask, **more)


# ---- two passes, each with its own sampler ----

BY_OPTIONS = {SAMPLERS[name].options: name for name in reversed(SAMPLERS)}  # one sampler for each set of options


@pytest.mark.parametrize("option, value", [("eta", 0.5), ("s_churn", 3.0), ("s_noise", 1.2)])
def test_noise_is_renewed_in_the_pass_whose_sampler_has_that(pipe, option, value):
    for samplers in product(BY_OPTIONS.values(), repeat=2):
        having = [option in SAMPLERS[name].options for name in samplers]
        options = BASE | dict(zip(("sampler", "hires_sampler"), samplers, strict=True)) | {"hires": 1.5, option: value}
        if not any(having):
            with pytest.raises(RequestError, match=f"has no {option}"):
                pipe.stream("a boat", **options)
            continue
        request = resolve(pipe.bundle, "a boat", **options)
        expected = [value if has else OFF[option] for has in having]
        assert [getattr(steps, option) for steps in (request.steps, request.hires.steps)] == expected, samplers
        assert pipe.generate("a boat", **options).settings[option] == value, samplers


# ---- morphs ----

WALK = {"frames": 2, "steps": 4, "width": 32, "height": 32}


@pytest.mark.parametrize(
    "options",
    [
        {"seeds": np.array([3, 4])},
        {"seeds": (np.int64(3), "4")},
        {"seeds": range(3, 5)},
        {"frames": "2", "seeds": ["3", 4]},
        {"frames": np.int64(2), "guidance": "7.5", "seeds": [3, 4]},
        {"guidance": np.float32(7.5), "seeds": [3, 4]},
        {"count": "1", "seeds": [3, 4]},
        {"images": np.zeros((2, 32, 32, 3), np.uint8), "seeds": [3, 4]},
        {"images": [np.zeros((32, 32), bool), Image.new("RGB", (32, 32))], "seeds": [3, 4]},
        {"images": np.zeros((32, 32, 3)), "seeds": [3, 4]},
    ],
    ids=lambda options: ", ".join(f"{name} {type(value).__name__}" for name, value in options.items()),
)
def test_a_morph_takes_numbers_and_pictures_of_every_kind(pipe, options):
    results = [frame.result for frame in morph.morph(pipe, ["a", "b"], **WALK | options) if frame.result]
    assert [result.seeds for result in results] == [(3,), (4,)]
    json.dumps([result.settings for result in results])


@pytest.mark.parametrize(
    "options",
    [
        {"prompts": 5},
        {"prompts": [5, 6]},
        {"prompts": None},
        {"seeds": 5},
        {"seeds": "34"},
        {"seeds": {3: 4}},
        {"seeds": [[3], [4]]},
        {"seeds": np.ones((2, 2))},
        {"images": "ab"},
        {"images": 5},
        {"mask": np.ones((4, 4))},
        {"outpaint": np.ones(4)},
        {"count": 2},
        {"count": np.int64(2)},
        {"seed": np.array([1])},
        {"frames": 2.5},
        {"frames": "many"},
        {"frames": True},
        {"ease": 5},
        {"ease": ["even"]},
        {"guidance": True},
    ],
    ids=ascii,
)
def test_a_morph_refuses_what_makes_no_sense(pipe, options):
    prompts = options.pop("prompts", ["a", "b"]) if "prompts" in options else ["a", "b"]
    with pytest.raises(RequestError):
        morph.morph(pipe, prompts, **WALK | options)
