"""Names of models on the Hugging Face hub: OWNER/NAME, and the addresses that a browser shows of them."""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from pleinair.checks import quoted

PART = r"\w(?:[\w.-]{0,94}\w)?"
ADDRESS = r"(?:https?:/{1,2})?(?:www\.)?(?:huggingface|hf)\.co/|hf:/{1,2}"  # pathlib makes one slash of two
HUB_ID = re.compile(rf"({ADDRESS})?({PART}/{PART})(?:/(?:tree|blob|resolve|raw)/([^/]+)(/.+?)?)?/?", re.ASCII)
FILES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".onnx", ".xml", ".json")  # no model is called so
COMMIT = re.compile(r"[0-9a-f]{40}")
WHOLE = ".safetensors"  # suffix of what may be fetched alone
MAIN = "main"


@dataclass(frozen=True)
class OnHub:
    """OWNER/NAME, and the revision and the file of weights that an address names besides."""

    id: str
    revision: str | None = None
    file: str | None = None

    @property
    def name(self) -> str:
        """What the model of it is called here."""
        name = self.id.partition("/")[2]
        return f"{name}--{self.file.rpartition('/')[2].removesuffix(WHOLE)}" if self.file else name

    @property
    def command(self) -> str:
        """What fetches it."""
        revision = f" --revision {quoted(self.revision)}" if self.revision else ""
        return f"pleinair pull {self.id}{revision}" + (f" --file {quoted(self.file)}" if self.file else "")


def on_hub(text: str) -> OnHub | None:
    """What a name or an address stands for; None for what the hub would not take for one, and for names of files."""
    found = HUB_ID.fullmatch(re.split("[?#]", text)[0])
    if found is None:
        return None
    browsed, id, revision, inner = found.groups()
    if re.search(r"--|\.\.|\.git$", id) or (revision and not browsed) or id.lower().endswith(FILES):
        return None
    file = unquote(inner or "").strip("/")
    wanted = None if revision in (None, MAIN) else unquote(revision)
    return OnHub(id, wanted, file if file.endswith(WHOLE) else None)


def hub_id(text: str) -> str | None:
    """OWNER/NAME, also where it stands in an address of the hub; None for what the hub would not take for one."""
    named = on_hub(text)
    return named and named.id
