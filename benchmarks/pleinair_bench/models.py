"""What is measured: storybook, which ships whole, and real sizes, which ship without weights and are filled here."""

from functools import cache

from pleinair.bundle.opening import Bundle, open_bundle
from pleinair.checks import one_of
from pleinair.engines.engine import ENGINES, choose_engine, installed
from pleinair.errors import EngineError
from pleinair_bench import topologies
from pleinair_bench.topologies import Topology

STORYBOOK = "storybook"
REAL_ENGINES = [name for name, info in ENGINES.items() if info.format]
COMPONENTS = ("text_encoder", "unet", "vae_decoder")
# 10^9 operations at the model's own size, batch 1, of which estimates are made before anything is loaded
GFLOP = {
    "storybook": {"text_encoder": 0.1, "unet": 0.6, "vae_decoder": 2.0},
    "sd15": {"text_encoder": 13, "unet": 803, "vae_decoder": 2480},
    "sd21": {"text_encoder": 46, "unet": 820, "vae_decoder": 2480},
}


def names() -> list[str]:
    """Storybook, then the models whose topologies ship."""
    return list(dict.fromkeys([STORYBOOK, *(each.name for each in topologies.available())]))


def engines() -> list[str]:
    """Those that are installed and run real graphs, the default first."""
    found = [name for name in REAL_ENGINES if installed(name)]
    if not found:
        raise EngineError(f"no inference engine is installed; install one with: {ENGINES['openvino'].install}")
    return found


def check_engine(name: str) -> None:
    """RequestError for an engine that runs no real graphs, EngineError for one that is not installed."""
    choose_engine(open_bundle(None), one_of("engine", name, REAL_ENGINES))


def stored(model: str, engine: str, components: tuple[str, ...]) -> list[str]:
    """How weights may be stored, where every one of the components ships so for this engine."""
    form = ENGINES[engine].format
    if model == STORYBOOK:
        graphs = manifest_of(model, "").graphs
        kinds = {graphs[name].weights for name in components if form in graphs[name].files}
        return sorted(kinds) if len(kinds) == 1 else []
    found = [each for each in topologies.available() if each.name == model and each.format == form]
    kinds = dict.fromkeys(each.precision for each in found)
    return [each for each in kinds if set(components) <= {t.component for t in found if t.precision == each}]


def needed(model: str, engine: str, weights: str, components: tuple[str, ...]) -> list[Topology]:
    """The topologies to fill; none for storybook."""
    if model == STORYBOOK:
        return []
    form = ENGINES[engine].format
    return [topologies.find(model, name, weights, form) for name in components]


def weight_bytes(model: str, engine: str, weights: str, components: tuple[str, ...]) -> int:
    """Bytes on disk of the components' graphs."""
    if model != STORYBOOK:
        return sum(each.size for each in needed(model, engine, weights, components))
    manifest = manifest_of(model, weights)
    return sum(
        manifest.files[file].size for name in components for file in manifest.graphs[name].files[ENGINES[engine].format]
    )


def opened(model: str, engine: str, weights: str, components: tuple[str, ...]) -> Bundle:
    """The bundle that holds the components, filling what is not there."""
    if model == STORYBOOK:
        return open_bundle(None)
    form = ENGINES[engine].format
    return [topologies.filled(model, name, weights, form) for name in components][-1]


@cache
def manifest_of(model: str, weights: str):
    """A model's manifest, without filling anything."""
    return open_bundle(None).manifest if model == STORYBOOK else topologies.make_manifest(model, weights)
