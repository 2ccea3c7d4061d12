"""A model in one file, under its original names or diffusers': what it is, and its components' configs and weights."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from pleinair.bundle.manifest import MAX_SIDE
from pleinair.checks import one_line, shown_path
from pleinair.errors import ExportError, RequestError
from pleinair.pouring import distilled, names
from pleinair.pouring.checkpoints import NARROW, Checkpoint
from pleinair.pouring.kinds import BASE_SIZE, DDIM, EULER, PNDM, UNET_ALONE, FileKind, kind_of
from pleinair.pouring.names import Named, Rules
from pleinair.pouring.scales import WIDER
from pleinair.pouring.told import PourSettings
from pleinair.pouring.vaes import Vae, config_of, find_vae
from pleinair.sources.architectures import ARCHITECTURES, CLIP, SAID
from pleinair.sources.defaults import settled
from pleinair.sources.describing import Described
from pleinair.sources.families import CLIP_TEXT, PROJECTED_TEXT, UNET, VAE, Component, Family, family_of
from pleinair.sources.folder import Source
from pleinair.sources.schedulers import as_walked
from pleinair.sources.settings import Settings, bundle_name
from pleinair.system.on_disk import Shape
from pleinair.system.safetensors import STORED, widened

PARTS = {part.folder: part for part in (CLIP_TEXT, PROJECTED_TEXT, UNET)}
PLACES: dict[str, tuple[tuple[str, Rules], ...]] = {  # component -> what its names begin with, and what renames them
    UNET.folder: (("model.diffusion_model.", names.unet), ("unet.", names.same)),
    CLIP_TEXT.folder: (
        ("cond_stage_model.transformer.", names.same),
        ("cond_stage_model.model.", names.open_clip),
        ("conditioner.embedders.0.transformer.", names.same),
        ("text_encoder.", names.same),
    ),
    PROJECTED_TEXT.folder: (
        ("conditioner.embedders.1.model.", names.open_clip),
        ("conditioner.embedders.0.model.", names.open_clip),
        ("text_encoder_2.", names.same),
    ),
}
LATENT = 8  # pixels along one side of a latent's
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
TOKENS = "embeddings.token_embedding.weight"
WORDS = {TOKENS: CLIP["vocab_size"]}  # rows of it that are of words; textual inversions may stand behind them
SAYS_V = ("v_pred", "ztsnr")  # empty tensors by which files say that they predict velocities, ztsnr to no signal at all
SAID_PREDICTIONS = {"v": "v_prediction", "v_prediction": "v_prediction", "epsilon": "epsilon", "sample": "sample"}
RESOLUTION = re.compile(r"(\d{3,4})x\1")  # of squares
STATISTICS = {"latents_mean": "edm_mean", "latents_std": "edm_std"}  # of a VAE's config -> the tensors that hold them


@dataclass(frozen=True)
class SingleFile:
    """A model, the weights of its components, what fills a short text by tokenizer folder, and what is said of it."""

    model: Source
    weights: Mapping[str, Named]
    pads: Mapping[str, str]
    notes: tuple[str, ...]


def open_file(file: Path, told: PourSettings, vae: Vae | None) -> SingleFile:
    """Raises ExportError for what is no model that is known, RequestError where its prediction has to be told.

    `vae` takes the place of the file's own.
    """
    checkpoint = Checkpoint([file])
    shown = one_line(file.name, 80)
    check_kinds(checkpoint, shown)
    kind = kind_of(shapes_of(checkpoint), shown)
    prediction = told.prediction or predicted(kind, checkpoint, shown)
    vae = vae or find_vae(checkpoint)
    if vae is None:
        raise ExportError(f"'{shown}' has no vae; give one with --vae FILE", option="--vae FILE")
    parts = PARTS | {VAE.folder: vae.part}
    scheduler = scheduler_of(kind, prediction, to_nothing(checkpoint)) | told.scheduler
    index = index_of(kind, scheduler, [parts[folder] for folder in ARCHITECTURES[kind.model]])
    family = family_of(index)
    configs = configs_of(kind, family, prediction, statistics(checkpoint) | vae.latents, checkpoint.metadata)
    described = Described(family, index, configs)
    weights = {
        part.folder: vae.weights if part.folder == VAE.folder else component(checkpoint, part.folder, shown)
        for part in family.parts
    }
    said = checkpoint.metadata
    wishes = told.wishes if told.defaults else told.wishes | dict(kind.defaults)
    model = Source(
        **vars(described),
        path=file,
        scheduler=scheduler,
        variants={},
        sizes={folder: sum(map(prod, named.shapes.values())) for folder, named in weights.items()},
        licence=one_line(said["modelspec.license"], 100) if "modelspec.license" in said else None,
        defaults=settled(file, described, scheduler, wishes),
        settings=Settings(bundle_name(said.get("modelspec.title") or file.stem), {}, (), None),
        sampler=told.sampler,
        trigger=one_line(said["modelspec.trigger_phrase"], 200) if "modelspec.trigger_phrase" in said else None,
    )
    notes = [f"it is {kind.name}", *notes_of(checkpoint, weights, model.trigger)]
    notes += told.contradicting(said_prediction(checkpoint))
    if told == PourSettings(prediction=told.prediction) and is_plain(kind, scheduler):
        notes.append(distilled.note_on(model.defaults, file.stem, model.name))
    return SingleFile(model, weights, kind.pads, tuple(notes))


def open_unet(file: Path) -> Named:
    """The UNet in a file of its own, or out of a whole model; raises RequestError and ExportError."""
    if not file.is_file():
        raise RequestError(f"no file '{shown_path(file)}'; check the path after --unet")
    checkpoint, shown = Checkpoint([file]), one_line(file.name, 80)
    check_kinds(checkpoint, shown)
    kind_of(shapes_of(checkpoint), shown, fine=UNET_ALONE)
    for prefix, rules in (*PLACES[UNET.folder], ("diffusion_model.", names.unet), ("", names.unet), ("", names.same)):
        found = Named(checkpoint, rules, prefix)
        if "conv_in.weight" in found:
            return found
    raise ExportError(f"'{shown}' has no UNet; give another file with --unet")


def check_kinds(checkpoint: Checkpoint, shown: str) -> None:
    """Raise ExportError for weights in numbers that nothing here reads, such as packed ones."""
    weights = (name for name in checkpoint.others if name.endswith(".weight"))
    unread = next((name for name in weights if checkpoint.kinds[name] not in STORED), None)
    if unread:
        raise ExportError(
            f"'{shown}' has {one_line(unread, 80)} as {one_line(checkpoint.kinds[unread], 20)}, which cannot be poured;"
            f" {WIDER}"
        )


def shapes_of(checkpoint: Checkpoint) -> dict[str, Shape]:
    """Of all tensors, and below its folder's name ("unet.") of those of each component by diffusers' names."""
    shapes = dict.fromkeys(checkpoint.others, ()) | checkpoint.shapes
    for folder, places in PLACES.items():
        for prefix, rules in places:
            shapes |= {f"{folder}.{key}": shape for key, shape in Named(checkpoint, rules, prefix).shapes.items()}
    return shapes


def is_plain(kind: FileKind, scheduler: Mapping[str, Any]) -> bool:
    """Whether it is painted with as most models are, which those distilled to few steps do not show to be wrong."""
    return not kind.defaults and kind.scheduler in (None, EULER) and scheduler["prediction_type"] == "epsilon"


def predicted(kind: FileKind, checkpoint: Checkpoint, shown: str) -> str:
    """What a file's network predicts; raises RequestError where the file would have to say it, and does not."""
    said = said_prediction(checkpoint)
    if said is None and kind.asked:
        raise RequestError(
            f"'{shown}' is {kind.name} and does not say what it predicts; give --prediction v_prediction (models for"
            " 768 pixels) or epsilon (for 512)",
            option="--prediction v_prediction",
        )
    return said or kind.predicts


