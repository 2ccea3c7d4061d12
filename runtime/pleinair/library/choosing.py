"""Which files of a repository are a model: no second copy of weights, no pictures, nothing that can run."""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from pleinair.bundle.manifest import MANIFEST
from pleinair.bundle.manifest_checks import check_manifest
from pleinair.bundle.opening import read_manifest
from pleinair.checks import one_line, quoted
from pleinair.errors import BundleError
from pleinair.library.repository import Repository
from pleinair.pouring.vaes import called_as_halves
from pleinair.sources.controlnets import CONTROLNET, check_kind
from pleinair.sources.families import DENOISERS, Component
from pleinair.sources.folder import STEMS, known_family, read_config, read_index
from pleinair.sources.pickled import ALLOW, SUFFIXES
from pleinair.sources.settings import SETTINGS
from pleinair.sources.vae_folders import CONFIG_FILE, PARTS
from pleinair.sources.weight_files import VARIANTS, first_of, is_index, pickled_sets_of, sets_of, shards

BUNDLE, OPENVINO, ONNX, FOLDER, FILE = "bundle", "openvino", "onnx", "diffusers", "file"
COMPONENT = "component"  # a VAE or a ControlNet alone, as diffusers saves one
KINDS = (BUNDLE, OPENVINO, ONNX, FOLDER, COMPONENT)  # in the order in which they are preferred
SOURCES = (FOLDER, COMPONENT, FILE)  # of which a model is to be made
INDEX = "model_index.json"
CARD = "README.md"  # says the licence
GRAPHS = {OPENVINO: "openvino_model.xml", ONNX: "model.onnx"}
LANDMARKS = {
    BUNDLE: MANIFEST,
    FOLDER: INDEX,
    COMPONENT: CONFIG_FILE,
    **{form: f"*/{graph}" for form, graph in GRAPHS.items()},
}
DECODER, ENCODER = "vae_decoder", "vae_encoder"
PARTS_ALONE = {**PARTS, CONTROLNET.kind: CONTROLNET}  # by class of diffusers
SHOWN = 5  # files that are named
APART = re.compile(r"lora|lycoris|vae|unet|control|embedding|adapter|encoder", re.I)  # in names of what is no model
UNUSED = ("safety_checker", "feature_extractor", "image_encoder")
TEXTS = (".json", ".txt", ".model")  # configs and tokenizers
OTHERS = (".safetensors", ".ckpt", ".pt", ".pth", ".msgpack", ".h5", ".xml", ".md", ".png", ".jpg", ".jpeg", ".webp")
FOREIGN = ("openvino_", "pytorch_model", "diffusion_pytorch_model", "flax_model", "tf_model")
HALF_FIRST = ("fp16", "bf16", None)  # variants: bundles are stored in 16 bits unless told
Read = Callable[[str], Path]  # the name of a small file -> where it has been fetched to


def kind_of(repository: Repository, kinds: Iterable[str]) -> str:
    """The first of `kinds` that a repository is; BundleError, with what leads on, where it is none of them."""
    found = next((kind for kind in kinds if kind in kinds_of(repository)), None)
    if found is None:
        raise BundleError(f"'{repository.id}' {held(repository)}")
    return found


def kinds_of(repository: Repository) -> list[str]:
    """All of KINDS that a repository is."""
    has = {
        BUNDLE: MANIFEST in repository.files,
        **{form: is_export(repository, form) for form in GRAPHS},
        FOLDER: INDEX in repository.files,
        COMPONENT: is_component(repository),
    }
    return [kind for kind in KINDS if has[kind]]


def held(repository: Repository) -> str:
    """What a repository is that holds no model of the wanted kinds, and what leads on."""
    if MANIFEST in repository.files:
        return f"is a bundle already; fetch it with: pleinair pull {repository.id}"
    singles = single_files(repository) or single_files(repository, ".ckpt")
    if singles:
        pickled = f" {ALLOW}" if singles[0].endswith(SUFFIXES) else ""
        sizes = [f"{each} ({repository.files[each].size / 1e9:.1f} GB)" for each in singles[:SHOWN]]
        more = f" and {len(singles) - SHOWN} more" if len(singles) > SHOWN else ""
        return (
            f"has no {INDEX}, and has {', '.join(one_line(each, 100) for each in sizes)}{more}; fetch one of its"
            f" files with: pleinair pull {repository.id} --file {quoted(singles[0])}{pickled}"
        )
    return f"has no {INDEX} and no folders of OpenVINO or ONNX graphs; choose a model that has"


