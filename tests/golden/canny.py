"""Edges by OpenCV, for tests that run without it: `python tests/golden/canny.py` writes tests/golden/canny.npz.

Needs opencv-python-headless, which nothing else here does; the file says the version that made it. Pictures are made of
formulas and of noise, with flat regions, ties between channels, lines in all directions, and one row or column.
"""

from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("canny.npz")


def pictures() -> dict[str, np.ndarray]:
    """Name -> (H, W, 3) uint8."""
    y, x = np.mgrid[0:61, 0:83].astype(np.float64)
    waves = np.stack([np.sin(x / (3 + i) + i) * np.cos(y / (6 - i)) for i in range(3)], -1)
    disc = np.repeat((200 * (np.hypot(x - 40, y - 30) < 22) + 20)[:, :, None], 3, 2)
    noise = np.random.RandomState(1).randint(0, 256, (37, 52, 3))
    fan = np.repeat(((np.arctan2(y - 30, x - 41) * 8).astype(int) % 2 * 90 + 60)[:, :, None], 3, 2)
    made = {
        "waves": (waves / 2 + 0.5) * 255,
        "disc": disc,
        "noise": noise,
        "soft noise": noise // 4 + 90,
        "fan": fan,
        "channels": np.stack([disc[:, :, 0], 255 - disc[:, :, 0], fan[:, :, 0]], -1),
        "flat": np.full((9, 9, 3), 77),
        "a row": noise[:1],
        "a column": noise[:, :1],
    }
    return {name: array.astype(np.uint8) for name, array in made.items()}


def main() -> None:
    import cv2

    found = {}
    for name, picture in pictures().items():
        found |= {name: picture, f"{name}: edges": cv2.Canny(picture, 100, 200) > 0}
    np.savez_compressed(FILE, opencv=np.array(cv2.__version__), **found)


if __name__ == "__main__":
    main()
