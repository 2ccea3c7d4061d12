"""The reader, on the fake engine: chunks, schedules, padding, weights, clip skip, embeddings."""

import json
import random
from time import perf_counter

import numpy as np
import pytest

from bundles import edit_manifest, light_copy, seal
from pleinair.bundle.opening import open_bundle
from pleinair.bundle.verifying import file_info
from pleinair.cli import app as cli
from pleinair.engines.graphs import open_graph
from pleinair.errors import BundleError, EngineError, RequestError
from pleinair.text.chunks import BACKTRACK
from pleinair.text.encoders import NORM
from pleinair.text.reader import PromptReader
from pleinair.text.report import report, report_lines
from vectors import safetensors, some_vectors

WIDTH = 128  # storybook's


class Counted:
    """The fake text encoder, which remembers what it was asked."""

    def __init__(self, bundle):
        self.graph = open_graph(bundle, "text_encoder", "fake", None, None)
        self.inputs = []

    def __call__(self, **inputs):
        self.inputs.append(inputs)
        return self.graph(**inputs)

    def prepare(self, shapes):
        self.prepared = shapes


class Reading:
    """A reader and the graph that it reads with."""

    def __init__(self, reader, graph):
        self.reader, self.graph = reader, graph

    def read(self, *asked, **how):
        return self.reader.read(lambda name: self.graph, *asked, **how)

    def report(self, *asked):
        return report(self.reader, *asked)

    def prepare(self):
        self.reader.prepare(lambda name: self.graph)


def reader(folder=None, **options):
    bundle = open_bundle(folder)
    graph = Counted(bundle)
    return Reading(PromptReader(bundle, **options), graph), graph


def text_of(guide):
    """The embeddings of a prompt's parts (P, S, d)."""
    return np.concatenate([part["text"] for part in guide.parts])


def negative_of(guide):
    return guide.negative["text"]


def ids_of(graph):
    return [inputs["input_ids"][0].tolist() for inputs in graph.inputs]


def plain(prompt):
    """The embeddings of a short prompt without any syntax."""
    return text_of(reader()[0].read(prompt, "", 1).at(0))


def chunk_words(prompt, **options):
    """Of each chunk the tokens, as text without the ends of words."""
    (version,) = reader(**options)[0].report(prompt, "", 1)["parts"][0]["versions"]
    return [[token["token"].removesuffix("</w>") for token in chunk] for chunk in version["chunks"]]


def test_a_short_prompt_is_one_chunk_as_clip_has_it():
    read, graph = reader()
    told = read.read("a red house", "", 4)
    encoder = open_bundle().manifest.text_encoders[0]
    (prompt, negative) = ids_of(graph)
    assert prompt[0] == encoder.bos_id and prompt[4:] == [encoder.eos_id, *[encoder.pad_id] * 72]
    assert negative == [encoder.bos_id, encoder.eos_id, *[encoder.pad_id] * 75]
    guide = told.at(0)
    assert text_of(guide).shape == negative_of(guide).shape == (1, 77, WIDTH) and guide.weights == (1.0,)
    assert np.array_equal(text_of(guide), graph.graph(input_ids=np.array([prompt]))["last_hidden_state"])  # to the bit
    assert told.warnings == []


def test_padding_of_an_encoder_that_pads_with_another_token(tmp_path):
    folder = light_copy(tmp_path / "copy")
    edit_manifest(folder, lambda raw: raw["text_encoders"][0].update(pad_id=0))
    read, graph = reader(folder)
    read.read("a house", "", 1)
    eos = open_bundle().manifest.text_encoders[0].eos_id
    assert ids_of(graph)[0][3:] == [eos, *[0] * 73]


def test_long_prompts_make_more_chunks_and_nothing_is_lost():
    words = ["red" if n % 4 else "house" for n in range(200)]
    assert sum(chunk_words(" ".join(words)), []) == words
    assert [len(chunk) for chunk in chunk_words(" ".join(words))] == [75, 75, 50]
    assert [len(chunk) for chunk in chunk_words("red " * 75)] == [75]
    read, graph = reader()
    guide = read.read(" ".join(words), "blue", 1).at(0)
    assert text_of(guide).shape == negative_of(guide).shape == (1, 231, WIDTH)
    assert np.array_equal(negative_of(guide)[:, :77], plain("blue"))
    assert np.array_equal(negative_of(guide)[:, 77:154], plain(""))
    assert len(graph.inputs) == 5  # three chunks, the negative, and the empty one that fills it up, once


