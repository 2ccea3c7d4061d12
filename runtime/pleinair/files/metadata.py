"""What made a picture, written into its file and read back: A1111's `parameters` text, our own JSON, and XMP.

    PNG    chunks `parameters` (text), `pleinair` (JSON), `XML:com.adobe.xmp`
    JPEG   EXIF UserComment (text, as A1111 writes it), XMP (our JSON in `pleinair:settings`)
    WebP   the same
    GIF    XMP, likewise; MP4 too
    .npz   array `settings` (JSON)

The same settings make the same bytes. No path, user or host name is written: input pictures and embeddings are named by
their SHA-256.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from pleinair.checks import shown_path
from pleinair.errors import RequestError
from pleinair.files import embedded, exif, foreign, xmp
from pleinair.files.controlnets import control_fields
from pleinair.files.foreign.record import parsed, shown, whole_or_none
from pleinair.files.xmp import MAX_SEGMENT
from pleinair.request.option import Option
from pleinair.request.options import FILES, OPTIONS
from pleinair.request.record import modern
from pleinair.request.value_types import Axes, Choice, Flag

SETTINGS_FORMAT = 1
MAX_NAME = 200  # characters of a name that is an option
MAX_NUMBERS = 10_000  # in a list that is an option
QUALITY = 95  # of JPEG and WebP
FIRST = ("steps", "sampler", "spacing", "guidance")  # of the fields of A1111's text
PATHLIKE = re.compile(r"/|~[^\\/]*[\\/]|\\\\|[A-Za-z]:[\\/]|file:")
FREE_TEXT = ("prompt", "negative")
FILMED = ("film", "morph")  # what our JSON has only in a film or strip: of one picture, of several
ABOUT = {  # of our JSON: what is not an argument of Pipeline.generate
    *("format", "seed", "seeds", "batch", "batch_seeds", "prompt", "negative", "negative_said", "task"),
    *(
        "model",
        "bundle",
        "engine",
        "engine_version",
        "engine_reason",
        "device",
        "threads",
        "precision",
        "int8",
        "tabulated",
        "folded",
        "shared",
        "pleinair",
    ),
    *FILMED,
    *(each for name in FILES for each in (name, f"{name}_sha256")),
}
MASKED = ("inpaint", "outpaint")


def of_picture(settings: dict[str, Any], seed: int) -> dict[str, Any]:
    """The settings of one picture out of a job: its own seed, and those of the pictures in the same network calls."""
    seeds = list(settings.get("seeds", [seed]))
    own = {name: value for name, value in settings.items() if name != "seeds"}
    index = seeds.index(seed) if seed in seeds else 0
    start = index - index % own.get("batch", 1)
    mates = seeds[start : start + own.get("batch", 1)]
    own["batch"] = len(mates) or 1  # the last batch of a job may be smaller
    if len(mates) > 1:  # the last bits of a picture depend on its neighbours
        own["batch_seeds"] = mates
    return {"format": SETTINGS_FORMAT, **_public(own), "seed": seed}


def of_job(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of all pictures of a job, as an array file holds them."""
    return {"format": SETTINGS_FORMAT, **_public(settings)}


def infotext(settings: dict[str, Any], seed: int) -> str:
    """The `parameters` text that A1111's web UI writes and that galleries parse; defaults are left out, as there."""
    fields = {name: value for name, value in _fields(_public(settings), seed).items() if value not in (None, "")}
    lines = [with_loras(settings)]
    if settings["negative"]:
        lines.append(f"Negative prompt: {settings['negative']}")
    lines.append(", ".join(f"{name}: {_quoted(value)}" for name, value in fields.items()))
    return "\n".join(lines)


def with_loras(settings: dict[str, Any]) -> str:
    """The prompt, with the LoRAs that it does not name itself."""
    loras = settings.get("loras") or {}
    given = {name: facts["weight"] for name, facts in loras.items() if not facts.get("in_prompt")}
    return " ".join([settings["prompt"], *(f"<lora:{word_of(name)}:{weight:g}>" for name, weight in given.items())])


def word_of(name: str) -> str:
    """A LoRA's name without what A1111 reads as the end of one."""
    return re.sub("[:,<>]", "", name)


