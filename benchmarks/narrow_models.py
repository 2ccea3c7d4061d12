"""Models of real depth and small widths, whose graphs are those of the real models but for numbers.

Every number that is no width is the real one. Two narrow models differ in all widths, heads and widths of heads, so
that what a number in a graph is shows in how it differs: the factor that goes with its ratio makes it the real one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from pleinair.sources.architectures import Config
from pleinair.sources.controlnets import CONTROLNET
from pleinair.sources.families import CLIP_TEXT, PROJECTED

GROUPS = 32  # of a norm, which divide every width
WIDTHS = (320, 640, 1280, 1280)  # of a UNet whose config does not say
ALIKE = ((32, None), (64, None))  # least width of the two narrow UNets, and heads there; as many as the real one has
COUNTED = ((160, 10), (224, 7))  # heads that are no number of another kind: torch's exporter keeps equal constants once
CHANNELS = 8  # of the first narrow UNet's latents, so that one pair stands for UNets of any number
HEADS = 4  # of the first narrow text encoder; each is as wide as in the real one, for its scale is a constant


@dataclass(frozen=True)
class Narrow:
    """The configs of two narrow models, and by ratio of the second's number to the first's what makes that real."""

    configs: tuple[Config, Config]
    factors: Mapping[Fraction, Fraction]

    def real(self, first: int, second: int) -> int:
        """The number that is `first` in one narrow graph and `second` in the other; ValueError for one of no rule."""
        if first == second:
            return first
        factor = self.factors.get(Fraction(second, first)) if first else None
        made = None if factor is None else first * factor
        if made is None or made.denominator != 1:
            raise ValueError(f"{first} in one narrow model is {second} in the other, which no rule knows")
        return int(made)


def narrow_unet(config: Config) -> Narrow:
    """Narrow in its widths, and in its heads where a config counts those of each level."""
    widths, heads = tuple(config.get("block_out_channels", WIDTHS)), config["attention_head_dim"]
    counted = not isinstance(heads, int)
    least, sides = min(widths), COUNTED if counted else ALIKE
    first, second = (tuple(width * side // least for width in widths) for side, _ in sides)
    factors = {
        Fraction(second[0], first[0]): Fraction(widths[0], first[0]),
        Fraction(3): Fraction(config.get("in_channels", 4), CHANNELS),
    }
    few = many = heads
    if counted:
        few, many = (tuple(each * count // min(heads) for each in heads) for _, count in sides)
        broad = [Fraction(width, count) for width, count in ((first[0], few[0]), (second[0], many[0]))]
        factors |= {
            Fraction(many[0], few[0]): Fraction(heads[0], few[0]),
            broad[1] / broad[0]: Fraction(widths[0], heads[0]) / broad[0],
        }
    pair = (
        {"block_out_channels": first, "attention_head_dim": few, "in_channels": CHANNELS},
        {"block_out_channels": second, "attention_head_dim": many, "in_channels": 3 * CHANNELS},
    )
    return Narrow(tuple(config | each for each in pair), factors)


def narrow_text(config: Config) -> Narrow:
    """Of fewer heads."""
    heads = config["num_attention_heads"]
    scaled = ["hidden_size", "intermediate_size", "num_attention_heads"]
    if config["projection_dim"] == config["hidden_size"]:
        scaled.append("projection_dim")
    first, second = (config | {key: config[key] * count // heads for key in scaled} for count in (HEADS, 2 * HEADS))
    return Narrow((first, second), {Fraction(2): Fraction(heads, HEADS)})


NARROW = {  # class -> how its models are made narrow; models of other classes are small enough
    "UNet2DConditionModel": narrow_unet,
    CONTROLNET.kind: narrow_unet,
    CLIP_TEXT.kind: narrow_text,
    PROJECTED: narrow_text,
}
