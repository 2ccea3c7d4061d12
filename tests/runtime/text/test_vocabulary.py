"""What a model says that it knows and paints well: words and sizes that do not fit are told, and nothing else is."""

import json
from pathlib import Path
from random import Random
from time import perf_counter

import pytest

import pleinair
from bundles import edit_manifest, light_copy
from pleinair.bundle.opening import bundle_identity, open_bundle
from pleinair.cli import app as cli
from pleinair.tasks.morph import morph
from pleinair.tasks.rerun import rerun
from pleinair.text.reader import PromptReader
from pleinair.text.report import report
from pleinair.text.vocabulary import FUNCTION_WORDS, size_warnings, told_apart, word_warnings, words
from vectors import safetensors, some_vectors

STORYBOOK = Path(__file__).parents[3] / "models" / "storybook"
KNOWS = "; it knows house, castle, tree, boat, balloon, cat, red, yellow, green, blue, purple, pink, white, "
QUICK = {"steps": 1, "seed": 1}


@pytest.fixture(scope="module")
def pipe():
    return pleinair.load(engine="fake")


@pytest.fixture
def recipe(monkeypatch):
    monkeypatch.syspath_prepend(STORYBOOK)


def said(prompt, negative="", steps=10, **options):
    return report(PromptReader(open_bundle(), **options), prompt, negative, steps)["warnings"]


def knowing(folder, vocabulary, sizes=None):
    """A light storybook that makes other claims."""
    light_copy(folder)
    edit_manifest(folder, lambda raw: raw.update(vocabulary=vocabulary, sizes=sizes))
    return open_bundle(folder)


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        " , . ! ...",
        "a red house on a snowy hill at night",
        "A RED House, ON a Snowy hill: at NIGHT!",
        "houses, castles, fortresses, kitties, cats, balloons, mountain, star, skies, fir trees",
        "the cat's house, the cats' house, the cat’s castle",
        "a hot-air balloon, a hot air balloon, a snow-covered hill, a snow‑covered hill, a sail-boat, a red-house",
        "red_house on_the_hill",
        "“a red house” — at night… (by the sea) • [snow] ~ {boat} / tree; cat & kitten + ship = 100 %",
        "(red:1.3) ((house)) [cat] (a (big:1.2) castle:0.8) \\(tree\\)",
        "[house:castle:0.5] [boat|ship] [in the snow::4] [sunset:3]",
        "a red house AND a boat:0.7 AND snow:-0.3",
        "a red house BREAK in the snow BREAK",
        "a red house :1.5",
        "a house (red:1.2.3) 16:9, 3, 1.5",
        "<|startoftext|> a house <|endoftext|>",
        "a house\nin the\tsnow\r\nat night",
        "a house and a cat with the moon over their hill, that is in the middle between a boat and its ship",
    ],
)
def test_words_that_storybook_knows_bring_no_warning(prompt):
    assert not [warning for warning in said(prompt, prompt.replace("AND", ",")) if "know" in warning]


@pytest.mark.parametrize(
    "prompt, named",
    [
        ("a dog on the left", "dog"),
        ("a red house, masterpiece, best quality", "masterpiece, best, quality"),
        (
            "a house, one, two, three, four, five, six, seven, eight, nine",
            "one, two, three, four, five, six and 3 more",
        ),
        ("Dog, dog, (DOG:1.3), dogs in a house", "dog, dogs"),
        ("[house:dragon:0.5] in the snow", "dragon"),
        ("[dragon|house]", "dragon"),
        ("[dragon::3] a house", "dragon"),
        ("a house AND a dragon:0.5", "dragon"),
        ("a house BREAK a dragon", "dragon"),
        ("a house (with a (dragon:1.3):1.1)", "dragon"),
        ("a dragon-house", "dragon"),
        ("no trees without a house", "no, without"),
        ("a house by 8k", "8k"),
        ("ein house", "ein"),
        ("a café, house", "café"),
        ("a house and a 狗", "狗"),
        ("a house 🐶", "🐶"),
        (f"a house {'x' * 1000}", "x" * 24 + "..."),
    ],
)
def test_unknown_words_are_named_with_what_is_known(prompt, named):
    (warning,) = said(prompt)
    assert warning.startswith(f"storybook does not know {named}{KNOWS}")
    assert warning.endswith("more words, which pleinair info lists") and len(warning) < 500


@pytest.mark.parametrize(
    "prompt, named",
    [
        ("a dog riding a bicycle", "dog, riding, bicycle"),
        ("[dog:wolf:0.5]", "dog, wolf"),
        ("ein Hund auf dem Fahrrad", "ein, hund, auf, dem, fahrrad"),
        ("собака", "собака"),
        ("🐶", "🐶"),
    ],
)
def test_a_prompt_without_any_known_word_is_told_so_more_strongly(prompt, named):
    (warning,) = said(prompt)
    assert warning.startswith(f"storybook knows no word of the prompt ({named}) and will paint something else{KNOWS}")


