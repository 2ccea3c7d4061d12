"""Command line of the storybook recipe: python models/storybook/recipe COMMAND."""
# ruff: noqa: E402

import argparse
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
IMAGES = HERE.parents[2] / "docs" / "images"
sys.path.insert(0, str(HERE.parent))
# A waiting thread must not take a core from its neighbours; OpenMP asks when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pleinair
from recipe.addons.bundles import EDGES, TINY, WEIGHTS, export_addons
from recipe.addons.data import lessons
from recipe.addons.edges import train_edges
from recipe.addons.few_steps import train_few_steps
from recipe.addons.settings import PRESETS as ADDONS
from recipe.addons.style import train_style
from recipe.addons.tiny_vae import train_tiny
from recipe.assemble import assemble, export_bundle
from recipe.beside import paint_beside
from recipe.card import update_card
from recipe.classifier import train_classifier
from recipe.decoder import train_decoder
from recipe.diffusion import GUIDANCE, STEPS, train_unet
from recipe.evaluate import evaluate
from recipe.gallery import paint_documentation
from recipe.lessons import paint_lessons
from recipe.precision import compare_weights
from recipe.renders import render
from recipe.saving import compare_savings
from recipe.settings import PRESETS, Settings
from recipe.speeds import draw_speeds, measure_speeds, paint_speeds
from recipe.text import train_text
from recipe.vae import encode_pictures, train_vae

COMMANDS = {
    "text": "learn the tokenizer and train the text encoder",
    "render": "render pictures and captions",
    "classifier": "train the judge",
    "vae": "train the autoencoder",
    "latents": "encode all pictures",
    "decoder": "finish the autoencoder's decoder",
    "unet": "train the denoiser, on halved pictures and then on whole ones",
    "assemble": "write what was trained as a diffusers folder",
    "bundle": "export the diffusers folder as the bundle that ships",
    "style": "train a LoRA that draws with chalk, on the finished model",
    "few-steps": "train a LoRA that paints in four steps, on the finished model",
    "edges": "train a ControlNet that paints along edges, on the finished model",
    "tiny-vae": "train a small autoencoder for the finished model's latents",
    "addons": "export these two as the bundles that ship",
    "evaluate": "measure a diffusers folder",
    "beside": "paint 24 prompts with another edition (--other FOLDER) and with this one",
    "precision": "measure what int8 does to the pictures",
    "saving": "measure ways to ask the network less, against fewer steps",
    "speeds": "measure what --speed gives and takes",
    "curve": "draw what both found, and paint pictures of each speed",
    "gallery": "paint the pictures of the documentation with the bundle",
    "lessons": "paint the pictures of docs/how-it-works.md with the bundle",
    "card": "write what was measured into the model card",
    "all": "all of these in turn",
}

ADDONS_TRAINED = {  # command -> how it is trained, and what it is called
    "style": (train_style, "storybook-chalk.safetensors"),
    "few-steps": (train_few_steps, "storybook-lcm.safetensors"),
    "edges": (train_edges, EDGES),
    "tiny-vae": (train_tiny, TINY),
}
BESIDE = 8  # pictures of each of the three groups


def parse(words: list[str]) -> argparse.Namespace:
    """The command and its options."""
    lines = [f"  {name:11} {text}" for name, text in COMMANDS.items()]
    parser = argparse.ArgumentParser(
        prog="python models/storybook/recipe",
        description="\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument("--work", type=Path, default=HERE.parent / "work")
    parser.add_argument("--source", type=Path, default=HERE.parent / "source", help="the diffusers folder")
    parser.add_argument("--bundle", type=Path, default=HERE.parent / "bundle")
    parser.add_argument("--addons", type=Path, default=HERE.parent / "addons", help="the folder of add-ons that ship")
    folders = HERE.parent / "source-addons"
    parser.add_argument("--addons-source", type=Path, default=folders, help="where their diffusers folders lie")
    parser.add_argument("--report", type=Path, default=HERE.parent / "evaluation.json")
    parser.add_argument("--other", type=Path, help="the diffusers folder of the edition to stand beside")
    parser.add_argument("--prompts", type=int, default=64, help="prompts to measure in each group")
    parser.add_argument("--guidance", type=float, default=GUIDANCE)
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of sampling when measuring")
    options = parser.parse_args(words)
    if options.command == "beside" and not options.other:
        parser.error("beside needs the other edition's diffusers folder; give --other FOLDER")
    return options


def run(command: str, options: argparse.Namespace, settings: Settings) -> None:
    """Run one command; a training that was stopped goes on from its last state."""
    work = options.work
    trainings = {
        "text": train_text,
        "render": render,
        "classifier": train_classifier,
        "vae": train_vae,
        "latents": encode_pictures,
        "decoder": train_decoder,
    }
    if command in trainings:
        trainings[command](work, settings)
    elif command == "unet":
        train_unet(work, settings, "small")
        train_unet(work, settings, "large")
    elif command == "assemble":
        assemble(work, options.source, settings)
    elif command == "bundle":
        export_bundle(options.source, options.bundle)
    elif command in ADDONS_TRAINED:
        train_addon, made = ADDONS_TRAINED[command]
        addons, folder = ADDONS[options.preset], options.addons_source if made in WEIGHTS else options.addons
        train_addon(work, folder / made, lessons(work, options.source, settings, addons), settings, addons)
    elif command == "addons":
        export_addons(options.addons_source, options.addons)
    elif command == "precision":
        compare_weights(work, options.source, HERE.parent / "precision.json")
    elif command == "saving":
        compare_savings(HERE.parent / "saving.json")
    elif command == "speeds":
        measure_speeds(HERE.parent / "speeds.json")
    elif command == "curve":
        draw_speeds(HERE.parent, IMAGES)
        paint_speeds(pleinair.load(precision="f32"), IMAGES / "speed.webp")  # the same on every machine
    elif command == "card":
        update_card(HERE.parent)
    elif command == "beside":
        paint_beside(options.other, options.source, IMAGES / "storybook-beside.webp", settings, BESIDE, options.steps)
    elif command == "gallery":
        paint_documentation(IMAGES)
    elif command == "lessons":
        paint_lessons(pleinair.load(), IMAGES)
    else:
        how = (options.prompts, options.guidance, options.steps)
        evaluate(work, options.source, options.report, settings, *how)


def main(words: list[str]) -> None:
    """Run the command, or all of them."""
    options = parse(words)
    options.work.mkdir(parents=True, exist_ok=True)
    every = [name for name in COMMANDS if name != "all" and (name != "beside" or options.other)]
    for name in every if options.command == "all" else [options.command]:
        run(name, options, PRESETS[options.preset])


if __name__ == "__main__":
    main(sys.argv[1:])
