"""What a picture says of how it was made: written, read by A1111's rules, read back by us, and made again."""

import contextlib
import json
import os
import random
import re
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bundles import edit_manifest, light_copy
from pleinair import load, open_bundle
from pleinair.bundle.opening import bundle_identity
from pleinair.errors import RequestError
from pleinair.files.foreign.infotext import read_infotext
from pleinair.files.found_texts import MAX_TEXT, MAX_TEXTS
from pleinair.files.metadata import infotext, left_out, of_picture, read_record, save_options
from pleinair.files.output import no_room, write_pictures
from pleinair.files.xmp import SOURCE_TYPE
from pleinair.request.options import OPTIONS
from pleinair.results import merged
from pleinair.sampling.names import sampler_named
from pleinair.tasks.comparing import difference
from pleinair.tasks.rerun import plan_rerun, rerun

pytestmark = pytest.mark.usefixtures("silent_storybook", "in_a_folder")
KINDS = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp"}
BASE = {
    "prompt": "a boat, blue: (old:1.2)",
    "negative": "fish",
    "width": 64,
    "height": 72,
    "sampler": "dpmpp_2m",
    "spacing": "trailing,karras",
    "steps": 7,
    "guidance": 4.5,
    "seeds": [5],
    "batch": 1,
    "model": "storybook",
    "engine": "onnx",
    "engine_version": "1.2",
    "device": "cpu",
    "threads": None,
    "pleinair": "0.1.0",
}


def save(kind, settings=None, seed=5, name=None, include=True, size=(64, 72)):
    file = Path(name or f"picture.{KINDS[kind]}")
    Image.new("RGB", size, (200, 60, 30)).save(file, kind, **save_options(kind, settings or BASE, seed, include))
    return file


# A1111's reader, written anew from modules/infotext_utils.py of its version 1.10
A1111_PAIR = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')


def read_as_a1111(text):
    """Its parse_generation_parameters: prompt, negative prompt and fields; sizes are split in two."""
    lines = text.strip().split("\n")
    last = lines.pop()
    if len(A1111_PAIR.findall(last)) < 3:
        lines.append(last)
        last = ""
    texts, which = {"Prompt": [], "Negative prompt": []}, "Prompt"
    for line in lines:
        line = line.strip()
        if line.startswith("Negative prompt:"):
            which, line = "Negative prompt", line[len("Negative prompt:") :].strip()
        texts[which].append(line)
    fields = {name: "\n".join(lines) for name, lines in texts.items()}
    for name, value in A1111_PAIR.findall(last):
        if value[0] == value[-1] == '"':
            with contextlib.suppress(ValueError):
                value = json.loads(value)
        if size := re.match(r"^(\d+)x(\d+)$", value):
            fields[f"{name}-1"], fields[f"{name}-2"] = size[1], size[2]
        else:
            fields[name] = value
    return fields


def test_a1111_reads_the_text():
    fields = read_as_a1111(infotext(BASE, 5))
    assert fields == {
        "Prompt": "a boat, blue: (old:1.2)",
        "Negative prompt": "fish",
        "Steps": "7",
        "Sampler": "DPM++ 2M",
        "Schedule type": "Karras",
        "CFG scale": "4.5",
        "Seed": "5",
        "Size-1": "64",
        "Size-2": "72",
        "Model": "storybook",
        "RNG": "CPU",
        "Version": "pleinair 0.1.0",
    }


