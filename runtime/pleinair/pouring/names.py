"""The original names of weights (CompVis, Stability, Civitai, OpenCLIP), and what diffusers and transformers call them.

Block numbers, of four digits at most, are counted off a file's own names, where a sampler ends a block, so that one set
of rules serves every UNet. Checked against diffusers' converters.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from pleinair.adapters.sgm import ENDS, MIDDLE, RESNET, Pairs
from pleinair.pouring.checkpoints import Checkpoint, Shape, Stored

VAE: Pairs = (
    (".mid.block_1.", ".mid_block.resnets.0."),
    (".mid.block_2.", ".mid_block.resnets.1."),
    (".mid.attn_1.norm.", ".mid_block.attentions.0.group_norm."),
    (".mid.attn_1.q.", ".mid_block.attentions.0.to_q."),
    (".mid.attn_1.k.", ".mid_block.attentions.0.to_k."),
    (".mid.attn_1.v.", ".mid_block.attentions.0.to_v."),
    (".mid.attn_1.proj_out.", ".mid_block.attentions.0.to_out.0."),
    (".nin_shortcut.", ".conv_shortcut."),
    (".norm_out.", ".conv_norm_out."),
    (".downsample.conv.", ".downsamplers.0.conv."),
    (".upsample.conv.", ".upsamplers.0.conv."),
    (".block.", ".resnets."),
)
OLD_VAE: Pairs = (  # diffusers' own, before 0.17
    (".attentions.0.query.", ".attentions.0.to_q."),
    (".attentions.0.key.", ".attentions.0.to_k."),
    (".attentions.0.value.", ".attentions.0.to_v."),
    (".attentions.0.proj_attn.", ".attentions.0.to_out.0."),
)
OPEN_CLIP: Pairs = (
    ("transformer.resblocks.", "encoder.layers."),
    (".ln_1.", ".layer_norm1."),
    (".ln_2.", ".layer_norm2."),
    (".mlp.c_fc.", ".mlp.fc1."),
    (".mlp.c_proj.", ".mlp.fc2."),
    (".attn.out_proj.", ".self_attn.out_proj."),
    ("ln_final.", "final_layer_norm."),
    ("token_embedding.", "embeddings.token_embedding."),
)
CONTROL: Pairs = (("middle_block_out.0.", "controlnet_mid_block."),)
SEEN = re.compile(r"^input_hint_block\.(\d{1,4})\.")
SEEN_LAST = 7  # of the convolutions that see a ControlNet's picture
SKIPS = re.compile(r"^zero_convs\.(\d{1,4})\.0\.")
TINY = re.compile(r"^(encoder|decoder)\.(\d{1,4})\.")
IN_PROJ = re.compile(r"(.*)\.attn\.in_proj_(weight|bias)")


@dataclass(frozen=True)
class Taken:
    """A parameter's place in a file: the tensor `name`, of it the `third` of three along its first axis, transposed.

    Of a tensor with more than `rows` along that axis it is the first ones.
    """

    name: str
    third: int | None = None
    transposed: bool = False
    rows: int | None = None

    def shape(self, shape: Shape) -> Shape:
        if self.third is not None:
            shape = (shape[0] // 3, *shape[1:])
        if self.rows is not None:
            shape = (min(shape[0], self.rows), *shape[1:])
        return shape[::-1] if self.transposed else shape

    def of(self, stored: Stored) -> Stored:
        raw = stored.raw[: self.rows]
        if self.third is not None:
            size = len(raw) // 3
            raw = raw[self.third * size : (self.third + 1) * size]
        return Stored(stored.kind, np.asarray(raw).T if self.transposed else raw)


Found = dict[str, Taken]
Rules = Callable[[Iterable[str]], Found]


def unet(names: Iterable[str]) -> Found:
    """A UNet's, without "model.diffusion_model."."""
    names = list(names)
    places = MIDDLE | down_places(names) | up_places(names)
    found = {}
    for name in names:
        match = re.match(r"((?:input|output)_blocks\.\d+\.\d+|middle_block\.\d+)\.(.*)", name)
        place = places.get(match[1]) if match else None
        found[f"{place}.{inside(place, match[2])}" if place else begun_as(name, ENDS)] = Taken(name)
    return found


def inside(place: str, rest: str) -> str:
    """The end of a name within a block: samplers have their convolution's name in the place already."""
    if ".resnets." in place:
        return begun_as(rest, RESNET)
    return rest.partition(".")[2] if "samplers." in place else rest


def down_places(names: Iterable[str]) -> dict[str, str]:
    """ "input_blocks.4.1" -> "down_blocks.1.attentions.0"."""
    places, block, layer = {}, 0, 0
    for number, rests in members(names, "input_blocks").items():
        if number == 0:
            continue
        if "0.op" in rests:
            places[f"input_blocks.{number}.0"] = f"down_blocks.{block}.downsamplers.0.conv"
            block, layer = block + 1, 0
            continue
        places[f"input_blocks.{number}.0"] = f"down_blocks.{block}.resnets.{layer}"
        places[f"input_blocks.{number}.1"] = f"down_blocks.{block}.attentions.{layer}"
        layer += 1
    return places


