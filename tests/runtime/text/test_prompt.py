"""A1111's prompt syntax: what it means, what malformed text means, and that no text is too much."""

import math
import random
from time import process_time

import pytest

from pleinair.text.emphasis import pieces
from pleinair.text.schedule import versions
from pleinair.text.syntax import MOST, PromptPart, split_parts
from pleinair.text.warned import Warnings


def read(text):
    """[(text or None for BREAK, weight rounded)], [warning]"""
    warnings = Warnings()
    return [(piece.text, round(piece.weight, 4)) for piece in pieces(text, warnings)], list(warnings)


def by_step(text, steps=10):
    """What each step sees, and the warnings."""
    warnings, seen = Warnings(), [None] * steps
    for version in versions(text, steps, warnings):
        for step in version.steps:
            assert seen[step - 1] is None
            seen[step - 1] = version.text
    return seen, list(warnings)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("normal text", [("normal text", 1)]),
        ("an (important) word", [("an ", 1), ("important", 1.1), (" word", 1)]),
        ("a [weak] word", [("a ", 1), ("weak", 0.9091), (" word", 1)]),
        ("(x:1.3)", [("x", 1.3)]),
        ("(x : 1.3 )", [("x ", 1.3)]),
        ("(x:-0.5)", [("x", -0.5)]),
        ("(x:+.5)", [("x", 0.5)]),
        ("((x))", [("x", 1.21)]),
        ("[(x)]", [("x", 1)]),
        ("((x:1.5) y:2)", [("x", 3), (" y", 2)]),
        ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
        (r"\(literal\]", [("(literal]", 1)]),
        (r"\\ \[a\) (b\))", [(r"\ [a) ", 1), ("b)", 1.1)]),
        (r"a\b", [("ab", 1)]),
        ("a BREAK b", [("a", 1), (None, 1), ("b", 1)]),
        ("(a BREAK b:2)", [("a", 2), (None, 1), ("b", 2)]),
        ("BREAKFAST", [("BREAKFAST", 1)]),
        ("a:b, 16:9", [("a:b, 16:9", 1)]),
        ("(a|b)", [("a|b", 1.1)]),
        ("", []),
        ("()[]", []),
    ],
)
def test_weights_as_a1111(text, expected):
    assert read(text) == (expected, [])


@pytest.mark.parametrize(
    "text, expected, said",
    [
        ("(unbalanced", [("unbalanced", 1.1)], "1 '(' never closed"),
        ("a [b", [("a ", 1), ("b", 0.9091)], "1 '[' never closed"),
        ("a) b", [("a) b", 1)], "')' was never opened"),
        ("a] b", [("a] b", 1)], "']' was never opened"),
        ("a:1.3) b", [("a:1.3) b", 1)], "')' was never opened"),
        ("(x:1e9)", [("x:1e9", 1.1)], "':1e9' is not a weight"),
        ("(x:1.2.3)", [("x:1.2.3", 1.1)], "':1.2.3' is not a weight"),
        ("(x:1000000000)", [("x", MOST)], "weights beyond 100"),
        ("(x:-99999)", [("x", -MOST)], "weights beyond 100"),
        (
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
            [("a ", 1), ("house", 1.573), (" ", 1.1), ("on", 1), (" a ", 1.1), ("hill", 0.55)]
            + [(", sun, ", 1.1), ("sky", 1.4641), (".", 1.1)],
            "1 '(' never closed",
        ),
        ("([a)b]", [("a", 1), ("b", 0.9091)], None),  # the two kinds of bracket need not nest
    ],
)
def test_malformed_weights_are_read_as_a1111_reads_them_and_said(text, expected, said):
    found, warnings = read(text)
    assert found == expected
    assert (said is None and not warnings) or said in warnings[0]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a", [PromptPart("a", 1.0)]),
        ("a AND b", [PromptPart("a", 1.0), PromptPart(" b", 1.0)]),
        ("a :1.2 AND b:0.5 AND c", [PromptPart("a", 1.2), PromptPart(" b", 0.5), PromptPart(" c", 1.0)]),
        ("a:-1 AND b:.5", [PromptPart("a", -1.0), PromptPart(" b", 0.5)]),
        ("a:1e3 AND (b:2)", [PromptPart("a:1e3", 1.0), PromptPart(" (b:2)", 1.0)]),
        ("BAND ANDY and", [PromptPart("BAND ANDY and", 1.0)]),
        ("a\nb: 2\n", [PromptPart("a\nb", 2.0)]),
    ],
)
def test_parts(text, expected):
    warnings = Warnings()
    assert split_parts(text, warnings) == expected
    assert any(warnings) == (text.startswith("a\n"))


