"""Adopting: a folder of graphs that another tool has exported gets a bundle.json, and stays as it was."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pleinair.adopting.folder import (
    COMMAND,
    ENCODER,
    FORMATS,
    OWN_VAE,
    FoundGraphs,
    check_folder,
    find_graphs,
    is_vae_alone,
    plain_version,
)
from pleinair.adopting.layout import has, inside
from pleinair.adopting.lone_vaes import FAMILY, configs_of_vae, manifest_of_vae, vae_alone
from pleinair.adopting.model import described, read_index
from pleinair.adopting.ports import EXPORT, graph_info, together
from pleinair.adopting.scheduler import WALKED, scheduler_of
from pleinair.adopting.tokens import tokenizer_of
from pleinair.adopting.wanted import answer_kind, tokens_of, wanted
from pleinair.adopting.writing import write_all
from pleinair.bundle.manifest import MANIFEST, MASK, GraphInfo, Manifest, Origin
from pleinair.bundle.manifest_checks import check_manifest
from pleinair.bundle.opening import Bundle, open_bundle
from pleinair.bundle.verifying import FileInfo, file_info, info_of
from pleinair.checks import one_line, one_of, shown_path
from pleinair.errors import BundleError, RequestError
from pleinair.sources.defaults import own_sampler, settled
from pleinair.sources.describing import VAES, Described, Made, Tokens, painter_manifest
from pleinair.sources.folder import licence
from pleinair.sources.hub_cache import snapshot_of
from pleinair.sources.settings import check_sides, read_settings
from pleinair.text.encoders import NORM
from pleinair.version import __version__

README = "README.md"
DIFFERENT = "the {form} graphs have other ports and are left out; to use them instead: --force --format {form}"
UNKNOWN = FileInfo(0, "0" * 64)  # of a file that is still to be hashed


@dataclass(frozen=True)
class Adoption:
    """A folder that can be adopted: its manifest, without the hashes of `files`, and the `new` files to be written.

    New ones are given as their content, or as a file of another folder to copy. `warnings` tell of graphs that are left
    out.
    """

    root: Path
    manifest: Manifest
    files: Mapping[str, Path]
    new: Mapping[str, bytes | Path]
    warnings: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes that are read once, to hash them."""
        return sum(path.stat().st_size for path in self.files.values())


def adopt(
    folder: str | Path,
    *,
    vae: str | Path | None = None,
    format: str | None = None,
    sampler: str | None = None,
    force: bool = False,
) -> Bundle:
    """Make a folder of OpenVINO or ONNX graphs that another tool has exported a bundle, and open it.

    bundle.json and what small files are missing are written into it; nothing that is there is changed. `vae` is a
    folder with another VAE, such as a TAESD, which is copied. `format` is "openvino" or "onnx" where only one is to be
    used. `sampler` is what is painted with unless told. `force` adopts a folder again. Raises BundleError, RequestError
    or ResourceError, and leaves the folder as it was.
    """
    return written(judged(folder, vae=vae, format=format, sampler=sampler, force=force))


def judged(
    folder: str | Path,
    *,
    vae: str | Path | None = None,
    format: str | None = None,
    sampler: str | None = None,
    force: bool = False,
) -> Adoption:
    """What adopting a folder would write, told from its small files and its graphs' ports; raises as `adopt` does."""
    root, other = snapshot_of(real_path(folder)), None if vae is None else real_path(vae)
    sampler = None if sampler is None else own_sampler(sampler)
    check_folder(root, other, force)
    if is_vae_alone(root):
        if other is not None or sampler is not None:
            raise RequestError(f"'{shown_path(root)}' holds a VAE, not a model; leave --vae and --sampler out")
        return judged_vae(root, format)
    index, family = read_index(root)
    forms = FORMATS if format is None else (one_of("format", format, FORMATS),)
    by_form, warnings = find_graphs(root, other, family, forms)
    model = described(root, index, family, outlines(by_form), other)
    tokens, new = tokenizers(root, model)
    graphs, different = together({form: infos(root, model, form, each, tokens) for form, each in by_form.items()})
    warnings += tuple(DIFFERENT.format(form=form) for form in different)
    scheduler, walked, guess = scheduler_of(root, index, family, sampler)
    warnings += (guess,) if guess else ()
    new |= {WALKED: as_json(walked)} if scheduler == WALKED else {}
    files = graph_files(by_form, graphs) | small_files(root, model, scheduler, other is not None)
    files = {name: path for name, path in files.items() if name not in new}
    manifest = manifest_of(root, model, graphs, walked, tokens, sampler)
    manifest = fitted(root, model, manifest, by_form, scheduler)
    check_manifest(replace(manifest, files=dict.fromkeys([*files, *new], UNKNOWN)))
    copies = {name: path for name, path in files.items() if name.startswith(OWN_VAE)}
    return Adoption(root, manifest, files, {**copies, **new}, warnings)


def judged_vae(root: Path, format: str | None) -> Adoption:
    """The same for a folder of a VAE's graphs alone."""
    forms = FORMATS if format is None else (one_of("format", format, FORMATS),)
    by_form, warnings = find_graphs(root, None, FAMILY, forms)
    model = vae_alone(root, outlines(by_form))
    graphs, different = together({form: infos(root, model, form, each, {}) for form, each in by_form.items()})
    found = next(iter(by_form.values()))
    manifest = manifest_of_vae(root, model, graphs, found)
    files = graph_files(by_form, graphs) | configs_of_vae(root)
    check_manifest(replace(manifest, files=dict.fromkeys(files, UNKNOWN)))
    warnings += tuple(DIFFERENT.format(form=form) for form in different)
    return Adoption(root, manifest, files, {}, warnings)


