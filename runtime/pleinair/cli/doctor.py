"""`pleinair samplers` and `doctor`: what is here to paint with, and what is missing."""

from typing import Any

import typer

from pleinair.cli.flags import Json
from pleinair.cli.terminal import aligned, tell
from pleinair.cli.usage import examples
from pleinair.engines.doctor import diagnosis
from pleinair.sampling.samplers import SAMPLERS
from pleinair.sampling.spacings import SPACINGS
from pleinair.system.home import models_folder

app = typer.Typer(add_completion=False)


@app.command(epilog=examples("samplers"))
def samplers(as_json: Json = False) -> None:
    """List the samplers and spacings."""
    rows = {
        name: {
            "order": sampler.order,
            "evaluations": sampler.evaluations,
            "stochastic": sampler.stochastic,
            "diffusers": sampler.diffusers,
            "a1111": sampler.a1111,
        }
        for name, sampler in SAMPLERS.items()
    }
    lines = (sampler_line(name, row) for name, row in rows.items())
    facts = {"samplers": rows, "spacings": list(SPACINGS)}
    tell(facts, *lines, "", f"spacings: {', '.join(SPACINGS)}", as_json=as_json)


def sampler_line(name: str, row: dict[str, Any]) -> str:
    """A sampler, for people."""
    kind = "stochastic" if row["stochastic"] else "deterministic"
    calls = f"{row['evaluations']} call{'s' if row['evaluations'] > 1 else ''} a step"
    return f"{name:12} order {row['order']}  {calls:14}  {kind:14} {row['a1111']:12} {row['diffusers']}"


@app.command(epilog=examples("doctor"))
def doctor(as_json: Json = False) -> None:
    """Tell what this machine is, which engines and devices it has, and what to install for what is missing."""
    facts = {**diagnosis(), "models_folder": str(models_folder())}
    tell(facts, *aligned(facts), as_json=as_json)
