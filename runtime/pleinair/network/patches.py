"""Latents as a transformer reads them: tokens, each a square patch of the picture, and where each lies."""

import numpy as np


def packed(latents: np.ndarray, patch: int) -> np.ndarray:
    """Latents (B, C, h, w) as tokens (B, h w / patch^2, C patch^2), row by row (diffusers `_pack_latents`)."""
    if patch == 1:
        return latents
    count, channels, height, width = latents.shape
    squares = latents.reshape(count, channels, height // patch, patch, width // patch, patch)
    return np.ascontiguousarray(squares.transpose(0, 2, 4, 1, 3, 5)).reshape(count, -1, channels * patch**2)


def unpacked(tokens: np.ndarray, shape: tuple[int, ...], patch: int) -> np.ndarray:
    """Tokens as latents of a `shape` (B, C, h, w): what `packed` does, undone."""
    if patch == 1:
        return tokens
    count, channels, height, width = shape
    squares = tokens.reshape(count, height // patch, width // patch, channels, patch, patch)
    return np.ascontiguousarray(squares.transpose(0, 3, 1, 4, 2, 5)).reshape(shape)


def image_ids(height: int, width: int) -> np.ndarray:
    """Where each patch of a picture of height x width patches lies: (height width, 3), 0, its row and its column."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return np.stack([np.zeros_like(rows), rows, columns], -1).reshape(-1, 3)


def text_ids(tokens: int) -> np.ndarray:
    """Where the tokens of a text lie (tokens, 3): all in one place."""
    return np.zeros((tokens, 3), np.float32)
