"""The pictures of docs/how-it-works.md are those that the recipe of the default model paints."""

import re
from pathlib import Path

import pleinair

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"


def test_the_recipe_paints_the_pictures_of_the_page(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(REPOSITORY / "models" / "storybook")
    from recipe.lessons import paint_lessons

    paint_lessons(pleinair.load(engine=pleinair.FakeEngine()), tmp_path)
    page = (DOCS / "how-it-works.md").read_text(encoding="utf-8")
    shown = sorted(re.findall(r"\]\(images/([^)]+)\)", page))
    assert shown == sorted(file.name for file in tmp_path.iterdir())
    assert sum((DOCS / "images" / name).stat().st_size for name in shown) < 400_000
