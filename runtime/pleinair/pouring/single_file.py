"""A model in one file under its original names: what it is, and the configs and the weights of its components."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from pleinair.checks import one_line
from pleinair.errors import ExportError, RequestError
from pleinair.pouring import names
from pleinair.pouring.checkpoints import NARROW, Checkpoint, Shape, widened
from pleinair.pouring.kinds import BASE_SIZE, DDIM, PNDM, Kind, kind_of
from pleinair.pouring.names import Named, Rules
from pleinair.pouring.vaes import Vae, config_of, find_vae
from pleinair.sources.architectures import ARCHITECTURES, SAID
from pleinair.sources.defaults import settled
from pleinair.sources.describing import Described
from pleinair.sources.families import PROJECTED_TEXT, TEXT, UNET, VAE, Family, Part, family_of
from pleinair.sources.folder import Source
from pleinair.sources.schedulers import as_walked
from pleinair.sources.settings import Settings, bundle_name

PARTS = {part.folder: part for part in (TEXT, PROJECTED_TEXT, UNET)}
PLACES: dict[str, tuple[tuple[str, Rules], ...]] = {  # component -> what its names begin with, and what renames them
    UNET.folder: (("model.diffusion_model.", names.unet),),
    TEXT.folder: (
        ("cond_stage_model.transformer.", names.same),
        ("cond_stage_model.model.", names.open_clip),
        ("conditioner.embedders.0.transformer.", names.same),
    ),
    PROJECTED_TEXT.folder: (
        ("conditioner.embedders.1.model.", names.open_clip),
        ("conditioner.embedders.0.model.", names.open_clip),
    ),
}
PLAIN_UNET = {  # diffusers' own defaults, which its converter and other programs look for in a config
    "in_channels": 4,
    "out_channels": 4,
    "layers_per_block": 2,
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    "norm_num_groups": 32,
}
SAYS_V = ("v_pred", "ztsnr")  # empty tensors by which files say that they predict velocities, ztsnr to no signal at all
STATISTICS = {"latents_mean": "edm_mean", "latents_std": "edm_std"}  # of a VAE's config -> the tensors that hold them


@dataclass(frozen=True)
class SingleFile:
    """A model, the weights of its components, what fills a short text by tokenizer folder, and what is said of it."""

    model: Source
    weights: Mapping[str, Named]
    pads: Mapping[str, str]
    notes: tuple[str, ...]


def open_file(file: Path, prediction: str | None, sampler: str | None, vae: Vae | None) -> SingleFile:
    """Raises ExportError for what is no model that is known, RequestError where `prediction` has to be told.

    `vae` takes the place of the file's own.
    """
    checkpoint = Checkpoint([file])
    shown = one_line(file.name, 80)
    kind = kind_of(shapes_of(checkpoint), shown)
    prediction = prediction or predicted(kind, checkpoint, shown)
    vae = vae or find_vae(checkpoint)
    if vae is None:
        raise ExportError(f"'{shown}' has no vae; give one with --vae FILE", option="--vae FILE")
    parts = PARTS | {VAE.folder: vae.part}
    scheduler = scheduler_of(kind, prediction, "ztsnr" in checkpoint.others | set(checkpoint))
    index = index_of(kind, scheduler, [parts[folder] for folder in ARCHITECTURES[kind.model]])
    family = family_of(index)
    described = Described(family, index, configs_of(kind, family, prediction, statistics(checkpoint)))
    weights = {
        part.folder: vae.weights if part.folder == VAE.folder else component(checkpoint, part.folder, shown)
        for part in family.parts
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
        trigger=one_line(said["modelspec.trigger_phrase"], 200) if "modelspec.trigger_phrase" in said else None,
    )
    return SingleFile(model, weights, kind.pads, notes_of(kind, checkpoint, model.trigger))


def shapes_of(checkpoint: Checkpoint) -> dict[str, Shape]:
    """Of all tensors, and below "unet." of those of the UNet by diffusers' names."""
    ((prefix, rules),) = PLACES[UNET.folder]
    unet = Named(checkpoint, rules, prefix).shapes
    others = dict.fromkeys(checkpoint.others, ())
    return others | checkpoint.shapes | {f"{UNET.folder}.{key}": shape for key, shape in unet.items()}


