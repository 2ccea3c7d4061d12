"""The measured part of the model card, written from evaluation.json and precision.json so that it cannot disagree."""

import json
from pathlib import Path

BEGIN, END = "<!-- measured, by: recipe card -->", "<!-- end of measured -->"
SAVED_FROM, SAVED_TO = "<!-- savings, by: recipe card -->", "<!-- end of savings -->"
COLUMNS = ("hour", "ground", "hills", "kind", "colour", "side", "size")
TOLD = {
    "int8 against fp32": "Weights stored as int8",
    "w8a8 against fp32": "Weights and activations in int8 (`pleinair quantize`)",
    "w8a8, last step wide against fp32": "The same with its last step in float (`--wide-steps 1`)",
}
ROWS = ("renders", "reconstructions (ceiling)", "generated", "shuffled prompts (floor)")


def measured(evaluation: dict, precision: dict, saving: dict) -> str:
    """Markdown: a table for every group of scenes, the autoencoder's PSNR, int8 against fp32, and fewer calls."""
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
        lines += table_of(words, precision, precision[form]) if form in precision else []
    lines += savings(saving)
    return "\n".join(lines)


def table_of(words: str, precision: dict, found: dict) -> list[str]:
    """Markdown: how near pictures are to those of fp32, by engine, and what the judge finds right of both if asked."""
    columns = ["engine", "PSNR dB: min, median, max", "SSIM: min, median, max"]
    columns += ["found right, of fp32"] * all("adherence" in each for each in found.values())
    lines = ["", f"{words} against fp32, {precision['prompts']} prompts, the same seeds:", ""]
    lines += [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for engine, each in found.items():
        psnr, ssim = each["psnr"], each["ssim"]
        cells = [
            engine,
            f"{psnr['min']:.1f}, {psnr['median']:.1f}, {psnr['max']:.1f}",
            f"{ssim['min']:.4f}, {ssim['median']:.4f}, {ssim['max']:.4f}",
        ]
        if len(columns) > len(cells):
            cells.append(f"{each['adherence']:.1%}, {precision['fp32'][engine]['adherence']:.1%}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def savings(found: dict) -> list[str]:
    """Markdown: how near ways of asking the network less come, the dearest first."""
    words = (
        f"Fewer calls of the network, {found['prompts']} prompts, DPM++ 2M; SSIM with the pictures of 100 and 20 steps:"
    )
    lines = ["", words, "", "| way | calls | 100 steps: median, min | 20 steps: median, min |", "|---|---|---|---|"]
    for row in sorted(found["ways"], key=lambda row: -row["calls"]):
        many, usual = row["many"], row["usual"]
        lines.append(
            f"| {row['way']} | {row['calls']} | {many['median']:.3f}, {many['min']:.3f}"
            f" | {usual['median']:.3f}, {usual['min']:.3f} |"
        )
    return lines


def against_steps(found: dict) -> str:
    """Markdown: each way that reuses answers beside so many plain steps as it has calls."""
    plain = {row["calls"]: row["many"] for row in found["ways"] if row["way"] == f"{row['calls']} steps"}
    lines = ["| way | calls | median, worst | as many plain steps |", "|---|---|---|---|"]
    for row in found["ways"]:
        if "reuse" in row["way"]:
            own, other = row["many"], plain[row["calls"]]
            lines.append(
                f"| {row['way']} | {row['calls']} | {own['median']:.3f}, {own['min']:.3f}"
                f" | {other['median']:.3f}, {other['min']:.3f} |"
            )
    return "\n".join(lines)


def with_savings(page: str, folder: Path) -> str:
    """The text of docs/performance.md with its table of savings written anew from saving.json in `folder`."""
    return between(page, SAVED_FROM, SAVED_TO, against_steps(json.loads((folder / "saving.json").read_text())))


def between(text: str, begin: str, end: str, inside: str) -> str:
    """A text with what stands between two marks replaced."""
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n\n{inside}\n\n{end}{after}"


def with_measured(card: str, folder: Path) -> str:
    """The card's text with its measured part written anew from the reports in `folder`."""
    reports = (json.loads((folder / f"{name}.json").read_text()) for name in ("evaluation", "precision", "saving"))
    return between(card, BEGIN, END, measured(*reports))


def update_card(folder: Path) -> None:
    """Rewrite the measured parts of README.md in `folder` and of docs/performance.md."""
    page = folder.parents[1] / "docs" / "performance.md"
    for file, written in ((folder / "README.md", with_measured), (page, with_savings)):
        file.write_text(written(file.read_text(encoding="utf-8"), folder), encoding="utf-8")
