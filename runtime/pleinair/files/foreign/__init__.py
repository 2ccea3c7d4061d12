"""What other tools wrote into their pictures, read as what pleinair would be asked for.

    A1111, Forge           `parameters`: prompt, "Negative prompt: ...", one line of "Name: value" pairs
    stable-diffusion.cpp   the same, with its own names of samplers and, lately, a JSON object at the end
    InvokeAI               `invokeai_metadata`: a JSON object; before version 3 `sd-metadata`
    ComfyUI                `prompt`: the graph of nodes that made the picture
    NovelAI                `Comment`: a JSON object
    Fooocus                `parameters`: a JSON object, where `fooocus_scheme` says so

What has no counterpart here is named in `ForeignRecord.warnings`; nothing is guessed in silence.
"""

from functools import partial

from pleinair.files.foreign.comfyui import read_comfyui
from pleinair.files.foreign.fooocus import read_fooocus
from pleinair.files.foreign.infotext import read_infotext
from pleinair.files.foreign.invokeai import read_dream, read_invokeai, read_old_invokeai
from pleinair.files.foreign.novelai import read_novelai
from pleinair.files.foreign.record import ForeignRecord, lost_fields

COMMENTS = ("parameters", "UserComment", "comment")
BESIDE = {  # texts that only repeat a record, are for its tool alone, or say nothing of how a picture was made
    *("parameters", "prompt", "workflow", "UserComment", "comment", "Comment", "Description", "Title", "Source"),
    *("Software", "Generation time", "Author", "Copyright", "Creation Time", "date:create", "date:modify"),
    *("sd-metadata", "Dream", "invokeai_metadata", "invokeai_workflow", "invokeai_graph", "fooocus_scheme"),
    *("pleinair", "dpi", "icc", "Raw profile type exif", "generation_data", "Warning", "Disclaimer"),
}


def read_foreign(texts: dict[str, str], size: tuple[int, int] | None = None) -> tuple[ForeignRecord, str] | None:
    """The record of whichever tool wrote these texts into a picture of this size, and the text it was read from."""
    found = _recognised(texts, size)
    if found is None:
        return None
    name, record = found
    lost_fields(record, (other for other, text in texts.items() if other not in BESIDE and text), "not read")
    return record, texts[name]


def _recognised(texts: dict[str, str], size: tuple[int, int] | None) -> tuple[str, ForeignRecord] | None:
    """The first text that a reader makes sense of, and what it says."""
    readers = (
        ("invokeai_metadata", read_invokeai),
        ("sd-metadata", read_old_invokeai),
        ("Dream", read_dream),
        *((name, reader) for name in COMMENTS for reader in (read_fooocus, read_infotext)),
        ("prompt", partial(read_comfyui, size=size)),
    )
    for name, reader in readers:
        if name in texts and (record := reader(texts[name])):
            return name, record
    if "Comment" in texts and (record := read_novelai(texts)):
        return "Comment", record
    return None
