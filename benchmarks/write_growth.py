"""Write the newest records of benchmarks/results/growth/*.jsonl into docs/scaling.md, and draw its plots of them.

python benchmarks/write_growth.py
"""

from pathlib import Path

from pleinair_bench import growth_page, records
from pleinair_bench.records import Record

REPOSITORY = Path(__file__).parents[1]
RESULTS = REPOSITORY / "benchmarks" / "results" / "growth"
PAGE = REPOSITORY / "docs" / "scaling.md"
START, END = "<!-- growth: made by benchmarks/write_growth.py -->\n", "<!-- end of growth -->\n"


def files() -> dict[Path, str]:
    """The page and the plots, and what is in them."""
    newest = found()
    drawn = growth_page.plots_of(newest)
    images = {PAGE.parent / "images" / f"growth-{axis}.svg": svg for axis, svg in drawn.items()}
    before, start, rest = PAGE.read_text(encoding="utf-8").partition(START)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"the page has no place for the tables: {START}{END}")
    return {PAGE: f"{before}{start}{growth_page.tables_of(newest)}\n{end}{after}", **images}


def found() -> list[Record]:
    """The newest record of each case; all lines must be records."""
    each, warnings = records.read(sorted(RESULTS.glob("*.jsonl")))
    if warnings:
        raise SystemExit("\n".join(warnings))
    return records.newest(each)


if __name__ == "__main__":
    for file, text in files().items():
        file.write_text(text, encoding="utf-8")