def test_a1111_reads_every_option():
    every = {
        **BASE,
        "spacing": "leading",
        "bundle": {"name": "storybook", "sha256": "ab" * 32, "graphs": {}},
        "eta": 0.5,
        "s_churn": 0.25,
        "s_noise": 1.003,
        "noise": "philox",
        "subseed": 77,
        "subseed_strength": 0.3,
        "clip_skip": 2,
        "strength": 0.6,
        "mask_blur": 4,
        "fill": "noise",
        "only_masked": True,
        "tile": True,
        "rescale": 0.7,
        "guidance_start": 0.1,
        "guidance_end": 0.8,
        "embeddings": {"wobbly": "0123456789ab", "soft": "ba9876543210"},
        "task": "inpaint",
        "image_sha256": "cd" * 32,
    }
    fields = read_as_a1111(infotext(every, 5))
    expected = {
        "Schedule type": "Automatic",
        "Model hash": "ababababab",
        "Eta": "0.5",
        "Sigma churn": "0.25",
        "Sigma noise": "1.003",
        "RNG": "NV",
        "Variation seed": "77",
        "Variation seed strength": "0.3",
        "Clip skip": "2",
        "Denoising strength": "0.6",
        "Mask blur": "4",
        "Masked content": "latent noise",
        "Inpaint area": "Only masked",
        "Tiling": "True",
        "CFG rescale": "0.7",
        "Guidance start": "0.1",
        "Guidance end": "0.8",
        "TI hashes": "wobbly: 0123456789ab, soft: ba9876543210",
        "Init image hash": "cd" * 32,
    }
    assert {name: fields[name] for name in expected} == expected
    hires = {**BASE, "hires": 2.0, "hires_strength": 0.5, "hires_steps": 4, "hires_sampler": "euler_a"}
    fields = read_as_a1111(infotext(hires, 5))
    assert fields["Hires upscale"] == "2" and fields["Denoising strength"] == "0.5"
    assert (
        fields["Hires steps"] == "4" and fields["Hires sampler"] == "Euler a" and fields["Hires upscaler"] == "Latent"
    )
    assert "Eta DDIM" in read_as_a1111(infotext({**BASE, "sampler": "ddim", "eta": 1.0}, 5))
    explicit = read_as_a1111(infotext({**BASE, "sigmas": [14.6, 1.0, 0.1]}, 5))
    assert explicit["Sigmas"] == "14.6, 1, 0.1" and "Schedule type" not in explicit


OF_MASKS = {"mask_blur": 6, "fill": "noise", "only_masked": True, "padding": 48}
OF_PASSES = {"hires_strength": 0.4, "hires_steps": 4, "hires_sampler": "euler_a", "hires_spacing": "exponential"}
READ_BACK = [
    {"sampler": "euler", "spacing": "karras", "steps": 9, "clip_skip": 2, "s_churn": 0.25, "s_noise": 1.003},
    {"guidance": 3.5, "rescale": 0.7, "guidance_start": 0.1, "guidance_end": 0.8, "tile": True},
    {"noise": "philox", "subseed": 77, "subseed_strength": 0.3, "sampler": "ddim", "eta": 0.5},
    {"sigmas": [14.6, 1.0]},
    {"timesteps": [999, 600, 200]},
    {"task": "inpaint", "image_sha256": "ab", "mask_sha256": "cd", "strength": 0.6, **OF_MASKS},
    {"hires": 1.5, "enlarger": "lanczos", "eta": 0.3, **OF_PASSES},
    {"sampler": "euler_a", "eta": 1.0, "hires": 2, "enlarger": "latent", "hires_sampler": "ddim", "spacing": "beta"},
    {"sampler": "tcd", "eta": 1.0},
]


def test_every_option_that_a1111_has_a_word_for_is_read_back_from_its_text():
    known = {name for name, option in OPTIONS.items() if option.a1111}
    for settings in READ_BACK:
        record = read_infotext(infotext({**BASE, **settings}, 5))
        asked = {name: value for name, value in settings.items() if name in known}
        assert {name: record.options.get(name) for name in asked} == asked
        assert record.warnings == []
    assert known - set().union(*READ_BACK) == {"embeddings", "loras", "vae"}  # files, and what the prompt names
    (lost,) = read_infotext(infotext({**BASE, "embeddings": {"wobbly": "0123456789ab"}}, 5)).warnings
    assert "have to be given again" in lost and "wobbly" in lost


def test_settings_that_had_no_part_are_not_asked_for():
    idle = {"task": "text2image", "strength": 0.75, "mask_blur": 4, "fill": "noise", "only_masked": True, "hires": None}
    idle |= {"hires_strength": 0.7, "hires_steps": 5, "subseed": 3, "subseed_strength": 0.0}
    assert infotext({**BASE, **idle}, 5) == infotext(BASE, 5)
    found = read_record(save("PNG", {**BASE, **idle}))
    assert found.inputs == () and found.ours["strength"] == 0.75
    assert not {"strength", "mask_blur", "hires_strength", "subseed", "task"} & set(found.options())
    found = read_record(save("PNG", {**BASE, **idle, "task": "image2image"}))
    assert found.inputs == ("image",) and found.options()["strength"] == 0.75 and "fill" not in found.options()


