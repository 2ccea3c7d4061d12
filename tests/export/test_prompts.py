"""What the network is told, against transformers' CLIPTextModel run by hand: chunks, weights, clip skip, embeddings."""

from functools import partial

import numpy as np
import onnxruntime
import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from transformers import CLIPTextModel, CLIPTokenizer

import pleinair
from pleinair.bundle.opening import open_bundle
from pleinair.engines.graphs import open_graph
from pleinair.engines.ports import EXTRA
from pleinair.text.encoders import NORM
from pleinair.text.reader import PromptReader
from vectors import safetensors

WIDTH = 32
TOLERANCE = {"fp32": 1e-4, "fp16": 1e-2, "int8": 0.3}  # the tiny encoders' embeddings are about 1 in size
CASES = {  # prompt -> chunks of (word, weight)
    "the red and on": [[("the", 1), ("red", 1), ("and", 1), ("on", 1)]],
    "the (red:1.5) [and] on": [[("the", 1), ("red", 1.5), ("and", 1 / 1.1), ("on", 1)]],
    "the BREAK (red)": [[("the", 1)], [("red", 1.1)]],
    "red " * 100: [[("red", 1)] * 75, [("red", 1)] * 25],
    "": [[]],
}


@pytest.fixture(scope="module", params=["sd1", "sd2"])
def family(request):
    return request.param


@pytest.fixture(scope="module")
def theirs(family, tiny_sources):
    source = tiny_sources[family]
    return CLIPTextModel.from_pretrained(source / "text_encoder").eval(), CLIPTokenizer.from_pretrained(
        source / "tokenizer"
    )


def by_hand(model, tokenizer, chunks, skip=1, vectors=None):
    """Embeddings (1, 77 k, d) as A1111 makes them; a word that is an array stands for its vectors."""
    parts = []
    for chunk in chunks:
        ids, weights, rows = [tokenizer.bos_token_id], [1.0], {}
        for word, weight in chunk:
            own = tokenizer(word, add_special_tokens=False)["input_ids"] if isinstance(word, str) else [0] * len(word)
            if not isinstance(word, str):
                rows |= {len(ids) + n: row for n, row in enumerate(word)}
            ids += own
            weights += [weight] * len(own)
        ids += [tokenizer.eos_token_id]
        ids += [tokenizer.pad_token_id] * (77 - len(ids))
        weights = torch.tensor(weights + [1.0] * (77 - len(weights)))

        def put(module, inputs, output, rows=rows):
            output = output.clone()
            for place, row in rows.items():
                output[0, place] = torch.from_numpy(row)
            return output

        embedding = next(m for name, m in model.named_modules() if name.endswith("token_embedding"))
        hook = embedding.register_forward_hook(put)
        with torch.no_grad():
            out = model(input_ids=torch.tensor([ids]), output_hidden_states=True)
            z = out.last_hidden_state
            if skip > 1:
                norm = next(m for name, m in model.named_modules() if name.endswith("final_layer_norm"))
                z = norm(out.hidden_states[-skip])
        hook.remove()
        if not (weights == 1).all():
            heavy = z * weights[None, :, None]
            z = heavy * (z.mean() / heavy.mean())
        parts.append(z)
    return torch.cat(parts, 1).numpy()


def reader(bundle, engine, **options):
    opened = open_bundle(bundle)
    graphs = {}

    def graph(name):
        return graphs.setdefault(name, open_graph(opened, name, engine, None, 1))

    return partial(PromptReader(opened, **options).read, graph)


engines = pytest.mark.parametrize("engine", ["openvino", "onnx"])


@engines
@pytest.mark.parametrize("skip", [1, 2, 3])
def test_embeddings_equal_those_made_by_hand(theirs, family, exported, engine, skip):
    read = reader(exported(family, "fp32"), engine, clip_skip=skip)
    for prompt, chunks in CASES.items():
        told = read(prompt, "and", 1)
        found = told.at(0)
        expected = by_hand(*theirs, chunks, skip)
        assert found.parts[0]["text"].shape == expected.shape and not told.warnings
        assert np.abs(found.parts[0]["text"] - expected).max() < 1e-4, prompt
        filled = [[("and", 1)], *[[]] * (len(chunks) - 1)]
        assert np.abs(found.negative["text"] - by_hand(*theirs, filled, skip)).max() < 1e-4, prompt


@pytest.fixture
def toy(tmp_path):
    vectors = np.random.default_rng(5).normal(0, 0.05, (3, WIDTH)).astype(np.float32)
    file = tmp_path / "toy.safetensors"
    file.write_bytes(safetensors({"<toy>": vectors}))
    return file, vectors


