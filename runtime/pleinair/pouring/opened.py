"""What is poured, opened: a diffusers folder or a single file, judged by its small files and headers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from pleinair.checks import one_of, shown
from pleinair.errors import ExportError
from pleinair.pouring.checkpoints import Checkpoint
from pleinair.pouring.names import Named
from pleinair.pouring.single_file import open_file
from pleinair.pouring.vaes import PREFIXES, Vae, open_vae, with_vae
from pleinair.sources.families import UNET, VAE, left_out
from pleinair.sources.folder import STEMS, Source, absent, open_source
from pleinair.sources.weight_files import weight_files

LAST = 49407  # of CLIP's vocabulary
PREDICTIONS = ("epsilon", "v_prediction")
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
    "edm_mean",
    "edm_std",
    "edm_vpred.*",
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
        whole, vae = self.weights[UNET.folder].checkpoint, self.weights[VAE.folder].checkpoint
        replaced = () if vae is whole else PREFIXES
        left = {
            name
            for named in self.weights.values()
            for name in named.checkpoint
            if (not name.startswith(replaced) if named.checkpoint is whole else name.startswith(named.prefix))
        } - used
        return sorted(name for name in left if not any(fnmatchcase(name, idle) for idle in IDLE))


def opened(source: Path, vae: Path | None, prediction: str | None, sampler: str | None) -> Opened:
    """Open a model; raises RequestError and ExportError before anything large is read."""
    if prediction is not None:
        one_of("prediction", prediction, PREDICTIONS)
    if not source.exists():
        raise absent(str(source))
    other = None if vae is None else open_vae(vae)
    if source.is_dir():
        return open_folder(source, prediction, sampler, other)
    found = open_file(source, prediction, sampler, other)
    readers = [part.tokenizer for part in found.model.family.readers]
    return Opened(found.model, found.weights, dict.fromkeys(readers), found.pads, found.notes)


def check_end(model: Source) -> None:
    """Raise ExportError for a text encoder that looks for another end of a text than the graphs that ship do.

    That is the last of its vocabulary, and 2 in configs of before 2023, which means the same.
    """
    for part in model.family.readers:
        config = model.configs[part.folder]
        last = config.get("vocab_size", LAST + 1) - 1
        if config.get("eos_token_id", LAST) not in (2, last):
            raise ExportError(
                f"its {part.folder} ends a text with {shown(config['eos_token_id'])} and not with {last}, so that it"
                " cannot be poured; export it with PyTorch: pleinair export"
            )


def open_folder(path: Path, prediction: str | None, sampler: str | None, vae: Vae | None) -> Opened:
    model = open_source(path.resolve(), sampler)
    check_end(model)
    if prediction is not None:
        model = replace(model, scheduler=model.scheduler | {"prediction_type": prediction})
    weights = {
        part.folder: Named(Checkpoint(weight_files(model.path / part.folder, STEMS[part.library])[1]))
        for part in model.family.parts
        if vae is None or part.folder != VAE.folder
    }
    folders = {part.tokenizer: model.path / part.tokenizer for part in model.family.readers}
    notes = tuple(f"its {name} is left out" for name in left_out(model.index))
    if vae is None:
        return Opened(model, weights, folders, {}, notes)
    return Opened(with_vae(model, vae), weights | {VAE.folder: vae.weights}, folders, {}, notes)
