"""The measured part of the model card, written from evaluation.json and precision.json so that it cannot disagree."""

import json
from pathlib import Path

BEGIN, END = "<!-- measured, by: recipe card -->", "<!-- end of measured -->"
SPEEDS_FROM, SPEEDS_TO = "<!-- speeds, by: recipe card -->", "<!-- end of speeds -->"
SECONDS_FROM, SECONDS_TO = "<!-- seconds, by: recipe card -->", "<!-- end of seconds -->"
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


def likeness(found: dict) -> str:
    """Median, worst and the share that is poor, of similarities."""
    return f"{found['median']:.3f}, {found['min']:.3f}, {found['poor']:.0%}"


def by_seconds(saving: dict, speeds: dict) -> str:
    """Markdown: ways that were timed, the slowest first, and how near their pictures come."""
    rows = {row["way"]: row for row in saving["ways"]}
    lines = ["| way | calls | seconds | of 100 steps | of 20 steps |", "|---|---|---|---|---|"]
    timed = {way: seconds for way, seconds in speeds["seconds"].items() if way in rows}
    for way, seconds in sorted(timed.items(), key=lambda each: -each[1]):
        row = rows[way]
        lines.append(f"| {way} | {row['calls']} | {seconds:.2f} | {likeness(row['many'])} | {likeness(row['usual'])} |")
    return "\n".join(lines)


def by_steps(speeds: dict) -> str:
    """Markdown: how near pictures of each speed come to exact ones, at several numbers of steps."""
    lines = ["| steps | `balanced`: calls | likeness | `fast`: calls | likeness |", "|---|---|---|---|---|"]
    for steps, found in speeds["steps"].items():
        cells = (f"{found[name]['calls']} | {likeness(found[name])}" for name in ("balanced", "fast"))
        lines.append(f"| {steps} | {' | '.join(cells)} |")
    return "\n".join(lines)


def with_speeds(page: str, folder: Path) -> str:
    """The text of docs/speed.md with its tables written anew from saving.json and speeds.json in `folder`."""
    saving, speeds = (json.loads((folder / f"{name}.json").read_text()) for name in ("saving", "speeds"))
    page = between(page, SPEEDS_FROM, SPEEDS_TO, by_steps(speeds))
    return between(page, SECONDS_FROM, SECONDS_TO, by_seconds(saving, speeds))


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
    """Rewrite the measured parts of README.md in `folder` and of docs/speed.md."""
    page = folder.parents[1] / "docs" / "speed.md"
    for file, written in ((folder / "README.md", with_measured), (page, with_speeds)):
        file.write_text(written(file.read_text(encoding="utf-8"), folder), encoding="utf-8")
