"""JSON schemas of what the server takes and gives, made of the table of options, where alone an option is declared."""

from collections.abc import Sequence
from typing import Any

from pleinair.pictures.preparing import WAYS
from pleinair.request.controls import MAX_CONTROLS, MAX_STRENGTH
from pleinair.request.file_types import Enlarger, FileList, Folder, InputPicture
from pleinair.request.help import words
from pleinair.request.lora_types import MAX_LORAS
from pleinair.request.option import Option
from pleinair.sampling.samplers import SAMPLERS
from pleinair.serve.asking import ALIASES, OFFERED, TASKS
from pleinair.serve.job import CANCELLED, DONE, FAILED, LOADING, PAINTING, QUEUED
from pleinair.serve.morphs import FEWEST
from pleinair.serve.settings import RequestLimits
from pleinair.tasks.morph import EASES, EVEN
from pleinair.text.lora_tags import MOST

PICTURE = {"type": "string", "contentEncoding": "base64", "description": "PNG, JPEG or WebP as base64 or data URL"}
SHARE = {"type": "number", "minimum": 0, "maximum": 1}
NUMBER, WHOLE, TEXT = {"type": ["number", "null"]}, {"type": "integer"}, {"type": "string"}


def option_schema(option: Option, limits: RequestLimits) -> dict[str, Any]:
    """An option's value as the server takes it: names in place of files, pictures in base64."""
    if option.name == "loras":
        entry = {"name": TEXT, "strength": {"type": "number", "minimum": -MOST, "maximum": MOST}}
        return {"type": "array", "items": object_of(entry, ["name"]), "maxItems": MAX_LORAS}
    if option.name == "controls":
        how = {"strength": {"type": "number", "minimum": 0, "maximum": MAX_STRENGTH}, "start": SHARE, "end": SHARE}
        how |= {"guess": {"type": "boolean"}, "preprocessor": {"enum": [*WAYS]}}
        entry = {"name": TEXT, "image": PICTURE, **how}
        return {"type": "array", "items": object_of(entry, ["name", "image"]), "maxItems": MAX_CONTROLS}
    if isinstance(option.type, InputPicture):
        return PICTURE
    if isinstance(option.type, Folder | Enlarger):
        return {**TEXT, "description": "a name from the capabilities"}
    if isinstance(option.type, FileList):
        return {"type": "array", "items": TEXT}
    found = option.type.schema()
    if option.name in ("prompt", "negative"):
        return {**found, "maxLength": limits.prompt}
    most = {"count": limits.count, "steps": limits.steps}.get(option.name)
    if most is not None:
        return {**found, "maximum": min(found["maximum"], most)}
    return found


def option_facts(option: Option, limits: RequestLimits) -> dict[str, Any]:
    """An option for clients that show it: its group, help, schema, default and what it depends on."""
    having = [name for name, info in SAMPLERS.items() if option.field in info.options] if option.by_sampler else None
    return {
        "name": option.name,
        "aliases": [alias for alias, name in ALIASES.items() if name == option.name],
        "panel": option.panel,
        "help": option.help,
        "schema": option_schema(option, limits),
        "default": option.default,
        "usual": option.usual or None,
        "needs": list(option.needs),
        "by_sampler": having,
        "choices": list(option.type.choices),
        "files": option.name if option.type.file or isinstance(option.type, Enlarger) else None,
    }


def job_request(limits: RequestLimits) -> dict[str, Any]:
    """The body of POST /api/v1/jobs."""
    options = {name: {**option_schema(each, limits), "description": words(each)} for name, each in OFFERED.items()}
    shown = {alias: {**options[name], "description": f"`{name}`"} for alias, name in ALIASES.items()}
    about = {"task": {"enum": [*TASKS], "default": TASKS[0]}, "model": TEXT}
    return object_of({**about, **options, **shown, **morph_schema(limits)})


def morph_schema(limits: RequestLimits) -> dict[str, Any]:
    """The fields that the body of a morph has beside options."""
    return {
        "prompts": {"type": "array", "items": {**TEXT, "maxLength": limits.prompt}, "minItems": 1},
        "seeds": {"type": "array", "items": {**WHOLE, "minimum": 0}},
        "frames": {**WHOLE, "minimum": FEWEST, "maximum": limits.frames},
        "ease": {"enum": [EVEN, *EASES]},
        "loop": {"type": "boolean"},
    }


def object_of(properties: dict[str, Any], required: Sequence[str] = (), closed: bool = True) -> dict[str, Any]:
    """The schema of an object; `closed` ones have nothing else."""
    found: dict[str, Any] = {"type": "object", "properties": properties, "required": list(required)}
    return {**found, "additionalProperties": False} if closed else found


ERROR = object_of({"error": object_of({"code": TEXT, "message": TEXT, "field": TEXT}, ["code", "message"])}, ["error"])
IMAGE = object_of(
    {"url": TEXT, "seed": {"type": ["integer", "null"]}, "width": WHOLE, "height": WHOLE, "type": TEXT},
    ["url", "width", "height"],
)
JOB = object_of(
    {
        "id": TEXT,
        "task": TEXT,
        "model": TEXT,
        "status": {"enum": [QUEUED, LOADING, PAINTING, DONE, FAILED, CANCELLED]},
        **{name: NUMBER for name in ("created", "started", "finished", "queue_position", "expected_wait_s", "eta_s")},
        **{name: WHOLE for name in ("step", "steps")},
        **{name: TEXT for name in ("url", "events_url", "cancel_url")},
        "images": {"type": "array", "items": IMAGE},
        "settings": {"type": "object"},
        "warnings": {"type": "array", "items": TEXT},
        "error": {"anyOf": [{"type": "null"}, ERROR["properties"]["error"]]},
    },
    ["id", "status", "created", "url", "events_url", "cancel_url", "images", "warnings", "error"],
)
