"""`pleinair samplers` and `doctor`: what is here to paint with, and what is missing."""

from typing import Annotated, Any

import typer

from pleinair.bundle.opening import open_bundle
from pleinair.cli.flags import Json, takes
from pleinair.cli.terminal import aligned, say, tell
from pleinair.cli.usage import examples
from pleinair.engines.doctor import diagnosis
from pleinair.errors import RequestError
from pleinair.sampling.samplers import SAMPLERS
from pleinair.sampling.spacings import SPACINGS
from pleinair.system.compiled import compiled_folder
from pleinair.system.home import models_folder
from pleinair.tuning.choosing import fitting_engine
from pleinair.tuning.stored import tuned_results
from pleinair.tuning.work import usual_work, work_kept_open

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
@takes(options=(), loading=("model",))
def doctor(
    try_devices: Annotated[
        bool, typer.Option("--try-devices", help="Run each part of a model on each device, in processes of their own.")
    ] = False,
    as_json: Json = False,
    *,
    loading: dict[str, Any],
    options: dict[str, Any],
) -> None:
    """Show this machine, its engines and devices, and how to install what is missing."""
    model = loading["model"]
    if not try_devices:
        if model is not None:
            raise RequestError("--model works only with --try-devices; add that, or leave --model out")
        advice = {"recommended": {"storybook": recommended()}, "tuned": tuned_here()}
        facts = {
            **diagnosis(),
            **advice,
            "models_folder": str(models_folder()),
            "compiled_folder": str(compiled_folder()),
        }
        tell(facts, *aligned(facts), as_json=as_json)
        return
    from pleinair.cli import trying
    from pleinair.cli.given import at_hand

    bundle = open_bundle(at_hand(model))
    rows = []
    for engine, device, part in trying.planned(bundle):
        say(f"trying {part} on {device} with {engine} ...")
        rows.append(trying.tried_alone(bundle, engine, device, part))
    facts, lines = trying.reported(bundle, rows)
    tell(facts, *lines, as_json=as_json)


def recommended() -> dict[str, str]:
    """Which engine suits storybook here, and why, for one picture, for many, and for a program that keeps it open."""
    bundle = open_bundle(None)
    works = {
        "one picture": usual_work(bundle.manifest, 1),
        "many pictures": usual_work(bundle.manifest),
        "kept open": work_kept_open(bundle.manifest),
    }
    found = {}
    for name, work in works.items():
        fitting = fitting_engine(bundle, work, {"cache": True})
        took = ", ".join(f"{engine} {seconds:.1f} s" for engine, seconds in fitting.seconds.items())
        found[name] = f"{fitting.engine or 'the one that is here'}: {fitting.why}" + (f" ({took})" if took else "")
    return found


def tuned_here() -> dict[str, str]:
    """What `pleinair tune` has found, by the kind of model; what no longer holds says so."""
    found = {}
    for each in tuned_results():
        best = min(each.trials, key=lambda trial: trial.step_s, default=None)
        words = f"{best.words}, {best.step_s:.3g} s a step at {each.width}x{each.height}" if best else "nothing painted"
        stale = "; ignored, because the processor or an engine has changed: run pleinair tune again" * each.stale
        found[each.model] = words + stale
    return found