@pytest.mark.parametrize(
    "prompt, begin",
    [
        ("a house", "storybook does not know blurry, ugly in the negative prompt; it knows house"),
        ("a dog, a cat", "storybook does not know dog, and does not know blurry, ugly in the negative prompt; it"),
        (
            "a dog",
            "storybook knows no word of the prompt (dog) and will paint something else, and does not know blurry",
        ),
        ("", "storybook does not know blurry, ugly in the negative prompt; it knows house"),
    ],
)
def test_the_negative_prompt_is_looked_at_too_in_the_same_line(prompt, begin):
    (warning,) = said(prompt, "blurry, (ugly:1.3), night")
    assert warning.startswith(begin)


def test_a_negative_prompt_without_effect_is_not_looked_at(pipe):
    (warning,) = pipe.generate("a boat", "blurry", **QUICK, guidance=1.0).warnings
    assert "no effect without guidance" in warning


def test_embeddings_are_no_words(tmp_path):
    (tmp_path / "dreamlike.safetensors").write_bytes(safetensors({"<qwer>": some_vectors(1, 128)}))
    loaded = {"embeddings": [tmp_path / "dreamlike.safetensors"]}
    assert said("a dreamlike house, <qwer>, (Dreamlike:1.2), <dreamlike>", **loaded) == []
    assert "does not know dreamlike" in said("a dreamlike house")[0]
    assert said("a house <lora:qwer:0.8>") == []
    (warning,) = said("a house <qwer:0.8>")
    assert "not a loaded embedding" in warning


def test_words_and_sizes_are_told_wherever_pictures_are_painted(pipe, tmp_path):
    job = {**QUICK, "width": 512, "height": 256}
    result = pipe.generate("a dog", **job)
    size, word = result.warnings
    assert size == (
        "storybook was trained at 256x256 and paints sides of 112 to 288 pixels well; 512x256 will repeat things"
    )
    assert "no word of the prompt (dog)" in word
    frames = [frame.result for frame in morph(pipe, ["a house", "a dog"], seeds=[1], frames=2, steps=1) if frame.result]
    assert [len(result.warnings) for result in frames] == [0, 1]
    frames = list(morph(pipe, ["a house", "a cat"], seeds=[1], frames=2, steps=1, width=64))
    assert all("64x256 will leave things out" in frame.result.warnings[0] for frame in frames if frame.result)
    result.images[0].save(tmp_path / "plain.png")
    repainted = pipe.generate("a house", **job | {"steps": 2}, image=tmp_path / "plain.png")
    assert "512x256 will repeat things" in repainted.warnings[0]


