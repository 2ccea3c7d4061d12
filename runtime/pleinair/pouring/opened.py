"""What is poured, opened: a diffusers folder or a single file, judged by its small files and headers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import prod
from pathlib import Path
from typing import Any

from pleinair.checks import one_line, one_of
from pleinair.errors import ExportError, RequestError
from pleinair.pouring import names
from pleinair.pouring.checkpoints import NARROW, Checkpoint
from pleinair.pouring.kinds import BASE_SIZE, DDIM, OPEN, PNDM, PREFIXES, Kind, kind_of
from pleinair.pouring.names import Named
from pleinair.sources.architectures import ARCHITECTURES
from pleinair.sources.defaults import settled
from pleinair.sources.describing import Described
from pleinair.sources.families import FAMILIES, Family, Part
from pleinair.sources.folder import STEMS, Source, absent, open_source
from pleinair.sources.schedulers import as_walked
from pleinair.sources.settings import Settings, bundle_name
from pleinair.sources.weight_files import weight_files

PREDICTIONS = ("epsilon", "v_prediction")
PICKLES = (".ckpt", ".pt", ".pth", ".bin")
SAYS_V = ("v_pred", "ztsnr")  # empty tensors by which files say that they predict velocities, ztsnr to no signal at all
IDLE = (  # tensors that no picture is made with: averages of the training, its schedule, and what no graph asks for
    "model_ema.*",
    "*position_ids",
    "*logit_scale",
    "*text_projection*",
    "*.resblocks.23.*",
    "*loss.*",
    "*betas",
    "*alphas_cumprod*",
    "posterior_*",
    "*global_step",
    "*logvar*",
    "denoiser.sigmas",
    "scale_factor",
)


@dataclass(frozen=True)
class Opened:
    """A model, the weights of its components, and its tokenizer folders, None for CLIP's own vocabulary."""

    model: Source
    weights: Mapping[str, Named]
    tokenizers: Mapping[str, Path | None]
    pads: Mapping[str, str]  # by tokenizer folder, what fills a short text where the folder does not say
    notes: tuple[str, ...] = ()

    def unused(self, taken: Mapping[str, set[str]]) -> list[str]:
        """Tensors that none of the parameters `taken`, by component, is made of, but for those known to be idle."""
        used = {self.weights[folder].source(key) for folder, keys in taken.items() for key in keys}
        files = {id(named.checkpoint): named.checkpoint for named in self.weights.values()}
        left = {name for checkpoint in files.values() for name in checkpoint} - used
        replaced = PREFIXES["vae"] if self.weights["vae"].checkpoint is not self.weights["unet"].checkpoint else ()
        return sorted(
            name for name in left if not name.startswith(replaced) and not any(fnmatchcase(name, idle) for idle in IDLE)
        )


def opened(source: Path, vae: Path | None, prediction: str | None, sampler: str | None) -> Opened:
    """Open a model; raises RequestError and ExportError before anything large is read."""
    if prediction is not None:
        one_of("prediction", prediction, PREDICTIONS)
    if not source.exists():
        raise absent(str(source))
    if source.is_dir():
        found = open_folder(source, prediction, sampler)
    else:
        found = open_file(source, prediction, sampler, has_vae=vae is not None)
    if vae is None:
        return found
    return replace(found, weights={**found.weights, "vae": open_vae(vae)})


def open_folder(path: Path, prediction: str | None, sampler: str | None) -> Opened:
    model = open_source(path.resolve(), sampler)
    if prediction is not None:
        model = replace(model, scheduler=model.scheduler | {"prediction_type": prediction})
    weights = {
        part.folder: Named(Checkpoint(weight_files(model.path / part.folder, STEMS[part.library])[1]))
        for part in model.family.parts
    }
    folders = {part.tokenizer: model.path / part.tokenizer for part in model.family.readers}
    return Opened(model, weights, folders, {})


def open_file(file: Path, prediction: str | None, sampler: str | None, has_vae: bool) -> Opened:
    """A model in one file under its original names; its configs are those of its architecture."""
    checkpoint = open_checkpoint(file)
    shown = one_line(file.name, 80)
    kind = kind_of(checkpoint.shapes | dict.fromkeys(checkpoint.others, ()), shown)
    prediction = prediction or predicted(kind, checkpoint, shown)
    family = FAMILIES[kind.pipeline]
    configs = configs_of(kind, family, prediction)
    scheduler = scheduler_of(kind, prediction, "ztsnr" in checkpoint.others | set(checkpoint))
    described = Described(family, index_of(kind, family, scheduler), configs)
    weights = {
        part.folder: component(checkpoint, part.folder, shown)
        for part in family.parts
        if part.folder != "vae" or not has_vae
    }
    said = checkpoint.metadata
    model = Source(
        **vars(described),
        path=file,
        scheduler=scheduler,
        variants={},
        sizes={folder: sum(map(prod, named.shapes.values())) for folder, named in weights.items()},
        licence=one_line(said["modelspec.license"], 100) if "modelspec.license" in said else None,
        defaults=settled(file, described, scheduler, {"sampler": sampler} if sampler else {}),
        settings=Settings(bundle_name(said.get("modelspec.title") or file.stem), {}, (), None),
        sampler=sampler,
    )
    readers = [part.tokenizer for part in family.readers]
    notes = notes_of(kind, checkpoint)
    return Opened(model, weights, dict.fromkeys(readers), dict.fromkeys(readers, kind.pad), notes)


