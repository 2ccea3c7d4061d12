"""`pleinair morph`: a film from prompt to prompt."""

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import typer
from PIL.Image import Image

from pleinair.cli.flags import PAINTING, Force, Json, NoMetadata, offered, takes
from pleinair.cli.given import check_models, models_at_hand
from pleinair.cli.progress import ProgressBar, kept_to_the_end, loaded
from pleinair.cli.terminal import tell, warn
from pleinair.cli.usage import examples
from pleinair.files import film as films
from pleinair.request.options import OPTIONS
from pleinair.request.request import check_alone
from pleinair.request.value_types import parts
from pleinair.results import Result
from pleinair.tasks.morph import EASES, EVEN, ONE_FOR_ALL, between, keyframes, record

app = typer.Typer(add_completion=False)
OF_ONE = {"seed", "count", "batch", *ONE_FOR_ALL, "only_masked"}  # what a keyframe has, and a morph has not
WALKED = [name for name in PAINTING if name not in OF_ONE and not (OF_ONE - {"image"}) & {*OPTIONS[name].needs}]


@app.command(epilog=examples("morph"))
@takes(WALKED)
def morph(
    context: typer.Context,
    prompts: Annotated[list[str], typer.Argument(help="What to paint at each keyframe.", show_default=False)],
    *,
    seeds: Annotated[str | None, typer.Option(help="A seed for each keyframe, or one: 1,2; random.")] = None,
    image: Annotated[list[Path] | None, typer.Option(help="A picture to start a keyframe from; once for each.")] = None,
    frames: Annotated[int, typer.Option(help="How many pictures.")] = 24,
    seconds: Annotated[float, typer.Option(help="How long the film is.")] = 4.0,
    ease: Annotated[
        str,
        typer.Option(
            help=f"How frames are spaced: {', '.join([EVEN, *EASES])}.", autocompletion=offered([EVEN, *EASES])
        ),
    ] = EVEN,
    loop: Annotated[bool, typer.Option("--loop", help="Return to the first keyframe at the end.")] = False,
    ping_pong: Annotated[bool, typer.Option("--ping-pong", help="Play forwards, then backwards.")] = False,
    output: Annotated[Path, typer.Option("-o", "--output", help="FILE.gif, .webp, .png or .mp4.")] = Path("morph.gif"),
    force: Force = False,
    no_metadata: NoMetadata = False,
    as_json: Json = False,
    loading: dict[str, Any],
    options: dict[str, Any],
) -> None:
    """Walk from PROMPT to PROMPT through latent space, as a film."""
    started = perf_counter()
    films.planned_film(output, force)
    progress = context.with_resource(ProgressBar("frame"))

    def check() -> None:
        check_alone(options)
        check_models(loading, options)

    pipe = kept_to_the_end(context, loaded(progress, check=check, **loading))
    options = models_at_hand(options, pipe.engine)
    keys = parts(seeds) if seeds else None
    requests = keyframes(pipe, prompts, options.pop("negative", None), keys, image or (), options)
    steps_and_pictures = between(pipe, requests, frames=frames, ease=ease, loop=loop)
    total = 2 * frames - 2 if ping_pong else frames
    lasts = films.playing_time(total, seconds)
    shape = {"frames": frames, "seconds": lasts, "ease": ease, "loop": loop, "ping_pong": ping_pong}
    settings = None if no_metadata else record(pipe, requests, **shape)
    results: list[Result] = []

    def pictures() -> Iterator[Image]:
        for frame in progress.frames(steps_and_pictures, frames):
            if frame.result:
                results.append(frame.result.without_pixels())
                yield frame.result.images[0]

    shown = films.ping_pong(pictures()) if ping_pong else pictures()
    file = films.save(shown, output, max(lasts / total, films.SHORTEST), overwrite=force, settings=settings)
    warnings = [*dict.fromkeys(warning for result in results for warning in result.warnings)]
    warnings += longer_than_asked(lasts, seconds)
    warn(*progress.untold(warnings))
    facts = {"path": str(file), "frames": total, "seconds": lasts, "ease": ease, "loop": loop}
    facts["settings"] = [dict(result.settings) for result in (results[0], results[-1])]
    facts |= {"total_s": round(perf_counter() - started, 4), "warnings": warnings}
    tell(facts, file, as_json=as_json)


def longer_than_asked(lasts: float, seconds: float) -> list[str]:
    """A warning for a film whose frames would pass too fast for viewers."""
    if lasts <= seconds:
        return []
    return [
        f"the film lasts {lasts:g} s instead of {seconds:g}, because viewers slow down frames shorter than"
        f" {films.SHORTEST:g} s; choose fewer --frames"
    ]
