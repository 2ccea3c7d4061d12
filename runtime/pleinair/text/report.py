"""How a prompt is read, told without reading it: `pleinair prompt`."""

from collections.abc import Iterator
from typing import Any

from pleinair.text.chunks import Chunk, Chunker, rows_used
from pleinair.text.reader import PromptReader, Said, check_size
from pleinair.text.warned import Warnings


def report(reader: PromptReader, prompt: str, negative: str, steps: int) -> dict[str, Any]:
    """What `reader` would encode: chunks, ids, tokens, weights, steps, embeddings, warnings; JSON values only.

    Of several text encoders the first is shown: the others cut words alike.
    """
    warnings = Warnings()
    positive, against = reader.parts(prompt, steps, warnings), reader.negative(negative, steps, warnings)
    said = [*positive, against]
    check_size(said, steps)
    reader.tell_of_embeddings(said, warnings)
    reader.tell_of_words(positive, [against], warnings)
    used = rows_used(chunk for each in said for chunk in each.first)
    chunker = reader.chunkers[0]
    return {
        "steps": steps,
        "output": ", ".join(output for output, _ in reader.outputs),
        "length": chunker.encoder.length,
        "chunks": max(each.longest for each in said),
        "parts": [_described(each, chunker) for each in positive],
        "negative": _described(against, chunker),
        "embeddings": [
            {"name": each.name, "words": list(each.words), "vectors": len(each.vectors), "used": rows.start in used}
            for each, rows in reader.embeddings
        ],
        "warnings": warnings.limited(),
    }


def _described(said: Said, chunker: Chunker) -> dict[str, Any]:
    return {
        "text": said.part.text,
        "weight": said.part.weight,
        "versions": [
            {
                "steps": list(version.steps),
                "text": version.text,
                "chunks": [_tokens(chunk, chunker) for chunk in chunks],
            }
            for version, chunks in zip(said.versions, said.chunks[0], strict=True)
        ],
    }


def _tokens(chunk: Chunk, chunker: Chunker) -> list[dict[str, Any]]:
    before = chunker.encoder.before
    return [
        {"id": token if token >= 0 else None, "token": chunker.token(token), "weight": round(weight, 6)}
        for token, weight in zip(chunk.ids[before:], chunk.weights[before:], strict=True)
    ]


def report_lines(found: dict[str, Any]) -> Iterator[str]:
    """What `report` found, for people."""
    parts = found["parts"]
    for n, part in enumerate((*parts, found["negative"]), 1):
        name = "negative" if n > len(parts) else "prompt" if len(parts) == 1 else f"part {n} of {len(parts)}"
        weight = "" if part["weight"] == 1 else f", weight {part['weight']:g}"
        for version in part["versions"]:
            yield f"{name}{weight}, steps {_ranges(version['steps'])}: {version['text'] or '(nothing)'}"
            for m, chunk in enumerate(version["chunks"], 1):
                yield f"  chunk {m}: {len(chunk)} tokens"
                for token in chunk:
                    number = "-" if token["id"] is None else token["id"]
                    times = "" if token["weight"] == 1 else f" * {token['weight']:g}"
                    yield f"    {number:>6}  {token['token']}{times}"
    for each in found["embeddings"]:
        use = "used" if each["used"] else "not used"
        yield f"embedding {each['name']}: {each['vectors']} vectors, {use}, as {' or '.join(each['words'])}"
    yield f"{found['chunks']} x {found['length']} embeddings from {found['output']}, {found['steps']} steps"


def _ranges(steps: list[int]) -> str:
    """[1, 2, 3, 5] -> '1-3, 5'."""
    runs: list[list[int]] = []
    for step in steps:
        if runs and step == runs[-1][-1] + 1:
            runs[-1][1:] = [step]
        else:
            runs.append([step])
    return ", ".join("-".join(map(str, run)) for run in runs)