def open_checkpoint(file: Path) -> Checkpoint:
    if file.suffix.lower() in PICKLES:
        raise ExportError(
            f"'{one_line(file.name, 80)}' is a pickle, which can run programs of its maker; take the model's"
            " .safetensors file"
        )
    return Checkpoint([file])


def predicted(kind: Kind, checkpoint: Checkpoint, shown: str) -> str:
    """What a file says that its network predicts; raises RequestError where it would have to say, and does not."""
    said = checkpoint.metadata
    names = checkpoint.others | set(checkpoint)
    if any(name in names for name in SAYS_V):
        return "v_prediction"
    if said.get("modelspec.prediction_type") in ("v", "epsilon"):
        return {"v": "v_prediction"}.get(said["modelspec.prediction_type"], "epsilon")
    if said.get("modelspec.architecture", "").startswith("stable-diffusion-v2-"):
        return "v_prediction" if said["modelspec.architecture"].startswith("stable-diffusion-v2-768-v") else "epsilon"
    if kind.asked:
        raise RequestError(
            f"'{shown}' is {kind.name} and does not say what it predicts; give --prediction v_prediction (models for"
            " 768 pixels) or epsilon (for 512)"
        )
    return "epsilon"


def configs_of(kind: Kind, family: Family, prediction: str) -> dict[str, dict[str, Any]]:
    """config.json of each component."""
    model = ARCHITECTURES[kind.model]
    size = BASE_SIZE if kind.asked and prediction == "epsilon" else {}
    configs = {part.folder: {**class_of(part), **model[part.folder]} for part in family.parts}
    return configs | {"unet": {**configs["unet"], **(kind.unet or {}), **size}}


def class_of(part: Part) -> dict[str, Any]:
    """What a component's config.json says of its class."""
    if part.library == "diffusers":
        return {"_class_name": part.kind}
    return {"architectures": [part.kind], "model_type": "clip_text_model"}


def scheduler_of(kind: Kind, prediction: str, to_nothing: bool) -> dict[str, Any]:
    config = dict(PNDM if prediction == "epsilon" else DDIM) | {"prediction_type": prediction}
    if to_nothing:
        config |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return as_walked(config, kind.pipeline, ["diffusers", config["_class_name"]])


def index_of(kind: Kind, family: Family, scheduler: Mapping[str, Any]) -> dict[str, Any]:
    """model_index.json."""
    index: dict[str, Any] = {"_class_name": kind.pipeline, "scheduler": ["diffusers", scheduler["_class_name"]]}
    for part in family.parts:
        index[part.folder] = [part.library, part.kind]
        if part.tokenizer:
            index[part.tokenizer] = ["transformers", "CLIPTokenizer"]
    return index | {"feature_extractor": [None, None], "safety_checker": [None, None]}


def component(checkpoint: Checkpoint, folder: str, shown: str) -> Named:
    """A component's weights in a single file; raises ExportError where it has none."""
    prefix = next((each for each in PREFIXES[folder] if any(name.startswith(each) for name in checkpoint)), None)
    if prefix is None:
        remedy = "give one with --vae FILE" if folder == "vae" else "choose a file of the whole model"
        raise ExportError(f"'{shown}' has no {folder}; {remedy}")
    if folder == "unet":
        return Named(checkpoint, names.unet, prefix)
    if folder == "vae":
        return named_vae(checkpoint, prefix)
    return Named(checkpoint, names.open_clip if prefix == OPEN else names.same, prefix)


def open_vae(file: Path) -> Named:
    """A VAE in a file of its own, or out of a whole model; raises RequestError and ExportError."""
    if not file.is_file():
        raise RequestError(f"no file '{one_line(file, 120, end=True)}'; check the path after --vae")
    checkpoint = open_checkpoint(file)
    prefixes = (*PREFIXES["vae"], "")
    prefix = next(each for each in prefixes if any(name.startswith(each) for name in checkpoint) or not each)
    if f"{prefix}decoder.conv_in.weight" not in checkpoint:
        raise ExportError(f"'{one_line(file.name, 80)}' holds no VAE; give another file with --vae")
    return named_vae(checkpoint, prefix)


def named_vae(checkpoint: Checkpoint, prefix: str) -> Named:
    original = f"{prefix}decoder.mid.block_1.norm1.weight" in checkpoint
    return Named(checkpoint, names.vae if original else names.same, prefix)


def notes_of(kind: Kind, checkpoint: Checkpoint) -> tuple[str, ...]:
    """What is said of a file to whoever pours it."""
    said = checkpoint.metadata
    notes = [f"it is {kind.name}"]
    if set(checkpoint.kinds.values()) & set(NARROW):
        notes.append("its weights have 8 bits, and are widened: a file of 16-bit weights makes better pictures")
    if phrase := said.get("modelspec.trigger_phrase"):
        notes.append(f"it was trained on the words: {one_line(phrase, 200)}")
    return tuple(notes)