def test_defaults_are_not_written():
    usual = {"eta": None, "s_churn": 0.0, "s_noise": 1.0, "noise": "torch", "subseed": None, "subseed_strength": 0.0}
    usual |= {"clip_skip": 1, "strength": None, "hires": None, "tile": False, "rescale": 0.0, "guidance_start": 0.0}
    usual |= {"guidance_end": 1.0, "sigmas": None, "embeddings": {}, "only_masked": False, "fill": "original"}
    assert infotext({**BASE, **usual}, 5) == infotext(BASE, 5)


@pytest.mark.parametrize(
    "name",
    ["a, b", "a: b", "a\nb", '"quoted"', 'say "a", b', "back\\slash, b", "ünï, 家", '"', "x", "\\", "a\\,", '",'],
)
def test_values_of_any_letters_come_back(name):
    fields = read_as_a1111(infotext({**BASE, "hires": 2, "enlarger": name}, 5))
    assert fields["Hires upscaler"] == name and fields["RNG"] == "CPU" and fields["Seed"] == "5"


def test_random_values_come_back_through_both_readers():
    from pleinair.files.foreign.infotext import infotext_fields

    pick = random.Random(1)
    for _ in range(300):
        name = "".join(pick.choices('ab ",:\\\n[]xé家', k=pick.randint(1, 12))).strip()
        if not name or name.startswith("\\\\"):  # a share of a Windows network
            continue
        text = infotext({**BASE, "hires": 2, "enlarger": name}, 5)
        theirs = read_as_a1111(text)
        assert theirs["Hires upscaler"] == name, name
        ours = infotext_fields(text.split("\n")[-1])
        assert ours["Hires upscaler"] == name and ours["Version"] == theirs["Version"], name


@pytest.mark.parametrize("prompt", ["one\ntwo\nthree", "", "家の絵", "Steps: 3, Sampler: x", "a" * 5000])
def test_prompts_of_any_kind_come_back(prompt):
    fields = read_as_a1111(infotext({**BASE, "prompt": prompt, "negative": "n1\nn2"}, 5))
    assert fields["Prompt"] == prompt and fields["Negative prompt"] == "n1\nn2" and fields["Steps"] == "7"


RARE = {**BASE, "prompt": "家 a 🏠 & <b>\x07 \ufffe]]> &amp; Ã©", "negative": "é", "eta": 0.1}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", [BASE, RARE])
def test_every_kind_of_file_gives_the_settings_back(kind, settings):
    found = read_record(save(kind, settings))
    assert (found.kind, found.tool, found.version, found.warnings) == (kind, "pleinair", "0.1.0", ())
    assert (found.prompt, found.negative) == (settings["prompt"], settings["negative"])
    assert found.ours == of_picture(settings, 5) and found.inputs == ()
    options = found.options()
    assert options["prompt"] == settings["prompt"] and options["seed"] == 5 and options["spacing"] == "trailing,karras"
    assert not {"model", "engine", "device", "threads", "batch", "format"} & set(options)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_settings_make_the_same_bytes(kind):
    assert save(kind, name="a." + KINDS[kind]).read_bytes() == save(kind, name="b." + KINDS[kind]).read_bytes()


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
@pytest.mark.parametrize("settings", [BASE, RARE])
def test_exif_holds_the_text_as_a1111_writes_it(kind, settings):
    with Image.open(save(kind, settings)) as picture:
        comment = picture.getexif().get_ifd(0x8769)[0x9286]
    assert comment == b"UNICODE\0" + infotext(settings, 5).encode("utf-16-be")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", [BASE, RARE])
