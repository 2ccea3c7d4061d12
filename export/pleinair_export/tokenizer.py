"""The tokenizer folder of a bundle: what our runtime, transformers and openvino-genai each read."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pleinair.checks import one_line, shown_path
from pleinair.errors import BundleError, ExportError
from pleinair.sources.describing import Tokens
from pleinair.sources.families import GEMMA_KIND, T5_KIND, Component
from pleinair.system.files import read_file, read_json
from pleinair.text.tokenizer import LARGEST, read_tokenizer
from pleinair_export.quiet import quiet

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PROMPTS = ["a red fox sitting in the snow at dawn, oil on canvas", "", "Two boats; (a lighthouse:1.2) & 30 gulls!"]


@dataclass(frozen=True)
class TokenizerKind:
    """A class of text encoders: transformers' tokenizer for it, and which of its tokens stand around a text.

    The tokenizer.json of some folders is older than what transformers makes of it, and `renewed`. Those of CLIP have
    their vocabulary beside it (`listed`).
    """

    tokenizer: str
    begins: bool = True
    ends: bool = True
    renewed: bool = False
    listed: bool = False


CLIP = TokenizerKind("CLIPTokenizer", listed=True)
TOKENIZERS = {
    T5_KIND: TokenizerKind("T5Tokenizer", begins=False, renewed=True),
    GEMMA_KIND: TokenizerKind("GemmaTokenizer", ends=False),
}
AGAIN = "download the model again"
GENERAL = ("PreTrainedTokenizerFast", "TokenizersBackend")  # transformers' class for any tokenizer.json, old and new


def write_tokenizer(
    source: Path, target: Path, part: Component, length: int, openvino: bool
) -> tuple[Tokens, np.ndarray]:
    """Copy the tokenizer of a text encoder, adding those of its files that the source lacks.

    With `openvino`, also the IR form that openvino-genai loads. Returns what the manifest says of it, and PROMPTS as it
    encodes them, (3, length) int64; behind an instruction, `length` tokens of what is said are kept. Raises ExportError
    when it cannot be read.
    """
    kind = TOKENIZERS.get(part.kind, CLIP)
    check_source(source / "tokenizer.json")
    if kind is not CLIP and is_general(source):
        kind = replace(kind, tokenizer=GENERAL[0], renewed=False)
    tokenizer = open_tokenizer(source, kind.tokenizer)
    if tokenizer.pad_token_id is None:
        raise ExportError(f"the tokenizer '{shown_path(source)}' names no pad_token; name one in tokenizer_config.json")
    target.mkdir()
    for file in source.iterdir():
        if file.suffix in (".json", ".txt"):
            shutil.copyfile(file, target / file.name)
    if kind.renewed:
        (target / "tokenizer.json").unlink(missing_ok=True)
    if not (target / "tokenizer.json").exists():
        tokenizer.backend_tokenizer.save(str(target / "tokenizer.json"))
    if kind.listed:
        write_vocabulary(target)
    if openvino:
        write_openvino_tokenizer(tokenizer, target)
    prefix = part.instruction
    kept = length if prefix else None
    if prefix:
        length += len(tokenizer.encode(prefix, add_special_tokens=False)) - 1
    texts = [prefix + (prompt.lower() if part.masked else prompt) for prompt in PROMPTS]
    tokenizer.padding_side = "right"
    ids = tokenizer(texts, padding="max_length", truncation=True, max_length=length, return_tensors="np")["input_ids"]
    around = tokenizer.encode("a")
    first = tokenizer.bos_token_id if kind.begins and tokenizer.bos_token_id in around else None
    last = tokenizer.eos_token_id if kind.ends and tokenizer.eos_token_id in around else None
    return Tokens(length, first, last, tokenizer.pad_token_id, prefix, kept), ids.astype(np.int64)


def open_tokenizer(source: Path, name: str) -> "PreTrainedTokenizerBase":
    """The tokenizer in a folder, by transformers' class for it."""
    with quiet():
        import transformers

        try:
            return getattr(transformers, name).from_pretrained(source, local_files_only=True)
        except BaseException as error:  # a damaged vocabulary raises anything; a panic of the Rust side is no Exception
            if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
                raise
            where, reason = shown_path(source), one_line(str(error) or type(error).__name__, 120)
            raise ExportError(f"cannot read the tokenizer '{where}' ({reason}); {AGAIN}") from error


def is_general(source: Path) -> bool:
    """Whether a folder's tokenizer is all that its tokenizer.json says, rather than what a class makes of it."""
    named = source / "tokenizer_config.json"
    if not (source / "tokenizer.json").exists() or not named.exists():
        return False
    return read_json(named, LARGEST, ExportError, AGAIN).get("tokenizer_class") in GENERAL


def check_source(file: Path) -> None:
    """Raise ExportError for a tokenizer.json that does more than those known, before a library is given it to run."""
    if file.exists():
        try:
            read_tokenizer(read_file(file, LARGEST, ExportError, AGAIN), file)
        except BundleError as error:
            why = one_line(error.reason, 300)
            raise ExportError(f"{why}; download the model from where you trust it") from None


def write_vocabulary(target: Path) -> None:
    """Write vocab.json and merges.txt, which transformers 4 asks for, from tokenizer.json where they are absent."""
    model = json.loads((target / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    if not (target / "vocab.json").exists():
        (target / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False), encoding="utf-8")
    if not (target / "merges.txt").exists():
        pairs = (pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"])
        (target / "merges.txt").write_text("\n".join(["#version: 0.2", *pairs, ""]), encoding="utf-8")


def write_openvino_tokenizer(tokenizer: "PreTrainedTokenizerBase", target: Path) -> None:
    """Write openvino_tokenizer.xml and .bin, unless this tokenizer does something that OpenVINO does not know."""
    with quiet():
        from openvino.exceptions import OVTypeError
        from openvino_tokenizers import convert_tokenizer

        from pleinair.engines.saving import save_ir

        try:
            graph = convert_tokenizer(tokenizer)
        except OVTypeError:
            return  # only openvino-genai reads these files
        save_ir(graph, target / "openvino_tokenizer.xml")