def predicted(kind: Kind, checkpoint: Checkpoint, shown: str) -> str:
    """What a file says that its network predicts; raises RequestError where it would have to say, and does not."""
    said = checkpoint.metadata
    if any(name in checkpoint.others | set(checkpoint) for name in SAYS_V):
        return "v_prediction"
    if said.get("modelspec.prediction_type") in ("v", "epsilon"):
        return {"v": "v_prediction"}.get(said["modelspec.prediction_type"], "epsilon")
    if said.get("modelspec.architecture", "").startswith("stable-diffusion-v2-"):
        return "v_prediction" if said["modelspec.architecture"].startswith("stable-diffusion-v2-768-v") else "epsilon"
    if kind.asked:
        raise RequestError(
            f"'{shown}' is {kind.name} and does not say what it predicts; give --prediction v_prediction (models for"
            " 768 pixels) or epsilon (for 512)",
            option="--prediction v_prediction",
        )
    return kind.predicts


def scheduler_of(kind: Kind, prediction: str, to_nothing: bool) -> dict[str, Any]:
    config = dict(kind.scheduler or (PNDM if prediction == "epsilon" else DDIM)) | {"prediction_type": prediction}
    if to_nothing:
        config |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return as_walked(config, kind.pipeline, ["diffusers", config["_class_name"]])


def index_of(kind: Kind, scheduler: Mapping[str, Any], parts: list[Part]) -> dict[str, Any]:
    """model_index.json."""
    index: dict[str, Any] = {"_class_name": kind.pipeline, "scheduler": ["diffusers", scheduler["_class_name"]]}
    for part in parts:
        index[part.folder] = [part.library, part.kind]
        if part.tokenizer:
            index[part.tokenizer] = ["transformers", "CLIPTokenizer"]
    index |= {"feature_extractor": [None, None], "safety_checker": [None, None]}
    return index | SAID.get(kind.model, {}) | dict(kind.index)


def configs_of(kind: Kind, family: Family, prediction: str, vae: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """config.json of each component."""
    model = ARCHITECTURES[kind.model]
    model = model | {
        UNET.folder: PLAIN_UNET | model[UNET.folder],
        VAE.folder: config_of(family.part(VAE.folder), kind.model),
    }
    size = BASE_SIZE if kind.asked and prediction == "epsilon" else {}
    own = {UNET.folder: {**kind.unet, **size}, VAE.folder: {**kind.vae, **vae}}
    return {part.folder: {**class_of(part), **model[part.folder], **own.get(part.folder, {})} for part in family.parts}


def class_of(part: Part) -> dict[str, Any]:
    """What a component's config.json says of its class."""
    if part.library == "diffusers":
        return {"_class_name": part.kind}
    return {"architectures": [part.kind], "model_type": "clip_text_model"}


def statistics(checkpoint: Checkpoint) -> dict[str, list[float]]:
    """The mean and the deviation of latents that a file may hold for its VAE's config."""
    return {
        key: widened(*checkpoint[name]).reshape(-1).astype(float).tolist()
        for key, name in STATISTICS.items()
        if name in checkpoint
    }


def component(checkpoint: Checkpoint, folder: str, shown: str) -> Named:
    """A component's weights in a single file; raises ExportError where it has none."""
    for prefix, rules in PLACES[folder]:
        if any(name.startswith(prefix) for name in checkpoint):
            return Named(checkpoint, rules, prefix)
    raise ExportError(f"'{shown}' has no {folder}; choose a file of the whole model")


def notes_of(kind: Kind, checkpoint: Checkpoint, trigger: str | None) -> tuple[str, ...]:
    """What is said of a file to whoever pours it."""
    notes = [f"it is {kind.name}"]
    if set(checkpoint.kinds.values()) & set(NARROW):
        notes.append("its weights have 8 bits, and are widened: a file of 16-bit weights makes better pictures")
    if trigger:
        notes.append(f"it was trained on the words: {trigger}")
    return tuple(notes)
