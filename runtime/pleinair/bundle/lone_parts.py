"""Parts of `bundle.json` that may also be a bundle of their own: a VAE, and a ControlNet."""

from dataclasses import dataclass

CONDITION = "condition"  # a feed of ControlNets: the picture that they see
ORDERS = ("rgb", "bgr")  # see ControlNet


@dataclass(frozen=True)
class Autoencoder:
    """Graphs between pictures and latents: picture = decode(latents / scale + shift).

    Latents that have a `mean` and a `std` of their own, a number for each channel, are decoded from
    latents * std / scale + mean. The encoder answers, at its port `answer`, with a mean and a log variance
    ("gaussian"), or with the latents ("plain"). One latent covers `downsample` x `downsample` pixels. What has more
    than `tile` x `tile` pixels is decoded in tiles; None where nothing is known of the memory that it takes.
    """

    decoder: str
    encoder: str | None
    downsample: int
    scale: float = 1.0
    shift: float = 0.0
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    kind: str = "gaussian"
    answer: str = "latent_parameters"
    tile: int | None = None


@dataclass(frozen=True)
class ControlNet:
    """A network that sees a picture and tells a denoiser, between its halves, what to paint (Zhang et al. 2023).

    Its input ports take the `feeds` of the denoiser, and CONDITION, the picture (B, 3, H, W) in 0..1 of `downsample`
    pixels for each latent, its colours in the `order` "rgb" or "bgr". `residuals` are its output ports, (B, C, h, w)
    each, in the order of the denoiser's skip connections and then its middle, with how many latents one of their
    numbers stands for along a side. Of one that is `pooled` their means over the picture count, and as in guess mode.
    """

    graph: str
    feeds: dict[str, str]
    residuals: dict[str, int]
    downsample: int = 8
    pooled: bool = False
    order: str = "rgb"
