"""Graphs of models whose network is a transformer: the network itself, and T5, which reads their texts."""

from types import MethodType

import numpy as np
import torch
from torch import nn

from pleinair.bundle.manifest import MASK, SCALE, Port
from pleinair.network import denoiser
from pleinair.sources.transformers import TRANSFORMERS
from pleinair_export.graphs import TRIED, Spec, Wrapped
from pleinair_export.linear_attention import linear
from pleinair_export.trials import Arrays, Context

WO = ".wo"  # the one layer of T5 that looks at the type of its weight
THETA = 10_000.0  # of rotary embeddings (Su et al. 2021)


class T5Encoder(Wrapped):
    """input_ids (B, length) -> last_hidden_state (B, length, D); no token is masked, but by `attention_mask`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        for name, layer in model.named_modules():
            if name.endswith(WO):
                layer.weight.data = layer.weight.data.float()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> tuple[torch.Tensor]:
        told = {"input_ids": input_ids, "attention_mask": attention_mask}
        return (self.model(**told, return_dict=True).last_hidden_state,)


class GemmaEncoder(Wrapped):
    """input_ids, attention_mask (B, length) -> last_hidden_state (B, length, D); a token is told of those before it."""

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor]:
        length = input_ids.shape[1]
        before = torch.ones(length, length, dtype=torch.bool).tril()
        seen = before[None, None] & attention_mask[:, None, None].bool()
        hidden = torch.zeros(()).masked_fill(~seen, torch.finfo(torch.float32).min)
        masks = {"full_attention": hidden, "sliding_attention": hidden}
        told = {"input_ids": input_ids, "attention_mask": masks}
        return (self.model(**told, use_cache=False, return_dict=True).last_hidden_state,)


class PlacedPatches(nn.Module):
    """diffusers' PatchEmbed for models that place tokens by their share of the picture: any size, in one trace."""

    def __init__(self, embed: nn.Module) -> None:
        super().__init__()
        self.proj, self.scale, self.base = embed.proj, embed.interpolation_scale, embed.base_size
        width = embed.proj.out_channels // 4
        rates = 1 / THETA ** (torch.arange(width, dtype=torch.float64) / width)
        self.register_buffer("rates", rates.float(), persistent=False)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        patches = self.proj(latents)  # (B, D, h, w)
        height, width = patches.shape[-2:]
        down, across = self.waves(height), self.waves(width)
        rows, columns = across[None].expand(height, -1, -1), down[:, None].expand(-1, width, -1)
        places = torch.cat([rows, columns], dim=-1).flatten(0, 1)
        return patches.flatten(2).transpose(1, 2) + places[None]

    def waves(self, count: int) -> torch.Tensor:
        """(count, D / 2) of one side."""
        share = torch.arange(count, dtype=torch.float32) / (count / self.base) / self.scale
        angles = share[:, None] * self.rates[None]
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class Rotary(nn.Module):
    """ids (S, axes) -> cosine and sine (S, d): diffusers' FluxPosEmbed in float32, which is what engines compute in."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        rates = (1 / THETA ** (torch.arange(0, width, 2, dtype=torch.float64) / width) for width in widths)
        for axis, each in enumerate(rates):
            self.register_buffer(f"rates{axis}", each.float().repeat_interleave(2), persistent=False)
        self.axes = len(widths)

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        angles = [ids[:, axis, None] * getattr(self, f"rates{axis}")[None] for axis in range(self.axes)]
        angle = torch.cat(angles, dim=-1)
        return angle.cos(), angle.sin()


class RotaryAttention:
    """diffusers' FluxAttnProcessor in views of fixed heads: ONNX takes sizes of others for those of the example."""

    def __call__(
        self,
        attn: nn.Module,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        image_rotary_emb: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        x = hidden_states
        queries = attn.norm_q(in_heads(attn, attn.to_q(x)))
        keys, values = attn.norm_k(in_heads(attn, attn.to_k(x))), in_heads(attn, attn.to_v(x))
        if attn.added_kv_proj_dim is not None:
            text = encoder_hidden_states
            queries = torch.cat([attn.norm_added_q(in_heads(attn, attn.add_q_proj(text))), queries], dim=1)
            keys = torch.cat([attn.norm_added_k(in_heads(attn, attn.add_k_proj(text))), keys], dim=1)
            values = torch.cat([in_heads(attn, attn.add_v_proj(text)), values], dim=1)
        queries, keys = rotated(attn, queries, *image_rotary_emb), rotated(attn, keys, *image_rotary_emb)
        heads = (in_heads(attn, each).transpose(1, 2) for each in (queries, keys, values))
        attended = nn.functional.scaled_dot_product_attention(*heads).transpose(1, 2)
        attended = attended.reshape(x.shape[0], -1, attn.heads * attn.head_dim)
        if encoder_hidden_states is None:
            return attended
        tokens = encoder_hidden_states.shape[1]
        picture = attn.to_out[1](attn.to_out[0](attended[:, tokens:]))
        return picture, attn.to_add_out(attended[:, :tokens])


def in_heads(attn: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """(B, S, H d) or what it was made into -> (B, S, H, d)."""
    return x.reshape(x.shape[0], -1, attn.heads, attn.head_dim)


def rotated(attn: nn.Module, x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """(B, S, H, d) with each pair of numbers turned by the angle of its token (S, d)."""
    pairs = x.reshape(x.shape[0], -1, attn.heads, attn.head_dim // 2, 2)
    turned = torch.stack([-pairs[..., 1], pairs[..., 0]], dim=-1)
    return x * cosine[None, :, None] + in_heads(attn, turned) * sine[None, :, None]


class TransformerGraph(Wrapped):
    """What `sources.transformers` describes, its ports in that order -> out_sample."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        kind = TRANSFORMERS[type(model).__name__]
        self.ports, self.channels = tuple(kind.feeds(model.config)), kind.learned and kind.channels(model.config)
        for module in model.modules():
            if isinstance(module, nn.RMSNorm):
                module.forward = MethodType(rms_norm, module)
        embed = getattr(model, "pos_embed", None)
        if getattr(embed, "pos_embed", None) is not None and not embed.pos_embed_max_size:
            model.pos_embed = PlacedPatches(embed)
        linear(model)
        if "axes_dims_rope" in model.config:
            model.pos_embed = Rotary(model.config.axes_dims_rope)
            model.set_attn_processor(RotaryAttention())

    def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor]:
        told = dict(zip(self.ports, given, strict=True))
        told["timestep"] = told["timestep"].expand(told["hidden_states"].shape[0])
        (made,) = self.model(**told, return_dict=False)
        return (made[:, : self.channels] if self.channels else made,)


def rms_norm(module: nn.RMSNorm, x: torch.Tensor) -> torch.Tensor:
    """What torch has one operation for, which ONNX has not before opset 23."""
    eps = torch.finfo(x.dtype).eps if module.eps is None else module.eps
    normed = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)
    return normed if module.weight is None else normed * module.weight


def t5_encoder(name: str, model: nn.Module, context: Context) -> Spec:
    """Compared on one text, and on all of the context's."""
    return reading(T5Encoder(model), name, {"input_ids": context.ids[name]})


def masked_t5_encoder(name: str, model: nn.Module, context: Context) -> Spec:
    """Compared as `t5_encoder` is."""
    return reading(T5Encoder(model), name, masked(context.ids[name], model))


def gemma_encoder(name: str, model: nn.Module, context: Context) -> Spec:
    """Compared as `t5_encoder` is."""
    return reading(GemmaEncoder(model), name, masked(context.ids[name], model))


def masked(ids: np.ndarray, model: nn.Module) -> Arrays:
    return {"input_ids": ids, MASK: (ids != model.config.pad_token_id).astype(np.int64)}


def reading(wrapped: Wrapped, name: str, told: Arrays) -> Spec:
    """A text encoder that is told of three texts, (3, length) each."""
    length = next(iter(told.values())).shape[1]
    return Spec(
        name,
        wrapped,
        inputs=dict.fromkeys(told, Port("int64", ("batch", length))),
        outputs={"last_hidden_state": Port("float32", ("batch", length, wrapped.model.config.hidden_size))},
        example={port: rows[:2] for port, rows in told.items()},
        cases=[{port: rows[:1] for port, rows in told.items()}, told],
    )


def transformer(name: str, model: nn.Module, context: Context) -> Spec:
    """Cases: noise levels, and a narrow size; told the context's texts, (3, ...) each, and what TRIED asks for."""
    kind = TRANSFORMERS[type(model).__name__]
    part, channels = kind.denoiser(model.config), kind.channels(model.config)
    inputs, outputs = kind.described(model.config)
    rng = np.random.default_rng(0)
    told = context.feeds | (
        {SCALE: np.full(3, TRIED.guidance * part.guidance_scale, np.float32)} if SCALE in part.feeds.values() else {}
    )
    side = kind.side(model.config)

    def case(t: float, batch: int, height: int, width: int) -> Arrays:
        latents = rng.standard_normal((batch, channels, height, width), dtype=np.float32)
        return denoiser.denoiser_inputs(part, latents, t, {feed: rows[:batch].copy() for feed, rows in told.items()})

    return Spec(
        name,
        TransformerGraph(model),
        inputs=inputs,
        outputs=outputs,
        example=case(500.5, 2, 5 * side, 3 * side),
        cases=[
            case(1000, 1, *context.size),
            case(499.5, 1, *context.size),
            case(1, 1, *context.size),
            case(250.25, 3, 3 * side, 5 * side),
        ],
    )
