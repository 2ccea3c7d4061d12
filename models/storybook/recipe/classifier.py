"""The judge: a small network that tells from a picture what scene it shows."""

from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recipe.labels import OUTPUTS, accuracies, labels_loss
from recipe.pacing import Training, averaged_weights, run_training
from recipe.renders import as_tensor, labels_of_set, pictures_of
from recipe.settings import Settings

SIZE = 64
BATCH = 48
RATE = 2e-3
NOISE = 0.08
JUDGED_AT_ONCE = 50


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
    pictures = torch.where(torch.rand(count, 1, 1, 1) < 0.5, blurred, pictures)
    brightness = torch.randn(count, 1, 1, 1) * 0.03
    return pictures + brightness + torch.randn_like(pictures) * torch.rand(count, 1, 1, 1) * NOISE


def train_classifier(work: Path, settings: Settings, minutes: float, until: datetime | None) -> None:
    """Train on renders of all pairs, then tell how often held-out renders are judged right."""
    torch.manual_seed(0)
    pictures = pictures_of(work, "judge", settings)
    labels = labels_of_set(work, "judge")
    classifier = build_classifier().to(settings.device, memory_format=torch.channels_last)

    def loss(step: int) -> Tensor:
        chosen = np.random.default_rng(step).integers(0, len(pictures), BATCH)
        part = disturbed(small(as_tensor(pictures[chosen])))
        return labels_loss(classifier(part.to(settings.device)), labels[chosen].to(settings.device))

    run_training(Training("classifier", classifier, loss, RATE, minutes, 0.995, until=until), work, settings)
    judge = load_classifier(work)
    found = judged(judge, as_tensor(pictures_of(work, "held-out", settings)))
    shares = accuracies(found, labels_of_set(work, "held-out"))
    print("classifier: on held-out renders", {name: round(share, 3) for name, share in shares.items()}, flush=True)


def load_classifier(work: Path) -> nn.Sequential:
    """The trained judge."""
    classifier = build_classifier().eval()
    classifier.load_state_dict(averaged_weights(work, "classifier"))
    return classifier


@torch.no_grad()
def judged(classifier: nn.Module, pictures: Tensor) -> Tensor:
    """What the judge says of pictures."""
    return torch.cat([classifier(small(part)) for part in pictures.split(JUDGED_AT_ONCE)])
