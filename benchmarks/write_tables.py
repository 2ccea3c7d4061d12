"""Write the newest records of benchmarks/results/*.jsonl as tables: ours into README.md, peers into performance.md.

python benchmarks/write_tables.py
"""

from pathlib import Path

from pleinair_bench import peers, records, tables
from pleinair_bench.records import Record

REPOSITORY = Path(__file__).parents[1]
RESULTS = REPOSITORY / "benchmarks" / "results"
PAGES = {REPOSITORY / "README.md": "benchmark", REPOSITORY / "docs" / "performance.md": "peers"}
START, END = "<!-- {}: made by benchmarks/write_tables.py -->\n", "<!-- end of {} -->\n"


def with_tables(page: str, name: str) -> str:
    """A page with the table that the results make; it must hold the two comments."""
    before, start, rest = page.partition(START.format(name))
    _, end, after = rest.partition(END.format(name))
    if not end:
        raise SystemExit(f"the page has no place for {name}: {START.format(name)}{END.format(name)}")
    return f"{before}{start}{table(name)}\n{end}{after}"


def table(name: str) -> str:
    """The table of our own cases, or one for each work that the peers were given."""
    found, warnings = records.read(sorted(RESULTS.glob("*.jsonl")))
    if warnings:
        raise SystemExit("\n".join(warnings))
    theirs: dict[str, list[Record]] = {}
    ours = []
    for record in records.newest(found):
        if peers.is_of_peers(record):
            theirs.setdefault(peers.work_of(record), []).append(record)
        else:
            ours.append(record)
    if name == "benchmark":
        return tables.markdown(tables.ordered(ours))
    return "\n\n".join(f"{work}:\n\n{peers.table(group)}" for work, group in theirs.items())


if __name__ == "__main__":
    for page, name in PAGES.items():
        page.write_text(with_tables(page.read_text(encoding="utf-8"), name), encoding="utf-8")
