"""`pleinair samplers` and `doctor`: what is here to paint with, and what is missing."""

import typer

from pleinair.cli.flags import Json
from pleinair.cli.terminal import aligned, data, document
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
    if as_json:
        document({"samplers": rows, "spacings": list(SPACINGS)})
        return
    for name, row in rows.items():
        kind = "stochastic" if row["stochastic"] else "deterministic"
        calls = f"{row['evaluations']} call{'s' if row['evaluations'] > 1 else ''} a step"
        data(f"{name:12} order {row['order']}  {calls:14}  {kind:14} {row['a1111']:12} {row['diffusers']}")
    data("", f"spacings: {', '.join(SPACINGS)}")


@app.command(epilog=examples("doctor"))
def doctor(as_json: Json = False) -> None:
    """Tell what this machine is, which engines and devices it has, and what to install for what is missing."""
    facts = {**diagnosis(), "models_folder": str(models_folder())}
    if as_json:
        document(facts)
    else:
        data(*aligned(facts))
