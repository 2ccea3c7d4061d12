"""The judge: a small network that tells from a picture what scene it shows."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recipe.labels import OUTPUTS, accuracies, labels_loss
from recipe.sets import as_tensor, generator_for, notes_of, pictures_of, random_below
from recipe.settings import Settings
from recipe.training import Training, averaged_weights, train

SIZE = 64
BATCH = 48
RATE = 2e-3
NOISE = 0.08
EMA = 0.995
JUDGED_AT_ONCE = 50
PICTURES_HELD_OUT = 500


def layer(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A convolution with norm and activation."""
    conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.GroupNorm(8, outputs), nn.ReLU())


def build_classifier() -> nn.Sequential:
    """An untrained judge of 64x64 pictures."""
    return nn.Sequential(
        layer(3, 24, 2),
        layer(24, 48, 2),
        layer(48, 96),
        layer(96, 96, 2),
        layer(96, 96),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(96 * (SIZE // 8) ** 2, OUTPUTS),
    )


def small(pictures: Tensor) -> Tensor:
    """Pictures in the size the judge looks at."""
    return F.adaptive_avg_pool2d(pictures, SIZE)  # [n, 3, 64, 64]


def disturbed(pictures: Tensor) -> Tensor:
    """Pictures with noise, half of them blurred, so that the judge looks at shapes."""
    count = len(pictures)
    blurred = F.interpolate(F.avg_pool2d(pictures, 2), scale_factor=2.0, mode="bilinear")
    chance, strength = torch.rand(2, count, 1, 1, 1, device=pictures.device)
    pictures = torch.where(chance < 0.5, blurred, pictures)
    brightness = torch.randn(count, 1, 1, 1, device=pictures.device) * 0.03
    return pictures + brightness + torch.randn_like(pictures) * strength * NOISE


def train_classifier(work: Path, settings: Settings) -> None:
    """Train on renders of all pairs, and tell how often held-out renders are judged right."""
    torch.manual_seed(0)
    pictures = pictures_of(work, "judge", settings)
    labels = notes_of(work, "judge")[0].to(settings.device)
    classifier = build_classifier().to(settings.device, memory_format=torch.channels_last)
    held_out = small(as_tensor(pictures_of(work, "held-out", settings)[:PICTURES_HELD_OUT]))
    wanted, _ = notes_of(work, "held-out")

    def loss(step: int) -> Tensor:
        chosen = random_below(len(pictures), BATCH, generator_for(step, pictures.device))
        part = disturbed(small(as_tensor(pictures[chosen])))
        return labels_loss(classifier(part), labels[chosen])

    def show(averaged: nn.Module) -> str:
        found = judged(averaged, held_out).cpu()
        shares = accuracies(found, wanted[: len(found)])
        return "on held-out renders " + ", ".join(f"{name} {share:.3f}" for name, share in shares.items())

    train(Training("classifier", classifier, loss, settings.judge_steps, RATE, EMA, show=show), work)


def load_classifier(work: Path) -> nn.Sequential:
    """The trained judge."""
    classifier = build_classifier().eval()
    classifier.load_state_dict(averaged_weights(work, "classifier"))
    return classifier


@torch.no_grad()
def judged(classifier: nn.Module, pictures: Tensor) -> Tensor:
    """What the judge says of pictures."""
    return torch.cat([classifier(small(part)) for part in pictures.split(JUDGED_AT_ONCE)])