@engines
@pytest.mark.parametrize(
    "family, weights", [("sd1", "fp32"), ("least", "fp16"), ("sd2", "fp32"), ("sd2", "int8")], indirect=["family"]
)
def test_textual_inversion_equals_vectors_put_into_the_table(theirs, family, exported, toy, engine, weights):
    file, vectors = toy
    read = reader(exported(family, weights), engine, embeddings=[file])
    found = read("the <toy> (red on:1.3)", "toy", 1).at(0)
    expected = by_hand(*theirs, [[("the", 1), (vectors, 1), ("red", 1.3), ("on", 1.3)]])
    assert np.abs(found.parts[0]["text"] - expected).max() < TOLERANCE[weights]
    assert np.abs(found.negative["text"] - by_hand(*theirs, [[(vectors, 1)]])).max() < TOLERANCE[weights]
    without = by_hand(*theirs, [[("the", 1), ("red", 1.3), ("on", 1.3)]])
    assert np.abs(found.parts[0]["text"] - without).max() > 10 * np.abs(found.parts[0]["text"] - expected).max()


@engines
def test_both_of_sdxls_encoders_read_an_embedding_as_diffusers_does(tiny_sources, exported, tmp_path, engine):
    """The pooled text too, which is looked for at the end of the plain ids."""
    theirs = StableDiffusionXLPipeline.from_pretrained(tiny_sources["sdxl"], add_watermarker=False)
    rng = np.random.default_rng(6)
    pairs = {"clip_l": (theirs.text_encoder, theirs.tokenizer), "clip_g": (theirs.text_encoder_2, theirs.tokenizer_2)}
    vectors = {
        key: rng.normal(0, 0.05, (3, encoder.config.hidden_size)).astype(np.float32)
        for key, (encoder, _) in pairs.items()
    }
    file = tmp_path / "toy.safetensors"
    file.write_bytes(safetensors(vectors))
    for key, (encoder, tokenizer) in pairs.items():
        state = {"<toy>": torch.from_numpy(vectors[key])}
        theirs.load_textual_inversion(state, token="<toy>", text_encoder=encoder, tokenizer=tokenizer)
    with torch.no_grad():
        wanted = theirs.encode_prompt("the <toy> red", negative_prompt="<toy> on", device="cpu")
    found = reader(exported("sdxl", "fp32"), engine, embeddings=[file])("the <toy> red", "<toy> on", 1).at(0)
    told = (found.parts[0]["text"], found.negative["text"], found.parts[0]["pooled"], found.negative["pooled"])
    for ours, expected in zip(told, wanted, strict=True):
        assert ours.shape == expected.shape and np.abs(ours - expected.numpy()).max() < TOLERANCE["fp32"]
    without = reader(exported("sdxl", "fp32"), engine)("the toy red", "toy on", 1).at(0).parts[0]
    assert all(np.abs(without[name] - found.parts[0][name]).max() > 0.01 for name in ("text", "pooled"))


@engines
def test_pooled_output_is_blind_to_embeddings_and_ids_stay_what_they_were(family, exported, engine):
    """An embedding's place must not be taken for the end of the text, which the pooled output searches."""
    bundle = open_bundle(exported(family, "fp32"))
    encoder = bundle.manifest.text_encoders[0]
    graph = open_graph(bundle, "text_encoder", engine, None, 1)
    ids = np.full((1, 77), encoder.pad_id)
    ids[0, :4] = [encoder.bos_id, 5, 6, encoder.eos_id]
    plain = graph(input_ids=ids)
    rows = np.random.default_rng(0).normal(0, 0.02, (4, WIDTH)).astype(np.float32)
    same = graph(input_ids=ids, extra_embeddings=rows)
    for name in plain:
        assert np.abs(same[name] - plain[name]).max() < 1e-6
    ids[0, 2] = -4
    used = graph(input_ids=ids, extra_embeddings=rows)
    state = used["last_hidden_state"][0, 3]
    assert np.abs(used["pooler_output"][0] - state).max() < 1e-6


@pytest.mark.parametrize("family, weights", [("sd1", "fp32"), ("sd2", "int8")], indirect=["family"])
def test_other_programs_see_no_new_input(family, weights, exported):
    file = exported(family, weights) / "text_encoder" / "model.onnx"
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    assert [port.name for port in session.get_inputs()] == ["input_ids"]
    assert [port.name for port in session.get_overridable_initializers()] == [EXTRA]


def test_the_bundle_has_its_final_layer_norm(theirs, family, exported):
    bundle = open_bundle(exported(family, "fp32"))
    assert f"text_encoder/{NORM}" in bundle.manifest.files
    stored = np.load(bundle.path / "text_encoder" / NORM)
    norm = next(m for name, m in theirs[0].named_modules() if name.endswith("final_layer_norm"))
    assert np.array_equal(stored, np.stack([norm.weight.detach().numpy(), norm.bias.detach().numpy()]))


@engines
def test_pictures_of_prompts_with_syntax(family, exported, engine):
    pipe = pleinair.load(exported(family, "fp32"), engine=engine, threads=1, precision="f32")
    options = {"seed": 1, "steps": 3, "width": 64, "height": 64}
    long = "the (red:1.2) " * 60 + "[and|on] AND on:0.5"
    result = pipe.generate(long, "on [the:red:2]", **options)
    assert np.isfinite(result.pixels).all() and not result.warnings
    assert not np.array_equal(result.pixels, pipe.generate("the", "on [the:red:2]", **options).pixels)
