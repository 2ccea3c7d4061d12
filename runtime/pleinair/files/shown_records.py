"""What people and programs are shown of a record, however large it is."""

import json
from itertools import islice
from typing import Any

from pleinair.files.foreign.record import shown
from pleinair.files.metadata import FoundRecord
from pleinair.text.syntax import MAX_PROMPT

MAX_JSON = 1 << 19  # characters of JSON that a part of a record is told in
MAX_SHOWN = 1000  # characters of one value that people are shown
MAX_ENTRIES = 100  # of one list or object that they are shown
MAX_LINES = 500


def record_facts(found: FoundRecord) -> dict[str, Any]:
    """What was found, as JSON values; of a part that is larger than MAX_JSON, `left_out` has the size instead."""
    parts = {**vars(found), "options": found.options(), "inputs": list(found.inputs)}
    del parts["arguments"]
    sizes = {name: len(json.dumps(value)) for name, value in parts.items()}
    large = {name: size for name, size in sizes.items() if size > MAX_JSON}
    cut = {name: parts[name][:MAX_PROMPT] if isinstance(parts[name], str) else None for name in large}
    return {**parts, **cut, **({"left_out": large} if large else {})}


def brief(value: Any, most: int = MAX_SHOWN) -> Any:
    """A value as people are shown it: long texts, lists and objects cut, and how much of them was left out."""
    if isinstance(value, str):
        more = len(value) - most
        return value if more <= 0 else f"{value[:most]}... ({more:,} more characters)"
    more = len(value) - MAX_ENTRIES if isinstance(value, dict | list) else 0
    if isinstance(value, dict):
        short = {shown(name): brief(each) for name, each in islice(value.items(), MAX_ENTRIES)}
        return {**short, "...": f"{more:,} more"} if more > 0 else short
    if isinstance(value, list):
        text = ", ".join(map(str, map(brief, value[:MAX_ENTRIES])))
        return brief(f"{text} ... ({more:,} more)" if more > 0 else text)
    return value