def test_a_long_negative_prompt_pads_the_prompt():
    guide = reader()[0].read("blue", "red " * 100, 1).at(0)
    assert text_of(guide).shape == negative_of(guide).shape == (1, 154, WIDTH)
    assert np.array_equal(text_of(guide)[:, 77:], plain(""))


def test_equal_chunks_are_encoded_once():
    read, graph = reader()
    read.read("red BREAK red BREAK (red:1.5) BREAK", "red", 1)
    assert len(graph.inputs) == 2  # "red" and the empty chunk


def test_break_begins_a_new_chunk():
    assert chunk_words("red BREAK blue house BREAK BREAK snow") == [["red"], ["blue", "house"], [], ["snow"]]
    assert chunk_words("BREAK red") == [[], ["red"]]
    assert chunk_words("red BREAK") == [["red"]]
    assert chunk_words("(red BREAK blue:1.2)") == [["red"], ["blue"]]


def test_a_phrase_is_not_torn_where_a_comma_is_near():
    first, second = chunk_words("red " * 70 + ", " + "blue " * 10)
    assert first == ["red"] * 70 + [","] and second == ["blue"] * 10
    first, second = chunk_words("red " * (74 - BACKTRACK) + ", " + "blue " * 30)
    assert len(first) == 75  # the comma is too far away
    first, second = chunk_words("red " * 74 + ", blue")
    assert first[-1] == "," and second == ["blue"]
    first, second = chunk_words("red " * 75 + ", blue")
    assert second == [",", "blue"]


def test_weights_scale_and_the_mean_is_restored():
    weighted, base = plain("a (red:1.5) house"), plain("a red house")
    factors = np.ones(77, np.float32)
    factors[2] = 1.5
    expected = base * factors[None, :, None]
    np.testing.assert_allclose(weighted, expected * (base.mean() / expected.mean()), rtol=1e-4)
    assert weighted.mean() == pytest.approx(base.mean(), rel=1e-4)
    assert np.array_equal(plain("a (red:1.0) [(house)]"), base)  # to the bit


def test_weights_that_cancel_out_leave_numbers_finite(monkeypatch):
    read, graph = reader()
    rng = np.random.default_rng(0)
    run = graph.graph
    centred = rng.standard_normal((1, 77, WIDTH)).astype(np.float32)
    centred[0, 2] += 77 - centred[0].sum() / WIDTH  # so that weight 0 takes the whole mean away
    centred[0, [0, 1, *range(3, 77)]] -= centred[0, [0, 1, *range(3, 77)]].mean()

    monkeypatch.setattr(graph, "graph", lambda **inputs: {**run(**inputs), "last_hidden_state": centred})
    told = read.read("a (red:0) house", "", 1)
    assert np.isfinite(text_of(told.at(0))).all() and np.abs(text_of(told.at(0))).max() < 100
    assert any("mean" in warning for warning in told.warnings)


@pytest.mark.parametrize("prompt", ["(" * 9_000 + "red", "(red:999999999)", "(red:-100) (house:100)", "(red:0)"])
def test_absurd_weights_stay_finite(prompt):
    assert np.isfinite(plain(prompt)).all()


def test_schedules_choose_at_every_step():
    read, graph = reader()
    told = read.read("a [red:blue:0.5] house", "[snow::1]", 4)
    for step in range(4):
        assert np.array_equal(text_of(told.at(step)), plain("a red house" if step < 2 else "a blue house"))
        assert np.array_equal(negative_of(told.at(step)), plain("snow" if step < 1 else ""))
    assert np.array_equal(text_of(told.at(9)), text_of(told.at(3)))
    assert len(graph.inputs) == 4
    turns = reader()[0].read("[red|blue|snow]", "", 5)
    for step, word in enumerate(["red", "blue", "snow", "red", "blue"]):
        assert np.array_equal(text_of(turns.at(step)), plain(word))


def test_versions_of_different_lengths_are_padded_to_one():
    told = reader()[0].read("[red:" + "blue " * 80 + ":1] AND snow", "", 2)
    assert [text_of(told.at(step)).shape for step in range(2)] == [(2, 154, WIDTH)] * 2
    assert np.array_equal(text_of(told.at(0))[0, :77], plain("red")[0])