def test_the_command_line_tells(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fake = ["--engine", "fake", "--steps", "1", "--seed", "1"]
    assert cli.run(["generate", "a dog", "--size", "64x512", *fake]) == 0
    size, word = capsys.readouterr().err.splitlines()
    assert size.startswith("pleinair: warning: storybook was trained at") and "64x512 will repeat things" in size
    assert word.startswith("pleinair: warning: storybook knows no word of the prompt (dog)")
    assert cli.run(["prompt", "a dog", "--json"]) == 0
    assert "no word of the prompt (dog)" in json.loads(capsys.readouterr().out)["warnings"][0]
    Path("list.txt").write_text('a house\na dog\n{"prompt": "a cat", "size": "512x512"}\n')
    assert cli.run(["generate", "--prompts", "list.txt", "-o", "out", *fake]) == 0
    second, third = capsys.readouterr().err.splitlines()
    assert second.startswith("pleinair: warning: line 2: storybook knows no word")
    assert third.startswith("pleinair: warning: line 3: storybook was trained at") and "512x512" in third
    assert cli.run(["morph", "a house", "a dog", "--frames", "2", "--steps", "1", "--engine", "fake"]) == 0
    assert "no word of the prompt (dog)" in capsys.readouterr().err


def test_a_picture_made_again_is_told_of_as_the_first_time(pipe, tmp_path):
    cli.run(["generate", "a dog", "--engine", "fake", "--steps", "1", "--seed", "1", "-o", str(tmp_path / "a.png")])
    again = rerun(tmp_path / "a.png")
    assert again.difference.max_abs == 0 and again.warnings == pipe.generate("a dog", **QUICK).warnings


@pytest.mark.parametrize(
    "size, fault",
    [
        ((256, 256), None),
        ((112, 288), None),
        ((288, 112), None),
        ((104, 256), "104x256 will leave things out"),
        ((256, 296), "256x296 will repeat things"),
        ((512, 512), "512x512 will repeat things"),
        ((64, 512), "64x512 will repeat things and leave things out"),
    ],
)
def test_sizes_beyond_those_it_paints_well(size, fault):
    found = size_warnings(open_bundle().manifest, [size])
    assert [warning.partition("; ")[2] for warning in found] == ([fault] if fault else [])


def test_a_second_pass_is_one_more_size_and_a_seamless_side_is_none(pipe):
    assert "384x384 will repeat things" in pipe.generate("a house", seed=1, steps=2, hires=1.5).warnings[0]
    assert pipe.generate("a house", seed=1, steps=2, hires=1.125).warnings == ()
    manifest = open_bundle().manifest
    assert size_warnings(manifest, [(512, 128)], "x") == size_warnings(manifest, [(128, 512)], "y") == []
    assert size_warnings(manifest, [(512, 64)], "xy") == []
    assert "512x64 will leave things out" in size_warnings(manifest, [(512, 64)], "x")[0]


def test_a_model_that_claims_nothing_takes_everything(tmp_path):
    bundle = knowing(tmp_path / "model", [])
    result = pleinair.load(bundle.path, engine="fake").generate("a dog", "ugly", **QUICK, width=32, height=512)
    assert result.warnings == ()


def test_claims_may_be_left_out_of_a_manifest_and_are_no_part_of_what_the_model_is(tmp_path):
    folder = light_copy(tmp_path / "model")
    edit_manifest(folder, lambda raw: [raw.pop("vocabulary"), raw.pop("sizes")])
    bundle = open_bundle(folder)
    assert (bundle.manifest.vocabulary, bundle.manifest.sizes) == ((), None)
    assert bundle_identity(bundle) == bundle_identity(open_bundle())


def test_vocabularies_may_be_spelt_as_people_do(tmp_path):
    manifest = knowing(tmp_path / "model", ["House", "T-shirt", "hot-air balloon", "mice", "o’clock", "a"]).manifest
    told = ["a house, houses, tshirt, t-shirts, hot air balloons, hotair, the mouse, o'clock"]
    assert word_warnings(manifest, told, []) == []
    (warning,) = word_warnings(manifest, ["a cow"], ["house"])
    assert warning == (
        "storybook knows no word of the prompt (cow) and will paint something else;"
        " it knows House, T-shirt, hot-air balloon, mice, o’clock, a"
    )


def test_info_lists_words_and_sizes(tmp_path, capsys):
    assert cli.run(["info"]) == 0
    shown = capsys.readouterr().out
    assert "house, castle, tree, boat" in shown and "largest   288" in shown
    assert cli.run(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["sizes"] == {"smallest": 112, "largest": 288} and "kitten" in facts["vocabulary"]
    silent = light_copy(tmp_path / "model")
    assert cli.run(["info", str(silent), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["sizes"] is None and facts["vocabulary"] is None


def test_the_bundle_knows_the_words_of_the_recipe(recipe):
    from recipe.words import vocabulary

    asked = json.loads((STORYBOOK / "source" / "pleinair.json").read_text())
    manifest = open_bundle().manifest
    assert list(manifest.vocabulary) == asked["vocabulary"] == vocabulary()
    assert vars(manifest.sizes) == asked["sizes"]
    assert len(set(manifest.vocabulary)) == len(manifest.vocabulary)


def test_the_recipe_names_the_words_of_all_its_captions_and_no_others(recipe):
    from recipe.captions import caption
    from recipe.scenes import training_scene
    from recipe.words import vocabulary

    random, manifest = Random(1), open_bundle().manifest
    captions = [caption(training_scene(random), random) for _ in range(6000)]
    heard = {part for each in captions for word in words(each) for part in word.split("-")}
    assert heard - FUNCTION_WORDS == set(vocabulary())
    assert all(word_warnings(manifest, [each], []) == [] for each in captions)


def test_the_card_lists_words_and_sizes():
    card = " ".join((STORYBOOK / "README.md").read_text(encoding="utf-8").split())
    manifest = open_bundle().manifest
    assert f"It knows {len(manifest.vocabulary)} words: {', '.join(manifest.vocabulary)}." in card
    assert f"sides of {manifest.sizes.smallest} to {manifest.sizes.largest} pixels" in card


def test_looking_words_up_costs_next_to_nothing(pipe):
    manifest = open_bundle().manifest
    prompt = "a small red house on a snowy hill at night, with mountains in the background, " * 5
    word_warnings(manifest, [prompt], [])
    start = perf_counter()
    for _ in range(100):
        word_warnings(manifest, [prompt], [])
    assert perf_counter() - start < 5


@pytest.mark.parametrize("text", ["dog " * 100_000, "-a" * 200_000, "'a" * 200_000, "a-" * 200_000, "\u0301" * 400_000])
def test_long_texts_take_time_in_proportion(text):
    start = perf_counter()
    found, strange = told_apart([text], frozenset({"house"}))
    assert found == 0 and len(strange) <= 1 and perf_counter() - start < 5
