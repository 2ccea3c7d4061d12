"""A LoRA file: its header, and its tensors by layer and role; their numbers stay on the disk until asked for."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from pleinair.adapters.kinds import ALPHA, NORMS, ROW_NORMS, Shape
from pleinair.adapters.other_files import told_otherwise
from pleinair.checks import one_line, shown_path, shown_value
from pleinair.errors import RequestError
from pleinair.system.mistaken import check_mistaken
from pleinair.system.on_disk import FileInUse, OnDisk
from pleinair.system.safetensors import HEADER, STORED, Header, check_entry, read_safetensors_header, widened

AGAIN = "check the path, or download it again, as .safetensors"
BEGINS = (b"PK\x03\x04", *(b"\x80%c" % protocol for protocol in range(2, 6)))  # of pickles, in archives and plain
PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")
MOST = 1 << 15  # tensors of a file; LoHa of all layers of SDXL's UNet has some 10,000
BLOCK = 1 << 20
COUNTED = {"BOOL": np.dtype(np.uint8), "I32": np.dtype(np.int32), "I64": np.dtype(np.int64)}  # of alphas and flags
EMBEDDED = re.compile(r"emb_params|string_to_param.*|bundle_emb\..*")  # textual inversions inside
ROLES = {  # how a name ends -> what the tensor is to its layer
    "lora_down.weight": "down",
    "lora_up.weight": "up",
    "lora_mid.weight": "mid",
    "lora_A.weight": "down",
    "lora_B.weight": "up",
    "lora_A.default.weight": "down",
    "lora_B.default.weight": "up",
    "lora_B.bias": "up_bias",
    "lora_B.default.bias": "up_bias",
    "lora.down.weight": "down",
    "lora.up.weight": "up",
    "lora_linear_layer.down.weight": "down",
    "lora_linear_layer.up.weight": "up",
    "lora_magnitude_vector": ROW_NORMS,
    "lora_magnitude_vector.weight": ROW_NORMS,
    "lora_magnitude_vector.default.weight": ROW_NORMS,
    "dora_scale": NORMS,
    "alpha": ALPHA,
    **{name: name for name in ("diff", "diff_b", "w_norm", "b_norm", "oft_blocks", "rescale", "weight", "on_input")},
    **{f"hada_{each}": f"hada_{each}" for each in ("w1_a", "w1_b", "w2_a", "w2_b", "t1", "t2")},
    **{f"lokr_{each}": f"lokr_{each}" for each in ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "t2")},
}
OLD = re.compile(r"(.*\.to_\w+)_lora\.(?:(down|up)\.weight|alpha)")  # of diffusers' attention processors
XLABS = re.compile(r"(.*\.processor\.(?:qkv|proj)_lora[12]?)\.(down|up)\.weight")


class LoraTensor(NamedTuple):
    """Where a tensor lies in a file."""

    kind: str
    shape: Shape
    start: int


@dataclass(frozen=True, eq=False)
class LoraFile:
    """A LoRA's tensors: layer, as the file calls it -> role -> key; raises RequestError for what cannot be read.

    `keys` are all of the file, with those that belong to no layer.
    """

    path: Path
    sha256: str
    autov3: str  # the digest of what follows the header, by which A1111 tells LoRA files apart
    metadata: Mapping[str, str]
    keys: tuple[str, ...]
    layers: Mapping[str, Mapping[str, str]]
    _tensors: Mapping[str, LoraTensor] = field(repr=False)
    _file: FileInUse = field(repr=False)
    _turn: Lock = field(repr=False, default_factory=Lock)  # threads may compile graphs with it

    @property
    def name(self) -> str:
        """What prompts and records call it."""
        return self.path.stem

    def shapes(self, layer: str) -> dict[str, Shape]:
        """Of a layer's tensors, by role."""
        return {role: self._tensors[key].shape for role, key in self.layers[layer].items()}

    def parts(self, layer: str, roles: Iterable[str]) -> dict[str, np.ndarray]:
        """A layer's tensors of some roles, as float32."""
        return {role: self._read(self.layers[layer][role]) for role in roles}

    def _read(self, key: str) -> np.ndarray:
        kind, shape, start = self._tensors[key]
        raw = OnDisk(self._file, {**STORED, **COUNTED}[kind], shape, start)
        with self._turn, np.errstate(over="ignore"):
            numbers = widened(kind, raw).astype(np.float32)
        if not np.isfinite(numbers).all():
            raise RequestError(
                f"'{shown_path(self.path)}' holds NaN or infinity in {one_line(key, 80)}; choose another file"
            )
        return numbers


def lora_header(path: Path) -> Header:
    """What a LoRA file begins with; raises RequestError for a file of another kind, a damaged one, and a pickle."""
    if path.suffix.lower() in PICKLES or is_pickle(path):
        raise RequestError(
            f"'{shown_path(path)}' is a PyTorch file, which can run any code when it is opened; take its .safetensors"
            " form"
        )
    if path.is_dir():
        raise RequestError(f"'{shown_path(path)}' is a folder; give the LoRA file in it")
    return read_safetensors_header(path, RequestError, AGAIN)


