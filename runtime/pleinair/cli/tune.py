"""`pleinair tune`: which engine, precision, threads and form paint soonest here, tried and kept."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

import typer

from pleinair.bundle.opening import Bundle, open_bundle
from pleinair.cli.flags import Json
from pleinair.cli.given import at_hand
from pleinair.cli.terminal import say, tell
from pleinair.cli.usage import examples
from pleinair.errors import EngineError, RequestError
from pleinair.request.value_types import Size
from pleinair.tasks.tuning import TriedWay, tried_ways, tuned_of
from pleinair.tuning.choosing import best_trial
from pleinair.tuning.stored import TimedWay, Tuned, forget_tuned, require_place, store_tuned, tuned_file
from pleinair.tuning.work import usual_work

app = typer.Typer(add_completion=False)
SECONDS = 300.0


@app.command(epilog=examples("tune"))
def tune(
    model: Annotated[
        str | None, typer.Argument(help="The model to try: a bundle or its name.", show_default="storybook")
    ] = None,
    size: Annotated[str | None, typer.Option(help="Size of its pictures, WxH.", show_default="the model's own")] = None,
    seconds: Annotated[float, typer.Option(help="Seconds after which nothing new is tried.", min=1)] = SECONDS,
    forget: Annotated[bool, typer.Option("--forget", help="Forget what was found for all models.")] = False,
    as_json: Json = False,
) -> None:
    """Find the fastest way to paint with models like MODEL on this CPU, and use it from then on."""
    if forget:
        if model is not None:
            raise RequestError("--forget is for all models; leave MODEL out")
        count = forget_tuned()
        tell({"forgotten": count}, f"{count} result{'s' if count != 1 else ''} forgotten", as_json=as_json)
        return
    bundle = open_bundle(at_hand(model))
    bundle.require("text2image")
    usual = bundle.manifest.defaults
    pixels = (usual.width, usual.height) if size is None else Size().read("size", size)
    require_place()
    found = []
    for each in tried_ways(bundle, pixels, seconds):
        say(f"tried {each.way.words}")
        found.append(each)
    tuned = tuned_of(bundle, pixels, found)
    if not tuned.trials:
        problem = found[0].problem if found else "no engine that is installed has graphs of it"
        raise EngineError(f"no way to paint with '{bundle.manifest.name}' worked ({problem}); see: pleinair doctor")
    store_tuned(tuned)
    facts, lines = report(bundle, found, tuned)
    tell({**facts, "stored": str(tuned_file())}, *lines, as_json=as_json)


def report(bundle: Bundle, found: list[TriedWay], tuned: Tuned) -> tuple[dict[str, Any], list[str]]:
    """The trials and what is best of them, for programs and for people."""
    best = {}
    for name, count in (("one picture", 1), ("many pictures", 10)):
        work = usual_work(bundle.manifest, count)
        best[name] = asdict(best_trial(tuned, work, [each.engine for each in tuned.trials]))
    facts = {
        "model": tuned.model,
        "width": tuned.width,
        "height": tuned.height,
        "trials": [facts_of_way(each) for each in found],
        "best": best,
    }
    return facts, [*table(found), "", *(f"{name}: {TimedWay(**trial).words}" for name, trial in best.items())]


def facts_of_way(tried: TriedWay) -> dict[str, Any]:
    """A trial for programs."""
    return asdict(tried.trial) if tried.trial else {**asdict(tried.way), "problem": tried.problem}


def table(found: list[TriedWay]) -> Iterator[str]:
    """The trials, for people."""
    form = "{:40} {:>8} {:>8} {:>8}"
    yield form.format("way", "open s", "step s", "decode s")
    for each in found:
        if each.trial is None:
            yield f"{each.way.words:40} {each.problem}"
        else:
            times = (each.trial.open_s, each.trial.step_s, each.trial.decode_s)
            yield form.format(each.way.words, *(f"{value:.3f}" for value in times))