def _fields(settings: dict[str, Any], seed: int) -> dict[str, Any]:
    """A1111's names and values, first those that all pictures have; None or nothing for what is not to be written."""
    fields = {
        **{OPTIONS[name].a1111: None for name in FIRST},
        "Seed": seed,
        "Size": f"{settings['width']}x{settings['height']}",
        "Model hash": (settings.get("bundle") or {}).get("sha256", "")[:10],
        "Model": settings["model"],
        "VAE hash": settings.get("vae_sha256", "")[:10],
        "Init image hash": settings.get("image_sha256"),
    }
    listed = settings.get("sigmas") or settings.get("timesteps")
    for name, option in OPTIONS.items():
        if option.a1111 and not (name == "spacing" and listed) and _counts(name, settings):
            value = option.default if settings.get(name) is None else settings[name]
            field = "Eta DDIM" if name == "eta" and settings["sampler"] == "ddim" else option.a1111
            if fields.get(field) is None and (option.recorded or value != option.default):
                fields[field] = _in_a1111(option, value)
    return {**fields, **control_fields(settings), "Version": f"pleinair {settings['pleinair']}"}


def _in_a1111(option: Option, value: Any) -> Any:
    """A value as A1111 writes it; None for a choice that it has no word for.

    Of a spacing's two names it has one: the sigma schedule if there is one, else the timestep spacing.
    """
    if option.a1111_values is not None:
        name = value.rpartition(",")[2] if option.field == "spacing" else value
        return option.a1111_values.get(name, None if isinstance(option.type, Choice | Flag | Axes) else value)
    if isinstance(value, dict):
        return ", ".join(
            f"{word_of(word)}: {told['autov3']}" if isinstance(told, dict) else f"{word}: {told}"
            for word, told in value.items()
        )
    return ", ".join(map(_number, value)) if isinstance(value, list | tuple) else value


def _inputs(settings: dict[str, Any]) -> tuple[str, ...]:
    """The pictures that our settings say a picture was made of: none, "image", or "image" and "mask"."""
    task = settings.get("task")
    if settings.get("mask_sha256") or (task in MASKED and not settings.get("outpaint")):
        return ("image", "mask")
    return ("image",) if settings.get("image_sha256") or task not in (None, "text2image") else ()


def _counts(name: str, settings: dict[str, Any]) -> bool:
    """Whether a setting has a part in the picture; all resolved settings may be recorded."""
    on = set(_inputs(settings))
    on |= {each for each, option in OPTIONS.items() if settings.get(each) not in (None, option.default)}
    needs = OPTIONS[name].needs if name in OPTIONS else ()
    # what is needed may itself need something: only_masked, which padding needs, a mask
    return not needs or any(each in on and (not OPTIONS[each].needs or on & {*OPTIONS[each].needs}) for each in needs)


def _number(value: Any) -> str:
    """The shortest text that reads back as the same number: 7.5, 7, 0.1."""
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if not isinstance(value, float) or float(short) == value else repr(value)


