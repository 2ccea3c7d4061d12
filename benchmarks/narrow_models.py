"""Models of real depth and small widths, whose graphs are those of the real models but for numbers.

Every number that is no width is the real one. Two narrow models differ in all widths, heads and widths of heads, so
that what a number in a graph is shows in how it differs: the factor that goes with its ratio makes it the real one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from pleinair.sources.architectures import Config
from pleinair.sources.families import PROJECTED, TEXT

GROUPS = 32  # of a norm, which divide every width
WIDTHS = (320, 640, 1280, 1280)  # of a UNet whose config does not say
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
    """A quarter of the heads' ratio lies in their width, where a config counts the heads of each level."""
    widths, heads = tuple(config.get("block_out_channels", WIDTHS)), config["attention_head_dim"]
    least = min(widths)
    first, second = (tuple(width * GROUPS * times // least for width in widths) for times in (1, 2))
    factors = {Fraction(2): Fraction(least, GROUPS), Fraction(3): Fraction(config.get("in_channels", 4), CHANNELS)}
    few = many = heads
    if not isinstance(heads, int):
        few = tuple(2 * each // min(heads) for each in heads)  # one alone would need no transposing
        many = tuple(4 * each for each in few)
        width = Fraction(widths[0], heads[0])
        factors |= {Fraction(4): Fraction(min(heads), 2), Fraction(1, 2): width / Fraction(first[0], few[0])}
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
    TEXT.kind: narrow_text,
    PROJECTED: narrow_text,
}
