"""The kinds of graphs that rows of families name: what makes the Spec of one, and the module that is traced."""

from collections.abc import Callable

from torch import nn

from pleinair_export import graphs, transformer_graphs
from pleinair_export.graphs import Spec
from pleinair_export.trials import Context

SPECS: dict[str, Callable[[str, nn.Module, Context], Spec]] = {
    **graphs.SPECS,
    "t5_encoder": transformer_graphs.t5_encoder,
    "masked_t5_encoder": transformer_graphs.masked_t5_encoder,
    "gemma_encoder": transformer_graphs.gemma_encoder,
    "transformer": transformer_graphs.transformer,
}
FORWARD: dict[str, type[nn.Module]] = {
    **graphs.FORWARD,
    "t5_encoder": transformer_graphs.T5Encoder,
    "masked_t5_encoder": transformer_graphs.T5Encoder,
    "gemma_encoder": transformer_graphs.GemmaEncoder,
    "transformer": transformer_graphs.Transformer,
}
