"""A tokenizer's folder: its special tokens, and its tokenizer.json, which is made anew for CLIP where it is missing."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from pleinair.adopting.ir import AGAIN
from pleinair.adopting.layout import has, inside, small_json
from pleinair.checks import one_line, shown_path
from pleinair.errors import BundleError
from pleinair.sources.describing import Tokens
from pleinair.sources.families import Component
from pleinair.system.files import parse_json, read_file
from pleinair.text.tokenizer import LARGEST, MOST_TOKENS, WORDS, read_tokenizer, token_ids

MOST_MERGES = 49152 - 256 - 2  # of CLIP's own list, whose file goes on
FILES = ("vocab.json", "merges.txt")


def tokenizer_of(root: Path, part: Component, length: int) -> tuple[Tokens, bytes | None]:
    """What a manifest says of a text encoder's tokenizer, and the content of the tokenizer.json that it lacks, if so.

    Raises BundleError where it cannot be read, or there is nothing to make it of.
    """
    folder = part.tokenizer
    file = f"{folder}/tokenizer.json"
    present, names = has(root, file), special_tokens(root, folder, part.special)
    if not present and part.pieces:
        raise BundleError(
            f"'{shown_path(root / folder)}' has no tokenizer.json; open it with transformers (AutoTokenizer), and"
            " save it there again"
        )
    content = read_file(inside(root, file), LARGEST, BundleError, AGAIN) if present else rebuilt(root, folder, names)
    tokenizer = read_tokenizer(content, root / file)
    ids = {role: tokenizer.token_to_id(name) for role, name in names.items()}
    unknown = next((names[role] for role, number in ids.items() if number is None), None)
    if unknown is not None:
        raise BundleError(
            f"the tokenizer '{shown_path(root / folder)}' lacks its token '{one_line(unknown, 40)}'; {AGAIN}"
        )
    tokens = Tokens(length, ids.get("bos_token"), ids.get("eos_token"), ids["pad_token"])
    if part.instruction:
        more = len(token_ids(tokenizer, part.instruction)) - 1  # the last would be one with what follows
        tokens = replace(tokens, length=length + more, prefix=part.instruction, kept=length)
    return tokens, None if present else content


def special_tokens(root: Path, folder: str, usual: Mapping[str, str]) -> dict[str, str]:
    """How a text begins and ends, and what is behind its end, as far as `usual` has it.

    special_tokens_map.json is older and wins, as in transformers, unless the config lists its tokens itself.
    """
    config = small_json(root, f"{folder}/tokenizer_config.json") or {}
    listed = {} if "added_tokens_decoder" in config else small_json(root, f"{folder}/special_tokens_map.json") or {}
    return {role: named(listed.get(role)) or named(config.get(role)) or name for role, name in usual.items()}


def named(token: Any) -> str | None:
    """A token as tools write it: its text, or an object that has it."""
    token = token.get("content") if isinstance(token, dict) else token
    return token if isinstance(token, str) else None


def rebuilt(root: Path, folder: str, names: dict[str, str]) -> bytes:
    """The tokenizer.json of a folder with vocab.json and merges.txt, which splits texts as transformers' CLIP does."""
    missing = next((name for name in FILES if not has(root, f"{folder}/{name}")), None)
    if missing:
        raise BundleError(
            f"'{shown_path(root / folder)}' has no tokenizer.json and no {missing}; get vocab.json and merges.txt"
            " from where the model was made, and put them there"
        )
    vocabulary, merges = (read_file(inside(root, f"{folder}/{name}"), LARGEST, BundleError, AGAIN) for name in FILES)
    tokens = parse_json(vocabulary, root / folder / FILES[0], BundleError, AGAIN)
    try:
        listed = merges.decode("utf-8").strip().split("\n")
        lines = listed[1 : MOST_MERGES + 1]  # the first is the format's version
        pairs = [tuple(line.split()) for line in lines if line.strip()]
        if len(tokens) > MOST_TOKENS or not all(type(number) is int and number >= 0 for number in tokens.values()):
            raise ValueError("vocab.json does not number tokens")
        if not all(len(pair) == 2 for pair in pairs):
            raise ValueError("merges.txt does not list pairs")
        return clip(tokens, pairs, names).to_str().encode("utf-8")
    except BaseException as error:
        # the library raises bare Exception for what does not fit together, and panics past that
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        why = one_line(error, 100)
        raise BundleError(f"the tokenizer '{shown_path(root / folder)}' cannot be read ({why}); {AGAIN}") from None


def clip(tokens: dict[str, int], merges: list[tuple[str, str]], names: dict[str, str]) -> Tokenizer:
    """The tokenizer that transformers makes of a CLIP vocabulary."""
    bos, eos = names["bos_token"], names["eos_token"]
    bare = {"continuing_subword_prefix": "", "end_of_word_suffix": "</w>", "fuse_unk": False}
    tokenizer = Tokenizer(models.BPE(vocab=tokens, merges=merges, unk_token=eos, **bare))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.add_special_tokens([bos, eos, names["pad_token"]])  # "!" of SD 2, which then ends no word
    ends = [(name, tokenizer.token_to_id(name)) for name in (eos, bos)]
    tokenizer.post_processor = processors.RobertaProcessing(*ends, trim_offsets=False, add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
