"""Who paints what in a comparison: each peer on each bundle that it can read, and whole pictures at each speed."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pleinair.bundle.opening import Bundle
from pleinair_bench import stored
from pleinair_bench.cases import Case
from pleinair_bench.speeds import EXACT, SPEEDS

MARK = "peers: "  # of the models' names in records
OURS = {"pleinair openvino": "openvino", "pleinair onnx": "onnx"}  # and the engine
BESIDE = "openvino-genai"  # whose whole pictures stand beside ours
READS = {  # the diffusers folder, or the bundle's graphs in one format
    "diffusers": ("diffusers", "diffusers channels-last", "stable-diffusion.cpp"),
    "openvino": ("pleinair openvino", "openvino-genai", "optimum-intel"),
    "onnx": ("pleinair onnx", "optimum-onnx"),
}
PRECISIONS = ("auto", "f32")
# what these choose by themselves is float32: one measurement serves both comparisons
IN_FLOAT32 = ("pleinair onnx", "optimum-onnx", "diffusers", "diffusers channels-last")
# measured as they choose, on the first bundle: the one asks OpenVINO for what openvino-genai asks it for, the other
# takes minutes
AS_THEY_CHOOSE = ("optimum-intel", "stable-diffusion.cpp")
OWN_NOISE = ("stable-diffusion.cpp",)  # paints another picture, which is neither right nor wrong
W8A8 = "w8a8"
STEPS = 20  # of whole pictures
FEW_STEPS, FEW_SAMPLER = 4, "lcm"  # of a distilled model, which is painted without guidance


@dataclass(frozen=True)
class PeerWork:
    """What everybody paints: the bundles are of the diffusers folder `source`, stored or computing differently.

    `steps` are of the pictures in which a step and a decode are measured; `vae` is a small one, for few steps.
    """

    source: Path
    bundles: tuple[Bundle, ...]
    width: int
    height: int
    steps: int
    guidance: float
    threads: int | None
    vae: Bundle | None = None


@dataclass(frozen=True, eq=False)
class Row:
    """A peer, the folder and the weights that it reads, and how its picture is asked for.

    `precision` is one of PRECISIONS, `speed` a key of SPEEDS, and `rounds` how often the row is measured. `whole` is a
    whole picture; others are of a step and a decode.
    """

    peer: str
    folder: Path
    weights: str
    precision: str
    steps: int
    guidance: float
    rounds: int
    sampler: str = "ddim"
    speed: str = EXACT
    whole: bool = False
    vae: Path | None = None

    @property
    def like_diffusers(self) -> bool:
        """Whether it paints what diffusers paints of the same noise."""
        return not self.whole and self.peer not in OWN_NOISE

    def __str__(self) -> str:
        what = f"{self.steps} steps {self.speed}" if self.whole else self.precision
        return f"{self.peer}, {self.weights}, {what}"


def rows_of(work: PeerWork, peers: list[str], precisions: list[str], rounds: int) -> list[Row]:
    """A row for each peer, bundle that it reads, and precision that is worth telling apart."""
    return [
        Row(peer, folder, weights, precision, work.steps, work.guidance, rounds)
        for peer in peers
        for number, (folder, weights) in enumerate(folders_of(work, peer))
        for precision in asked_of(peer, weights, number, precisions)
    ]


def asked_of(peer: str, weights: str, number: int, precisions: list[str]) -> list[str]:
    """The precisions in which a peer is measured on the bundle of this number."""
    if peer in AS_THEY_CHOOSE:
        return ["auto"] if number == 0 else []
    if weights == W8A8:
        return ["auto"]
    return ["f32"] if peer in IN_FLOAT32 else precisions


def folders_of(work: PeerWork, peer: str) -> Iterator[tuple[Path, str]]:
    """What a peer can read of this work, with how the weights of the UNet there are stored."""
    if peer in READS["diffusers"]:
        yield work.source, stored.of_diffusers(work.source / "unet")
        return
    form = next(form for form, readers in READS.items() if peer in readers)
    for bundle in work.bundles:
        if form in bundle.formats:
            yield bundle.path, weights_of(bundle, form)


def weights_of(bundle: Bundle, form: str) -> str:
    """How a bundle's UNet is stored: fp32, fp16, bf16, int8, w8a8 where it computes in int8 too, or unknown."""
    if bundle.manifest.graphs["unet"].form == W8A8:
        return W8A8
    return stored.of_graph(bundle.graph_file("unet", form))


def pictures_of(work: PeerWork, peers: list[str], rounds: int) -> Iterator[Row]:
    """Whole pictures: ours at each speed from the bundle that computes fastest, and openvino-genai's from the first.

    Then pictures of few steps, ours through the small VAE where there is one.
    """
    own = next((peer for peer in OURS if peer in peers and [*folders_of(work, peer)]), None)
    few = {"steps": FEW_STEPS, "guidance": 1.0, "sampler": FEW_SAMPLER}
    if own:
        found = [*folders_of(work, own)]
        folder, weights = next((each for each in found if each[1] == W8A8), found[0])
        ours = {"peer": own, "folder": folder, "weights": weights, "precision": "auto", "rounds": rounds, "whole": True}
        for speed in SPEEDS:
            yield Row(**ours, steps=STEPS, guidance=work.guidance, speed=speed)
        yield Row(**ours, **few, vae=work.vae.path if work.vae else None)
    if BESIDE in peers:
        folder, weights = next(folders_of(work, BESIDE))
        theirs = {"peer": BESIDE, "folder": folder, "weights": weights, "precision": "auto", "rounds": rounds}
        yield Row(**theirs, steps=STEPS, guidance=work.guidance, whole=True)
        yield Row(**theirs, **few, whole=True)


def case_of(work: PeerWork, row: Row) -> Case:
    """The case of a record."""
    return Case(
        model=MARK + work.bundles[0].manifest.name,
        work="cold",
        engine=row.peer,
        device="cpu",
        weights=row.weights,
        precision=row.precision,
        threads=work.threads,
        batch=1,
        width=work.width,
        height=work.height,
        steps=row.steps,
        sampler="euler" if row.peer in OWN_NOISE else row.sampler,
        speed=row.speed,
        vae="small" if row.vae else None,
    )


def disk_mb(row: Row) -> float:
    """What a peer needs on the disk to paint a row, in MB of 2^20 bytes: not the graphs in another format."""
    form = next(form for form, readers in READS.items() if row.peer in readers)
    folders = [row.folder, *([row.vae] if row.vae else [])]
    return sum(each.stat().st_size for folder in folders for each in files_for(folder, form)) / 2**20


def files_for(folder: Path, form: str) -> Iterator[Path]:
    """The files of a folder that a reader of one format needs."""
    others = {"openvino": "model.onnx", "onnx": "openvino_model"}
    foreign = others.get(form)
    for place, _, names in os.walk(folder, followlinks=True):  # folders of a hub's cache are full of links
        for name in names:
            if not (foreign and name.startswith(foreign)):
                yield Path(place, name)
