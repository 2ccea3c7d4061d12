"""Textual inversion files: every layout, every refusal, and how prompts name them."""

import json

import numpy as np
import pytest

from pleinair.errors import RequestError
from pleinair.text.inversion import EncoderRoom, embeddings_inside, open_embeddings
from pleinair.text.tensor_file import LARGEST, read_safetensors
from vectors import framed, safetensors, some_vectors

WIDTH, MOST = 8, 75


def of_one(files, width=WIDTH):
    """Embeddings for a model of one text encoder."""
    (found,) = open_embeddings(files, [EncoderRoom(width, MOST)])
    return found


def opened(tmp_path, arrays, name="style.safetensors"):
    file = tmp_path / name
    file.write_bytes(safetensors(arrays))
    (found,) = of_one([file]).found
    return found


def refusal(tmp_path, content, name="style.safetensors"):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(RequestError) as caught:
        of_one([file])
    assert "\n" not in str(caught.value) and name in str(caught.value) and len(str(caught.value)) < 400
    return str(caught.value)


@pytest.mark.parametrize(
    "key, words",
    [
        ("<cat-toy>", ("<cat-toy>", "style", "<style>")),
        ("cat", ("cat", "<cat>", "style", "<style>")),
        ("emb_params", ("style", "<style>")),
        ("string_to_param.*", ("style", "<style>")),
        ("*", ("style", "<style>")),
        ("clip_l", ("style", "<style>")),
    ],
)
def test_layouts(tmp_path, key, words):
    vectors = some_vectors(3, WIDTH)
    found = opened(tmp_path, {key: vectors})
    assert np.array_equal(found.vectors, vectors) and found.words == words and found.name == "style"


def test_a_single_vector_may_have_one_dimension(tmp_path):
    assert opened(tmp_path, {"<x>": some_vectors(1, WIDTH)[0]}).vectors.shape == (1, WIDTH)


def test_a1111_stores_other_arrays_beside_the_vectors(tmp_path):
    arrays = {"step": np.zeros(1, np.float32), "emb_params": some_vectors(2, WIDTH)}
    assert opened(tmp_path, arrays).vectors.shape == (2, WIDTH)


def test_of_sdxl_the_encoder_that_fits_is_taken(tmp_path):
    small, large = some_vectors(2, WIDTH), some_vectors(2, 20)
    assert np.array_equal(opened(tmp_path, {"clip_g": large, "clip_l": small}).vectors, small)
    assert np.array_equal(opened(tmp_path, {"clip_g": small, "clip_l": large}).vectors, small)
    message = refusal(tmp_path, safetensors({"clip_g": large, "clip_l": some_vectors(2, 10)}))
    assert "widths 10 and 20 and this model's has 8" in message


def test_precisions(tmp_path):
    vectors = some_vectors(2, WIDTH)
    for kind in (np.float64, np.float32, np.float16):
        found = opened(tmp_path, {"<x>": vectors.astype(kind)}).vectors
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, vectors, atol=1e-4)
    half = (vectors.view(np.uint32) >> 16).astype(np.uint16)
    np.testing.assert_allclose(opened(tmp_path, {"<x>": half}).vectors, vectors, rtol=1e-2)


def test_files_of_the_safetensors_library_are_read(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    arrays = {"b": some_vectors(2, WIDTH), "a": some_vectors(1, 3).astype(np.float16)}
    library.save_file(arrays, tmp_path / "x.safetensors", metadata={"made": "by a test"})
    found = read_safetensors(tmp_path / "x.safetensors")
    assert set(found) == set(arrays) and all(np.array_equal(found[key], arrays[key]) for key in arrays)


def test_another_encoders_embedding_names_both_widths(tmp_path):
    message = refusal(tmp_path, safetensors({"<x>": some_vectors(1, 1024)}))
    assert "width 1024 and this model's has 8" in message and "choose one made for this kind of model" in message


@pytest.mark.parametrize("name", ["style.pt", "style.bin", "style.CKPT", "style.pth"])
def test_pickles_are_refused_unread(tmp_path, name):
    assert "convert it to .safetensors" in refusal(tmp_path, b"\x80\x04.", name)


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({}, "0 arrays"),
        ({"a": some_vectors(1, WIDTH), "b": some_vectors(1, WIDTH)}, "2 arrays ['a', 'b']"),
        ({"<x>": some_vectors(MOST + 1, WIDTH)}, "76 vectors and a model reads 75"),
        ({"<x>": some_vectors(2, WIDTH).reshape(1, 2, WIDTH)}, "shape (1, 2, 8)"),
        ({"<x>": np.float32(1).reshape(())}, "shape ()"),
        ({"<x>": some_vectors(1, WIDTH) * np.nan}, "numbers that no text encoder can read"),
        ({"<x>": some_vectors(1, WIDTH) * 1e30}, "numbers that no text encoder can read"),
        ({"<x>": np.full((1, WIDTH), 1e300)}, "numbers that no text encoder can read"),
        ({"<x>": np.zeros((1, WIDTH), np.int64)}, "of a kind that is not read, I64; download it again"),
        ({"<x>": np.zeros((0, WIDTH), np.float32)}, "style.safetensors"),
        (
            {f"lora_unet_x.lora_{part}.weight": some_vectors(1, WIDTH) for part in ("up", "down")},
            "is a LoRA, not a textual inversion; give it with --lora",
        ),
        ({"\x1b[31m\n": some_vectors(1, WIDTH), "b": some_vectors(1, WIDTH)}, r"\x1b[31m\n"),
    ],
)
def test_arrays_that_are_no_embedding(tmp_path, arrays, message):
    assert message in refusal(tmp_path, safetensors(arrays))