def said_prediction(checkpoint: Checkpoint) -> str | None:
    """What a file says that its network predicts."""
    said = checkpoint.metadata
    if any(name in checkpoint.kinds for name in SAYS_V):
        return "v_prediction"
    if said.get("modelspec.prediction_type") in SAID_PREDICTIONS:
        return SAID_PREDICTIONS[said["modelspec.prediction_type"]]
    if "ss_v_parameterization" in said:
        return "v_prediction" if is_yes(said["ss_v_parameterization"]) else "epsilon"
    if said.get("modelspec.architecture", "").startswith("stable-diffusion-v2-"):
        return "v_prediction" if said["modelspec.architecture"].startswith("stable-diffusion-v2-768-v") else "epsilon"
    return None


def is_yes(text: str) -> bool:
    """Of what a training wrote into a file's metadata."""
    return text.lower() in ("true", "1")


def to_nothing(checkpoint: Checkpoint) -> bool:
    """Whether a file says that no signal is left at its last timestep."""
    return "ztsnr" in checkpoint.kinds or is_yes(checkpoint.metadata.get("ss_zero_terminal_snr", ""))


def sides(kind: FileKind, prediction: str, said: Mapping[str, str]) -> dict[str, Any]:
    """The side of latents, for a UNet's config: as the file says, or as models of its kind have it."""
    told = RESOLUTION.fullmatch(said.get("modelspec.resolution", ""))
    if told and int(told[1]) % LATENT == 0 and int(told[1]) <= MAX_SIDE:
        return {"sample_size": int(told[1]) // LATENT}
    return BASE_SIZE if kind.asked and prediction == "epsilon" else {}


def scheduler_of(kind: FileKind, prediction: str, to_nothing: bool) -> dict[str, Any]:
    """scheduler_config.json for a file of this kind; `to_nothing` where no picture is left at its last timestep."""
    config = dict(kind.scheduler or (PNDM if prediction == "epsilon" else DDIM)) | {"prediction_type": prediction}
    if to_nothing:
        config |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return as_walked(config, kind.pipeline, ["diffusers", config["_class_name"]])


def index_of(kind: FileKind, scheduler: Mapping[str, Any], parts: list[Component]) -> dict[str, Any]:
    """model_index.json."""
    index: dict[str, Any] = {"_class_name": kind.pipeline, "scheduler": ["diffusers", scheduler["_class_name"]]}
    for part in parts:
        index[part.folder] = [part.library, part.kind]
        if part.tokenizer:
            index[part.tokenizer] = ["transformers", "CLIPTokenizer"]
    index |= {"feature_extractor": [None, None], "safety_checker": [None, None]}
    return index | SAID.get(kind.model, {}) | dict(kind.index)


def configs_of(
    kind: FileKind, family: Family, prediction: str, vae: Mapping[str, Any], said: Mapping[str, str] | None = None
) -> dict[str, dict[str, Any]]:
    """config.json of each component; `vae` and `said` are what a file says of its VAE and of itself."""
    model = ARCHITECTURES[kind.model]
    model = model | {
        UNET.folder: PLAIN_UNET | model[UNET.folder],
        VAE.folder: config_of(family.part(VAE.folder), kind.model),
    }
    own = {UNET.folder: {**kind.unet, **sides(kind, prediction, said or {})}, VAE.folder: {**kind.vae, **vae}}
    return {part.folder: {**class_of(part), **model[part.folder], **own.get(part.folder, {})} for part in family.parts}


def class_of(part: Component) -> dict[str, Any]:
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
            return Named(checkpoint, rules, prefix, WORDS)
    raise ExportError(f"'{shown}' has no {folder}; choose a file of the whole model")


def notes_of(checkpoint: Checkpoint, weights: Mapping[str, Named], trigger: str | None) -> list[str]:
    """What is said of a file to whoever pours it."""
    notes = []
    if {checkpoint.kinds[name] for name in checkpoint} & set(NARROW):
        notes.append("its weights have 8 bits, and are widened: a file of 16-bit weights makes better pictures")
    if trigger:
        notes.append(f"it was trained on the words: {trigger}")
    for folder, named in weights.items():
        stored = named.checkpoint.shapes[named.source(TOKENS)][0] if TOKENS in named else 0
        if stored > WORDS[TOKENS]:
            notes.append(f"not used: {stored - WORDS[TOKENS]} vectors of its {folder} that belong to no word")
    return notes
