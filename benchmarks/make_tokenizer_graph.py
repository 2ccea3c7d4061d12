"""Make runtime/pleinair/pouring/clip/tokenizer.xz: the graphs of CLIP's tokenizer without its vocabulary.

    python benchmarks/make_tokenizer_graph.py

Needs the export extra. openvino_tokenizers converts a tokenizer for each token that fills short texts; what of its
files is the vocabulary in a known form is cut out, and what is put together again must be the same files.
"""

import argparse
import tempfile
from pathlib import Path

from pleinair.pouring import tokenizer_graph
from pleinair.pouring.tokenizer_graph import FORMS, GRAPHS, LENGTH, texts_of, write_graph
from pleinair.pouring.topologies import Hole, Segment, Topology, pack
from pleinair.pouring.vocabulary import EOS, own_merges, own_words, write_tokenizer
from pleinair_export.tokenizer import open_tokenizer, write_openvino_tokenizer

PADS = (EOS, "!")
FILES = ("openvino_tokenizer.xml", "openvino_tokenizer.bin")


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    with tempfile.TemporaryDirectory() as root:
        folders = {pad: converted(Path(root) / str(number), pad) for number, pad in enumerate(PADS)}
        GRAPHS.write_bytes(pack({pad: emptied(folder) for pad, folder in folders.items()}))
        tokenizer_graph.shipped_tokenizers.cache_clear()
        for pad, folder in folders.items():
            again = Path(root) / f"again {folder.name}"
            again.mkdir()
            write_graph(again, own_words(), own_merges(), pad)
            for name in FILES:
                if (again / name).read_bytes() != (folder / name).read_bytes():
                    raise SystemExit(f"{name} does not come out the same for {pad}")
    print(f"{GRAPHS.stat().st_size} bytes, the same files again")


def converted(folder: Path, pad: str) -> Path:
    """A folder with the tokenizer and its graph."""
    write_tokenizer(None, folder, LENGTH, pad)
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    write_openvino_tokenizer(open_tokenizer(folder, "CLIPTokenizer"), folder)
    return folder


def emptied(folder: Path) -> Topology:
    """The files without the vocabulary."""
    texts = texts_of(own_words(), own_merges())
    files = {name: cut((folder / name).read_bytes(), texts) for name in FILES}
    shapes = {key: (len(each),) for key, each in texts.items()}
    return Topology(files, shapes, {}, {}, {})


def cut(content: bytes, texts: dict) -> tuple[Segment, ...]:
    """LocalModel bytes, and a hole wherever a form of a text stands."""
    found = []
    for key, each in texts.items():
        for form, made in FORMS.items():
            start = content.find(made(each))
            if start >= 0:
                found.append((start, start + len(made(each)), Hole(key, form)))
    parts, at = [], 0
    for start, end, hole in sorted(found, key=first):
        parts += [content[at:start], hole]
        at = end
    return (*parts, content[at:])


def first(found: tuple[int, int, Hole]) -> int:
    return found[0]


if __name__ == "__main__":
    main()
