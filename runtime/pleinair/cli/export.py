"""`pleinair export`: a model made into a bundle, where the export extra is installed."""

from pathlib import Path
from typing import Annotated

import typer

from pleinair.bundle.opening import open_bundle
from pleinair.bundle.shipped import shipped_bundle
from pleinair.checks import one_line, one_of
from pleinair.cli.flags import WEIGHTS, FormatFlag, Json, OwnSampler, Replace, WeightsFlag, formats_of, offered
from pleinair.cli.info import description
from pleinair.cli.terminal import say, tell
from pleinair.cli.usage import examples
from pleinair.errors import RequestError
from pleinair.pouring.told import PREDICTIONS
from pleinair.sources.hub_cache import usual_name
from pleinair.sources.hub_ids import OnHub, on_hub
from pleinair.system import install
from pleinair.system.home import is_name, models_folder

ACTIVATIONS = ("fp32", "int8")
app = typer.Typer(add_completion=False)


@app.command(epilog=examples("export"))
def export(
    source: Annotated[
        str,
        typer.Argument(
            help="A diffusers folder, the file of a model, ControlNet or upscaler, or a name on the hub.",
            show_default=False,
        ),
    ],
    out: Annotated[Path | None, typer.Argument(help="The bundle to write.", show_default="among the models")] = None,
    form: FormatFlag = "openvino",
    weights: WeightsFlag = "fp16",
    activations: Annotated[
        str,
        typer.Option(
            help="fp32; or int8, with --weights int8: large layers compute in int8 too (W8A8).",
            autocompletion=offered(ACTIVATIONS),
        ),
    ] = "fp32",
    prompts: Annotated[
        Path | None,
        typer.Option(
            help="With --activations int8: the prompts it paints to learn ranges, one a line.",
            show_default="general prompts",
        ),
    ] = None,
    sampler: OwnSampler = None,
    prediction: Annotated[
        str | None,
        typer.Option(
            help="epsilon or v_prediction, if a single file does not say.",
            show_default="what the file says",
            autocompletion=offered(PREDICTIONS),
        ),
    ] = None,
    lora: Annotated[
        list[str] | None,
        typer.Option(help="LoRA file to merge in, FILE or FILE:WEIGHT; may be repeated.", show_default=False),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit of a model on the hub.", show_default="main")
    ] = None,
    force: Replace = False,
    as_json: Json = False,
) -> None:
    """Turn a diffusers model, a VAE, a ControlNet or an ESRGAN upscaler into a bundle; needs the `export` extra."""
    formats = formats_of(form)
    install.need("model export")
    from pleinair_export import export as export_model
    from pleinair_export.quantized import check_activations, export_quantized

    check_activations(activations, weights, formats)
    named = only_there(source)
    if named is None and revision is not None:
        raise RequestError("--revision is only for models on the hub, and SOURCE is on this disk; leave it out")
    out = out or usual_out(named.name if named else usual_name(Path(source)))
    folder = fetched(named.id, revision or named.revision, out, weights, force) if named else Path(source)
    how = {"formats": formats, "weights": weights, "sampler": sampler, "prediction": prediction, "force": force}
    how["loras"] = lora or ()
    if activations == "int8":
        how.pop("weights")
        steps = export_quantized(folder, out, prompts=prompts, **how)
    else:
        steps = export_model(folder, out, **how)
    for progress in steps:
        found = f"  {progress.fidelity.psnr_db:.1f} dB" if progress.fidelity else ""
        say(f"[{progress.done:2}/{progress.total}] {progress.graph:12} {progress.stage}{found}")
    tell(description(open_bundle(out)), out, as_json=as_json)


def only_there(source: str) -> OnHub | None:
    """What SOURCE must be on the hub: nothing of that name is here, nor a folder that it would lie in.

    Raises RequestError for the address of one file, which is fetched first.
    """
    named, path = on_hub(source), Path(source)
    if named is None or path.exists() or path.parent.exists():
        return None
    if named.file:
        raise RequestError(f"'{one_line(source, 120)}' is one file of a repository; fetch it with: {named.command}")
    return named


def usual_out(name: str) -> Path:
    """The model of a source's name; raises RequestError for a name that no other model can have."""
    if shipped_bundle(name):
        raise RequestError(f"'{name}' ships with pleinair; say where to write this one: SOURCE OUT")
    if not is_name(name):
        raise RequestError(f"no model can be called '{one_line(name, 80)}'; say where to write it: SOURCE OUT")
    return models_folder() / name


def fetched(id: str, revision: str | None, out: Path, weights: str, force: bool) -> Path:
    """The diffusers folder of a model on the hub, downloaded when all else is known to be right."""
    install.need("downloads from the hub")
    from pleinair.bundle.staging import check_target
    from pleinair.cli.pull import followed
    from pleinair.library.choosing import FOLDER
    from pleinair.library.pulling import pull

    one_of("weights", weights, WEIGHTS)
    check_target(out.resolve(), force)
    say(f"'{id}' is not on this disk, so it is fetched from the hub")
    return followed(id, pull(id, revision=revision, kinds=(FOLDER,), only_download=True)).folder
