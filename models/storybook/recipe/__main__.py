"""Command line of the storybook recipe: python models/storybook/recipe COMMAND."""
# ruff: noqa: E402

import argparse
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
# A waiting thread must not take a core from its neighbours; OpenMP asks when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from recipe.assemble import adopt, assemble, export_bundle
from recipe.card import update_card
from recipe.classifier import train_classifier
from recipe.decoder import finish_decoder, train_decoder
from recipe.diffusion import GUIDANCE, STEPS, train_unet
from recipe.evaluate import evaluate
from recipe.gallery import paint_documentation
from recipe.pacing import clock_time, in_workers
from recipe.precision import compare_weights
from recipe.renders import render
from recipe.settings import PRESETS, Settings
from recipe.text import finish_text, number_captions, prepare_text, train_text
from recipe.vae import encode_pictures, finish_vae, train_vae

COMMANDS = {
    "render": "render pictures and captions",
    "vae": "train the autoencoder and encode all pictures",
    "text": "learn the tokenizer and train the text encoder",
    "classifier": "train the judge",
    "unet": "train the denoiser",
    "decoder": "train the autoencoder's decoder further",
    "assemble": "write the newest state as a diffusers folder",
    "bundle": "export the diffusers folder as the bundle that ships",
    "evaluate": "measure a diffusers folder",
    "precision": "measure what int8 weights do to the pictures",
    "gallery": "paint the pictures of the documentation with the bundle",
    "card": "write what was measured into the model card",
    "all": "all of these in turn",
}


def parse() -> argparse.Namespace:
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
    parser.add_argument("--report", type=Path, default=HERE.parent / "evaluation.json")
    parser.add_argument("--minutes", type=float, help="training time, instead of the preset's")
    parser.add_argument("--until", type=clock_time, metavar="HH:MM", help="train until the clock shows this")
    parser.add_argument("--init", type=Path, help="a diffusers folder whose denoiser is trained further")
    parser.add_argument("--prompts", type=int, default=64, help="prompts to measure in each group")
    parser.add_argument("--guidance", type=float, default=GUIDANCE)
    parser.add_argument("--steps", type=int, default=STEPS)
    return parser.parse_args()


def train_parts(command: str, options: argparse.Namespace, settings: Settings) -> None:
    """Run the training behind a command, with all that it needs before and after."""
    work = options.work
    minutes = options.minutes or getattr(settings, f"{command}_minutes")
    if command == "vae":
        in_workers(train_vae, work, settings, minutes, options.until)
        finish_vae(work, settings)
        encode_pictures(work, settings)
    elif command == "text":
        prepare_text(work)
        train_text(work, settings, minutes, options.until)
        finish_text(work, settings)
    elif command == "classifier":
        train_classifier(work, settings, minutes, options.until)
    elif command == "decoder":
        train_decoder(work, settings, minutes, options.until)
        finish_decoder(work, settings)
    else:
        if options.init:
            adopt(work, options.init)
        if not (work / "ids.npy").exists():
            number_captions(work)
        if not (work / "latents.npy").exists():
            encode_pictures(work, settings)
        in_workers(train_unet, work, settings, minutes, options.until, options.init)


def run(command: str, options: argparse.Namespace, settings: Settings) -> None:
    """Run one command."""
    if command == "render":
        render(options.work, settings)
    elif command == "assemble":
        assemble(options.work, options.source, settings)
    elif command == "bundle":
        export_bundle(options.source, options.bundle)
    elif command == "precision":
        compare_weights(options.source, HERE.parent / "precision.json")
    elif command == "card":
        update_card(HERE.parent)
    elif command == "gallery":
        paint_documentation(HERE.parents[2] / "docs" / "images")
    elif command == "evaluate":
        how = (options.prompts, options.guidance, options.steps)
        evaluate(options.work, options.source, options.report, settings, *how)
    else:
        train_parts(command, options, settings)


def main() -> None:
    """Run the command, or all of them."""
    options = parse()
    options.work.mkdir(parents=True, exist_ok=True)
    names = [name for name in COMMANDS if name != "all"] if options.command == "all" else [options.command]
    for name in names:
        run(name, options, PRESETS[options.preset])


if __name__ == "__main__":
    main()
