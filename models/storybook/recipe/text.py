"""The text encoder: taught to know the scene behind a caption, then frozen."""

from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from recipe.labels import OUTPUTS, accuracies, labels_loss
from recipe.pacing import Training, averaged_weights, run_training
from recipe.renders import captions_of, labels_of_set
from recipe.settings import Settings
from recipe.tokens import token_ids, write_tokenizer

HEAD_WIDTH = 32
BATCH = 64
RATE = 2e-3
BATCH_EMBEDDED = 256


class Reader(nn.Module):
    """A text encoder whose every state behind the caption can tell the scene."""

    def __init__(self, encoder: CLIPTextModel):
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.config.hidden_size, OUTPUTS)


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
        width = ids.shape[2] if generator.random() < 0.3 else min(ids.shape[2], int(end.max()) + 3)
        place = end + (torch.from_numpy(generator.random(BATCH)) * (width - end)).long()
        states = reader.encoder(ids[chosen, variant, :width].long().to(settings.device))[0]
        outputs = reader.head(states[torch.arange(BATCH), place])
        return labels_loss(outputs, labels[chosen].to(settings.device))

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
    captions = [several[0] for several in captions_of(work, "held-out")]
    states = embed(reader.encoder, token_ids(tokenizer, captions))
    with torch.no_grad():
        found = accuracies(reader.head(states[:, -1]).cpu(), labels_of_set(work, "held-out"))
    print("text: on unseen captions", {name: round(share, 3) for name, share in found.items()}, flush=True)
