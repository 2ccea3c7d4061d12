"""Two editions side by side: the same prompts and seeds, none chosen."""

from pathlib import Path
from random import Random

from recipe.captions import caption
from recipe.diffusion import images_for
from recipe.evaluate import SCENE_SEED, load_pipeline, scenes_to_judge
from recipe.gallery import write_sheet
from recipe.settings import Settings

PAIRS_A_ROW = 4


def paint_beside(before: Path, after: Path, file: Path, settings: Settings, count: int, steps: int) -> None:
    """Write a sheet of the first `count` prompts of each group that evaluation measures, the earlier picture first."""
    random = Random(SCENE_SEED)
    scenes = [scene for group in scenes_to_judge(count).values() for scene in group]
    prompts = [caption(scene, random, complete=True) for scene in scenes]
    editions = [
        images_for(load_pipeline(source, settings.device), prompts, 0, steps=steps) for source in (before, after)
    ]
    size = editions[1][0].size
    pairs = zip(*editions, prompts, strict=True)
    shown = [(image.resize(size), prompt) for earlier, later, prompt in pairs for image in (earlier, later)]
    write_sheet([image for image, _ in shown], [prompt for _, prompt in shown], file, 2 * PAIRS_A_ROW)