def single_files(repository: Repository, suffix: str = ".safetensors") -> list[str]:
    """The files that may be whole models, the largest first; what only parts of models are called stands last."""
    names = [name for name in repository.files if name.endswith(suffix)]

    def by_use(name: str) -> tuple[bool, int, str]:
        return bool(APART.search(name)), -repository.files[name].size, name

    return sorted(names, key=by_use)


def files_of(
    repository: Repository, kind: str, read: Read, weights: str | None = None, pickles: bool = False
) -> list[str]:
    """The files that make a model of a kind; `weights` are how it is to be stored, where that is said.

    Where there are no safetensors, weights may be `pickles`. Raises ExportError, BundleError or NetworkError where some
    files are missing.
    """
    if kind == BUNDLE:
        return of_bundle(repository, read)
    if kind == COMPONENT:
        part = part_alone(repository, read)
        weights_there = weights_of(repository, replace(part, folder=""), read, weights, pickles)
        return [CONFIG_FILE, *weights_there, *repository.optional(CARD)]
    return of_export(repository, kind) if kind in GRAPHS else of_folder(repository, read, weights, pickles)


def of_file(repository: Repository, name: str, pickles: bool = False) -> list[str]:
    """One file of weights, what belongs to it where it is a VAE (its config.json, TAESD's other half), and the card."""
    if name in repository.files and name.endswith(SUFFIXES) and not pickles:
        raise refused(f"'{one_line(name, 80)}' of '{repository.id}' is a pickle")
    if name not in repository.files or not name.endswith((".safetensors", *SUFFIXES)):
        there = single_files(repository)
        hint = f"choose from: {', '.join(there[:SHOWN])}" if there else "choose another repository"
        raise BundleError(f"'{repository.id}' has no .safetensors file '{one_line(name, 80)}'; {hint}")
    folder, _ = parted(name)
    halves = (each.as_posix() for each in called_as_halves(Path(name)))
    beside = (f"{folder}/config.json" if folder else "config.json", *(each for each in halves if each != name))
    return [name, *repository.optional(CARD, *beside)]


def of_bundle(repository: Repository, read: Read) -> list[str]:
    """What bundle.json lists."""
    manifest = read_manifest(read(MANIFEST).parent)
    check_manifest(manifest)
    return [*dict.fromkeys([MANIFEST, *repository.require(*manifest.files), *repository.optional(INDEX, CARD)])]


def of_export(repository: Repository, form: str) -> list[str]:
    """Another tool's graphs in one format, with the configs and tokenizers beside them."""
    graphs = graph_folders(repository, form)
    chosen = repository.optional(INDEX, CARD, "openvino_config.json", CONFIG_FILE)
    for name in repository.files:
        folder, leaf = parted(name)
        texts = folder.startswith(("tokenizer", "scheduler")) and "/" not in folder
        if texts and (leaf.endswith(TEXTS) or (form == OPENVINO and leaf.startswith("openvino_tokenizer."))):
            chosen.append(name)
        if folder in graphs and belongs(repository, folder, leaf, form):
            chosen.append(name)
    return chosen


def is_export(repository: Repository, form: str) -> bool:
    """Whether a repository has the graphs of a whole model in a format (of every text encoder, the network, the VAE),
    or of a VAE and nothing else."""
    graphs, folders = graph_folders(repository, form), {folder for folder, _ in map(parted, repository.files)}
    texts = {folder for folder in folders if folder.startswith("text_encoder") and "/" not in folder}
    if DECODER not in graphs:
        return False
    alone = graphs <= {DECODER, ENCODER} and not texts and folders.isdisjoint(DENOISERS)
    return alone or (bool(texts) and texts <= graphs and not graphs.isdisjoint(DENOISERS))