def test_xmp_says_that_a_trained_algorithm_made_it(kind, settings):
    with Image.open(save(kind, settings)) as picture:
        packet = picture.info["XML:com.adobe.xmp" if kind == "PNG" else "xmp"]
    root = ElementTree.fromstring(packet.decode() if isinstance(packet, bytes) else packet)
    values = {element.tag.rpartition("}")[2]: element.text for element in root.iter()}
    assert values["DigitalSourceType"] == SOURCE_TYPE and values["CreatorTool"] == "pleinair 0.1.0"
    assert SOURCE_TYPE == "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    if kind != "PNG":
        assert json.loads(values["settings"]) == of_picture(settings, 5)


@pytest.mark.parametrize("kind", KINDS)
def test_without_metadata_a_file_holds_pixels_only(kind):
    data = save(kind, include=False).read_bytes()
    assert data == _bare(kind)
    for word in (b"boat", b"pleinair", b"adobe", b"Exif", b"EXIF", b"XMP", b"tEXt", b"iTXt", b"parameters"):
        assert word not in data


def _bare(kind):
    file = Path("bare." + KINDS[kind])
    Image.new("RGB", (64, 72), (200, 60, 30)).save(file, kind, **({} if kind == "PNG" else {"quality": 95}))
    return file.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prompt", ["word, " * 12_000, "家" * 40_000], ids=["long", "wide"])
def test_prompts_beyond_a_jpeg_segment_are_kept(kind, prompt):
    settings = {**BASE, "prompt": prompt}
    file = save(kind, settings)
    assert read_record(file).ours == of_picture(settings, 5)
    assert (left_out(kind, settings, 5) is not None) == (kind == "JPEG")
    with Image.open(file) as picture:
        picture.load()
        assert picture.size == (64, 72)
    assert left_out(kind, BASE, 5) is None


def test_extended_xmp_that_is_damaged_is_not_believed():
    file = save("JPEG", {**BASE, "prompt": "word, " * 12_000})
    data = bytearray(file.read_bytes())
    at = data.rindex(b"word, word, ")
    data[at : at + 4] = b"WORD"
    file.write_bytes(data)
    with pytest.raises(RequestError, match="extended XMP that is damaged"):
        read_record(file)


def test_what_does_not_fit_is_said_when_writing():
    pipe = load(engine="fake")
    result = pipe.generate("a", seed=1, steps=1)
    result = replace(result, settings={**result.settings, "prompt": "word, " * 12_000})
    write_pictures(result, [Path("a.jpg")], False)
    (said,) = no_room([Path("a.jpg"), Path("b.jpg")], result.settings, [1])
    assert "too long" in said
    assert read_record("a.jpg").prompt == "word, " * 12_000


@pytest.mark.parametrize("value", ["/home/someone/a.png", Path("x"), "C:\\Users\\a", "~/a.png", ["/a"], {"k": "/b"}])
def test_a_path_in_the_settings_is_a_bug_that_shows(value):
    for kind in KINDS:
        with pytest.raises(ValueError, match="image hold a path"):
            save_options(kind, {**BASE, "image": value}, 5)


def test_a_bundle_named_like_a_path_loses_its_folders():
    settings = {**BASE, "model": "/home/someone/dreams", "bundle": {"name": "/home/someone/dreams", "sha256": "0" * 64}}
    for kind, suffix in KINDS.items():
        data = save(kind, settings).read_bytes()
        assert b"someone" not in data and b"/\0h\0o\0m\0e" not in data
        assert read_record(f"picture.{suffix}").ours["model"] == "dreams"


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "npz"])
def test_no_folder_of_this_machine_is_in_a_file(run, suffix, tmp_path):
    model = light_copy(tmp_path / "somewhere" / "my-model")
    assert run("generate", "a boat", "--model", model, "--engine", "fake", "--steps", 1, "-o", f"b.{suffix}")[0] == 0
    data = Path(f"b.{suffix}").read_bytes()
    for private in (str(tmp_path), "somewhere", "my-model", str(Path.home()) + os.sep):
        for encoding in ("utf-8", "utf-16-be", "utf-32-le"):
            assert private.encode(encoding) not in data


