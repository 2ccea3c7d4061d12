"""A component of a diffusers folder as a torch module."""

from importlib import import_module

import torch

from pleinair.checks import one_line
from pleinair.errors import ExportError, PleinairError, ResourceError
from pleinair.sources.families import Component
from pleinair.sources.folder import STEMS, Source
from pleinair.sources.lone_vaes import LoneVae
from pleinair.sources.weight_files import DOWNLOAD, stored_kind
from pleinair_export.loras import merge_loras
from pleinair_export.narrow import widen_at_use
from pleinair_export.quiet import quiet
from pleinair_export.single_file import KINDS, load_component, network


def load(model: Source | LoneVae, part: Component) -> torch.nn.Module:
    """One component that computes in float32, its weights as the folder has them, ready for tracing.

    Raises ExportError when the weights do not fill the model: the rest would be random.
    """
    name, component = one_line(model.name, 80), part.folder
    with quiet():
        owner = getattr(import_module(part.library), part.kind)
        try:
            check_weight(owner, model, component)
            module, missing = (load_component if model.file else load_folder)(owner, model, part)
        except PleinairError:
            raise
        except (
            Exception
        ) as error:  # a config that no model has raises anything, from AssertionError to ZeroDivisionError
            reason = one_line((str(error).splitlines() or [type(error).__name__])[0], 160)
            if "memory" in reason:
                raise ResourceError(f"no memory to load '{component}' ({reason}); close other programs") from error
            raise ExportError(f"cannot load '{component}' of '{name}' ({reason}); {DOWNLOAD}") from error
    absent = [key for key in missing if "position_ids" not in key]
    if absent:
        raise ExportError(f"'{component}' of '{name}' lacks {len(absent)} weights ({sorted(absent)[0]}); {DOWNLOAD}")
    module = module.eval().requires_grad_(False)
    if isinstance(model, Source):
        merge_loras(module, model, part)
    return widen_at_use(module)


def load_folder(owner: type, model: Source | LoneVae, part: Component) -> tuple[torch.nn.Module, list[str]]:
    """A component of the class `owner`, its weights as its folder has them, and the names of those that it has not."""
    folder = model.path / part.folder
    module, report = owner.from_pretrained(
        folder,
        torch_dtype=KINDS.get(stored_kind(folder, STEMS[part.library]), torch.float32),
        variant=model.variants[part.folder],
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
    )
    return module, report["missing_keys"]


def check_weight(owner: type, model: Source | LoneVae, component: str) -> None:
    """Raise ExportError where a config describes a network far larger than the weights, before memory is taken."""
    config = model.configs[component]
    with torch.device("meta"):
        made = network(owner, config)
    described, stored = sum(each.numel() for each in made.parameters()), model.sizes[component]
    if described > 2 * stored:
        raise ExportError(
            f"the config of '{component}' of '{one_line(model.name, 80)}' describes {described:,} numbers and its"
            f" weights are {stored:,}; {DOWNLOAD}"
        )