def test_parts_and_their_weights():
    told = reader()[0].read("red AND [blue:snow:1] :0.5 AND house:-1", "night AND day", 2)
    assert told.weights == told.at(0).weights == (1.0, 0.5, -1.0)
    for step, second in enumerate(("blue", "snow")):
        for row, word in zip(text_of(told.at(step)), ("red", second, "house"), strict=True):
            assert np.array_equal(row, plain(word)[0])
    (warning,) = told.warnings
    assert "AND in a negative prompt" in warning
    assert np.array_equal(negative_of(told.at(0)), plain("night AND day"[:5] + " and day"))


def test_numbers_that_are_not_finite_are_an_error():
    read, graph = reader()
    run = graph.graph
    graph.graph = lambda **inputs: {name: value * np.nan for name, value in run(**inputs).items()}
    with pytest.raises(EngineError, match="text encoder returned NaN"):
        read.read("red", "", 1)


@pytest.fixture
def normed(tmp_path):
    """A copy of storybook that has its final layer norm, weight and bias (2, d)."""
    folder = light_copy(tmp_path / "copy")
    file = folder / "text_encoder" / NORM
    norm = np.stack([np.linspace(0.5, 2, WIDTH), np.linspace(-1, 1, WIDTH)]).astype(np.float32)
    np.save(file, norm)
    info = file_info(file)
    entry = {"size": info.size, "sha256": info.sha256}
    edit_manifest(folder, lambda raw: raw["files"].update({f"text_encoder/{NORM}": entry}))
    return folder, norm


