"""Arguments that are converted without Typer's own means come out as with them."""

from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.main import get_command

from pleinair.cli.converting import convert_plainly

TEXTS = {
    "--text": ("a boat", "", "-1", "é\n"),
    "--file": ("a.png", "-", "", "a//b/../c"),
    "--whole": ("7", "-7", "007", "7.0", "1_000", "9" * 30, "seven", "", " 7"),
    "--real": ("7", "-7.5", "1e3", "nan", "inf", ".5", "7.", "seven"),
    "--ranged": ("7", "0"),
    "--several": ("a", ""),
}


def command(taken):
    app = typer.Typer(add_completion=False)

    @app.command()
    def take(
        text: str | None = None,
        file: Path | None = None,
        whole: int | None = None,
        real: float | None = None,
        ranged: Annotated[int, typer.Option(min=1)] = 3,
        several: list[Path] | None = None,
        switch: bool = False,
        asked: bool | None = None,
    ) -> None:
        taken.append((text, file, whole, real, ranged, several, switch, asked))

    return get_command(app)


def outcome(plainly, arguments):
    taken = []
    made = command(taken)
    if plainly:
        convert_plainly(made)
    try:
        made.main(arguments, standalone_mode=False)
    except Exception as error:
        taken.append(error.format_message())
    return [*map(repr, taken)]


@pytest.mark.parametrize("name", [*TEXTS])
def test_a_text_becomes_what_typer_makes_of_it(name):
    for text in TEXTS[name]:
        assert outcome(True, [f"{name}={text}"]) == outcome(False, [f"{name}={text}"]), text


def test_what_is_not_given_and_switches():
    for arguments in ([], ["--switch", "--asked"], ["--no-asked"], ["--several", "a", "--several", "b"], ["extra"]):
        assert outcome(True, arguments) == outcome(False, arguments), arguments