def up_places(names: Iterable[str]) -> dict[str, str]:
    """ "output_blocks.4.1" -> "up_blocks.1.attentions.1"."""
    places, block, layer = {}, 0, 0
    for number, rests in members(names, "output_blocks").items():
        places[f"output_blocks.{number}.0"] = f"up_blocks.{block}.resnets.{layer}"
        places[f"output_blocks.{number}.1"] = f"up_blocks.{block}.attentions.{layer}"
        layer += 1
        sampler = next((place for place in ("1", "2") if f"{place}.conv" in rests), None)
        if sampler:
            places[f"output_blocks.{number}.{sampler}"] = f"up_blocks.{block}.upsamplers.0.conv"
            block, layer = block + 1, 0
    return places


def members(names: Iterable[str], side: str) -> dict[int, set[str]]:
    """Number of a block -> the two parts of names that follow it: 3 -> {"0.op"}."""
    found: dict[int, set[str]] = {}
    for name in names:
        if match := re.match(rf"{side}\.(\d{{1,4}})\.(\d+\.\w+)", name):
            found.setdefault(int(match[1]), set()).add(match[2])
    return dict(sorted(found.items()))


def control(names: Iterable[str]) -> Found:
    """A ControlNet's, without "control_model.": a UNet's way down, and what is its own."""
    found = {}
    for name, taken in unet(names).items():
        new = SEEN.sub(seen_layer, name)
        found[SKIPS.sub(r"controlnet_down_blocks.\1.", begun_as(new, CONTROL))] = taken
    return found


def seen_layer(match: re.Match) -> str:
    """A convolution that sees the picture: the first, the last, and those between, each of which has one function."""
    number = int(match[1]) // 2
    return "controlnet_cond_embedding." + {0: "conv_in.", SEEN_LAST: "conv_out."}.get(number, f"blocks.{number - 1}.")


def vae(names: Iterable[str]) -> Found:
    """A VAE's, without "first_stage_model."; its attention is of 1x1 convolutions, which are matrices at diffusers'."""
    names = list(names)
    levels = [int(match[1]) for name in names if (match := re.match(r"decoder\.up\.(\d{1,4})\.", name))]
    found = {}
    for name in names:
        new = re.sub(r"^encoder\.down\.(\d+)", r"encoder.down_blocks.\1", replaced(name, VAE))
        if match := re.match(r"decoder\.up\.(\d{1,4})(\..*)", new):
            new = f"decoder.up_blocks.{max(levels) - int(match[1])}{match[2]}"
        found[new] = Taken(name)
    return found


def open_clip(names: Iterable[str]) -> Found:
    """An OpenCLIP text encoder's: three projections in one tensor, and a matrix that is multiplied from the right."""
    found = {}
    for name in names:
        new = replaced(name, OPEN_CLIP)
        if match := IN_PROJ.fullmatch(new):
            for third, letter in enumerate("qkv"):
                found[f"{match[1]}.self_attn.{letter}_proj.{match[2]}"] = Taken(name, third)
        elif new == "positional_embedding":
            found["embeddings.position_embedding.weight"] = Taken(name)
        elif new == "text_projection":
            found["text_projection.weight"] = Taken(name, transposed=True)
        else:
            found[new] = Taken(name)
    return found


def tiny_vae(names: Iterable[str]) -> Found:
    """TAESD's two files, below "encoder." and "decoder."; the decoder's first layer, a clamp, is none at diffusers'."""
    return {TINY.sub(tiny_layer, name): Taken(name) for name in names}


def tiny_layer(match: re.Match) -> str:
    return f"{match[1]}.layers.{int(match[2]) - (match[1] == 'decoder')}."


def same(names: Iterable[str]) -> Found:
    """The names of diffusers and transformers, with or without "text_model." before them."""
    return {replaced(name, OLD_VAE).removeprefix("text_model."): Taken(name) for name in names}


def begun_as(name: str, pairs: Pairs) -> str:
    """A name with another beginning, where it begins with one of the pairs."""
    old, new = next(((old, new) for old, new in pairs if name.startswith(old)), ("", ""))
    return new + name.removeprefix(old)


def replaced(name: str, pairs: Pairs) -> str:
    for old, new in pairs:
        name = name.replace(old, new)
    return name


class Named(Mapping[str, Stored]):
    """The tensors of a checkpoint below a prefix, as the parameters of one component; of some only the first `rows`."""

    def __init__(
        self, checkpoint: Checkpoint, rules: Rules = same, prefix: str = "", rows: Mapping[str, int] | None = None
    ) -> None:
        names = [name for name in checkpoint if name.startswith(prefix)]
        self.checkpoint, self.prefix = checkpoint, prefix
        self._found = rules(name.removeprefix(prefix) for name in names)
        for key, count in (rows or {}).items():
            if key in self._found:
                self._found[key] = replace(self._found[key], rows=count)
        self.shapes = {key: taken.shape(checkpoint.shapes[prefix + taken.name]) for key, taken in self._found.items()}

    def __getitem__(self, key: str) -> Stored:
        taken = self._found[key]
        return taken.of(self.checkpoint[self.prefix + taken.name])

    def source(self, key: str) -> str:
        """The name of the tensor that a parameter is in."""
        return self.prefix + self._found[key].name

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)