def _quoted(value: Any) -> str:
    """As A1111 quotes: a JSON string where the text would end the field, or looks like such a string already."""
    text = _number(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
    return json.dumps(text, ensure_ascii=False) if re.search(r'[,:\n]|^"', text) else text


def save_options(kind: str, settings: dict[str, Any], seed: int, include: bool = True) -> dict[str, Any]:
    """Keyword arguments of Image.save for "PNG", "JPEG" or "WEBP"; without `include`, none that writes a word."""
    options: dict[str, Any] = {} if kind == "PNG" else {"quality": QUALITY}
    if not include:
        return options
    ours, creator = settings_json(of_picture(settings, seed)), f"pleinair {settings['pleinair']}"
    if kind == "PNG":
        from PIL.PngImagePlugin import PngInfo  # 10 ms that most commands do without

        chunks = PngInfo()
        for name, text in {"parameters": infotext(settings, seed), "pleinair": ours}.items():
            # Latin-1 is what a tEXt chunk holds; others write UTF-8 into it, so that only ASCII is safe
            chunks.add_text(name, text) if text.isascii() else chunks.add_itxt(name, text)
        chunks.add_itxt("XML:com.adobe.xmp", xmp.packet(creator))
        return {**options, "pnginfo": chunks}
    comment = exif.write(infotext(settings, seed))
    if kind == "WEBP":
        return {**options, "exif": comment, "xmp": xmp.packet(creator, ours).encode()}
    fitting = {"exif": comment} if len(comment) <= MAX_SEGMENT else {}
    return {**options, **fitting, "extra": xmp.jpeg_segments(creator, ours)}


def left_out(kind: str, settings: dict[str, Any], seed: int) -> str | None:
    """The warning for a record that does not fit into this kind of file, or None."""
    if kind != "JPEG" or len(exif.write(infotext(settings, seed))) <= MAX_SEGMENT:
        return None
    return (
        "the prompt is too long for the 64 KiB that a JPEG gives A1111's record, which was left out; pleinair's own is"
        " complete; write .png or .webp for both"
    )


def settings_json(settings: dict[str, Any]) -> str:
    return json.dumps(settings, ensure_ascii=False)


def _public(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, made sure to hold no path: a bundle's name loses its folders, anything else is a bug."""
    if "model" in settings:
        settings = {**settings, "model": re.split(r"[\\/]", str(settings["model"]).rstrip("\\/"))[-1]}
    if settings.get("bundle"):
        settings = {**settings, "bundle": {**settings["bundle"], "name": settings.get("model", "")}}
    private = [name for name, value in settings.items() if name not in (*FREE_TEXT, "morph") and _holds_path(value)]
    if private:
        raise ValueError(f"settings {', '.join(private)} hold a path, which must not be in a picture")
    return settings


def _holds_path(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_path, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_path, value))
    return isinstance(value, PurePath) or (isinstance(value, str) and bool(PATHLIKE.match(value)))


@dataclass(frozen=True)
class FoundRecord:
    """What a picture's file says of how it was made."""

    kind: str  # PNG, JPEG, WEBP, GIF or MP4
    tool: str
    version: str | None
    prompt: str
    negative: str
    settings: dict[str, Any]  # the tool's own fields
    ours: dict[str, Any] | None  # our JSON, where pleinair made the picture
    raw: str = field(repr=False)
    warnings: tuple[str, ...] = ()  # what is lost when pleinair makes the picture
    arguments: dict[str, Any] = field(default_factory=dict, repr=False)
    inputs: tuple[str, ...] = ()  # the pictures it was made of, which no record holds: none, image, or image and mask

    def options(self) -> dict[str, Any]:
        """Keyword arguments of Pipeline.generate that ask for this picture, as far as the record has them."""
        said = {"negative": self.negative} if self.negative else {}
        return {"prompt": self.prompt, **said, **self.arguments}


def read_record(file: str | Path) -> FoundRecord:
    """What made a PNG, JPEG or WebP picture of pleinair's or another tool's, or a film of pleinair's.

    Raises RequestError: no such file, no picture, or nothing in it that is known.
    """
    file = Path(file)
    found = embedded.read_texts(file)
    if ours := _ours(found.texts.get("pleinair", "")):
        arguments, warnings = _our_options(modern(ours))
        version = str(ours.get("pleinair") or "") or None
        texts = ours["prompt"], ours["negative"]
        rest = found.texts["pleinair"], warnings, arguments, _inputs(ours)
        return FoundRecord(found.kind, "pleinair", version, *texts, ours, ours, *rest)
    if read_by_other := foreign.read_foreign(found.texts, found.size):
        record, raw = read_by_other
        texts = record.prompt, record.negative
        unread = [f"left unread: {'; '.join(found.skipped)}"] if found.skipped else []
        rest = raw, (*record.warnings, *unread), record.options, record.inputs
        return FoundRecord(found.kind, record.tool, record.version, *texts, record.settings, None, *rest)
    unread = f" ({'; '.join(found.skipped)} left unread)" if found.skipped else ""
    raise RequestError(
        f"'{shown_path(file)}' has no record of how it was made{unread};"
        " give the file that the tool wrote, because copies often lose the record"
    )


def _ours(text: str) -> dict[str, Any] | None:
    raw = parsed(text)
    fine = isinstance(raw, dict) and isinstance(raw.get("format"), int)
    return raw if fine and all(isinstance(raw.get(name), str) for name in FREE_TEXT) else None


def _our_options(ours: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Arguments for Pipeline.generate out of our JSON; explicit sigmas or timesteps stand for steps and spacing."""
    warnings = []
    if ours["format"] > SETTINGS_FORMAT:
        warnings.append("the record was written by a newer pleinair; what this one does not know is left out")
    listed = [name for name in ("sigmas", "timesteps") if ours.get(name)]
    implied = ("steps", "spacing") if listed else ()
    meant = {name: value for name, value in ours.items() if value is not None and _counts(name, ours)}
    options = {name: value for name, value in meant.items() if name not in (*ABOUT, *implied)}
    odd = [name for name, value in options.items() if not _plain(value)]
    if odd:
        warnings.append(f"not followed, of no known kind: {', '.join(map(shown, odd[:8]))}")
    options = {name: value for name, value in options.items() if name not in odd}
    if whole_or_none(ours.get("seed")) is not None:
        options["seed"] = ours["seed"]
    if ours["negative"] == "" and ours.get("negative_said") is True:
        options["negative"] = ""
    return options, tuple(warnings)


def _plain(value: Any) -> bool:
    """A name, a number, a flag, or a list of numbers."""
    if isinstance(value, list):
        return len(value) <= MAX_NUMBERS and all(isinstance(each, int | float) for each in value)
    return len(value) <= MAX_NAME if isinstance(value, str) else isinstance(value, int | float)