@pytest.mark.parametrize("key", ["x" * 100_000, "\x1b[31m\n", ""])
def test_a_key_that_nobody_writes_is_no_word(tmp_path, key):
    file = tmp_path / "style.safetensors"
    file.write_bytes(safetensors({key: some_vectors(1, WIDTH)}))
    ((embedding,),) = (each.found for each in open_embeddings([file], [EncoderRoom(WIDTH, MOST)]))
    assert embedding.words == ("style", "<style>")


def header(**changes):
    entry = {"dtype": "F32", "shape": [1, WIDTH], "data_offsets": [0, 4 * WIDTH], **changes}
    return framed(json.dumps({"<x>": entry}).encode(), bytes(4 * WIDTH))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"1234567",
        bytes(8),
        (1 << 62).to_bytes(8, "little") + b"{}",
        framed(b"[]"),
        framed(b"null"),
        framed(b"{" * 1000),
        framed(b"[" * 100_000),
        framed(b'{"a":' * 50_000),
        framed(b'{"a": 1}'),
        framed(b'{"a": {}}'),
        framed(b"\xff\xfe"),
        framed(b'{"a":' + b"9" * 5000 + b"}"),
        header(shape=[1, WIDTH + 1]),
        header(shape=[-1, -WIDTH]),
        header(shape=[1.0, float(WIDTH)]),
        header(shape=[True, WIDTH]),
        header(shape=[1 << 40, 1 << 40]),
        header(shape=[0, 1 << 70], data_offsets=[0, 0]),
        header(shape="x"),
        header(shape=[1] * 70),
        header(dtype="F128"),
        header(dtype=None),
        header(data_offsets=[4, 4 + 4 * WIDTH]),
        header(data_offsets=[0, 1 << 60]),
        header(data_offsets=[4 * WIDTH, 0]),
        header(data_offsets=[0]),
        header(data_offsets=None),
        header() + b"more",
        header()[:-1],
        safetensors({"<x>": some_vectors(1, WIDTH)}).replace(b'{"<x>"', b'{"<y>": 1, "<x>"'),
        framed(b'{"a": 1, "a": 2}'),
    ],
)
def test_hostile_files_are_refused(tmp_path, content):
    assert "download it again" in refusal(tmp_path, content)


def test_overlapping_arrays_are_refused(tmp_path):
    entry = {"dtype": "F32", "shape": [1, WIDTH], "data_offsets": [0, 4 * WIDTH]}
    refusal(tmp_path, framed(json.dumps({"a": entry, "b": entry}).encode(), bytes(4 * WIDTH)))


def test_files_that_are_absent_or_large(tmp_path):
    with pytest.raises(RequestError, match="check the path"):
        read_safetensors(tmp_path / "absent.safetensors")
    with pytest.raises(RequestError, match="check the path"):
        read_safetensors(tmp_path)
    entry = {"dtype": "F32", "shape": [LARGEST // 4 + 1], "data_offsets": [0, LARGEST + 4]}
    begins = framed(json.dumps({"<x>": entry}).encode())
    with (tmp_path / "large.safetensors").open("wb") as file:
        file.write(begins)
        file.truncate(len(begins) + LARGEST + 4)
    with pytest.raises(RequestError, match="too large"):
        read_safetensors(tmp_path / "large.safetensors")


@pytest.fixture
def two(tmp_path):
    for name, count in (("cat", 2), ("cat-toy", 3)):
        (tmp_path / f"{name}.safetensors").write_bytes(safetensors({"emb_params": some_vectors(count, WIDTH)}))
    return of_one([tmp_path / "cat.safetensors", tmp_path / "cat-toy.safetensors"])


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a dog", ["a dog"]),
        ("a cat!", ["a ", range(0, 2), "!"]),
        ("a CAT, <cat-toy>.", ["a ", range(0, 2), ", ", range(2, 5), "."]),
        ("cats tomcat cat_ 2cat", ["cats tomcat cat_ 2cat"]),
        ("cat-toy", ["", range(2, 5), ""]),
        ("<cat>x<Cat>", ["", range(0, 2), "x", range(0, 2), ""]),
        ("<dog>", ["<dog>"]),
    ],
)
def test_names_in_a_prompt(two, text, expected):
    assert [each if isinstance(each, str) else each[1] for each in two.split(text)] == expected
    assert two.table.shape == (5, WIDTH)


