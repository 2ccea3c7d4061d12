"""What engines cost, for the choice between them: processor time of one thread, on a small and on a large model.

    python benchmarks/engine_costs.py storybook LARGE...

LARGE are bundles of one model, each with the graphs of at least one engine. Writes the table in
runtime/pleinair/tuning/costs.py. Other programs may run meanwhile: what is measured is processor time, each number the
least of three.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import numpy as np

from pleinair.bundle.opening import Bundle, open_bundle
from pleinair.engines.engine import Opening, engine_named
from pleinair.system.machine import cpu_name

SIZE = 256  # pixels
ROUNDS = 3
KEEPING = ("openvino",)  # engines whose compiled graphs stay on the disk
WAYS = (("openvino", "bf16"), ("openvino", "f32"), ("onnx", "f32"))
OUT = Path(__file__).parents[1] / "runtime" / "pleinair" / "tuning" / "costs.py"
HEAD = '''"""What engines cost in processor seconds of one thread; `estimating.EngineCosts` says what each number is.

Written by benchmarks/engine_costs.py, on: {machine}.
"""

COSTS = {{
{rows}}}
'''


def measured(folder: str, engine: str, precision: str, kept: str) -> dict[str, float]:
    """Seconds of importing an engine, and of opening and running each graph of text-to-image; in this process.

    With `kept`, a graph is opened as an earlier process has compiled it, if there was one.
    """
    begun = process_time()
    opened = engine_named(engine)
    seconds = {"importing": process_time() - begun}
    bundle = open_bundle(folder)
    manifest = bundle.manifest
    graphs = {"denoiser": manifest.denoiser.graph, "decoding": manifest.vae.decoder}
    graphs |= {f"text {each.graph}": each.graph for each in manifest.text_encoders}
    for part, graph in graphs.items():
        kind = precision if not part.startswith("text") else "f32"
        how = Opening(device=None, threads=1, precision=kind, edits=(), max_shapes=1, cache=bool(kept))
        network, inputs = opened.open_graph(bundle, graph, how), inputs_of(bundle, graph)
        begun = process_time()
        network.prepare({name: array.shape for name, array in inputs.items()})
        seconds[f"open {part}"] = process_time() - begun
        runs = []
        for _ in range(ROUNDS):
            begun = process_time()
            network(**inputs)
            runs.append(process_time() - begun)
        seconds[f"run {part}"] = min(runs)
    return seconds


def inputs_of(bundle: Bundle, graph: str) -> dict[str, np.ndarray]:
    """Something for each port: two rows for the denoiser, one for the others."""
    manifest, side = bundle.manifest, SIZE // bundle.manifest.vae.downsample
    rows = 2 if graph == manifest.denoiser.graph else 1
    named = {"batch": rows, "height": side, "width": side, "tokens": 77, "sequence": 77}
    found = {}
    for name, port in manifest.graphs[graph].inputs.items():
        shape = [named.get(each, each) for each in port.shape]
        found[name] = np.ones(shape, "int64" if port.dtype.startswith("int") and name != "timestep" else "float32")
    return found


def in_processes(folder: str, engine: str, precision: str) -> dict[str, float]:
    """The least of three processes; "open again" is what opening takes where another process has compiled."""
    runs = []
    with TemporaryDirectory() as home:
        once(folder, engine, precision, "kept", home)
        for _ in range(ROUNDS):
            run = once(folder, engine, precision, "", home)
            again = once(folder, engine, precision, "kept", home) if engine in KEEPING else run
            opened = {name: value for name, value in again.items() if name.startswith("open ")}
            runs.append(run | {name.replace("open ", "open again "): value for name, value in opened.items()})
    return {name: min(run[name] for run in runs) for name in runs[0]}


def once(folder: str, engine: str, precision: str, kept: str, home: str) -> dict[str, float]:
    """What `measured` says in a process of its own, which keeps what it compiles in `home`."""
    command = [sys.executable, __file__, "--measure", folder, engine, precision, kept]
    environment = {**os.environ, "PLEINAIR_HOME": home}
    told = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    return json.loads(told)


def line(small: float, large: float, units: tuple[float, float]) -> tuple[float, float]:
    """Through two points; one that would fall with size is level."""
    slope = max((large - small) / (units[1] - units[0]), 0.0)
    return round(max(small - slope * units[0], 0.0), 5), float(f"{slope:.3g}")


def row(bundles: tuple[Bundle, Bundle], seconds: tuple[dict[str, float], dict[str, float]]) -> dict[str, object]:
    """One row of the table, from a small and a large model."""
    from pleinair.tuning.work import millions_of_weights

    found: dict[str, list[tuple[float, float]]] = {}
    for bundle, each in zip(bundles, seconds, strict=True):
        manifest = bundle.manifest
        text = [encoder.graph for encoder in manifest.text_encoders]
        others = sum(millions_of_weights(manifest, graph) for graph in (manifest.vae.decoder, *text))
        area = (SIZE / manifest.vae.downsample) ** 2 / 1e6
        denoiser, decoder = (
            millions_of_weights(manifest, graph) for graph in (manifest.denoiser.graph, manifest.vae.decoder)
        )
        parts = ["decoding", *(f"text {graph}" for graph in text)]
        points = {
            "denoiser": (denoiser, each["open denoiser"]),
            "others": (others, sum(each[f"open {part}"] for part in parts)),
            "denoiser_kept": (denoiser, each["open again denoiser"]),
            "others_kept": (others, sum(each[f"open again {part}"] for part in parts)),
            "step": (denoiser * area * 2, each["run denoiser"]),
            "decoding": (decoder * area, each["run decoding"]),
        }
        for name, point in points.items():
            found.setdefault(name, []).append(point)
    made = {name: line(one[1], two[1], (one[0], two[0])) for name, (one, two) in found.items()}
    return {"importing": round(min(each["importing"] for each in seconds), 3), **made}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("small", help="a bundle with graphs of both engines, or its name")
    parser.add_argument("large", nargs="+", help="bundles of one model, with graphs of at least one engine each")
    asked = parser.parse_args()
    small, large, rows = asked.small, asked.large, ""
    for engine, precision in WAYS:
        form = engine_named(engine).format
        folders = (small, next(each for each in large if form in open_bundle(each).formats))
        seconds = tuple(in_processes(folder, engine, precision) for folder in folders)
        made = row(tuple(map(open_bundle, folders)), seconds)
        print(engine, precision, seconds, made, file=sys.stderr)
        told = "".join(f'        "{name}": {value},\n' for name, value in made.items())
        rows += f'    "{engine} {precision}": {{\n{told}    }},\n'
    OUT.write_text(HEAD.format(machine=cpu_name(), rows=rows), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measured(*sys.argv[2:])))
    else:
        main()
