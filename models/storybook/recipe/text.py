"""The text encoder: taught to know the scene behind a caption, then frozen."""

from datetime import datetime
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from recipe.captions import caption
from recipe.labels import OUTPUTS, labels_loss, seats
from recipe.pacing import Training, averaged_weights, run_training
from recipe.renders import captions_of, labels_of_set
from recipe.scenes import COLOURS, KINDS, SIDES, has_held_out_pair, labels_of, random_scene
from recipe.settings import Settings
from recipe.tokens import token_ids, write_tokenizer

HEAD_WIDTH = 32
BATCH = 64
RATE = 2e-3
BATCH_EMBEDDED = 256
SCENE_SEED = 99
SCENES_JUDGED = 1000


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
        for head, wanted in ((self.kinds, kinds), (self.colours, colours)):
            scores = head(states).unflatten(-1, (len(SIDES), -1)).flatten(0, 1)
            total = total + 2 * F.cross_entropy(scores, wanted.flatten().to(states.device))
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


def prepare_text(work: Path) -> None:
    """Learn the tokenizer from all captions and number their tokens."""
    captions = [caption for several in captions_of(work, "train") for caption in several]
    write_tokenizer(captions, work / "tokenizer")
    number_captions(work)


def number_captions(work: Path) -> None:
    """Keep the token numbers of all captions."""
    tokenizer = CLIPTokenizer.from_pretrained(work / "tokenizer")
    ids = torch.stack([token_ids(tokenizer, several) for several in captions_of(work, "train")])
    np.save(work / "ids.npy", ids.numpy())  # [pictures, captions, 77]
    print(f"text: {len(tokenizer)} tokens, {ids.shape[0] * ids.shape[1]} captions", flush=True)


def train_text(work: Path, settings: Settings, minutes: float, until: datetime | None) -> None:
    """Train encoder and head to tell the labels at a random place behind the caption."""
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(work / "tokenizer")
    ids = torch.from_numpy(np.load(work / "ids.npy"))
    ends = (ids != tokenizer.eos_token_id).sum(-1)  # [pictures, captions]
    labels = labels_of_set(work, "train")
    reader = Reader(build_encoder(tokenizer, settings)).to(settings.device)

    def loss(step: int) -> Tensor:
        generator = np.random.default_rng(step)
        chosen = torch.from_numpy(generator.integers(0, len(ids), BATCH))
        variant = torch.from_numpy(generator.integers(0, ids.shape[1], BATCH))
        end = ends[chosen, variant]
        width = ids.shape[2] if generator.random() < 0.2 else min(ids.shape[2], int(end.max()) + 3)
        place = end + (torch.from_numpy(generator.random(BATCH)) * (width - end)).long()
        states = reader.encoder(ids[chosen, variant, :width].long().to(settings.device))[0]
        return reader.loss(states[torch.arange(BATCH), place], labels[chosen].to(settings.device))

    run_training(Training("text", reader, loss, RATE, minutes, 0.995, until=until), work, settings)


@torch.no_grad()
def embed(encoder: CLIPTextModel, ids: Tensor) -> Tensor:
    """The states of captions."""
    parts = [encoder(part.long().to(encoder.device))[0] for part in ids.split(BATCH_EMBEDDED)]
    return torch.cat(parts)  # [n, 77, width]


def finish_text(work: Path, settings: Settings) -> None:
    """Save the encoder and measure how well the scenes of unseen captions can be read from it."""
    tokenizer = CLIPTokenizer.from_pretrained(work / "tokenizer")
    reader = Reader(build_encoder(tokenizer, settings)).eval()
    reader.load_state_dict(averaged_weights(work, "text"))
    reader.to(settings.device)
    reader.encoder.save_pretrained(work / "text_encoder")
    random = Random(SCENE_SEED)
    scenes = [random_scene(random, 1) for _ in range(SCENES_JUDGED)]
    for name, wanted in (("trained", False), ("held-out", True)):
        some = [scene for scene in scenes if has_held_out_pair(scene) == wanted]
        captions = [caption(scene, random, complete=True) for scene in some]
        states = embed(reader.encoder, token_ids(tokenizer, captions))[:, -1]
        with torch.no_grad():
            kind, colour = reader.seat_accuracies(states, torch.tensor([labels_of(scene) for scene in some]))
        print(f"text: {len(some)} captions of {name} pairs: kind {kind:.3f}, colour {colour:.3f}", flush=True)