def test_arrays_carry_the_settings_of_all_pictures(run):
    run("generate", "a boat", "--engine", "fake", "--steps", 1, "--count", 2, "--seed", 3, "-o", "b.npz")
    with np.load("b.npz") as arrays:
        settings = json.loads(str(arrays["settings"]))
    assert settings["seeds"] == [3, 4] and settings["prompt"] == "a boat" and settings["format"] == 1
    code, out, err = run("metadata", "b.npz")
    assert code == 2 and "numpy.load" in err
    result = load(engine="fake").generate("a boat", seed=1, steps=1)
    write_pictures(result, [Path("c.npz")], False, metadata=False)
    with np.load("c.npz") as arrays:
        assert set(arrays) == {"images", "latents"}


def test_a_picture_of_a_batch_knows_its_neighbours():
    settings = {**BASE, "seeds": [5, 9, 7, 8, 6], "batch": 2}
    assert of_picture(settings, 8)["batch_seeds"] == [7, 8]
    assert "batch_seeds" not in of_picture(settings, 6) and "batch_seeds" not in of_picture({**settings, "batch": 1}, 8)


def test_bundles_are_told_apart_by_content(tmp_path):
    here = open_bundle()
    identity = bundle_identity(here)
    assert identity["name"] == "storybook" and re.fullmatch("[0-9a-f]{64}", identity["sha256"])
    assert set(identity["graphs"]) == set(here.manifest.graphs)
    folder = light_copy(tmp_path / "copy")
    assert bundle_identity(open_bundle(folder)) == identity
    edit_manifest(folder, lambda raw: raw["files"]["unet/model.onnx"].update(sha256="0" * 64))
    changed = bundle_identity(open_bundle(folder))
    assert changed["sha256"] != identity["sha256"] and changed["graphs"]["unet"] != identity["graphs"]["unet"]
    assert changed["graphs"]["vae_decoder"] == identity["graphs"]["vae_decoder"]


def test_explicit_levels_stand_for_steps_and_spacing():
    options = read_record(save("PNG", {**BASE, "sigmas": [14.0, 1.0]})).options()
    assert options["sigmas"] == [14.0, 1.0] and not {"steps", "spacing"} & set(options)


def test_a_newer_record_says_so():
    chunks = PngInfo()
    chunks.add_text("pleinair", json.dumps({**of_picture(BASE, 5), "format": 2, "novelty": {"a": 1}}))
    Image.new("RGB", (8, 8)).save("new.png", pnginfo=chunks)
    found = read_record("new.png")
    assert "newer pleinair" in found.warnings[0] and "novelty" in found.warnings[1]


