"""How much memory a model needs to paint with, from what its bundle says.

    needed = 250 MB + 3,200 bytes a pixel + for each network: the bytes of its files + 4 bytes a parameter

A network's files are mapped, and its weights are laid out anew as float32 for the kernels. With `--memory low` one
kind of network is there at a time. SD 1.5 with float32 weights on OpenVINO took 9.45 GB at 512x512 and 8.65 GB at
256x256 (benchmarks/results/epyc-2-cores-peers.jsonl), where this says 9.3 and 8.7. For others it says rather too much:
ONNX Runtime took 7.0 and 5.0 GB, bfloat16 takes 2 of the 4 bytes, and what is mapped can be read again.
"""

from pleinair.bundle.manifest import Manifest

BASE = 250_000_000  # Python, the libraries, an engine
PIXEL = 3_200  # what the VAE's decoder works with, which is more than the others do
COMPUTED = 4  # bytes of a parameter that is computed with
STORED = {"fp32": 4.0, "fp16": 2.0, "int8": 1.0, "int4": 0.5}  # bytes of a parameter in a file
UNKNOWN = 2.0


def memory_needed(manifest: Manifest, *, low: bool = False) -> int:
    """Bytes that painting a picture of the default size takes at its peak; `low` as with `--memory low`."""
    stages = [sum(graph_bytes(manifest, graph) for graph in stage) for stage in stages_of(manifest)]
    defaults = manifest.defaults
    pixels = defaults.width * defaults.height if defaults else 0
    return int(BASE + PIXEL * pixels + (max(stages) if low else sum(stages)))


def stages_of(manifest: Manifest) -> list[set[str]]:
    """Graphs that work one after the other: text encoders, denoisers, the VAE's decoder; or an upscaler's one."""
    if not manifest.vaes:
        return [set(manifest.graphs)]
    texts = {encoder.graph for encoder in manifest.text_encoders}
    return [texts, {denoiser.graph for denoiser in manifest.denoisers}, {manifest.vae.decoder}]


def graph_bytes(manifest: Manifest, name: str) -> float:
    """Bytes of a graph's files in one format, and of its parameters as they are computed with."""
    graph = manifest.graphs[name]
    stored = max((sum(manifest.files[file].size for file in files) for files in graph.files.values()), default=0)
    return stored * (1 + COMPUTED / STORED.get(graph.weights, UNKNOWN))