def test_a_number_at_the_end_of_a_prompt_is_its_weight_and_that_is_said():
    warnings = Warnings()
    assert split_parts("a photo, 16:9", warnings) == [PromptPart("a photo, 16", 9.0)]
    assert "weight of the whole prompt" in next(iter(warnings))
    assert split_parts("a AND ", warnings)[1] == PromptPart(" ", 1.0)
    assert "side of AND is empty" in list(warnings)[1]
    assert split_parts("a:" + "9" * 500, Warnings())[0].weight == MOST


@pytest.mark.parametrize(
    "text, changes",
    [
        ("test", {1: "test"}),
        ("a [b:3]", {1: "a ", 4: "a b"}),
        ("a [b: 3 ]", {1: "a ", 4: "a b"}),
        ("a [[[b]]:2]", {1: "a ", 3: "a [[b]]"}),
        ("[(a:2):3]", {1: "", 4: "(a:2)"}),
        ("a [b : c : 1] d", {1: "a b  d", 2: "a  c  d"}),
        ("a[b:[c:d:2]:1]e", {1: "abe", 2: "ace", 3: "ade"}),
        ("a [b:.5] c", {1: "a  c", 6: "a b c"}),
        ("a [b::4] c", {1: "a b c", 5: "a  c"}),
        ("[a:b:1.0]", {1: "a"}),
        ("[a:b:1]", {1: "a", 2: "b"}),
        ("[a:b:0]", {1: "b"}),
        ("[a:b:-3]", {1: "b"}),
        ("[a:b:0.25] [c:d:0.75]", {1: "a c", 3: "b c", 8: "b d"}),
        (r"[a\:x:b\]:2]", {1: r"a\:x", 3: r"b\]"}),
        ("[:]", {1: "[:]"}),
        ("(a:[b:c:2])", {1: "(a:b)", 3: "(a:c)"}),
    ],
)
def test_schedules_as_a1111(text, changes):
    seen, _ = by_step(text)
    expected = [changes[max(start for start in changes if start <= step)] for step in range(1, 11)]
    assert seen == expected


@pytest.mark.parametrize(
    "text, turns",
    [
        ("[a|(b:1.1)]", ["a", "(b:1.1)"]),
        ("[fe|]male", ["female", "male"]),
        ("[fe|||]male", ["female", "male", "male", "male"]),
        ("[a|b|c] [d|e]", ["a d", "b e", "c d", "a e", "b d", "c e"]),
        ("[[a|b]|c]", ["a", "c"]),
        ("[[a:x:1]|c|[b|d]]", ["a", "c", "b", "x", "c", "d"]),
    ],
)
def test_turns_as_a1111(text, turns):
    seen, warnings = by_step(text, 6)
    assert seen == [turns[step % len(turns)] for step in range(6)] and not any(warnings)


@pytest.mark.parametrize(
    "text, changes, said",
    [
        ("a [unbalanced", {1: "a [unbalanced"}, None),
        ("((a][:b:c [d:3]", {1: "((a][:b:c ", 4: "((a][:b:c d"}, None),
        ("[a:b] c", {1: "[a:b] c"}, "'[a:b]' is not a [from:to:when]"),
        ("[a:b:c:3] [d:2]", {1: "[a:b:c:3] ", 3: "[a:b:c:3] d"}, "'[a:b:c:3]' is not a [from:to:when]"),
        ("[a:(b:c:d):3]", {1: "[a:(b:c:d):3]"}, "is not a [from:to:when]"),
        ("a | b [c:3]", {1: "a | b [c:3]"}, "a '|' outside of [a|b]"),
        ("[a|b:c:3]", {1: "[a|b:c:3]"}, "a '|' outside of [a|b]"),
        ("(a|b) [c:3]", {1: "(a|b) [c:3]"}, "a '|' outside of [a|b]"),
        ("[a:3] \\", {1: "[a:3] \\"}, "a backslash that escapes nothing"),
        ("[a:b:20]", {1: "a"}, "never comes: there are 10 steps"),
        ("[a:b:1e999]", {1: "a"}, "never comes"),
        ("a | b", {1: "a | b"}, None),
    ],
)
def test_malformed_schedules_are_read_as_a1111_reads_them_and_said(text, changes, said):
    seen, warnings = by_step(text)
    assert seen == [changes[max(start for start in changes if start <= step)] for step in range(1, 11)]
    assert (said is None and not warnings) or said in warnings[0]


