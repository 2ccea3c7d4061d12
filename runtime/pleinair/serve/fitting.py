"""Which of the models that are here each add-on fits, so that clients offer no other."""

from pathlib import Path
from threading import Lock

from pleinair.adapters.lora_file import LoraHead, read_lora_head
from pleinair.adapters.made_for import may_fit
from pleinair.bundle.opening import Bundle, bundle_identity
from pleinair.errors import PleinairError
from pleinair.pictures.other_vaes import latents_of
from pleinair.request.controls import misfits
from pleinair.serve.naming import Listed, lora_file

FileState = tuple[str, int, int]  # path, bytes, moment of the last change
ModelState = tuple[str, str]  # name, SHA-256


class LoraFits:
    """For which models LoRA files are, by their headers, each of which is read once as long as nothing changes."""

    def __init__(self) -> None:
        self._found: dict[tuple[FileState, ModelState], bool] = {}
        self._turn = Lock()

    def of(self, here: Listed) -> dict[str, list[str]]:
        """LoRA -> names of models, none for a file that is no LoRA."""
        models = {(name, bundle_identity(bundle)["sha256"]): bundle for name, bundle in here.models.items()}
        with self._turn:
            known, self._found = self._found, {}
            return {name: self._models_of(name, models, known) for name in here.loras}

    def _models_of(
        self, name: str, models: dict[ModelState, Bundle], known: dict[tuple[FileState, ModelState], bool]
    ) -> list[str]:
        try:
            file = lora_file(name)
            facts = file.stat()
        except (PleinairError, OSError):  # taken away since
            return []
        state = (str(file), facts.st_size, facts.st_mtime_ns)
        found = {model: known[state, model] for model in models if (state, model) in known}
        if missing := models.keys() - found:
            head = head_of(file)
            found |= {model: head is not None and may_fit(head, models[model].manifest) for model in missing}
        self._found |= {(state, model): fits for model, fits in found.items()}
        return [model[0] for model in models if found[model]]


def head_of(file: Path) -> LoraHead | None:
    """What a file says of itself; None for one that is no LoRA."""
    try:
        return read_lora_head(file)
    except PleinairError:
        return None


def control_fits(control: Bundle, here: Listed) -> list[str]:
    """The models that a ControlNet was made for, as far as sizes tell."""
    return [name for name, model in here.models.items() if next(misfits(control, model), None) is None]


def vae_fits(vae: Bundle, here: Listed) -> list[str]:
    """The models whose latents a VAE decodes."""
    return [name for name, model in here.models.items() if latents_of(vae) == latents_of(model)]
