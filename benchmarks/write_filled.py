"""Write benchmarks/pleinair_bench/filled.json: what the graphs are that `pleinair bench` fills with random weights.

python benchmarks/write_filled.py          # after prove_topologies.py; 30 GB of numbers are hashed, none is written
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import product

from pleinair.bundle.verifying import FileInfo
from pleinair.pouring.pour import FORMATS, WEIGHTS, Plan, pieces
from pleinair.pouring.topologies import agrees, kept_for
from pleinair.sources.architectures import ARCHITECTURES, family
from pleinair.sources.families import Part
from pleinair_bench.fill import RandomWeights
from pleinair_bench.models import GFLOP, STORYBOOK
from pleinair_bench.real_graphs import FILLED, RealGraph


def main() -> None:
    found = []
    for name in GFLOP:
        if name == STORYBOOK:
            continue
        for part in family(name).parts:
            for graph, weights, form in product(part.graphs, WEIGHTS, FORMATS):
                found.append(filled(name, part, graph, weights, form))
                print("/".join(found[-1].key), f"{found[-1].size / 1e6:.0f} MB", flush=True)
    FILLED.write_text(json.dumps([asdict(each) for each in found], indent=1) + "\n", encoding="utf-8")


def filled(name: str, part: Part, graph: str, weights: str, form: str) -> RealGraph:
    """A graph of a model, of the first topology that its config agrees with."""
    known = sorted(kept_for(graph, weights, form), key=lambda pair: pair[0] != name)
    model, topology = next(pair for pair in known if agrees(ARCHITECTURES[name][part.folder], pair[1].config))
    infos = dict(hashed(Plan(part, graph, form, topology)))
    return RealGraph(name, graph, weights, form, model, infos)


def hashed(plan: Plan) -> Iterator[tuple[str, FileInfo]]:
    """The files of a graph as it is filled."""
    weights = RandomWeights(plan.topology.shapes)
    for name in plan.topology.files:
        digest, size = hashlib.sha256(), 0
        for piece in pieces(plan, name, weights):
            digest.update(piece)
            size += len(piece)
        yield f"{plan.graph}/{name}", FileInfo(size, digest.hexdigest())


if __name__ == "__main__":
    main()
