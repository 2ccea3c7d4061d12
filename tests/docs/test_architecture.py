"""The map of rooms is the one that the imports draw, and every path on its page exists."""

import re

from rooms import PAGE, REPOSITORY, RUNTIME, arrows, circles, imports_at_import, order_of, rooms, upward

TEXT = PAGE.read_text(encoding="utf-8")
ORDER = order_of(TEXT)
PATHS = sorted({name for name in re.findall(r"`([^`\s]+)`", TEXT) if "/" in name or name.endswith((".py", ".md"))})


def test_the_page_has_every_room():
    assert sorted(ORDER) == sorted(rooms(RUNTIME))


def test_rooms_import_only_from_rooms_below_them():
    assert upward(arrows(RUNTIME), ORDER) == []


def test_there_is_no_circle_between_rooms():
    assert circles(arrows(RUNTIME)) == []


def test_every_module_can_be_imported_first():
    """It cannot where its imports lead back to it."""
    assert circles(imports_at_import(RUNTIME)) == []


def test_every_path_on_the_page_exists():
    assert [path for path in PATHS if not ((REPOSITORY / path).exists() or (RUNTIME / path).exists())] == []


def test_every_python_file_that_any_page_names_exists():
    places = [REPOSITORY / part for part in (".", "runtime", "runtime/pleinair", "export", "benchmarks")]
    lost = [
        (page.name, name)
        for page in (*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md"))
        for name in re.findall(r"`([\w.-]+/[\w./-]+\.py)`", page.read_text(encoding="utf-8"))
        if not any((place / name).exists() for place in places)
    ]
    assert lost == []


def test_the_runtime_asks_for_no_family():
    """What a family needs is in its bundle, as data, and what a component needs in its row."""
    asking = re.compile(
        r"\.family\b\s*(==|!=|in\b|not in\b)|(==|!=|\bin)\s+[\w.]*\.family\b(?!\.)|match [\w.]*family"
        r"|\.kind\b\s*(==|!=|in\b|not in\b)\s*\w+_KIND"
    )
    texts = {file.relative_to(RUNTIME): file.read_text(encoding="utf-8") for file in RUNTIME.rglob("*.py")}
    assert [str(name) for name, text in texts.items() if asking.search(text)] == []


def test_arrows_are_found_wherever_an_import_stands(tmp_path):
    package = tmp_path / "house"
    for name, code in {
        "__init__.py": "",
        "attic/__init__.py": "",
        "attic/trunk.py": "from house.hall import door\n\n\ndef open():\n    import house.cellar.wine as wine\n",
        "hall.py": "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    from house.attic import trunk\n",
        "cellar/__init__.py": "",
        "cellar/wine.py": "from house import hall\nfrom house import version\nimport os\n",
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(code)
    drawn = arrows(package)
    assert set(drawn) == {
        ("attic", "hall"),
        ("attic", "cellar"),
        ("hall", "attic"),
        ("cellar", "hall"),
        ("cellar", "__init__"),
    }
    assert drawn["hall", "attic"] == ["hall.py"]
    assert circles(drawn) == [{"attic", "cellar", "hall"}]
    assert imports_at_import(package) == [
        ("attic/trunk.py", "hall.py"),
        ("cellar/wine.py", "hall.py"),
        ("cellar/wine.py", "__init__.py"),
    ]
    assert upward(drawn, ["attic", "cellar", "hall", "__init__"]) == [("hall", "attic")]
