"""Networks of the ESRGAN kind, built from the weights alone: RRDBNet (Wang et al. 2018, 2021) and SRVGGNetCompact.

Written here because spandrel, which reads them too, brings torchvision, and that takes another torch than the export's.
"""

import math
import re

import torch
from torch import nn
from torch.nn import functional as F

Tensors = dict[str, torch.Tensor]

WRAPPERS = ("params_ema", "params-ema", "params", "model_state_dict", "state_dict", "model", "net")
PREFIXES = ("module.", "netG.")
RENAMED = (  # as RRDBNet was called in 2018 and in its first rewriting -> as Real-ESRGAN calls it
    (r"RRDB_trunk\.(\d+)\.RDB(\d)\.", r"body.\1.rdb\2."),
    (r"trunk_conv\.", "conv_body."),
    (r"upconv(\d)\.", r"conv_up\1."),
    (r"HRconv\.", "conv_hr."),
    (r"model\.0\.", "conv_first."),
    (r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.", r"body.\1.rdb\2.conv\3."),
    (r"model\.1\.sub\.\d+\.(weight|bias)$", r"conv_body.\1"),
)
LARGEST_SCALE = 16


class RRDBNet(nn.Module):
    """image (B, 3, H, W) in 0..1 -> upscaled (B, 3, scale H, scale W), not clipped: 2^doublings / shuffle wider."""

    def __init__(self, width: int, growth: int, blocks: int, doublings: int, shuffle: int) -> None:
        super().__init__()
        self.shuffle, self.scale = shuffle, 2**doublings // shuffle
        self.conv_first = conv(3 * shuffle**2, width)
        self.body = nn.Sequential(*(Residual(width, growth) for _ in range(blocks)))
        self.conv_body = conv(width, width)
        self.ups = [f"conv_up{n + 1}" for n in range(doublings)]
        for name in self.ups:
            self.add_module(name, conv(width, width))
        self.conv_hr = conv(width, width)
        self.conv_last = conv(width, 3)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor]:
        height, width = image.shape[2:]
        x = self.conv_first(unshuffled(image, self.shuffle) if self.shuffle > 1 else image)
        x = x + self.conv_body(self.body(x))
        for name in self.ups:
            x = leaky(getattr(self, name)(F.interpolate(x, scale_factor=2.0, mode="nearest")))
        x = self.conv_last(leaky(self.conv_hr(x)))
        return (x[:, :, : height * self.scale, : width * self.scale] if self.shuffle > 1 else x,)


