"""Write the newest records of benchmarks/results/*.jsonl as tables into README.md and docs/.

README.md gets whole pictures of SD 1.5, docs/benchmark.md our own cases, docs/performance.md all of the peers.

python benchmarks/write_tables.py
"""

from pathlib import Path

from pleinair_bench import peer_tables, records, tables
from pleinair_bench.records import Record

REPOSITORY = Path(__file__).parents[1]
RESULTS = REPOSITORY / "benchmarks" / "results"
DOCS = REPOSITORY / "docs"
NONE_YET = "No run of it has been recorded yet."
PAGES = {
    REPOSITORY / "README.md": "pictures",
    DOCS / "benchmark.md": "benchmark",
    DOCS / "performance.md": "peers",
}
START, END = "<!-- {}: made by benchmarks/write_tables.py -->\n", "<!-- end of {} -->\n"


def with_tables(page: str, name: str) -> str:
    """A page with the table that the results make; it must hold the two comments."""
    before, start, rest = page.partition(START.format(name))
    _, end, after = rest.partition(END.format(name))
    if not end:
        raise SystemExit(f"the page has no place for {name}: {START.format(name)}{END.format(name)}")
    return f"{before}{start}{table(name)}\n{end}{after}"


def table(name: str) -> str:
    """Our own cases, whole pictures beside openvino-genai's, or all that the peers were given."""
    newest = newest_in(RESULTS)
    if name == "benchmark":
        return tables.markdown(tables.ordered([each for each in newest if not peer_tables.is_of_peers(each)]))
    theirs: dict[str, list[Record]] = {}
    for record in filter(peer_tables.is_of_peers, newest):
        theirs.setdefault(peer_tables.work_of(record), []).append(record)
    if name == "pictures":
        return peer_tables.short([record for group in theirs.values() for record in group]) or NONE_YET
    return "\n\n".join(f"{work}:\n\n{peer_tables.table(group)}" for work, group in theirs.items())


def newest_in(folder: Path) -> list[Record]:
    """The newest record of each case; all lines must be records."""
    found, warnings = records.read(sorted(folder.glob("*.jsonl")))
    if warnings:
        raise SystemExit("\n".join(warnings))
    return records.newest(found)


if __name__ == "__main__":
    for page, name in PAGES.items():
        page.write_text(with_tables(page.read_text(encoding="utf-8"), name), encoding="utf-8")