def png(*chunks):
    """A PNG of these (type, data) chunks between an IHDR and an IEND."""
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    every = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(b"\0\0\0\0")), (b"IEND", b"")]
    parts = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in every)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(entries, order="<", start=8):
    """EXIF of (tag, type, count, value) entries."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", start)
    return head + struct.pack(order + "H", len(entries)) + b"".join(struct.pack(order + "HHII", *e) for e in entries)


LEAF = '{"format": 1, "prompt": "a", "negative": "", "x": '
HOSTILE = {
    "no metadata": png(),
    "bomb": png((b"zTXt", b"parameters\0\0" + zlib.compress(bytes(4 * MAX_TEXTS)))),
    "international bomb": png((b"iTXt", b"pleinair\0\1\0\0\0" + zlib.compress(b" " * (4 * MAX_TEXTS), 1))),
    "not packed": png((b"zTXt", b"parameters\0\0garbage")),
    "packed and cut": png((b"zTXt", b"parameters\0\0" + zlib.compress(os.urandom(999))[:500])),
    "huge chunk": png((b"tEXt", b"parameters\0" + b"a" * (MAX_TEXT + 1))),
    "huge length": png()[:33] + struct.pack(">I", 0xFFFFFFFF) + b"tEXtparameters\0a",
    "no key": png((b"tEXt", b"")),
    "half a key": png((b"iTXt", b"pleinair\0\0")),
    "not json": png((b"tEXt", b"pleinair\0{"), (b"tEXt", b"invokeai_metadata\0["), (b"tEXt", b"prompt\0nope")),
    "deep json": png((b"tEXt", b"pleinair\0" + b"[" * 1_000_000)),
    "deep values": png((b"tEXt", b"pleinair\0" + (LEAF + "[" * 900 + "]" * 900 + "}").encode())),
    "list": png((b"tEXt", b"pleinair\0[1]"), (b"tEXt", b"prompt\0[1]"), (b"tEXt", b"sd-metadata\0{}")),
    "huge number": png((b"tEXt", b"pleinair\0" + (LEAF + "9" * 9999 + "}").encode())),
    "wrong checksum": png((b"tEXt", b"pleinair\0{}"))[:-40] + b"????" + png()[-36:],
    "many texts": png(*((b"tEXt", b"k%d\0v" % i) for i in range(3000))),
    "cut at the signature": png()[:8],
    "jpeg start": b"\xff\xd8\xff",
    "jpeg of fill bytes": b"\xff\xd8" + b"\xff" * 100_000,
    "jpeg without length": b"\xff\xd8\xff\xe1\x00\x01",
    "jpeg with a cut segment": b"\xff\xd8\xff\xe1\x40\x00Exif\0\0",
    "jpeg with empty exif": b"\xff\xd8\xff\xe1\x00\x08Exif\0\0\xff\xd9",
    "webp start": b"RIFF\0\0\0\0WEBP",
    "webp with a huge chunk": b"RIFF\0\0\0\0WEBPEXIF\xff\xff\xff\xff",
    "webp with odd exif": b"RIFF\0\0\0\0WEBPEXIF\x09\0\0\0MM\0*\xff\xff\xff\xff\0\0",
    "exif that leads to itself": b"RIFF\0\0\0\0WEBPEXIF\x16\0\0\0" + tiff([(0x8769, 4, 1, 8)]),
    "exif beyond its end": b"RIFF\0\0\0\0WEBPEXIF\x16\0\0\0" + tiff([(0x9286, 7, 0xFFFFFFF0, 0xFFFFFFF0)]),
    "exif of many entries": b"RIFF\0\0\0\0WEBPEXIF\x0a\0\0\0" + tiff([])[:8] + b"\xff\xff",
    "text": b"Steps: 20, Sampler: Euler a, CFG scale: 7",
    "nothing": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_one_line_and_cost_little(run, name):
    Path("h.png").write_bytes(HOSTILE[name])
    for command in ("metadata", "rerun"):
        code, out, err = run(command, "h.png")
        assert code == 2 and out == "" and err.count("\n") == 1 and err.startswith("pleinair: "), (out, err)


def test_what_was_left_unread_is_said(run):
    Path("h.png").write_bytes(HOSTILE["bomb"])
    assert "a compressed text of more than 4096 KiB" in run("metadata", "h.png")[2]
    Path("h.png").write_bytes(HOSTILE["huge chunk"])
    assert "tEXt chunk of more than 4096 KiB" in run("metadata", "h.png")[2]


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_read_or_refused(kind):
    """Cut anywhere, or with any byte changed: a record or a RequestError, nothing else."""
    whole, pick, outcomes = save(kind, RARE).read_bytes(), random.Random(2), set()
    file = Path("damaged." + KINDS[kind])
    for _ in range(400):
        data = bytearray(whole)
        if pick.random() < 0.5:
            del data[pick.randrange(len(data)) :]
        else:
            for _ in range(pick.randint(1, 8)):
                data[pick.randrange(len(data))] = pick.randrange(256)
        file.write_bytes(data)
        try:
            outcomes.add(read_record(file).tool)
        except RequestError:
            outcomes.add("refused")
    assert outcomes >= {"pleinair", "refused"}


@pytest.mark.parametrize("text", ["a" * (1 << 21), "a, " * (1 << 20), 'a: "' * (1 << 19), "ab: [, " * (1 << 18)])
def test_odd_texts_are_read_in_linear_time(text):
    chunks = PngInfo()
    chunks.add_text("parameters", text)
    Image.new("RGB", (8, 8)).save("odd.png", pnginfo=chunks)
    with pytest.raises(RequestError, match="no record"):
        read_record("odd.png")


@pytest.mark.parametrize("name", ["no/such.png", ".", "a\0b.png"])
def test_a_file_that_is_not_there_is_named(name):
    with pytest.raises(RequestError, match="check the path"):
        read_record(name)


def test_a_terminal_is_not_commanded_by_a_file(run):
    settings = {**BASE, "prompt": "a\x1b[2J\x07 boat\u202e", "negative": "one\ntwo"}
    code, out, err = run("metadata", save("PNG", settings))
    assert code == 0 and "\\x1b[2J\\x07 boat\\u202e" in out and "one\\ntwo" in out
    assert not {"\x1b", "\x07", "\u202e"} & set(out)
    assert json.loads(run("metadata", "picture.png", "--json")[1])["prompt"] == settings["prompt"]


def test_metadata_is_shown_to_people_and_programs(run):
    run("generate", "a boat", "--engine", "fake", "--steps", 2, "--seed", 5, "-o", "b.webp")
    code, out, err = run("metadata", "b.webp")
    assert code == 0 and err == "" and out.startswith("tool      pleinair\n") and "a boat" in out
    report = json.loads(run("metadata", "b.webp", "--json")[1])
    assert set(report) == {
        *("kind", "tool", "version", "prompt", "negative", "settings", "ours", "raw", "warnings", "options", "inputs")
    }
    assert report["kind"] == "WEBP" and report["options"]["seed"] == 5 and report["ours"]["format"] == 1


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_rerun_makes_the_picture_again(run, suffix):
    fake = ["--engine", "fake", "--steps", 2, "--seed", 5, "--negative", "fish", "--size", "72x64"]
    assert run("generate", "a boat", *fake, "--sampler", "euler_a", "--spacing", "karras", "-o", f"b.{suffix}")[0] == 0
    code, out, err = run("rerun", f"b.{suffix}", "-o", "again.png", "--json")
    report = json.loads(out)
    assert code == 0 and report["image"] == "again.png"
    assert report["settings"]["engine"] == "fake" and report["settings"]["sampler"] == "euler_a"
    assert read_record("again.png").ours["seed"] == 5
    if suffix == "png":
        assert report["difference"] == {"max_abs": 0, "psnr_db": None, "equal_share": 1.0}
        assert report["warnings"] == [] and err == ""
        assert Path("again.png").read_bytes() == Path("b.png").read_bytes()
        assert run("rerun", "b.png") == (
            *(0, "largest difference 0 of 255, PSNR infinite, 100 % of the pixels are equal\n", ""),
        )
    else:
        assert report["difference"]["max_abs"] > 0 and any("exact" in w or "losses" in w for w in report["warnings"])


def test_rerun_repeats_the_batch(run):
    run("generate", "a boat", "--engine", "fake", "--steps", 1, "--seed", 5, "--count", 5, "--batch", 2, "-o", "b.png")
    assert read_record("b-4.png").ours["batch_seeds"] == [7, 8] and read_record("b-4.png").ours["seed"] == 8
    again = rerun("b-4.png")
    assert again.difference.max_abs == 0 and again.result.seeds == (8,) and again.warnings == ()


def test_rerun_names_what_is_different(run, tmp_path):
    run("generate", "a boat", "--engine", "fake", "--steps", 1, "--seed", 5, "-o", "b.png")
    other = light_copy(tmp_path / "other")
    edit_manifest(
        other, lambda raw: (raw.update(name="other"), raw["files"]["unet/config.json"].update(sha256="0" * 64))
    )
    code, out, err = run("rerun", "b.png", "--model", other)
    assert code == 0 and "made with model 'storybook', painted with 'other'" in err
    settings = json.loads(run("metadata", "b.png", "--json")[1])["ours"]
    identity = {**bundle_identity(open_bundle()), "sha256": "0" * 64}
    changed = {**BASE, **settings, "seeds": [5], "bundle": identity, "engine_version": "0.1"}
    warnings = " ".join(rerun(save("PNG", changed, size=(128, 128))).warnings)
    assert "another edition of 'storybook'" in warnings and "made with fake 0.1" in warnings
    far = save("PNG", {**changed, "engine": "tpu", "device": "tpu:7"}, size=(128, 128))
    assert "made with engine tpu, painted with fake" in " ".join(rerun(far, engine="fake").warnings)
    planned = plan_rerun(far)  # nothing asked for: what is here is used
    assert planned.pipe.engine == "openvino" and planned.pipe.device == "cpu"
    assert "not painted as recorded: unknown engine 'tpu'" in " ".join(planned.warnings)


def test_rerun_says_what_this_version_does_not_follow():
    settings = {**BASE, "engine": "fake", "engine_version": "x", "novelty": 3}
    again = rerun(save("PNG", settings))
    assert any("no such option: novelty" in warning for warning in again.warnings)


@pytest.mark.parametrize(
    "extra, words",
    [
        ({"task": "image2image", "image_sha256": "0" * 64, "strength": 0.5}, ["--image FILE"]),
        ({"task": "inpaint", "image_sha256": "0" * 64, "mask_sha256": "1" * 64}, ["--image FILE and --mask FILE"]),
        ({"embeddings": {"wobbly": "01234"}}, ["wobbly", "--embedding FILE"]),
        ({"steps": "many"}, ["steps"]),
        ({"width": 10**9}, ["width"]),
        ({"sampler": "dpm"}, ["sampler"]),
    ],
)
def test_rerun_refuses_what_it_cannot_repeat(run, extra, words):
    chunks = PngInfo()
    chunks.add_text("pleinair", json.dumps({**of_picture(BASE, 5), **extra}))
    Image.new("RGB", (64, 72)).save("b.png", pnginfo=chunks)
    code, out, err = run("rerun", "b.png", "--engine", "fake")
    assert code == 2 and out == "" and err.count("\n") == 1, (out, err)
    for word in words:
        assert word in err


def test_rerun_tells_another_input_picture():
    planned = plan_rerun(save("PNG", {**BASE, "engine": "fake"}))
    result = planned.pipe.generate(**planned.options)
    was = replace(planned, found=replace(planned.found, ours={**planned.found.ours, "image_sha256": "0" * 64}))
    for digest, count in {"0": 0, "1": 1}.items():
        here = replace(result, settings={**result.settings, "image_sha256": digest * 64})
        assert sum("what --image gives is not" in warning for warning in was.finish(here).warnings) == count


def test_rerun_of_a_picture_that_cannot_be_decoded(run):
    file = save("PNG")
    data = file.read_bytes()
    file.write_bytes(data[: data.index(b"IDAT") + 10])
    code, out, err = run("rerun", file)
    assert code == 2 and "cannot be decoded" in err and err.count("\n") == 1


def test_rerun_of_another_size_is_not_compared():
    again = rerun(save("PNG", {**BASE, "engine": "fake"}, size=(32, 32)))
    assert again.difference is None and any("not compared: the file is 32x32" in w for w in again.warnings)


def test_difference_counts():
    a = np.zeros((2, 2, 3), np.uint8)
    b = a.copy()
    b[0, 0, 1] = 51
    apart = difference(a, b)
    assert (apart.max_abs, apart.equal_share) == (51, 0.75) and abs(apart.psnr_db - 24.77) < 0.01


def test_storybook_paints_the_same_picture_again(tmp_path):
    """The real model, alone and from a batch."""
    pipe = load(engine="onnx", threads=1)
    how = {"seed": 3, "count": 3, "batch": 2, "steps": 2, "sampler": "euler_a", "width": 64, "height": 64}
    frames = pipe.stream("a red house on a snowy hill", "a boat", **how)
    result = merged([frame.result for frame in frames if frame.result])
    files = [tmp_path / f"{n}.png" for n in range(3)]
    write_pictures(result, files, False)
    for file in files[1:]:
        again = rerun(file)
        assert again.difference.max_abs == 0 and again.difference.equal_share == 1.0 and again.warnings == ()


def test_samplers_are_known_by_a1111_names():
    assert sampler_named("DPM++ 2M Karras") == ("dpmpp_2m", "karras") and sampler_named("euler A") == ("euler_a", None)
    assert sampler_named("dpmpp_2m_sde") == ("dpmpp_2m_sde", None)
    with pytest.raises(RequestError, match="unknown sampler"):
        sampler_named("nonsense")