def test_clip_skip_takes_an_earlier_layer_and_its_norm(normed):
    folder, (weight, bias) = normed
    read, graph = reader(folder, clip_skip=2)
    found = text_of(read.read("red", "", 1).at(0))
    hidden = graph.graph(**graph.inputs[0])["hidden_states.1"].astype(np.float64)
    deviation = np.sqrt(hidden.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(found, (hidden - hidden.mean(-1, keepdims=True)) / deviation * weight + bias, atol=1e-5)
    assert reader(folder, clip_skip=2)[0].report("red", "", 1)["output"] == "hidden_states.1"


def test_encoders_whose_usual_output_is_an_earlier_layer(tmp_path):
    folder = light_copy(tmp_path / "copy")
    edit_manifest(folder, lambda raw: raw["text_encoders"][0].update(output="hidden_states.1"))
    read, graph = reader(folder)
    found = text_of(read.read("red", "", 1).at(0))
    assert np.array_equal(found, graph.graph(**graph.inputs[0])["hidden_states.1"])  # raw, as SDXL has it
    with pytest.raises(RequestError, match="clip skip 2 is out of range; choose 1 to 1"):
        reader(folder, clip_skip=2)


@pytest.mark.parametrize("clip_skip", [0, -1, 3, 100])
def test_layers_that_are_not_there(clip_skip):
    with pytest.raises(RequestError, match="clip skip .* choose 1 to 2"):
        reader(clip_skip=clip_skip)


def test_bundles_without_what_clip_skip_needs(tmp_path, normed):
    folder = light_copy(tmp_path / "other")
    edit_manifest(folder, lambda raw: raw["files"].pop(f"text_encoder/{NORM}", None))
    with pytest.raises(BundleError, match="--clip-skip needs; export the model again"):
        reader(folder, clip_skip=2)[0].read("red", "", 1)
    states = [f"hidden_states.{n}" for n in range(3)]
    edit_manifest(folder, lambda raw: [raw["graphs"]["text_encoder"]["outputs"].pop(name) for name in states])
    with pytest.raises(BundleError, match="no hidden states.*export the model again"):
        reader(folder, clip_skip=2)
    file = normed[0] / "text_encoder" / NORM
    file.write_bytes(b"x" * file.stat().st_size)
    seal(normed[0])
    with pytest.raises(BundleError, match="restore the file"):
        reader(normed[0], clip_skip=2)[0].read("red", "", 1)


@pytest.fixture
def style(tmp_path):
    file = tmp_path / "style.safetensors"
    file.write_bytes(safetensors({"<oil>": some_vectors(3, WIDTH)}))
    return file


def test_embeddings_take_the_place_of_words(style):
    read, graph = reader(embeddings=[style])
    told = read.read("a <oil> (house, style:1.5)", "", 1)
    (prompt, _) = graph.inputs
    assert prompt["input_ids"][0, 2:5].tolist() == prompt["input_ids"][0, 7:10].tolist() == [-1, -2, -3]
    assert np.array_equal(prompt["extra_embeddings"], some_vectors(3, WIDTH))
    assert not told.warnings and not np.array_equal(text_of(told.at(0)), plain("a oil (house, style:1.5)"))
    report = read.report("a <oil> (house, style:1.5)", "", 1)
    tokens = report["parts"][0]["versions"][0]["chunks"][0]
    assert tokens[1] == {"id": None, "token": "<style>[0]", "weight": 1.0} and tokens[-1]["weight"] == 1.5
    (found,) = report["embeddings"]
    assert found == {"name": "style", "words": ["<oil>", "style", "<style>"], "vectors": 3, "used": True}


def test_embeddings_that_are_not_named_are_said_and_not_fed(style):
    read, graph = reader(embeddings=[style])
    told = read.read("a house", "<lora:x:1>", 1)
    assert ["is not named in a prompt" in told.warnings[1], "'<lora:x:1>' is not a loaded" in told.warnings[0]]
    assert all(set(inputs) == {"input_ids"} for inputs in graph.inputs)
    assert np.array_equal(text_of(told.at(0)), plain("a house"))


def test_vectors_of_an_embedding_stay_together(style):
    first, second = chunk_words("red " * 73 + "<oil>", embeddings=[style])
    assert len(first) == 73 and second == [f"<style>[{n}]" for n in range(3)]


def test_an_embedding_for_another_encoder_is_refused(tmp_path):
    file = tmp_path / "sd2.safetensors"
    file.write_bytes(safetensors({"<x>": some_vectors(1, 1024)}))
    with pytest.raises(RequestError, match="width 1024 and this model's has 128"):
        reader(embeddings=[file])


@pytest.mark.parametrize("engine", ["openvino", "onnx"])
def test_graphs_that_take_no_embeddings_say_what_to_do(sketch, engine):
    graph = open_graph(open_bundle(sketch), "vae_decoder", engine, None, None)
    with pytest.raises(BundleError, match="takes no textual inversions; export the model again, or leave --embedding"):
        graph(latent_sample=np.zeros((1, 4, 8, 8), np.float32), extra_embeddings=some_vectors(1, 8))


def test_prepare_loads_for_the_shape_that_will_be_called(style):
    read, graph = reader()
    read.prepare()
    assert graph.prepared == {"input_ids": (1, 77)}


def test_the_report_can_be_printed_and_dumped(style):
    read, _ = reader(embeddings=[style])
    report = read.report("a (red:1.3) [cat|<oil>] BREAK [a:b:3] AND snow:2", "(bad", 8)
    assert json.loads(json.dumps(report)) == report
    text = "\n".join(report_lines(report))
    for part in (
        "part 1 of 2, steps 1, 3: ",
        "weight 2, steps 1-8",
        "red</w> * 1.3",
        "style: 3 vectors, used",
    ):
        assert part in text
    assert report["chunks"] == 2 and report["warnings"]


def test_a_hostile_prompt_is_quick_and_its_warnings_few():
    rng = random.Random(0)
    start = perf_counter()
    prompt = "".join(rng.choice("([)]:|\\") for _ in range(10_000))
    told = reader()[0].read(prompt, prompt[::-1], 20)
    many = reader()[0].read("".join(f"[x{n}:y]" for n in range(1000)), "", 1)
    assert perf_counter() - start < 60
    assert np.isfinite(text_of(told.at(0))).all() and len(told.warnings) <= 21 and len(many.warnings) == 21


def command_line(capsys, *arguments):
    code = cli.run(["prompt", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_command_shows_a_prompt_and_warns_on_stderr(capsys, style):
    code, out, err = command_line(
        capsys, "a <oil> (house", "--negative", "night", "--steps", "3", "--embedding", str(style)
    )
    assert code == 0 and "prompt, steps 1-3: a <oil> (house" in out and "negative, steps 1-3: night" in out
    assert "<style>[2]" in out and err.count("\n") == 1 and "never closed" in err
    code, out, err = command_line(capsys, "a (house", "--json")
    assert code == 0 and err == "" and "never closed" in json.loads(out)["warnings"][0]


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (["a", "--clip-skip", "9"], 2, "choose 1 to 2"),
        (["a", "--steps", "0"], 2, "steps 0 is out of range"),
        (["a", "--embedding", "style.pt"], 2, "convert it to .safetensors"),
        (["a", "--embedding", "absent.safetensors"], 2, "check the path"),
        (["a", "--model", "absent"], 3, "no model folder"),
        (["\ud800"], 2, "not valid Unicode"),
    ],
)
def test_the_command_says_what_is_wrong(capsys, arguments, code, message):
    found, out, err = command_line(capsys, *arguments)
    assert (found, out) == (code, "") and message in err and err.count("\n") == 1