def is_pickle(path: Path) -> bool:
    """Whether a file begins as torch writes them; as the size of a safetensors header these are too large."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            return stream.read(8).startswith(BEGINS)
    except OSError:  # told by whoever reads it
        return False


class LoraHead(NamedTuple):
    """What the header of a LoRA file says of it."""

    metadata: Mapping[str, str]
    tensors: Mapping[str, LoraTensor]
    layers: Mapping[str, Mapping[str, str]]  # as `LoraFile` has them

    def shapes(self, layer: str) -> dict[str, Shape]:
        """Of a layer's tensors, by role."""
        return {role: self.tensors[key].shape for role, key in self.layers[layer].items()}


def open_lora(path: Path) -> LoraFile:
    """Read the header of a LoRA file; raises RequestError for what is none, is damaged, or is a pickle."""
    head = read_lora_head(path)
    try:
        file = FileInUse(path, RequestError)
    except OSError as error:
        raise RequestError(
            f"cannot read '{shown_path(path)}' ({one_line(error.strerror, 80)}); check the file"
        ) from None
    return LoraFile(path, *digests(path), head.metadata, tuple(head.tensors), head.layers, head.tensors, file)


def read_lora_head(path: Path) -> LoraHead:
    """The same, of which nothing but the header is read."""
    where, header = shown_path(path), lora_header(path)
    if len(header.tensors) > MOST:
        raise RequestError(f"'{where}' has {len(header.tensors):,} tensors, more than any LoRA; choose another file")
    places = sorted(place_in(where, name, entry) for name, entry in header.tensors.items())
    if not places or max(last for _, last in places) != header.data:
        check_mistaken(path, RequestError)
        raise RequestError(f"'{where}' is damaged or cut short ({header.size} bytes); {AGAIN}")
    if any(first < last for (_, last), (first, _) in pairwise(places)):
        raise RequestError(f"'{where}' has tensors that overlap; {AGAIN}")
    begin = header.size - header.data
    tensors = {
        name: LoraTensor(entry["dtype"], tuple(entry["shape"]), begin + entry["data_offsets"][0])
        for name, entry in header.tensors.items()
    }
    layers = sorted_by_layer({name: each for name, each in tensors.items() if each.kind in (*STORED, *COUNTED)})
    if not changes_anything(layers):
        other = sorted({each.kind for each in tensors.values()} - {*STORED, *COUNTED})
        if other and changes_anything(sorted_by_layer(tensors)):
            kinds = one_line(", ".join(other), 60)
            raise RequestError(f"'{where}' has numbers of a kind that is not read, {kinds}; take one in F16 or BF16")
        raise RequestError(f"'{where}' {told_otherwise(tensors)}")
    return LoraHead(header.metadata, tensors, layers)


def place_in(where: str, name: str, entry: Any) -> tuple[int, int]:
    """Where the bytes of a header's entry begin and end; raises RequestError where they cannot be so."""
    first, last = check_entry(where, name, entry, RequestError, AGAIN)
    kind = entry["dtype"]
    lies = kind in COUNTED and last - first != prod(entry["shape"]) * COUNTED[kind].itemsize
    if lies or not isinstance(kind, str):
        raise RequestError(f"'{where}' has an impossible {shown_value(name)} in its header; {AGAIN}")
    return first, last


def changes_anything(layers: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether any of these layers may be a LoRA's; weights alone are a model's own."""
    return any(set(roles) - {"weight", ALPHA} for roles in layers.values())


def digests(path: Path) -> tuple[str, str]:
    """SHA-256 of a file, and of what in it follows the header; raises RequestError where it cannot be read."""
    try:
        facts = path.stat()
        return digests_of(path, facts.st_size, facts.st_mtime_ns)
    except OSError as error:
        where = shown_path(path)
        raise RequestError(f"cannot read '{where}' ({one_line(error.strerror, 80)}); check the file") from None


@lru_cache(maxsize=64)
def digests_of(path: Path, size: int, changed: int) -> tuple[str, str]:
    """The same of a file that has not `changed` since it was asked for."""
    every, behind = hashlib.sha256(), hashlib.sha256()
    with path.open("rb") as stream:
        head = stream.read(8)
        every.update(head)
        every.update(stream.read(min(int.from_bytes(head, "little"), HEADER)))
        while block := stream.read(BLOCK):
            every.update(block)
            behind.update(block)
    return every.hexdigest(), behind.hexdigest()


def sorted_by_layer(keys: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Layer -> role -> key, of those keys that end as a role does."""
    found: dict[str, dict[str, str]] = {}
    for key in keys:
        if EMBEDDED.fullmatch(key):
            continue
        layer, role = place_of(key)
        if layer and role and role not in found.setdefault(layer, {}):
            found[layer][role] = key
    return {layer: roles for layer, roles in found.items() if roles}


def place_of(key: str) -> tuple[str, str | None]:
    """The layer and the role of a key; None for a key of no known ending."""
    if old := OLD.fullmatch(key) or XLABS.fullmatch(key):
        return old[1], old[2] or ALPHA
    return next(((layer, ROLES[end]) for layer, end in endings(key) if end in ROLES), (key, None))


def endings(key: str) -> Iterator[tuple[str, str]]:
    """A name cut at each of its last four dots, the longest ending first."""
    pieces = key.split(".")
    for count in range(min(4, len(pieces) - 1), 0, -1):
        yield ".".join(pieces[:-count]), ".".join(pieces[-count:])
