"""The measured part of the model card, written from evaluation.json and precision.json so that it cannot disagree."""

import json
from pathlib import Path

BEGIN, END = "<!-- measured, by: recipe card -->", "<!-- end of measured -->"
COLUMNS = ("hour", "ground", "hills", "kind", "colour", "side", "size")
TOLD = {
    "int8 against fp32": "Weights stored as int8",
    "w8a8 against fp32": "Weights and activations in int8 (`pleinair quantize`)",
}
ROWS = ("renders", "reconstructions (ceiling)", "generated", "shuffled prompts (floor)")


def measured(evaluation: dict, precision: dict) -> str:
    """Markdown: a table for every group of scenes, the autoencoder's PSNR, and int8 against fp32."""
    lines = [
        f"{evaluation['prompts per group']} held-out prompts in each group, {evaluation['steps']} steps, guidance"
        f" {evaluation['guidance']:g}; shares that the judge finds right.",
    ]
    for name, group in evaluation["groups"].items():
        lines += ["", f"| {name} | {' | '.join(COLUMNS)} |", f"|---|{'---|' * len(COLUMNS)}"]
        lines += [f"| {row} | {' | '.join(f'{group[row][column]:.1%}' for column in COLUMNS)} |" for row in ROWS]
        ceiling, generated = group["reconstructions (ceiling)"], group["generated"]
        shares = (f"{generated[column] / max(ceiling[column], 1e-6):.1%}" for column in COLUMNS)
        lines.append(f"| share of the ceiling | {' | '.join(shares)} |")
    hours = ", ".join(f"{hour} {share:.0%}" for hour, share in evaluation.get("hour left open", {}).items())
    lines += ["", f"Painted where the prompt leaves the hour open: {hours}."] * bool(hours)
    lines += ["", f"Reconstruction of held-out renders: {evaluation['reconstruction psnr']:.2f} dB."]
    for form, words in TOLD.items():
        lines += table_of(words, precision["prompts"], precision[form]) if form in precision else []
    return "\n".join(lines)


def table_of(words: str, prompts: int, found: dict) -> list[str]:
    """Markdown: how near pictures are to those of fp32, by engine."""
    lines = ["", f"{words} against fp32, {prompts} prompts, the same seeds:", ""]
    lines += ["| engine | PSNR dB: min, median, max | SSIM: min, median, max |", "|---|---|---|"]
    for engine, each in found.items():
        psnr, ssim = each["psnr"], each["ssim"]
        lines.append(
            f"| {engine} | {psnr['min']:.1f}, {psnr['median']:.1f}, {psnr['max']:.1f}"
            f" | {ssim['min']:.4f}, {ssim['median']:.4f}, {ssim['max']:.4f} |"
        )
    return lines


def with_measured(card: str, folder: Path) -> str:
    """The card's text with its measured part written anew from the reports in `folder`."""
    evaluation, precision = (json.loads((folder / f"{name}.json").read_text()) for name in ("evaluation", "precision"))
    before, _, rest = card.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{measured(evaluation, precision)}\n\n{END}{after}"


def update_card(folder: Path) -> None:
    """Rewrite the measured part of README.md in `folder`."""
    file = folder / "README.md"
    file.write_text(with_measured(file.read_text(encoding="utf-8"), folder), encoding="utf-8")
