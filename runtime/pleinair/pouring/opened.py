"""What is poured, opened: a diffusers folder or a single file, judged by its small files and headers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from pleinair.checks import one_line, shown_value
from pleinair.errors import ExportError
from pleinair.pouring.checkpoints import Checkpoint
from pleinair.pouring.distilled import note_on
from pleinair.pouring.kinds import ADAPTERS
from pleinair.pouring.names import Named
from pleinair.pouring.scales import BESIDE
from pleinair.pouring.single_file import PLACES, open_file, open_unet
from pleinair.pouring.told import PourSettings
from pleinair.pouring.vaes import PREFIXES, Vae, note_on_scale, open_vae, with_vae
from pleinair.sources.defaults import settled
from pleinair.sources.families import UNET, VAE, left_out
from pleinair.sources.folder import STEMS, Source, absent, open_source
from pleinair.sources.pickled import check_pickle
from pleinair.sources.settings import check_sides
from pleinair.sources.weight_files import weight_files

LAST = 49407  # of CLIP's vocabulary
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
    *BESIDE,
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
        """Tensors that none of the parameters `taken`, by component, is made of, but for those known to be idle.

        Raises ExportError for those of a UNet, which are of another network than its graph.
        """
        used = {self.weights[folder].source(key) for folder, keys in taken.items() for key in keys}
        whole = self.weights[self.model.family.readers[0].folder].checkpoint
        others = {VAE.folder: PREFIXES, UNET.folder: tuple(prefix for prefix, _ in PLACES[UNET.folder])}
        replaced = sum((others[part] for part in others if self.weights[part].checkpoint is not whole), ())
        left = {
            name
            for named in self.weights.values()
            for name in named.checkpoint
            if (not name.startswith(replaced) if named.checkpoint is whole else name.startswith(named.prefix))
        } - used
        left = {name for name in left if not any(fnmatchcase(name, idle) for idle in IDLE)}
        check_network(self.weights[UNET.folder], left)
        return sorted(left)


def check_network(unet: Named, left: Iterable[str]) -> None:
    """Raise ExportError for tensors of a UNet in `left`; adapters that were left behind in a file are no part of it."""
    own = sorted(name for name in left if name in unet.checkpoint and name.startswith(unet.prefix))
    foreign = next((name for name in own if not any(fnmatchcase(name, adapter) for adapter in ADAPTERS)), None)
    if foreign:
        raise ExportError(
            f"its unet has a weight that no included graph uses ({one_line(foreign, 100)}), so that it would"
            " paint other pictures; export it with PyTorch (pleinair export)"
        )


def opened(
    source: Path, vae: Path | None, told: PourSettings, unet: Path | None = None, pickles: bool = False
) -> Opened:
    """Open a model; its files may be `pickles`. Raises RequestError and ExportError before anything large is read."""
    if unet is not None:
        check_pickle(unet, pickles)
    found = opened_alone(source, vae, told, pickles)
    if unet is not None:
        notes = () if told.scheduler or told.wishes else (note_on(found.model.defaults, unet.stem),)
        found = replace(found, weights=found.weights | {UNET.folder: open_unet(unet)}, notes=(*found.notes, *notes))
    return replace(found, notes=(*found.notes, *notes_on_pickles(found.weights)))


def notes_on_pickles(weights: Mapping[str, Named]) -> list[str]:
    """What is said of each file that is a pickle."""
    found: dict[str, set[str]] = {}  # those of several components may have one name
    for named in weights.values():
        for file, names in named.checkpoint.pickles.items():
            found.setdefault(file, set()).update(names)
    return [f"'{one_line(file, 80)}' is a pickle: {not_made(sorted(names))}" for file, names in found.items()]


def not_made(names: Sequence[str]) -> str:
    """What is said of the names in a pickle."""
    some = ", ".join(one_line(name, 80) for name in names[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return "only its weights are read, and nothing in it is run" + (f", not {some}{more} either" if names else "")


def opened_alone(source: Path, vae: Path | None, told: PourSettings, pickles: bool) -> Opened:
    """A model with the UNet that it has."""
    told.check()
    if not source.exists():
        raise absent(str(source))
    check_pickle(source, pickles)
    other = None if vae is None else open_vae(vae, pickles)
    if source.is_dir():
        found = open_folder(source, told, other, pickles)
    else:
        file = open_file(source, told, other)
        readers = [part.tokenizer for part in file.model.family.readers]
        found = Opened(file.model, file.weights, dict.fromkeys(readers), file.pads, file.notes)
    if other is None:
        return found
    return replace(found, notes=(*found.notes, note_on_scale(other, found.model.configs[VAE.folder])))


def check_end(model: Source) -> None:
    """Raise ExportError for a text encoder that looks for another end of a text than the graphs that ship do.

    That is the last of its vocabulary, and 2 in configs of before 2023, which means the same.
    """
    for part in model.family.readers:
        config = model.configs[part.folder]
        last = config.get("vocab_size", LAST + 1) - 1
        if config.get("eos_token_id", LAST) not in (2, last):
            raise ExportError(
                f"its {part.folder} ends a text with {shown_value(config['eos_token_id'])} and not with {last}, so"
                " that it cannot be poured; export it with PyTorch: pleinair export"
            )


def open_folder(path: Path, told: PourSettings, vae: Vae | None, pickles: bool) -> Opened:
    model = open_source(path.resolve(), told.sampler, pickles)
    check_end(model)
    own = model.scheduler
    scheduler = own | told.scheduler
    defaults = settled(path, model, scheduler, model.settings.defaults | told.wishes)
    check_sides(model.settings.sizes, defaults)
    model = replace(model, scheduler=scheduler, defaults=defaults)
    weights = {
        part.folder: Named(Checkpoint(weight_files(model.path / part.folder, STEMS[part.library], pickles)[1]))
        for part in model.family.parts
        if vae is None or part.folder != VAE.folder
    }
    folders = {part.tokenizer: model.path / part.tokenizer for part in model.family.readers}
    notes = (
        *(f"its {name} is left out" for name in left_out(model.index)),
        *told.contradicting(own.get("prediction_type")),
    )
    if vae is None:
        return Opened(model, weights, folders, {}, notes)
    return Opened(with_vae(model, vae), weights | {VAE.folder: vae.weights}, folders, {}, notes)
