"""The graphs of CLIP's text encoders, whose hidden states are outputs."""

import numpy as np
import torch
from torch import nn

from pleinair.bundle.manifest import Port
from pleinair_export.graphs import Spec, Wrapped
from pleinair_export.trials import Context

OLD_END = 2


class ClipEncoder(Wrapped):
    """input_ids (B, 77) -> last_hidden_state (B, 77, D), pooler_output (B, D), hidden_states.0 .. N (B, 77, D)."""

    def forward(self, input_ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
        out = self.model(input_ids=input_ids, output_hidden_states=True, return_dict=True)
        return out.last_hidden_state, out.pooler_output, *out.hidden_states


class ProjectedClipEncoder(Wrapped):
    """input_ids (B, 77) -> text_embeds (B, P), last_hidden_state (B, 77, D), hidden_states.0 .. N (B, 77, D)."""

    def forward(self, input_ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
        out = self.model(input_ids=input_ids, output_hidden_states=True, return_dict=True)
        return out.text_embeds, out.last_hidden_state, *out.hidden_states


def text_encoder(name: str, model: nn.Module, context: Context) -> Spec:
    """Compared on one text, and on all of the context's."""
    width = model.config.hidden_size
    outputs = {"last_hidden_state": hidden_state(model), "pooler_output": Port("float32", ("batch", width))}
    return reading(name, ClipEncoder(ending(model, context.ids[name])), context, outputs)


def projected_text_encoder(name: str, model: nn.Module, context: Context) -> Spec:
    """Compared as `text_encoder` is."""
    outputs = {
        "text_embeds": Port("float32", ("batch", model.config.projection_dim)),
        "last_hidden_state": hidden_state(model),
    }
    return reading(name, ProjectedClipEncoder(ending(model, context.ids[name])), context, outputs)


def ending(model: nn.Module, ids: np.ndarray) -> nn.Module:
    """A text encoder that knows the end of `ids`, where its config has the number that configs had before 2023.

    transformers then takes the largest id for it. Said by its number it makes one graph of both kinds of configs.
    """
    for module in model.modules():
        if getattr(module, "eos_token_id", None) == OLD_END:
            module.eos_token_id = int(ids.max())
    return model


def reading(name: str, wrapped: Wrapped, context: Context, outputs: dict[str, Port]) -> Spec:
    """A text encoder whose hidden states follow its other outputs, where other programs look for them."""
    config, ids = wrapped.model.config, context.ids[name]
    hidden = hidden_state(wrapped.model)
    return Spec(
        name,
        wrapped,
        inputs={"input_ids": Port("int64", ("batch", config.max_position_embeddings))},
        outputs=outputs | {f"hidden_states.{n}": hidden for n in range(config.num_hidden_layers + 1)},
        example={"input_ids": ids[:2]},
        cases=[{"input_ids": ids[:1]}, {"input_ids": ids}],
    )


def hidden_state(model: nn.Module) -> Port:
    return Port("float32", ("batch", model.config.max_position_embeddings, model.config.hidden_size))


def final_norm(model: nn.Module) -> np.ndarray:
    """Weight and bias (2, D) of the layer norm behind a text encoder's last layer, which its hidden states are without.

    With clip skip the runtime applies it to an earlier one.
    """
    norm = next(module for name, module in model.named_modules() if name.endswith("final_layer_norm")).float()
    return np.stack([norm.weight.numpy(), norm.bias.numpy()]).astype(np.float32)
