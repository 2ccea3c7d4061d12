"""Measures how well pictures follow their prompts, between a ceiling and a floor."""

import json
import time
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from recipe.captions import caption
from recipe.classifier import judged, load_classifier
from recipe.diffusion import images_for
from recipe.labels import accuracies, split_outputs
from recipe.pictures import paint
from recipe.prompts import SHOWN
from recipe.scenes import HOURS, Scene, has_held_out_pair, labels_of, random_scene
from recipe.sets import as_tensor
from recipe.settings import Settings
from recipe.sheets import save_sheet
from recipe.vae import psnr, reconstruct

SCENE_SEED = 4242
PICTURE_SEED = 20_000_000
SHUFFLE = 7
COLUMNS = ("hour", "ground", "hills", "kind", "colour", "side", "size")


def scenes_to_judge(count: int) -> dict[str, list[Scene]]:
    """Scenes from a seed of their own, by what is special about them."""
    random = Random(SCENE_SEED)
    groups: dict[str, list[Scene]] = {"one object": [], "one object, pair never trained": [], "two objects": []}
    while any(len(scenes) < count for scenes in groups.values()):
        scene = random_scene(random, random.choice((1, 1, 2)))
        held_out = has_held_out_pair(scene)
        if len(scene.things) == 2:
            name = "two objects"
        else:
            name = "one object, pair never trained" if held_out else "one object"
        if len(groups[name]) < count:
            groups[name].append(scene)
    return groups


def load_pipeline(source: Path, device: str) -> StableDiffusionPipeline:
    """The assembled model in full precision."""
    made = StableDiffusionPipeline.from_pretrained(source, safety_checker=None).to(device, torch.float32)
    made.set_progress_bar_config(disable=True)
    made.unet.to(memory_format=torch.channels_last)
    made.vae.to(memory_format=torch.channels_last)
    return made


def drawn(images: list) -> Tensor:
    """Images as the networks take them."""
    return as_tensor(torch.from_numpy(np.stack([np.asarray(image) for image in images])))


def measure_group(
    made: StableDiffusionPipeline, judge: torch.nn.Module, scenes: list[Scene], guidance: float, steps: int
) -> dict[str, dict[str, float]]:
    """Shares told right from renders, reconstructions, pictures of the prompts, and pictures of other prompts."""
    size = made.unet.config.sample_size * 8
    labels = torch.tensor([labels_of(scene) for scene in scenes])
    renders = drawn([paint(scene, PICTURE_SEED + index, size) for index, scene in enumerate(scenes)])
    random = Random(SCENE_SEED)
    prompts = [caption(scene, random, complete=True) for scene in scenes]
    pictures = judged(judge, drawn(images_for(made, prompts, 0, guidance, steps)))
    back = reconstruct(made.vae, renders.to(made.device)).cpu()
    return {
        "renders": accuracies(judged(judge, renders), labels),
        "reconstructions (ceiling)": accuracies(judged(judge, back), labels),
        "generated": accuracies(pictures, labels),
        "shuffled prompts (floor)": accuracies(pictures, labels.roll(SHUFFLE, 0)),
    }


def measure_hours_left_open(
    made: StableDiffusionPipeline, judge: torch.nn.Module, scenes: list[Scene], guidance: float, steps: int
) -> dict[str, float]:
    """How often each hour is painted where a prompt tells neither hour nor light nor clouds."""
    random = Random(SCENE_SEED)
    silent = [replace(scene, hour="day", light=False, clouds=0) for scene in scenes]
    prompts = [caption(scene, random, complete=True, hour_unsaid=True) for scene in silent]
    (hours, *_), _ = split_outputs(judged(judge, drawn(images_for(made, prompts, 0, guidance, steps))))
    found = hours.argmax(-1)
    return {hour: (found == index).float().mean().item() for index, hour in enumerate(HOURS)}


def measure_reconstruction(made: StableDiffusionPipeline, count: int) -> float:
    """The autoencoder's decibels on renders of scenes as they come."""
    size = made.unet.config.sample_size * 8
    random = Random(SCENE_SEED)
    renders = [paint(random_scene(random), PICTURE_SEED + index, size) for index in range(count)]
    wanted = drawn(renders).to(made.device)
    return psnr(reconstruct(made.vae, wanted), wanted)


def print_table(name: str, measured: dict[str, dict[str, float]]) -> None:
    """One group as a table, with the shares of the ceiling."""
    print(f"\n{name:34}" + "".join(f"{column:>9}" for column in COLUMNS))
    for row in ("renders", "reconstructions (ceiling)", "generated", "shuffled prompts (floor)"):
        print(f"{row:34}" + "".join(f"{measured[row][column]:9.1%}" for column in COLUMNS))
    ceiling = measured["reconstructions (ceiling)"]
    shares = [measured["generated"][column] / max(ceiling[column], 1e-6) for column in COLUMNS]
    print(f"{'share of the ceiling':34}" + "".join(f"{share:9.1%}" for share in shares))


def evaluate(
    work: Path, source: Path, report: Path, settings: Settings, count: int, guidance: float, steps: int
) -> None:
    """Measure every group of scenes, print tables, write the report and a sheet of pictures."""
    made, judge = load_pipeline(source, settings.device), load_classifier(work)
    started = time.time()
    result: dict = {"prompts per group": count, "guidance": guidance, "steps": steps, "groups": {}}
    groups = scenes_to_judge(count)
    for name, scenes in groups.items():
        result["groups"][name] = measure_group(made, judge, scenes, guidance, steps)
        print_table(name, result["groups"][name])
    result["hour left open"] = measure_hours_left_open(made, judge, groups["one object"], guidance, steps)
    result["reconstruction psnr"] = measure_reconstruction(made, 2 * count)
    print(f"\nhour left open: {rounded(result['hour left open'])}")
    print(f"reconstruction {result['reconstruction psnr']:.2f} dB, {time.time() - started:.0f} s", flush=True)
    report.write_text(json.dumps(rounded(result), indent=1) + "\n")
    shown = list(SHOWN[: settings.shown])
    save_sheet(images_for(made, shown, 0, guidance, steps), shown, work / "shown.png", 4)


def rounded(value: object) -> object:
    """Numbers with four digits, everywhere inside."""
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    return round(value, 4) if isinstance(value, float) else value