def real_path(folder: str | Path) -> Path:
    """A folder without links on the way to it; RequestError for one that no system can look for."""
    try:
        path = Path(folder).resolve()
        path.exists()
        return path
    except (OSError, ValueError, RuntimeError) as error:  # too long; a NUL in it; links in a circle
        why = getattr(error, "strerror", None) or error
        raise RequestError(
            f"cannot look at '{shown_path(Path(folder))}' ({one_line(why, 60)}); check the path"
        ) from None


def written(adoption: Adoption) -> Bundle:
    """Hash the files of a folder, write what it lacks, bundle.json last, and open it."""
    files = {name: file_info(path) for name, path in adoption.files.items()}
    files |= {name: info_of(content) for name, content in adoption.new.items() if isinstance(content, bytes)}
    manifest = replace(adoption.manifest, files=dict(sorted(files.items())))
    write_all(adoption.root, {**adoption.new, MANIFEST: manifest.to_json().encode("utf-8")})
    return open_bundle(adoption.root)


def outlines(found: Mapping[str, FoundGraphs]) -> dict[str, Any]:
    """The outlines of the graphs in the preferred format."""
    return {name: graph.outline for name, graph in next(iter(found.values())).items()}


def infos(
    root: Path, model: Described, form: str, graphs: FoundGraphs, tokens: Mapping[str, Tokens]
) -> dict[str, GraphInfo]:
    """The graphs of one format as the manifest has them."""
    return {
        name: graph_info(root / name, form, graph, *wanted(model, name, graph.outline, tokens))
        for name, graph in graphs.items()
    }


def tokenizers(root: Path, model: Described) -> tuple[dict[str, Tokens], dict[str, bytes | Path]]:
    """What is said of each tokenizer folder, and the tokenizer.json of those that lack it."""
    tokens, new = {}, {}
    for part in model.family.readers:
        tokens[part.tokenizer], made = tokenizer_of(root, part, tokens_of(model, part))
        new |= {} if made is None else {f"{part.tokenizer}/tokenizer.json": made}
    return tokens, new


def graph_files(found: Mapping[str, FoundGraphs], graphs: Mapping[str, GraphInfo]) -> dict[str, Path]:
    """The files of the graphs, in the formats that are used."""
    forms = next(iter(graphs.values())).files
    return {name: path for form in forms for graph in found[form].values() for name, path in graph.files.items()}


def small_files(root: Path, model: Described, scheduler: str, other_vae: bool) -> dict[str, Path]:
    """The folder's own small files that a bundle of it reads."""
    names = [scheduler, *(f"{part.tokenizer}/tokenizer.json" for part in model.family.readers)]
    graphs = [name for part in model.family.parts for name in part.graphs]
    optional = [f"{name}/config.json" for name in graphs if not (other_vae and name.startswith("vae"))]
    optional += [f"{part.folder}/{NORM}" for part in model.family.readers]
    names += [name for name in optional if has(root, name)]
    return {name: inside(root, name) for name in names if has(root, name)}


def manifest_of(
    root: Path,
    model: Described,
    graphs: dict[str, GraphInfo],
    scheduler: dict[str, Any],
    tokens: dict[str, Tokens],
    sampler: str | None,
) -> Manifest:
    """The manifest of an export of the model, with this folder's graphs."""
    settings = read_settings(root)
    wishes = settings.defaults | ({} if sampler is None else {"sampler": sampler})
    defaults = settled(root, model, scheduler, wishes)
    check_sides(settings.sizes, defaults)
    source = one_line(root.name, 200)
    tools = {"pleinair": __version__, **plain_version(model.index.get("_diffusers_version"))}
    card = inside(root, README) if has(root, README) else root / README
    made = Made(
        name=settings.name,
        graphs=graphs,
        files={},
        origin=Origin(source, None, licence(card), f"{COMMAND} {source}", tools),
        defaults=defaults,
        tokens=tokens,
        vocabulary=settings.vocabulary,
        sizes=settings.sizes,
    )
    return painter_manifest(model, made)


def fitted(
    root: Path, model: Described, manifest: Manifest, found: Mapping[str, FoundGraphs], scheduler: str
) -> Manifest:
    """The manifest of what this folder's graphs can do; BundleError where that is nothing."""
    (output,) = manifest.graphs[manifest.denoiser.graph].outputs
    tasks = manifest.tasks
    known = VAES.get(model.configs["vae"].get("_class_name"))
    vae = replace(manifest.vae, encoder=None, tile=known and known.tile)
    if ENCODER in manifest.graphs:
        (answer,) = manifest.graphs[ENCODER].outputs
        kind = answer_kind(model, outlines(found)[ENCODER])
        vae = replace(vae, encoder=ENCODER, kind=kind, answer=answer)
    else:
        tasks = tuple(task for task in tasks if task == "text2image")
    if not tasks:
        raise BundleError(
            f"'{shown_path(root)}' paints over pictures and has no graph of its {ENCODER}; download it again with"
            f" that, or {EXPORT}"
        )
    denoiser = replace(manifest.denoiser, output=output)
    encoders = tuple(
        replace(each, reads_all=not each.masked and MASK in manifest.graphs[each.graph].inputs)
        for each in manifest.text_encoders
    )
    return replace(
        manifest,
        tasks=tasks,
        vaes={"default": vae},
        denoisers=(denoiser,),
        text_encoders=encoders,
        scheduler=scheduler,
    )


def as_json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode("utf-8")
