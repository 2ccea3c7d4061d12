"""`pleinair info`: what a bundle is, whether its files are whole, and whether it paints within limits."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from pleinair.bundle.opening import Bundle, open_bundle
from pleinair.cli import sandbox as sandboxes
from pleinair.cli.flags import Json
from pleinair.cli.given import at_hand
from pleinair.cli.terminal import aligned, complain, failure, tell
from pleinair.cli.usage import examples
from pleinair.engines.engine import ENGINES, installed
from pleinair.errors import BundleError, RequestError
from pleinair.system import machine
from pleinair.system.home import models_folder

app = typer.Typer(add_completion=False)


@app.command(epilog=examples("info"))
def info(
    bundle: Annotated[Path | None, typer.Argument(help="Bundle, checkpoint or name; storybook if not given.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Check every file against its SHA-256.")] = False,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Paint one step in a process of limited time and memory.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what a bundle is and what it can do."""
    model = at_hand(bundle)
    opened = open_bundle(model, verify=not verify)  # damage() looks at all files, and names more than the first
    damaged = opened.damage() if verify else []
    facts = {**description(opened), "models_folder": str(models_folder())}
    if verify:
        facts["verified"] = not damaged
        facts["damaged"] = damaged
    trials = tried_on_every_engine(opened) if sandbox and not damaged else []
    if sandbox:
        facts["sandbox"] = {trial.engine: trial_facts(trial) for trial in trials}
    problem = found_wrong(damaged, trials)
    failed = failure(problem, BundleError.exit_code, BundleError.__name__) if problem else {}
    tell({**facts, **failed}, *aligned(facts), as_json=as_json)
    if problem:
        raise typer.Exit(complain(problem, BundleError.exit_code, BundleError.__name__))


def found_wrong(damaged: list[str], trials: list[sandboxes.SandboxTrial]) -> str | None:
    """What is wrong with a bundle, in one line."""
    if damaged:
        return f"damaged: {'; '.join(damaged)}; restore the files or export the model again"
    failures = [trial for trial in trials if trial.problem]
    if not failures:
        return None
    why = failures[0].problem
    return (
        f"tried on {failures[0].engine} within limits: {why}; do not use a model like that unless you trust its maker"
    )


def trial_facts(trial: sandboxes.SandboxTrial) -> dict[str, Any]:
    peak = None if trial.peak_mb is None else round(trial.peak_mb, 1)
    return {"painted": trial.problem is None, "seconds": round(trial.seconds, 1), "peak_mb": peak}


def tried_on_every_engine(bundle: Bundle) -> list[sandboxes.SandboxTrial]:
    """The bundle painted from within limits, on every installed engine that it has graphs for."""
    if not bundle.manifest.paints:
        raise RequestError(f"'{bundle.manifest.name}' paints nothing by itself; leave --sandbox out")
    memory_mb = int(machine.memory_bytes() * sandboxes.MEMORY_SHARE / sandboxes.MB)
    engines = [name for name, info in ENGINES.items() if info.format in bundle.formats and installed(name)]
    return [sandboxes.tried(bundle.path, engine, memory_mb=memory_mb) for engine in engines]


def description(bundle: Bundle) -> dict[str, Any]:
    """The facts of a bundle that `info` shows."""
    manifest = bundle.manifest
    graphs = {
        name: {
            "formats": sorted(graph.files),
            "weights": graph.form,
            "fidelity_db": {form: round(found.psnr_db, 1) for form, found in graph.fidelity.items()},
            "mb": {
                form: round(sum(manifest.files[file].size for file in files) / 1e6, 1)
                for form, files in graph.files.items()
            },
        }
        for name, graph in manifest.graphs.items()
    }
    return {
        "name": manifest.name,
        "family": manifest.family,
        "tasks": list(bundle.manifest.tasks),
        "formats": list(bundle.formats),
        **facts_of_kind(bundle),
        "graphs": graphs,
        "origin": asdict(manifest.origin),
    }


def facts_of_kind(bundle: Bundle) -> dict[str, Any]:
    """The facts that only bundles of its kind have."""
    if bundle.upscales:
        return {"scale": bundle.manifest.scale}
    if bundle.manifest.control:
        return control_facts(bundle)
    return painter_facts(bundle) if bundle.manifest.paints else vae_facts(bundle)


def vae_facts(bundle: Bundle) -> dict[str, Any]:
    """The facts of a VAE on its own, which say what models it is for."""
    vae = bundle.manifest.vae
    numbers = {"downsample": vae.downsample, "scale": vae.scale, "shift": vae.shift, "kind": vae.kind}
    return {"channels": bundle.manifest.latents.channels, **numbers}


def control_facts(bundle: Bundle) -> dict[str, Any]:
    """What a ControlNet is for: the width of the text that it reads, and what it adds to."""
    part = bundle.manifest.control
    outputs = bundle.manifest.graphs[part.graph].outputs
    return {"residuals": [outputs[port].shape[1] for port in part.residuals], "pooled": part.pooled}


def painter_facts(bundle: Bundle) -> dict[str, Any]:
    """The facts that only a bundle that paints has."""
    return {
        "prediction_type": bundle.scheduler_config.get("prediction_type", "epsilon"),
        "scheduler": bundle.scheduler_config.get("_class_name"),
        "defaults": asdict(bundle.manifest.defaults),
        "sizes": asdict(bundle.manifest.sizes) if bundle.manifest.sizes else None,
        "vocabulary": list(bundle.manifest.vocabulary) or None,
    }
