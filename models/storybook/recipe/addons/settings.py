"""The presets of the add-ons: how many pictures they see, and for how long."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Addons:
    """All counts and rates of one run."""

    pictures: int
    style_rank: int
    style_batch: int
    style_steps: int
    style_rate: float
    few_rank: int
    few_solved: int
    few_batch: int
    few_steps: int
    few_rate: float
    edges_batch: int
    edges_steps: int
    edges_rate: float
    tiny_channels: int
    tiny_batch: int
    tiny_steps: int
    tiny_rate: float


CPU = Addons(
    pictures=3_000,
    style_rank=4,
    style_batch=16,
    style_steps=1_600,
    style_rate=2e-3,
    few_rank=8,
    few_solved=480,
    few_batch=16,
    few_steps=2_400,
    few_rate=1e-3,
    edges_batch=16,
    edges_steps=1_800,
    edges_rate=1e-3,
    tiny_channels=32,
    tiny_batch=2,
    tiny_steps=3_600,
    tiny_rate=1e-3,
)
PRESETS = {
    "cpu": CPU,
    "gpu": replace(
        CPU,
        pictures=20_000,
        style_batch=64,
        few_solved=1_500,
        few_batch=64,
        few_steps=6_000,
        edges_batch=64,
        tiny_batch=16,
    ),
    # Every part for one step: does it all hold together?
    "trial": replace(
        CPU,
        pictures=8,
        style_batch=4,
        style_steps=1,
        few_solved=4,
        few_batch=4,
        few_steps=1,
        edges_steps=1,
        tiny_steps=1,
    ),
}
