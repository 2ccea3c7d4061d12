"""Which models a LoRA file may be for, by names and widths alone: nothing of a model is opened."""

from functools import lru_cache

from pleinair.adapters.families import CROSS, UNET, widths
from pleinair.adapters.lora_file import LoraHead
from pleinair.adapters.matching import networks_in, number_of
from pleinair.adapters.names import of_denoiser, of_text_encoder
from pleinair.bundle.manifest import Manifest

CONDITIONING = "text"  # the feed that cross-attention reads
DIFFERENT = 16  # tables of names that are kept: models of one family share theirs


def may_fit(head: LoraHead, manifest: Manifest) -> bool:
    """Whether a model has layers of the file's names and reads a text as wide.

    True also where a bundle does not say what its layers are called. A job looks closer: at the shapes of all layers.
    """
    networks = networks_in(manifest)
    layers = manifest.weights.get(networks.denoiser)
    if not layers:
        return True
    if head.layers.keys().isdisjoint(names_in(networks.denoiser, tuple(layers))):
        return any(
            not head.layers.keys().isdisjoint(
                names_read(number_of(graph, place), len(networks.encoders), tuple(manifest.weights.get(graph, ())))
            )
            for place, graph in enumerate(networks.encoders, 1)
        )
    here = {text_width(manifest)} - {None} if any(map(UNET.match, layers)) else set()
    there = {width for name in head.layers if CROSS.fullmatch(name) for width in widths(head.shapes(name))}
    return not here or not there or not here.isdisjoint(there)


def text_width(manifest: Manifest) -> int | None:
    """How wide a text is that the denoiser reads; None where a bundle leaves it open."""
    denoiser = manifest.denoiser
    ports = [port for port, feed in denoiser.feeds.items() if feed == CONDITIONING]
    sides = [manifest.graphs[denoiser.graph].inputs[port].shape[-1] for port in ports]
    return next((side for side in sides if isinstance(side, int)), None)


@lru_cache(maxsize=DIFFERENT)
def names_in(denoiser: str, layers: tuple[str, ...]) -> frozenset[str]:
    """What files call the layers of a denoiser."""
    return frozenset(of_denoiser(denoiser, layers))


@lru_cache(maxsize=DIFFERENT)
def names_read(number: int, count: int, layers: tuple[str, ...]) -> frozenset[str]:
    """What files call the layers of the `number`-th of `count` text encoders."""
    return frozenset(of_text_encoder(number, count, layers))
