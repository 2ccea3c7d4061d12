"""The tokenizer folder of a bundle: one that is given, or CLIP's own vocabulary, which ships here."""

import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pleinair.checks import one_line, shown_path
from pleinair.errors import BundleError, ExportError
from pleinair.pouring.tokenizer_graph import LENGTH, write_graph
from pleinair.sources.describing import Tokens
from pleinair.sources.folder import LARGEST_TOKENIZER
from pleinair.sources.small_files import write_json
from pleinair.system.files import CONFIG, read_file, read_json
from pleinair.text.tokenizer import LARGEST, NORMALIZER, WORDS, read_tokenizer

MERGES = Path(__file__).parent / "clip" / "merges.xz"  # of openai/CLIP, MIT, in the order in which they are made
BOS, EOS = "<|startoftext|>", "<|endoftext|>"
DOWNLOAD = "download its tokenizer folder again"
HEADER = "#version: 0.2"


def write_tokenizer(source: Path | None, target: Path, length: int, pad: str, openvino: bool = False) -> Tokens:
    """Write tokenizer.json, vocab.json and merges.txt, from a folder that has the first or both others, or CLIP's own.

    `pad` fills a short text where the folder does not say. With `openvino`, also the graph that openvino.genai loads,
    where the vocabulary is CLIP's own. Raises ExportError for a folder that cannot be read.
    """
    target.mkdir()
    if source is None:
        write_shipped(target, length, pad)
    else:
        copy(source, target)
    model = complete(target)
    vocabulary, filling = model["vocab"], padding(target, pad)
    if openvino and length == LENGTH and is_own(model):
        write_graph(target, own_words(), own_merges(), filling)
    try:
        return Tokens(length, vocabulary[BOS], vocabulary[EOS], vocabulary[filling])
    except KeyError as error:
        where = shown_path(source or target)
        raise ExportError(f"the vocabulary in '{where}' has no {one_line(error, 60)}; {DOWNLOAD}") from None


def copy(source: Path, target: Path) -> None:
    """Copy the texts of a tokenizer folder, of limited sizes; raises ExportError where there are none."""
    texts = sorted(each for each in source.iterdir() if each.suffix in (".json", ".txt")) if source.is_dir() else []
    names = {each.name for each in texts}
    if "tokenizer.json" not in names and not {"vocab.json", "merges.txt"} <= names:
        raise ExportError(
            f"'{shown_path(source)}' has no tokenizer.json, and not both vocab.json and merges.txt; {DOWNLOAD}"
        )
    for each in texts:
        (target / each.name).write_bytes(read_file(each, LARGEST_TOKENIZER, ExportError, DOWNLOAD))


def write_shipped(target: Path, length: int, pad: str) -> None:
    """CLIP's vocabulary, written out: the bytes as letters, at the ends of words too, and what is merged of them."""
    merges = shipped_merges()
    vocabulary = json.dumps({token: number for number, token in enumerate(tokens(merges))}, ensure_ascii=False)
    (target / "vocab.json").write_text(vocabulary, encoding="utf-8")
    (target / "merges.txt").write_text("\n".join([HEADER, *merges, ""]), encoding="utf-8")
    special = {"bos_token": BOS, "eos_token": EOS, "pad_token": pad, "unk_token": EOS}
    write_json(target / "special_tokens_map.json", special)
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": length, "do_lower_case": True}
    write_json(target / "tokenizer_config.json", config | special)


def shipped_merges() -> list[str]:
    return lzma.decompress(MERGES.read_bytes()).decode().splitlines()


def tokens(merges: list[str]) -> list[str]:
    """CLIP's vocabulary in its order."""
    letters = byte_letters().values()
    return [*letters, *(f"{each}</w>" for each in letters), *(each.replace(" ", "") for each in merges), BOS, EOS]