def is_component(repository: Repository) -> bool:
    """Whether a repository has a config and weights in no folder, as those of one network of diffusers lie."""
    stem, beside = STEMS[CONTROLNET.library], [name for name in repository.files if "/" not in name]
    there = sets_of(stem, beside) or pickled_sets_of(stem, beside)
    return CONFIG_FILE in repository.files and bool(there)


def part_alone(repository: Repository, read: Read) -> Component:
    """The VAE or ControlNet that a repository is; raises ExportError for what is only like one, and damage."""
    config = read_config(read(CONFIG_FILE))
    kind = config.get("_class_name")
    check_kind(kind, repository.id)
    if not isinstance(kind, str) or kind not in PARTS_ALONE:
        raise BundleError(
            f"'{repository.id}' is {one_line(kind, 60)} alone, which is neither a model nor a VAE nor a ControlNet;"
            " choose another repository"
        )
    return PARTS_ALONE[kind]


def graph_folders(repository: Repository, form: str) -> set[str]:
    """The folders that hold a graph in a format and are of use here."""
    found = {folder for folder, leaf in map(parted, repository.files) if leaf == GRAPHS[form]}
    return {folder for folder in found if folder and "/" not in folder} - {*UNUSED}


def belongs(repository: Repository, folder: str, leaf: str, form: str) -> bool:
    """Whether a file beside a graph is needed for it: what an ONNX graph takes its weights from may have any name."""
    if form == OPENVINO:
        return leaf.endswith((".json", ".txt")) or leaf.startswith("openvino_model.")
    graphs = {each for parent, each in map(parted, repository.files) if parent == folder and each.endswith(".onnx")}
    others = tuple(graphs - {GRAPHS[ONNX]})  # model_fp16.onnx, and what begins like it
    return not leaf.endswith(OTHERS) and not leaf.startswith((*FOREIGN, *others))


def of_folder(repository: Repository, read: Read, weights: str | None, pickles: bool = False) -> list[str]:
    """A diffusers folder: each component's config and weights, tokenizers, and the scheduler's config."""
    parts = known_family(Path(repository.id), read_index(read(INDEX))).parts
    configs = ["scheduler/scheduler_config.json", *(f"{part.folder}/config.json" for part in parts)]
    stored = [name for part in parts for name in weights_of(repository, part, read, weights, pickles)]
    tokenizers = {part.tokenizer for part in parts if part.tokenizer is not None}
    words = [name for name in repository.files if parted(name)[0] in tokenizers and name.endswith(TEXTS)]
    return [INDEX, *repository.require(*configs), *stored, *words, *repository.optional(CARD, SETTINGS)]


def weights_of(repository: Repository, part: Component, read: Read, weights: str | None, pickles: bool) -> list[str]:
    """A component's weights, once: a file, or an index and its shards; 16-bit ones first, unless `weights` are fp32.

    One without a folder lies in none.
    """
    where = f"in '{part.folder}'" if part.folder else "for its config.json"
    beside = [leaf for folder, leaf in map(parted, repository.files) if folder == part.folder]
    there = sets_of(STEMS[part.library], beside)
    if not there:
        there = pickled_sets_of(STEMS[part.library], beside)
        if there and not pickles:
            raise refused(f"'{repository.id}' has no safetensors {where} but a pickle")
    if not there:
        raise BundleError(f"'{repository.id}' has no safetensors {where}; choose another --revision or repository")
    inside = PurePosixPath(part.folder)
    name = (inside / there[first_of(there, VARIANTS if weights == "fp32" else HALF_FIRST)]).as_posix()
    if not is_index(name):
        return [name]
    return [name, *repository.require(*((inside / each).as_posix() for each in sorted(shards(read(name)))))]


def refused(what: str) -> BundleError:
    return BundleError(
        f"{what}, which can run programs of its maker in other tools, and nothing was fetched; choose another"
        f" repository, or fetch it, to read its weights alone, with {ALLOW}"
    )


def parted(name: str) -> tuple[str, str]:
    """unet/model.onnx -> ("unet", "model.onnx")"""
    path = PurePosixPath(name)
    return ("" if len(path.parts) == 1 else path.parent.as_posix()), path.name
