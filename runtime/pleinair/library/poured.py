"""Single files that are named as models: each is poured once, and lies among the models under its name."""

import hashlib
import json
from collections.abc import Generator
from pathlib import Path

from pleinair.bundle.opening import open_bundle
from pleinair.engines.engine import usual_format
from pleinair.errors import RequestError
from pleinair.pouring.pour import Progress, pour
from pleinair.system.files import CONFIG, read_json
from pleinair.system.home import is_name, models_folder

MARK = ".poured.json"  # in a bundle that was made of a file named as a model: which file that was


def bundle_of(file: Path, engine: str | None) -> Generator[Progress, None, Path]:
    """The bundle of a single file, with graphs for an engine; poured at first use, or when the file has changed.

    Yields what `pour` yields, nothing where the bundle is there. Raises what that raises, and RequestError where the
    file's name is no name of a model, or that of another one.
    """
    bundle, form = models_folder() / file.stem, usual_format(engine)
    by_hand = f"make a bundle with: pleinair pour '{file}' OUT"
    if not is_name(file.stem):
        raise RequestError(f"no model can be called '{file.stem}'; {by_hand}")
    mark, formats = marked(file), {form}
    if bundle.exists():
        before = read_json(bundle / MARK, CONFIG, RequestError, by_hand) if (bundle / MARK).is_file() else {}
        if before.get("place") != mark["place"]:
            raise RequestError(f"there is another model of the name '{file.stem}' in '{bundle.parent}'; {by_hand}")
        if before == mark:
            there = open_bundle(bundle, verify=False).formats
            if form in there:
                return bundle
            formats |= set(there)
    yield from pour(file, bundle, formats=tuple(sorted(formats)), force=True)
    (bundle / MARK).write_text(json.dumps(mark), encoding="utf-8")
    return bundle


def marked(file: Path) -> dict[str, str]:
    """What tells a file from others of its name, and from what it was before; no path can be read from it."""
    facts = file.stat()
    told = {"place": str(file.resolve()), "state": f"{facts.st_size} {facts.st_mtime_ns}"}
    return {name: hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest() for name, text in told.items()}
