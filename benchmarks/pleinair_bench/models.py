"""What is measured: storybook, which ships whole, and real sizes, which ship without weights and are filled here."""

import hashlib
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

from pleinair.bundle.manifest import Defaults, Manifest
from pleinair.bundle.opening import Bundle, open_bundle
from pleinair.checks import one_of
from pleinair.engines.engine import ENGINES, choose_engine, installed
from pleinair.errors import EngineError

if TYPE_CHECKING:
    from pleinair_bench.real_graphs import RealGraph

STORYBOOK = "storybook"
REAL_ENGINES = [name for name, info in ENGINES.items() if info.format]
COMPONENTS = ("text_encoder", "unet", "vae_decoder")
# 10^9 operations at the model's own size, batch 1, of which estimates are made before anything is loaded
CLIPS = {"text_encoder": 13, "text_encoder_2": 98}
GFLOP = {
    "storybook": {"text_encoder": 0.1, "unet": 3.4, "vae_decoder": 15.5},
    "sd15": {**CLIPS, "unet": 803, "vae_decoder": 2515},
    "sd21": {"text_encoder": 45, "unet": 2149, "vae_decoder": 5754},
    "bk-sdm-base": {**CLIPS, "unet": 523, "vae_decoder": 2515},
    "bk-sdm-small": {**CLIPS, "unet": 511, "vae_decoder": 2515},
    "bk-sdm-tiny": {**CLIPS, "unet": 486, "vae_decoder": 2515},
    "sdxl": {**CLIPS, "unet": 6761, "vae_decoder": 10470},
    "ssd-1b": {**CLIPS, "unet": 4208, "vae_decoder": 10470},
    "vega": {**CLIPS, "unet": 2822, "vae_decoder": 10470},
}


def real() -> ModuleType:
    """`real_graphs`, which imports all of pouring: that must not count where storybook's start is measured."""
    from pleinair_bench import real_graphs

    return real_graphs


def names() -> list[str]:
    """Storybook, then the models whose topologies ship."""
    return list(dict.fromkeys([STORYBOOK, *(each.model for each in real().available())]))


def engines() -> list[str]:
    """Those that are installed and run real graphs, the default first."""
    found = [name for name in REAL_ENGINES if installed(name)]
    if not found:
        raise EngineError(f"no inference engine is installed; install one with: {ENGINES['openvino'].install}")
    return found


def check_engine(name: str) -> None:
    """RequestError for an engine that runs no real graphs, EngineError for one that is not installed."""
    choose_engine(open_bundle(None), one_of("engine", name, REAL_ENGINES))


@cache
def storybook() -> Manifest:
    return open_bundle(None).manifest


def painting(model: str) -> tuple[str, ...]:
    """The graphs that make a picture of a text."""
    if model == STORYBOOK:
        return COMPONENTS
    row = real().random_model(model).family
    return tuple(name for part in (*row.readers, row.denoiser) for name in part.graphs) + ("vae_decoder",)


def defaults(model: str) -> Defaults:
    """What a model paints with unless told."""
    return storybook().defaults if model == STORYBOOK else real().random_model(model).defaults


def multiple(model: str) -> int:
    """What the sides of its pictures are multiples of."""
    return storybook().latents.multiple if model == STORYBOOK else real().random_model(model).multiple


def stored(model: str, engine: str, components: tuple[str, ...]) -> list[str]:
    """How weights may be stored, where every one of the components ships so for this engine."""
    form = ENGINES[engine].format
    if model == STORYBOOK:
        graphs = storybook().graphs
        kinds = {graphs[name].weights for name in components if form in graphs[name].files}
        return sorted(kinds) if len(kinds) == 1 else []
    found = [each for each in real().available() if each.model == model and each.format == form]
    kinds = dict.fromkeys(each.weights for each in found)
    return [each for each in kinds if set(components) <= {graph.graph for graph in found if graph.weights == each}]


def needed(model: str, engine: str, weights: str, components: tuple[str, ...]) -> "list[RealGraph]":
    """The graphs to fill; none for storybook."""
    if model == STORYBOOK:
        return []
    form = ENGINES[engine].format
    return [real().find(model, name, weights, form) for name in components]


def weight_bytes(model: str, engine: str, weights: str, components: tuple[str, ...]) -> int:
    """Bytes on disk of the components' graphs."""
    if model != STORYBOOK:
        return sum(each.size for each in needed(model, engine, weights, components))
    manifest = storybook()
    return sum(
        manifest.files[file].size for name in components for file in manifest.graphs[name].files[ENGINES[engine].format]
    )


def opened(model: str, engine: str, weights: str, components: tuple[str, ...]) -> Bundle:
    """The bundle that holds the components, filling what is not there."""
    if model == STORYBOOK:
        return open_bundle(None)
    from pleinair_bench import filling

    form = ENGINES[engine].format
    return [filling.filled(model, name, weights, form) for name in components][-1]


def identities(bundle: Bundle, engine: str, components: tuple[str, ...]) -> dict[str, str]:
    """Which graphs those of the components are, weights and all: 16 digits of a hash over their files'."""
    manifest, form = bundle.manifest, ENGINES[engine].format
    files = {name: manifest.graphs[name].files[form] for name in components}
    return {
        name: hashlib.sha256("".join(manifest.files[file].sha256 for file in each).encode()).hexdigest()[:16]
        for name, each in files.items()
    }
