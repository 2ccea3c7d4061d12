"""Pictures with the records that earlier versions wrote: tests/golden/records/COMMIT-JOB.SUFFIX.

    python tests/golden/records.py

checks each commit out into a temporary folder and lets it paint there, with its own fake engine and storybook. The
tests read what it wrote, and make the pictures again. A form of the record that changes gets a commit of its own here,
the last one that wrote it.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

REPOSITORY = Path(__file__).parents[2]
FOLDER = Path(__file__).parent / "records"
USUAL = ("generate", "a (red:1.2) house", "--engine", "fake", "--seed", "5")
JOBS = {
    "c43b55a": {  # text2image alone, whose task and noise go without saying, and so do the seeds of a batch
        "plain.png": ("--steps", "3", "--sampler", "euler", "--guidance", "5.5", "--negative", "fog"),
        "batch.png": ("--steps", "2", "--count", "2", "--batch", "2", "--spacing", "trailing"),
    },
    "a714357": {  # the sigmas' schedule is named beside the timesteps' spacing
        "sigmas.png": ("--steps", "3", "--sampler", "dpmpp_2m", "--spacing", "karras"),
    },
    "caa4e5b": {  # every task and option; two calls a step are not `together`
        "plain.jpg": ("--steps", "2", "--subseed", "9", "--subseed-strength", "0.25", "--negative", "fog"),
        "batch.png": ("--steps", "2", "--count", "2", "--batch", "2"),
        "noise.png": ("--steps", "2", "--sampler", "euler_a", "--eta", "0.5", "--noise", "philox", "--clip-skip", "2"),
        "guided.webp": ("--steps", "4", "--rescale", "0.5", "--guidance-end", "0.75", "--two-calls", "--tile"),
        "hires.png": ("--steps", "3", "--hires", "1.5", "--hires-steps", "2", "--enlarger", "lanczos"),
        "masked.png": ("--steps", "3", "--image", "image.png", "--mask", "mask.png", "--fill", "noise"),
        "outpainted.png": ("--steps", "2", "--image", "image.png", "--outpaint", "0,0,8,0"),
        "listed.png": ("--sampler", "euler", "--sigmas", "14.6,3.2,0.7", "--film", "filmed.gif"),
    },
    "28eb119": {"plain.png": ("--steps", "2", "--precision", "f32")},  # the precision is recorded
    "fcaa74b": {"guided.webp": ("--steps", "4", "--rescale", "0.5", "--two-calls", "--panorama")},  # `two_calls`
}


def paint(commit: str, into: Path) -> None:
    """The pictures of one commit."""
    with tempfile.TemporaryDirectory() as scratch:
        tree, work = Path(scratch) / "tree", Path(scratch) / "work"
        tree.mkdir()
        work.mkdir()
        archive = subprocess.run(["git", "archive", commit], cwd=REPOSITORY, check=True, capture_output=True)
        subprocess.run(["tar", "x"], cwd=tree, input=archive.stdout, check=True)
        inputs(work)
        found = {**os.environ, "PYTHONPATH": f"{tree / 'runtime'}{os.pathsep}{tree / 'export'}"}
        for name, options in JOBS[commit].items():
            size = ("--size", "64x64") if "--image" not in options else ()
            command = [sys.executable, "-m", "pleinair", *USUAL, *size, *options, "-o", name]
            subprocess.run(command, cwd=work, env=found, check=True, capture_output=True)
        for file in work.iterdir():
            if file.name not in ("image.png", "mask.png"):
                (into / f"{commit}-{file.name}").write_bytes(file.read_bytes())


def inputs(folder: Path) -> None:
    """image.png and mask.png, 64 x 64."""
    ramp = np.linspace(0, 255, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8)
    hole = np.zeros((64, 64), np.uint8)
    hole[20:50, 10:40] = 255
    Image.fromarray(ramp).save(folder / "image.png")
    Image.fromarray(hole).save(folder / "mask.png")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for commit in sys.argv[1:] or JOBS:
        paint(commit, FOLDER)
