"""Results as one page that needs nothing else: the records inside it, and the script that draws them."""

import json
import tempfile
from pathlib import Path

from pleinair.errors import RequestError, ResourceError
from pleinair_bench.records import Record, newest
from pleinair_bench.tables import flat

PAGE = Path(__file__).with_name("page.html")
SLOT = "/*DATA*/"


def page(records: list[Record]) -> str:
    """The page with the newest record of every case; RequestError where there is none."""
    kept = newest(records)
    if not kept:
        raise RequestError("these files hold no records; make some with: pleinair bench run --quick")
    rows = [flat(record) | {"flags": record["flags"], "limits": record["limits"]} for record in kept]
    # as JSON, in which "<" could end the script that holds it
    data = json.dumps(rows, ensure_ascii=True).replace("<", "\\u003c")
    return PAGE.read_text(encoding="utf-8").replace(SLOT, data, 1)


def write(text: str, file: Path, overwrite: bool) -> None:
    """Write the page whole or not at all; ResourceError where the file exists or cannot be written."""
    part = None
    try:
        if file.exists() and not overwrite:
            raise ResourceError(f"'{file}' exists; choose another name with -o, or replace it with --force")
        if file.exists() and not file.is_file():  # a device would be replaced by the page
            raise ResourceError(f"'{file}' is not an ordinary file; choose another name with -o")
        with tempfile.NamedTemporaryFile("w", dir=file.parent, encoding="utf-8", delete=False) as stream:
            part = Path(stream.name)
            stream.write(text)
        part.chmod(0o644)
        part.replace(file)
    except OSError as error:
        raise ResourceError(f"cannot write '{file}' ({error.strerror or error}); choose another -o") from None
    finally:
        if part:
            part.unlink(missing_ok=True)
