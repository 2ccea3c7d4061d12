"""Prompt -> token ids -> embeddings."""

from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from pleinair.bundle import Bundle, TextEncoder
from pleinair.errors import BundleError


def open_tokenizer(bundle: Bundle, encoder: TextEncoder) -> Tokenizer:
    """The encoder's tokenizer, bare of padding and truncation; BundleError where its file is missing or damaged."""
    file: Path = bundle.path / encoder.tokenizer / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_str(file.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises bare Exception for malformed files
        raise BundleError(f"cannot read '{file}' ({error}); restore the file or export the model again") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def token_ids(tokenizer: Tokenizer, encoder: TextEncoder, prompt: str) -> tuple[np.ndarray, str]:
    """(ids (1, length) int64 padded as CLIP's tokenizer does, the end of the prompt that did not fit or "")."""
    encoding = tokenizer.encode(prompt, add_special_tokens=False)
    room = encoder.length - 2
    kept = encoding.ids[:room]
    cut = prompt[encoding.offsets[room][0] :] if len(encoding.ids) > room else ""
    ids = [encoder.bos_id, *kept, encoder.eos_id]
    ids += [encoder.pad_id] * (encoder.length - len(ids))
    return np.array([ids], np.int64), cut