class Residual(nn.Module):
    """Three dense blocks and what went in (B, width, H, W)."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (Dense(width, growth) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0.2 * self.rdb3(self.rdb2(self.rdb1(x)))


class Dense(nn.Module):
    """Five convolutions, each of which sees all that came before it (B, width, H, W)."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        for n in range(4):
            self.add_module(f"conv{n + 1}", conv(width + n * growth, growth))
        self.conv5 = conv(width + 4 * growth, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = x
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            seen = torch.cat((seen, leaky(layer(seen))), 1)
        return x + 0.2 * self.conv5(seen)


class Compact(nn.Module):
    """image (B, 3, H, W) in 0..1 -> upscaled (B, 3, scale H, scale W), not clipped; every layer at the small size."""

    def __init__(self, width: int, layers: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        inner = [part for _ in range(layers) for part in (conv(width, width), nn.PReLU(width))]
        self.body = nn.Sequential(conv(3, width), nn.PReLU(width), *inner, conv(width, 3 * scale**2))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor]:
        detail = F.pixel_shuffle(self.body(image), self.scale)
        return (detail + F.interpolate(image, scale_factor=float(self.scale), mode="nearest"),)


def conv(channels: int, made: int) -> nn.Conv2d:
    return nn.Conv2d(channels, made, 3, padding=1)


def leaky(x: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(x, 0.2)


def unshuffled(image: torch.Tensor, factor: int) -> torch.Tensor:
    """(B, 3, H, W) -> (B, 3 factor^2, ceil(H / factor), ceil(W / factor)): pixels of a square become channels.

    An incomplete square at the right or lower edge is filled by repeating the edge; spandrel mirrors
    there, which takes more pixels than a tiny picture has.
    """
    height, width = ((side + factor - 1) // factor * factor for side in image.shape[2:])
    padded = F.pad(image, (0, factor - 1, 0, factor - 1), mode="replicate")[:, :, :height, :width]
    return F.pixel_unshuffle(padded, factor)


def build(weights: Tensors) -> nn.Module:
    """The network that a state dict belongs to, filled with it, in float32; it has a `scale`.

    Raises ValueError, saying what does not fit, for the weights of anything else.
    """
    weights = {name: value.float() for name, value in renamed(unwrapped(weights)).items()}
    if "body.0.rdb1.conv1.weight" in weights and "conv_last.weight" in weights:
        make, shape = RRDBNet, rrdb_shape(weights)
    elif "body.0.weight" in weights and "body.1.weight" in weights:
        make, shape = Compact, compact_shape(weights)
    else:
        raise ValueError("its weights are named unlike any ESRGAN, Real-ESRGAN or compact network")
    with torch.device("meta"):  # no memory, and no random numbers, for what is replaced at once
        network = make(**shape)
    try:
        network.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise ValueError(lines[min(1, len(lines) - 1)].strip()) from None
    return network.eval().requires_grad_(False)


def unwrapped(weights: object) -> Tensors:
    """The state dict in a training checkpoint, without the prefixes that wrappers leave; ValueError where none is."""
    for _ in range(3):
        inner = [
            weights[name] for name in WRAPPERS if isinstance(weights, dict) and isinstance(weights.get(name), dict)
        ]
        if not inner:
            break
        weights = inner[0]
    if not isinstance(weights, dict) or not weights or not all(torch.is_tensor(value) for value in weights.values()):
        raise ValueError("it holds no table of weights")
    for prefix in PREFIXES:
        if all(str(name).startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    return {str(name): value for name, value in weights.items()}


def renamed(weights: Tensors) -> Tensors:
    """An RRDBNet's state dict with the names of Real-ESRGAN, whichever of the three it was saved with."""
    made = {}
    tail = sorted({int(match[1]) for name in weights if (match := re.match(r"model\.(\d+)\.", name))} - {0, 1})
    calls = {n: f"conv_up{place + 1}" for place, n in enumerate(tail[:-2])}
    calls |= dict(zip(tail[-2:], ("conv_hr", "conv_last"), strict=False))
    for name, value in weights.items():
        for pattern, new in RENAMED:
            name = re.sub(f"^{pattern}", new, name)
        match = re.match(r"model\.(\d+)\.", name)
        call = match and calls.get(int(match[1]))
        made[f"{call}.{name[match.end() :]}" if call else name] = value
    return made


def rrdb_shape(weights: Tensors) -> dict[str, int]:
    """Arguments of RRDBNet; raises ValueError for colours other than three and scales that are no whole number."""
    width, read = sizes(weights, "conv_first.weight")[:2]
    made = sizes(weights, "conv_last.weight")[0]
    shuffle = {3: 1, 12: 2, 48: 4}.get(read)
    doublings = len({name.split(".")[0] for name in weights if name.startswith("conv_up")})
    if shuffle is None or made != 3:
        raise ValueError(f"it reads {read} channels and makes {made} where colour pictures have 3")
    if not shuffle <= 2**doublings <= LARGEST_SCALE * shuffle:
        raise ValueError(f"it enlarges by {2**doublings} / {shuffle}")
    growth = sizes(weights, "body.0.rdb1.conv1.weight")[0]
    return {
        "width": width,
        "growth": growth,
        "blocks": 1 + last_number(weights),
        "doublings": doublings,
        "shuffle": shuffle,
    }


def compact_shape(weights: Tensors) -> dict[str, int]:
    """Arguments of Compact; raises ValueError for colours other than three and scales that are no whole number."""
    width, read = sizes(weights, "body.0.weight")[:2]
    last = last_number(weights)
    made = sizes(weights, f"body.{last}.weight")[0]
    scale = math.isqrt(made // 3)
    if read != 3 or made != 3 * scale**2 or not 1 <= scale <= LARGEST_SCALE:
        raise ValueError(f"it reads {read} channels and makes {made} where colour pictures have 3 times a square")
    return {"width": width, "layers": last // 2 - 1, "scale": scale}


def last_number(weights: Tensors) -> int:
    """The highest N of body.N; ValueError where numbers are left out, so that no size is made up by a name."""
    numbers = {int(match[1]) for name in weights if (match := re.match(r"body\.(\d+)\.", name))}
    if numbers != set(range(len(numbers))):
        raise ValueError("its blocks are not numbered one after the other")
    return len(numbers) - 1


def sizes(weights: Tensors, name: str) -> tuple[int, ...]:
    """The shape of a convolution's weight (made, read, 3, 3); ValueError where it is absent or no such thing."""
    shape = tuple(weights[name].shape) if name in weights else ()
    if len(shape) != 4 or 0 in shape:
        raise ValueError(f"'{name}' is not the weight of a convolution")
    return shape
