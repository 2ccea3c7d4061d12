"""Write docs/options.md from the table of options: `python tests/golden/options.py`."""

from pathlib import Path

from pleinair.request.help import page

PAGE = Path(__file__).parents[2] / "docs" / "options.md"

if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