def test_letters_that_fold_in_surprising_ways_do_no_harm(tmp_path):
    (tmp_path / "kiss.safetensors").write_bytes(safetensors({"emb_params": some_vectors(1, WIDTH)}))
    loaded = of_one([tmp_path / "kiss.safetensors"])
    for text in ("\u212ai\u017f\u017f", "KISS", "İ kiss"):
        assert loaded.split(text)


def test_two_files_of_one_name_are_refused(tmp_path, two):
    (tmp_path / "more").mkdir()
    files = [tmp_path / "cat.safetensors", tmp_path / "more" / "cat.safetensors"]
    files[1].write_bytes(files[0].read_bytes())
    with pytest.raises(RequestError, match="two embeddings are called 'cat'"):
        of_one(files)


def test_without_files_there_is_nothing_to_split():
    assert of_one([]).split("<cat> cat") == ["<cat> cat"]


WIDE = 20
TWO = [EncoderRoom(WIDTH, MOST), EncoderRoom(WIDE, MOST)]  # as SDXL has them
SMALL, LARGE = some_vectors(3, WIDTH), some_vectors(3, WIDE)


def of_two(tmp_path, arrays):
    (tmp_path / "style.safetensors").write_bytes(safetensors(arrays))
    return open_embeddings([tmp_path / "style.safetensors"], TWO)


def test_a_word_stands_for_vectors_of_both_encoders(tmp_path):
    first, second = of_two(tmp_path, {"clip_g": LARGE, "clip_l": SMALL})
    assert np.array_equal(first.table, SMALL) and np.array_equal(second.table, LARGE)
    assert (
        first.split("a style")[1:2]
        and [each[1] for each in (first.split("<style>")[1], second.split("<style>")[1])] == [range(3)] * 2
    )


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"clip_l": SMALL}, "has clip_l alone, and this model has 2 text encoders, of widths 8 and 20"),
        ({"clip_g": LARGE}, "has clip_g alone"),
        ({"emb_params": SMALL}, "has only vectors of 8 numbers"),
        ({"a": SMALL, "b": SMALL}, "2 arrays"),
        ({"clip_l": SMALL[:2], "clip_g": LARGE}, "has 2 and 3 vectors"),
        ({"clip_l": LARGE, "clip_g": SMALL}, "for a text encoder of width 20 and this model's has 8"),
        ({"clip_l": SMALL, "clip_g": LARGE * np.nan}, "numbers that no text encoder can read"),
    ],
)
def test_two_encoders_need_as_many_vectors_each(tmp_path, arrays, message):
    with pytest.raises(RequestError) as caught:
        of_two(tmp_path, arrays)
    assert message in str(caught.value) and "\n" not in str(caught.value) and ";" in str(caught.value)


def test_those_inside_a_lora_are_read_and_nothing_else_of_it(tmp_path):
    """As OneTrainer and A1111 have them."""
    lora = {"lora_unet_x.lora_up.weight": np.zeros((4, 4), np.float16), "lora_unet_x.alpha": np.zeros((), np.int64)}
    inside = {"bundle_emb.my.style.clip_l": SMALL, "bundle_emb.my.style.clip_g": LARGE}
    inside |= {"bundle_emb.other.clip_l": SMALL[:1], "bundle_emb.other.clip_g": LARGE[:1]}
    first, second = of_two(tmp_path, lora | inside)
    assert [(each.name, len(each.vectors)) for each in second.found] == [("my.style", 3), ("other", 1)]
    assert first.split("<my.style> x")[1][1] == range(3) and first.split("an other")[1][1] == range(3, 4)
    assert embeddings_inside([*lora]) == {}
    assert embeddings_inside(inside)["other"] == {part: f"bundle_emb.other.{part}" for part in ("clip_l", "clip_g")}
    alone = opened(tmp_path, lora | {"emb_params": SMALL})
    assert np.array_equal(alone.vectors, SMALL)