def byte_letters() -> dict[int, str]:
    """The 256 letters that GPT-2 and CLIP write bytes with, by byte, in the order of CLIP's vocabulary."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + n) for n, byte in enumerate(others)}


def is_own(model: dict[str, Any]) -> bool:
    """Whether what a tokenizer.json holds is CLIP's own vocabulary."""
    merges = shipped_merges()
    found = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    return found == merges and model["vocab"] == {token: number for number, token in enumerate(tokens(merges))}


def own_words() -> list[bytes]:
    """CLIP's vocabulary as bytes, in its order."""
    return list(map(written_out(), tokens(shipped_merges())))


def own_merges() -> list[tuple[bytes, bytes]]:
    """What is merged in CLIP's vocabulary, as bytes, in the order in which it is."""
    as_bytes = written_out()
    return [(as_bytes(left), as_bytes(right)) for left, right in (merge.split(" ") for merge in shipped_merges())]


def written_out() -> Callable[[str], bytes]:
    """What makes bytes of the letters that stand for them."""
    table = str.maketrans({letter: chr(byte) for byte, letter in byte_letters().items()})

    def as_bytes(text: str) -> bytes:
        return text.translate(table).encode("latin-1")

    return as_bytes


def complete(target: Path) -> dict[str, Any]:
    """Write whichever of the three files is absent from the others; returns the model that tokenizer.json holds."""
    whole, vocabulary, merges = (target / name for name in ("tokenizer.json", "vocab.json", "merges.txt"))
    if not whole.exists():
        lines = read_file(merges, LARGEST_TOKENIZER, ExportError, DOWNLOAD).decode("utf-8", "replace").splitlines()
        pairs = [line for line in lines if line and not line.startswith("#version")]
        made = clip(read_json(vocabulary, LARGEST_TOKENIZER, ExportError, DOWNLOAD), pairs)
        whole.write_text(json.dumps(made, ensure_ascii=False, indent=2), encoding="utf-8")
    model = checked(whole)["model"]
    if not vocabulary.exists():
        vocabulary.write_text(json.dumps(model["vocab"], ensure_ascii=False), encoding="utf-8")
    if not merges.exists():
        pairs = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
        merges.write_text("\n".join([HEADER, *pairs, ""]), encoding="utf-8")
    return model


def checked(file: Path) -> dict[str, Any]:
    """A tokenizer.json that does no more than CLIP's; raises ExportError for any other."""
    content = read_file(file, LARGEST, ExportError, DOWNLOAD)
    try:
        read_tokenizer(content, file)
    except BundleError as error:
        why = one_line(str(error).rpartition("; ")[0], 300)
        raise ExportError(f"{why}; {DOWNLOAD}, from where you trust it") from None
    return json.loads(content)


def clip(vocabulary: dict[str, Any], merges: list[str]) -> dict[str, Any]:
    """tokenizer.json as transformers makes it of CLIP's vocabulary and merges."""
    ends = {token: vocabulary.get(token) for token in (BOS, EOS)}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    letters = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    split = {"type": "Split", "pattern": {"Regex": WORDS}, "behavior": "Removed", "invert": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": number, "content": token, **flags} for token, number in ends.items()],
        "normalizer": NORMALIZER,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, letters]},
        "post_processor": {
            "type": "RobertaProcessing",
            "sep": [EOS, ends[EOS]],
            "cls": [BOS, ends[BOS]],
            "trim_offsets": False,
            "add_prefix_space": False,
        },
        "decoder": letters | {"add_prefix_space": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": EOS,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": [merge.split(" ") for merge in merges],
        },
    }


def padding(target: Path, pad: str) -> str:
    """The token that fills a short text, as the folder's small files say it; `pad` where they are silent."""
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (target / name).exists():
            said = read_json(target / name, CONFIG, ExportError, DOWNLOAD).get("pad_token")
            said = said.get("content") if isinstance(said, dict) else said
            if isinstance(said, str):
                return said
    return pad
