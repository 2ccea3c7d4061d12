"""Write the newest records of benchmarks/results/*.jsonl as tables: ours into README.md, peers into performance.md.

Those of benchmarks/results/growth/*.jsonl go into docs/scaling.md, and its plots are drawn of them.

python benchmarks/write_tables.py
"""

from pathlib import Path

from pleinair_bench import growth_page, peers, records, tables
from pleinair_bench.records import Record

REPOSITORY = Path(__file__).parents[1]
RESULTS = REPOSITORY / "benchmarks" / "results"
DOCS = REPOSITORY / "docs"
PAGES = {REPOSITORY / "README.md": "benchmark", DOCS / "performance.md": "peers", DOCS / "scaling.md": "growth"}
START, END = "<!-- {}: made by benchmarks/write_tables.py -->\n", "<!-- end of {} -->\n"


def with_tables(page: str, name: str) -> str:
    """A page with the table that the results make; it must hold the two comments."""
    before, start, rest = page.partition(START.format(name))
    _, end, after = rest.partition(END.format(name))
    if not end:
        raise SystemExit(f"the page has no place for {name}: {START.format(name)}{END.format(name)}")
    return f"{before}{start}{table(name)}\n{end}{after}"


def table(name: str) -> str:
    """The table of our own cases, one for each work that the peers were given, or those of growth."""
    if name == "growth":
        return growth_page.tables_of(newest_in(RESULTS / "growth"))
    theirs: dict[str, list[Record]] = {}
    ours = []
    for record in newest_in(RESULTS):
        if peers.is_of_peers(record):
            theirs.setdefault(peers.work_of(record), []).append(record)
        else:
            ours.append(record)
    if name == "benchmark":
        return tables.markdown(tables.ordered(ours))
    return "\n\n".join(f"{work}:\n\n{peers.table(group)}" for work, group in theirs.items())


def newest_in(folder: Path) -> list[Record]:
    """The newest record of each case; all lines must be records."""
    found, warnings = records.read(sorted(folder.glob("*.jsonl")))
    if warnings:
        raise SystemExit("\n".join(warnings))
    return records.newest(found)


def plots() -> dict[Path, str]:
    """The files of the plots, and what is in them."""
    drawn = growth_page.plots_of(newest_in(RESULTS / "growth"))
    return {DOCS / "images" / f"growth-{axis}.svg": svg for axis, svg in drawn.items()}


if __name__ == "__main__":
    for file, svg in plots().items():
        file.write_text(svg, encoding="utf-8")
    for page, name in PAGES.items():
        page.write_text(with_tables(page.read_text(encoding="utf-8"), name), encoding="utf-8")
