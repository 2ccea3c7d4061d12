"""Which files of a repository are a model: no second copy of weights, no pictures, nothing that can run."""

from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from pleinair.bundle.manifest import MANIFEST
from pleinair.bundle.manifest_checks import check_manifest
from pleinair.bundle.opening import read_manifest
from pleinair.checks import one_line
from pleinair.errors import BundleError
from pleinair.library.repository import Repository
from pleinair.sources.families import Part
from pleinair.sources.folder import STEMS, known_family, read_config
from pleinair.sources.settings import SETTINGS
from pleinair.sources.weight_files import shards

BUNDLE, OPENVINO, ONNX, FOLDER, FILE = "bundle", "openvino", "onnx", "diffusers", "file"
KINDS = (BUNDLE, OPENVINO, ONNX, FOLDER)  # in the order in which they are preferred
SOURCES = (FOLDER, FILE)  # of which a model is to be made
INDEX = "model_index.json"
CARD = "README.md"  # says the licence
GRAPHS = {OPENVINO: "openvino_model.xml", ONNX: "model.onnx"}
LANDMARKS = {BUNDLE: MANIFEST, FOLDER: INDEX, **{form: f"*/{graph}" for form, graph in GRAPHS.items()}}
UNUSED = ("safety_checker", "feature_extractor", "image_encoder")
TEXTS = (".json", ".txt", ".model")  # configs and tokenizers
OTHERS = (".safetensors", ".ckpt", ".pt", ".pth", ".msgpack", ".h5", ".xml", ".md", ".png", ".jpg", ".jpeg", ".webp")
FOREIGN = ("openvino_", "pytorch_model", "diffusion_pytorch_model", "flax_model", "tf_model")
VARIANTS = (".fp16", "")  # half the size first: bundles are stored in 16 bits unless told
Read = Callable[[str], Path]  # the name of a small file -> where it has been fetched to


def kind_of(repository: Repository, kinds: Iterable[str]) -> str:
    """The first of `kinds` that a repository is; BundleError, with what leads on, where it is none of them."""
    has = {
        BUNDLE: MANIFEST in repository.files,
        **{form: bool(graph_folders(repository, form)) for form in GRAPHS},
        FOLDER: INDEX in repository.files,
    }
    found = next((kind for kind in kinds if has[kind]), None)
    if found is None:
        raise BundleError(f"'{repository.id}' {held(repository)}")
    return found


def held(repository: Repository) -> str:
    """What a repository is that holds no model of the wanted kinds, and what leads on."""
    if MANIFEST in repository.files:
        return f"is a bundle already; fetch it with: pleinair pull {repository.id}"
    singles = sorted(name for name in repository.files if "/" not in name and name.endswith(".safetensors"))
    if singles:
        return f"has no {INDEX}; take one of its files with: pleinair pull {repository.id} --file {singles[0]}"
    return f"has no {INDEX} and no folders of OpenVINO or ONNX graphs; choose a model that has"


def files_of(repository: Repository, kind: str, read: Read) -> list[str]:
    """The files that make a model of a kind; raises ExportError, BundleError or NetworkError where some are missing."""
    if kind == BUNDLE:
        return of_bundle(repository, read)
    return of_export(repository, kind) if kind in GRAPHS else of_folder(repository, read)


def of_file(repository: Repository, name: str) -> list[str]:
    """One file of weights, and the model's card."""
    if name not in repository.files or not name.endswith(".safetensors"):
        there = sorted(each for each in repository.files if each.endswith(".safetensors"))
        hint = f"choose from: {', '.join(there[:5])}" if there else "choose another repository"
        raise BundleError(f"'{repository.id}' has no .safetensors file '{one_line(name, 80)}'; {hint}")
    return [name, *repository.optional(CARD)]


def of_bundle(repository: Repository, read: Read) -> list[str]:
    """What bundle.json lists."""
    manifest = read_manifest(read(MANIFEST).parent)
    check_manifest(manifest)
    return [*dict.fromkeys([MANIFEST, *repository.require(*manifest.files), *repository.optional(INDEX, CARD)])]


def of_export(repository: Repository, form: str) -> list[str]:
    """Another tool's graphs in one format, with the configs and tokenizers beside them."""
    graphs = graph_folders(repository, form)
    chosen = repository.optional(INDEX, CARD, "openvino_config.json")
    for name in repository.files:
        folder, leaf = parted(name)
        texts = folder.startswith(("tokenizer", "scheduler")) and "/" not in folder
        if texts and (leaf.endswith(TEXTS) or (form == OPENVINO and leaf.startswith("openvino_tokenizer."))):
            chosen.append(name)
        if folder in graphs and belongs(repository, folder, leaf, form):
            chosen.append(name)
    return chosen


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


def of_folder(repository: Repository, read: Read) -> list[str]:
    """A diffusers folder: each component's config and weights, tokenizers, and the scheduler's config."""
    parts = known_family(Path(repository.id), read_config(read(INDEX))).parts
    configs = ["scheduler/scheduler_config.json", *(f"{part.folder}/config.json" for part in parts)]
    weights = [name for part in parts for name in weights_of(repository, part, read)]
    tokenizers = {part.tokenizer for part in parts if part.tokenizer is not None}
    words = [name for name in repository.files if parted(name)[0] in tokenizers and name.endswith(TEXTS)]
    return [INDEX, *repository.require(*configs), *weights, *words, *repository.optional(CARD, SETTINGS)]


def weights_of(repository: Repository, part: Part, read: Read) -> list[str]:
    """A component's weights, once: a file, or an index and its shards; 16-bit ones where there are some."""
    stem = f"{part.folder}/{STEMS[part.library]}"
    for variant in VARIANTS:
        single, index = f"{stem}{variant}.safetensors", f"{stem}.safetensors.index{variant}.json"
        if single in repository.files:
            return [single]
        if index in repository.files:
            return [index, *repository.require(*(f"{part.folder}/{name}" for name in sorted(shards(read(index)))))]
    raise BundleError(
        f"'{repository.id}' has no safetensors in '{part.folder}' (.bin and .ckpt files can run code, and are not"
        " fetched); choose another --revision or repository"
    )


def parted(name: str) -> tuple[str, str]:
    """unet/model.onnx -> ("unet", "model.onnx")"""
    path = PurePosixPath(name)
    return ("" if len(path.parts) == 1 else path.parent.as_posix()), path.name
