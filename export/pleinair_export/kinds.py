"""The kinds of graphs that rows of families name."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from pleinair_export import graphs, text_graphs, transformer_graphs, vae_graphs
from pleinair_export.graphs import Spec, Wrapped
from pleinair_export.trials import Context


@dataclass(frozen=True)
class GraphKind:
    """The module that is traced around a component, and what makes the Spec of that."""

    module: type[Wrapped]
    spec: Callable[[str, nn.Module, Context], Spec]


KINDS = {
    "text_encoder": GraphKind(module=text_graphs.ClipEncoder, spec=text_graphs.text_encoder),
    "projected_text_encoder": GraphKind(
        module=text_graphs.ProjectedClipEncoder, spec=text_graphs.projected_text_encoder
    ),
    "t5_encoder": GraphKind(module=transformer_graphs.T5Encoder, spec=transformer_graphs.t5_encoder),
    "masked_t5_encoder": GraphKind(module=transformer_graphs.T5Encoder, spec=transformer_graphs.masked_t5_encoder),
    "gemma_encoder": GraphKind(module=transformer_graphs.GemmaEncoder, spec=transformer_graphs.gemma_encoder),
    "unet": GraphKind(module=graphs.UNet, spec=graphs.unet),
    "transformer": GraphKind(module=transformer_graphs.TransformerGraph, spec=transformer_graphs.transformer),
    "vae_encoder": GraphKind(module=vae_graphs.VaeEncoder, spec=vae_graphs.vae_encoder),
    "tiny_vae_encoder": GraphKind(module=vae_graphs.TinyVaeEncoder, spec=vae_graphs.tiny_vae_encoder),
    "vae_decoder": GraphKind(module=vae_graphs.VaeDecoder, spec=vae_graphs.vae_decoder),
    "tiny_vae_decoder": GraphKind(module=vae_graphs.TinyVaeDecoder, spec=vae_graphs.tiny_vae_decoder),
}