N = 30_000  # three times what a prompt may have
HOSTILE = {
    "opened": "(" * N,
    "closed": ")" * N,
    "square": "[" * N + "x",
    "square closed": "]" * N,
    "nested": "(" * (N // 2) + "x" + ")" * (N // 2),
    "nested square": "[" * (N // 2) + "x" + "]" * (N // 2),
    "nested and spoilt": "[x:" * (N // 4) + "]" * (N // 4),
    "crossed": "([)]" * (N // 4),
    "schedules": "[a:" * (N // 6) + "x" + ":2]" * (N // 6),
    "turns": "[a|" * (N // 4) + "x" + "]" * (N // 4),
    "turns in a row": "[a|b]" * (N // 5),
    "weights": "(" * (N // 5) + "x" + ":1.2)" * (N // 5),
    "large weights": "(" * (N // 4) + "x" + ":99)" * (N // 4),
    "zero and large": "(" * (N // 4) + "(x:0)" + ":99)" * (N // 4),
    "colons": "(" + ":" * N,
    "spaces": ":" + " " * N + "x)",
    "break": " " * (N // 2) + "BREAK" + " " * (N // 2),
    "breaks": "BREAK " * (N // 6),
    "ands": " AND " * (N // 5),
    "and": "a" + " " * N + "AND" + " " * N,
    "digits": "(x:" + "1" * N + ")",
    "weight of the whole": "x:" + "9" * N,
    "when": "[a:" + "1" * N + "]",
    "backslashes": "\\" * N,
    "odd backslashes": "\\" * (N + 1),
    "different malformed": "".join(f"[x{n}:y]" for n in range(N // 9)),
}


def check_everything(text, steps):
    warnings = Warnings()
    for part in split_parts(text, warnings):
        assert abs(part.weight) <= MOST
        seen = versions(part.text, steps, warnings)
        assert sorted(step for version in seen for step in version.steps) == list(range(1, steps + 1))
        for version in seen:
            for piece in pieces(version.text, warnings):
                assert math.isfinite(piece.weight) and abs(piece.weight) <= MOST
    assert all("\n" not in warning and len(warning) < 300 for warning in warnings)


@pytest.mark.parametrize("name", HOSTILE)
def test_thirty_thousand_characters_are_no_matter(name):
    start = process_time()
    check_everything(HOSTILE[name], 4)
    assert process_time() - start < 5  # some hundredths of a second; a quadratic reading takes half a minute


def test_any_text_at_all_is_a_prompt():
    rng = random.Random(0)
    symbols = [
        "(",
        ")",
        "[",
        "]",
        ":",
        "|",
        "\\",
        ":1.2)",
        ":.5]",
        "a",
        "é",
        " ",
        "\n",
        "AND",
        " BREAK ",
        "1",
        "-",
        "🏠",
    ]
    for _ in range(3000):
        check_everything("".join(rng.choices(symbols, k=rng.randint(0, 30))), rng.randint(1, 5))


def test_a_prompt_commands_no_terminal_through_its_warnings():
    _, (warning,) = read("(a:1.2\x1b2)")
    assert warning.isprintable() and "':1.2?2' is not a weight" in warning


def test_text_without_syntax_is_left_alone():
    rng = random.Random(1)
    for _ in range(300):
        text = "".join(rng.choices("abc ,.;!?'\"é家\n-", k=rng.randint(1, 40))).rstrip() + "."
        (part,) = split_parts(text, Warnings())
        (version,) = versions(part.text, 3, Warnings())
        (piece,) = pieces(version.text, Warnings())
        assert (piece.text, piece.weight) == (text, 1.0)
