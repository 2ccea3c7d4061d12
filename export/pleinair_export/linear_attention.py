"""Attention that is linear in the number of tokens, in views that hold for any size in one trace."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F


class LinearAttention:
    """diffusers' SanaLinearAttnProcessor2_0."""

    def __call__(self, attn: nn.Module, hidden_states: torch.Tensor, **unasked: None) -> torch.Tensor:
        x = hidden_states
        query, key = attn.to_q(x), attn.to_k(x)
        if attn.norm_q is not None:
            query, key = attn.norm_q(query), attn.norm_k(key)
        width = query.shape[-1] // attn.heads
        told = (each.reshape(x.shape[0], -1, attn.heads, width) for each in (query, key, attn.to_v(x)))
        attended = attend(*(each.permute(0, 2, 3, 1) for each in told))  # (B, H, d, S)
        attended = attended.permute(0, 3, 1, 2).reshape(x.shape[0], -1, attn.heads * width)
        return attn.to_out[1](attn.to_out[0](attended))


class MultiscaleAttention:
    """diffusers' SanaMultiscaleAttnProcessor2_0, whose two ways are one: it takes the other where that is quicker."""

    def __call__(self, attn: nn.Module, hidden_states: torch.Tensor) -> torch.Tensor:
        x = hidden_states  # (B, C, h, w)
        rows = x.movedim(1, -1)
        told = torch.cat([attn.to_q(rows), attn.to_k(rows), attn.to_v(rows)], dim=3).movedim(-1, 1)
        told = torch.cat([told, *(block(told) for block in attn.to_qkv_multiscale)], dim=1)
        width = attn.attention_head_dim
        heads = told.shape[1] // (3 * width)
        query, key, value = told.reshape(x.shape[0], heads, 3 * width, -1).chunk(3, dim=2)
        attended = attend(query, key, value).reshape(x.shape[0], heads * width, *x.shape[-2:])
        made = attn.to_out(attended.movedim(1, -1))
        over_rows = attn.norm_type == "rms_norm"
        made = attn.norm_out(made).movedim(-1, 1) if over_rows else attn.norm_out(made.movedim(-1, 1))
        return made + x if attn.residual_connection else made


PROCESSORS: dict[str, Callable[..., torch.Tensor]] = {  # class in diffusers -> what answers alike
    "SanaLinearAttnProcessor2_0": LinearAttention(),
    "SanaMultiscaleAttnProcessor2_0": MultiscaleAttention(),
}


def linear(model: nn.Module) -> None:
    """Give a model, in place, those of these that it has diffusers' own of."""
    for module in model.modules():
        kind = type(getattr(module, "processor", None)).__name__
        if kind in PROCESSORS:
            module.processor = PROCESSORS[kind]


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """(B, H, d, S) each: the mean of the values, weighted by how far keys and queries that are above zero agree."""
    query, key = F.relu(query), F.relu(key)
    share = key.sum(dim=-1, keepdim=True).transpose(-1, -2) @ query  # (B, H, 1, S)
    return (value @ key.transpose(-1, -2)) @ query / (share + 1e-15)
