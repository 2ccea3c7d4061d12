"""Models that are not bundles, each with what leads on."""

from pathlib import Path

from pleinair.bundle.opening import located
from pleinair.errors import BundleError
from pleinair.sources.families import FAMILIES, SUPPORTED
from pleinair.sources.hub_ids import hub_id
from pleinair.sources.origins import read_origin
from pleinair.system.files import CONFIG, read_json
from pleinair.system.home import models_folder

CHECKPOINTS = {".safetensors", ".ckpt", ".pt", ".pth", ".bin"}
EXPORT = "pleinair export FOLDER OUT"


def refuse_model(model: str | Path | None) -> None:
    """Raise BundleError with the way on for what people give as a model and is not a bundle; a bundle passes."""
    if model is None:
        return
    path = located(model)
    try:
        if path.is_file():
            raise BundleError(_of_file(path))
        if path.is_dir():
            words = None if (path / "bundle.json").exists() else _of_folder(path)
        else:
            words = _of_name(str(model))
    except OSError:  # a name that is too long, a folder that may not be read: told by whoever opens it
        return
    if words:
        raise BundleError(words)


def _of_file(path: Path) -> str:
    if path.name == "bundle.json":
        return f"'{path}' is a file of a bundle; give the folder that it lies in"
    if path.suffix.lower() == ".safetensors":
        return f"'{path}' is a single file and not yet a bundle; make one of it with: pleinair pour '{path}' OUT"
    if path.suffix.lower() in CHECKPOINTS:
        return (
            f"'{path}' is a pickle and not yet a bundle; take the model's .safetensors file, or read its weights alone:"
            f" pleinair pour '{path}' OUT --allow-pickle"
        )
    if path.suffix.lower() == ".gguf":
        return f"'{path}' is a GGUF file, which is not supported; take the model's diffusers folder, then: {EXPORT}"
    return f"'{path}' is a file, and a model is a folder; give a bundle, or make one with: {EXPORT}"


def _of_folder(path: Path) -> str | None:
    inside = sorted(each.parent.name for each in path.glob("*/bundle.json"))
    if inside:
        return f"'{path}' is not a bundle, but holds one; give --model '{path / inside[0]}'"
    if any(path.glob("openvino*.xml")) or any(path.glob("*/openvino*.xml")):
        return _foreign(path, "OpenVINO")
    if any(path.glob("*.onnx")) or any(path.glob("*/*.onnx")):
        return _foreign(path, "ONNX")
    if (path / "model_index.json").is_file():
        return _of_diffusers(path)
    files = sorted(each.name for each in path.iterdir() if each.suffix.lower() in CHECKPOINTS)
    return _of_file(path / files[0]) if files else None


def _foreign(path: Path, kind: str) -> str:
    """What is said of the graphs of another tool."""
    return f"'{path}' holds {kind} files of another tool and no bundle.json; adopt it first: pleinair adopt '{path}'"


def _of_diffusers(path: Path) -> str:
    index = read_json(path / "model_index.json", CONFIG, BundleError, "check the folder")
    kind = str(index.get("_class_name"))[:60]
    if kind in FAMILIES:
        return f"'{path}' is a diffusers folder and not yet a bundle; convert it with: pleinair export '{path}' OUT"
    return f"'{path}' is a model of the class {kind}, which is not supported; take a model of {SUPPORTED}"


def _of_name(model: str) -> str | None:
    id = hub_id(model)
    if id is None:
        return None
    name = id.partition("/")[2]
    pulled = read_origin(models_folder() / name)
    if pulled is not None and pulled.id == id:
        return f"no model folder '{model}'; it has been fetched, and is here as: --model {name}"
    return f"no model folder '{model}'; if it is a name on the Hugging Face hub, fetch it with: pleinair pull {id}"
