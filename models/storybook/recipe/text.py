"""The text encoder: taught to know the scene behind a caption, then frozen."""

from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from recipe.captions import caption
from recipe.labels import NEVER, OUTPUTS, accuracies, labels_loss, seats, seen_in_training
from recipe.scenes import COLOURS, KINDS, SIDES, Scene, has_held_out_pair, labels_of, random_scene, training_scene
from recipe.settings import Settings
from recipe.tokens import token_ids, write_tokenizer
from recipe.training import Training, averaged_weights, train

HEAD_WIDTH = 32
BATCH = 64
RATE = 2e-3
EMA = 0.995
BATCH_EMBEDDED = 256
SCENE_SEED = 99
# Which of two objects stands left and which right is what an encoder finds hardest.
TWO_OBJECTS = 0.7


class Reader(nn.Module):
    """A text encoder whose every state behind the caption can tell the scene.

    Kinds and colours are told per side and apart from each other, so that what is said of a
    yellow thing on the left and of a house on the left also holds for a yellow house.
    """

    def __init__(self, encoder: CLIPTextModel):
        super().__init__()
        width = encoder.config.hidden_size
        self.encoder = encoder
        self.scene = nn.Linear(width, OUTPUTS)
        self.kinds = nn.Linear(width, len(SIDES) * (len(KINDS) + 1))
        self.colours = nn.Linear(width, len(SIDES) * (len(COLOURS) + 1))

    def loss(self, states: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy of all that the states [n, width] should tell."""
        kinds, colours = seats(labels.cpu())
        total = labels_loss(self.scene(states), labels, only_seen=True)
        by_side = [head(states).unflatten(-1, (len(SIDES), -1)) for head in (self.kinds, self.colours)]
        # A yellow house must not be taught as impossible because none is ever told of.
        seen = torch.cat([torch.ones(1, len(COLOURS) + 1, dtype=torch.bool), seen_in_training()])[kinds]
        by_side[1] = by_side[1].masked_fill(~seen.to(states.device), NEVER)
        for scores, wanted in zip(by_side, (kinds, colours), strict=True):
            total = total + 2 * F.cross_entropy(scores.flatten(0, 1), wanted.flatten().to(states.device))
        return total

    def seat_accuracies(self, states: Tensor, labels: Tensor) -> tuple[float, float]:
        """How often kind and colour of an object are read right from its side."""
        found = []
        kinds, colours = seats(labels)
        for head, wanted in ((self.kinds, kinds), (self.colours, colours)):
            best = head(states).unflatten(-1, (len(SIDES), -1)).argmax(-1).cpu()
            found.append((best == wanted)[kinds > 0].float().mean().item())
        return found[0], found[1]


def build_encoder(tokenizer: CLIPTokenizer, settings: Settings) -> CLIPTextModel:
    """An untrained text encoder."""
    width = settings.text_width
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=settings.text_layers,
        num_attention_heads=width // HEAD_WIDTH,
        max_position_embeddings=tokenizer.model_max_length,
        hidden_act="quick_gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
        projection_dim=width,
    )
    return CLIPTextModel(config)


def prepare_tokenizer(work: Path, settings: Settings) -> CLIPTokenizer:
    """The tokenizer, learnt from captions of training scenes."""
    folder = work / "tokenizer"
    if not folder.exists():
        random = Random(SCENE_SEED)
        write_tokenizer((caption(training_scene(random), random) for _ in range(settings.text_captions)), folder)
    return CLIPTokenizer.from_pretrained(folder)


def train_text(work: Path, settings: Settings) -> None:
    """Train encoder and heads to tell the labels at a random place behind the caption, then save and measure it."""
    torch.manual_seed(0)
    tokenizer = prepare_tokenizer(work, settings)
    reader = Reader(build_encoder(tokenizer, settings)).to(settings.device)

    def loss(step: int) -> Tensor:
        random = Random(step)
        scenes = [training_scene(random, TWO_OBJECTS) for _ in range(BATCH)]
        ids = token_ids(tokenizer, [caption(scene, random) for scene in scenes])
        end = (ids != tokenizer.eos_token_id).sum(-1)
        width = ids.shape[1] if random.random() < 0.2 else min(ids.shape[1], int(end.max()) + 3)
        place = torch.tensor([random.randrange(int(first), width) for first in end])
        states = reader.encoder(ids[:, :width].long().to(settings.device))[0]
        labels = torch.tensor([labels_of(scene) for scene in scenes])
        return reader.loss(states[torch.arange(BATCH), place], labels.to(settings.device))

    def show(averaged: Reader) -> str:
        return "; ".join(measure(averaged, tokenizer, settings.text_judged))

    averaged = train(Training("text", reader, loss, settings.text_steps, RATE, EMA, show=show), work)
    averaged.encoder.save_pretrained(work / "text_encoder")


@torch.no_grad()
def embed(encoder: CLIPTextModel, ids: Tensor) -> Tensor:
    """The states of captions."""
    parts = [encoder(part.long().to(encoder.device))[0] for part in ids.split(BATCH_EMBEDDED)]
    return torch.cat(parts)  # [n, 77, width]


def scenes_to_read(count: int) -> dict[str, list[Scene]]:
    """Scenes by the number of their objects, those with a pair that is never trained apart."""
    random = Random(SCENE_SEED)
    one = [random_scene(random, 1) for _ in range(count)]
    two = [random_scene(random, 2) for _ in range(count)]
    return {
        "one object": [scene for scene in one if not has_held_out_pair(scene)],
        "one, pair never trained": [scene for scene in one if has_held_out_pair(scene)],
        "two objects": [scene for scene in two if not has_held_out_pair(scene)],
        "two, pair never trained": [scene for scene in two if has_held_out_pair(scene)],
    }


@torch.no_grad()
def measure(reader: Reader, tokenizer: CLIPTokenizer, count: int) -> list[str]:
    """How well the scenes of complete captions can be read from the last state."""
    lines, random = [], Random(SCENE_SEED)
    for name, scenes in scenes_to_read(count).items():
        captions = [caption(scene, random, complete=True) for scene in scenes]
        states = embed(reader.encoder, token_ids(tokenizer, captions))[:, -1]
        labels = torch.tensor([labels_of(scene) for scene in scenes])
        kind, colour = reader.seat_accuracies(states, labels)
        shares = accuracies(reader.scene(states).cpu(), labels)
        told = {"kind by side": kind, "colour by side": colour} | {
            column: shares[column] for column in ("hour", "ground", "hills", "size")
        }
        lines.append(f"{name}: " + ", ".join(f"{what} {share:.3f}" for what, share in told.items()))
    return lines


def load_reader(work: Path, settings: Settings) -> Reader:
    """The trained encoder with its heads."""
    tokenizer = CLIPTokenizer.from_pretrained(work / "tokenizer")
    reader = Reader(build_encoder(tokenizer, settings)).eval()
    reader.load_state_dict(averaged_weights(work, "text"))
    return reader


def load_text(work: Path, settings: Settings) -> tuple[CLIPTextModel, CLIPTokenizer]:
    """The frozen text encoder and its tokenizer."""
    encoder = CLIPTextModel.from_pretrained(work / "text_encoder").eval().requires_grad_(False)
    return encoder.to(settings.device), CLIPTokenizer.from_pretrained(work / "tokenizer")
