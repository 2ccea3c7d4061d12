"""`bundle.json` as frozen dataclasses: what a model consists of, as data, so that no code asks for a model's family."""

import json
from dataclasses import asdict, dataclass, field

from pleinair.bundle.lone_parts import Autoencoder, ControlNet
from pleinair.bundle.verifying import FileInfo

FORMAT = 2
MANIFEST = "bundle.json"
LATENTS, TIMESTEP = "latents", "timestep"  # feeds that the loop gives
EDITED = ("image", "scaled_image")  # a picture that is edited, its latents as the VAE has them or as the loop has
BEHIND = ("mask", "masked_image", *EDITED)  # what a denoiser may be shown behind the latents
KNOWN_FEEDS = {  # made of the request alone: numbers in a row, None for any
    "size_ids": 6,
    "scored_size_ids": 5,
    "guidance_embedding": None,
}
SCALE = "guidance"  # a feed: how strictly to follow the prompt, a number for each row
PLACES = ("image_ids", "text_ids")  # feeds: where each patch of the latents lies, and each token of the text
EMPHASIS = ("mean", "plain")  # see TextEncoder
MAX_SIDE = 4096  # pixels of a picture
MAX_STEPS = 1000
MAX_GUIDANCE = 100
MASK = "attention_mask"  # a port of text encoders: 1 for the tokens of a text, 0 for those that fill it up
GUIDANCE = ("cfg", "embedded", "image_text")  # see pleinair.network.guidance


@dataclass(frozen=True)
class Port:
    """One input or output of a graph; a named dimension is dynamic."""

    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Fidelity:
    """How close a graph is to torch on the same inputs, and the gate it had to pass, in dB of PSNR.

    `worst_channel`, where a bundle has it, is the largest relative error of a channel of any output.
    """

    psnr_db: float
    gate_db: float
    worst_channel: float | None = None


@dataclass(frozen=True)
class WideLayers:
    """What computes as before in a quantized graph, by path, and its share of the multiplications."""

    layers: tuple[str, ...]
    share: float


@dataclass(frozen=True)
class GraphInfo:
    """One network of the bundle: its files by format ("openvino", "onnx"), the first being the graph itself.

    One whose `activations` are "int8" computes in int8, but for its `wide_layers` (by format); its fidelity is to what
    it was made of.
    """

    files: dict[str, tuple[str, ...]]
    weights: str
    activations: str
    inputs: dict[str, Port]
    outputs: dict[str, Port]
    fidelity: dict[str, Fidelity]
    wide_layers: dict[str, WideLayers] = field(default_factory=dict)

    @property
    def form(self) -> str:
        """How its numbers are stored and computed with, in a word: "w8a8", or what its weights are stored as."""
        return "w8a8" if self.in_int8 else self.weights

    @property
    def in_int8(self) -> bool:
        """Whether it computes in int8."""
        return self.activations == "int8"


@dataclass(frozen=True)
class Placed:
    """Where a layer's weight lies in a graph: the name of a constant or an initializer, and whether it is transposed.

    A weight is (out, in, ...) as torch has it, and (in, out) where it is transposed.
    """

    name: str
    transposed: bool = False


@dataclass(frozen=True)
class TextEncoder:
    """Which graph reads the prompt, with which tokenizer folder, and which of its outputs are used.

    `output` is (B, length, width), one row for each token; `pooled`, where it is used, (B, width). `empty` says what
    the network is told where no negative prompt is given: "encode" the empty text, or "zeros".

    Texts begin with `bos_id` and end in `eos_id` where there are such. A text that is longer than `length` is read in
    several chunks; where `cut` is set, the rest is left out. Rows times the weights of their tokens are scaled back to
    the "mean" that they had, or left as they are ("plain"). One that is `masked` is told at the port MASK which tokens
    are of the text, one that `reads_all` that all are. One that is `lowered` reads it in lower case, without spaces
    around it. A `prefix` is read before the text, as one with it; of what is said then the first row and the last are
    `kept`, so many.
    """

    graph: str
    tokenizer: str
    length: int
    bos_id: int | None
    eos_id: int | None
    pad_id: int
    output: str
    pooled: str | None = None
    empty: str = "encode"
    cut: bool = False
    emphasis: str = "mean"
    masked: bool = False
    lowered: bool = False
    prefix: str = ""
    kept: int | None = None
    reads_all: bool = False

    @property
    def ports(self) -> tuple[str, ...]:
        """What its graph is told."""
        return ("input_ids", MASK) if self.masked or self.reads_all else ("input_ids",)

    @property
    def start(self) -> int:
        """Where the tokens of a text begin."""
        return 0 if self.bos_id is None else 1

    @property
    def room(self) -> int:
        """How many tokens of a text are read at once."""
        return self.length - self.start - (self.eos_id is not None) - self.before

    @property
    def before(self) -> int:
        """How many tokens of a prefix are read before those of a text."""
        return 0 if self.kept is None else self.length - self.kept + 1


@dataclass(frozen=True)
class Joined:
    """A feed that is made of text encoders' outputs, in this order: their widths are joined.

    It has a row for each token, or, where `pooled` is set, one for each text. The tokens of the encoders in `then`
    follow, and after them `zeros` tokens of zeros, for an encoder that a model is left without; all of these are filled
    with zeros up to one `width`. A `mask` has one number for each token: 1 where it is of the text, and 0.
    """

    encoders: tuple[str, ...]
    pooled: bool = False
    mask: bool = False
    then: tuple[str, ...] = ()
    width: int | None = None
    zeros: int = 0

    @property
    def all(self) -> tuple[str, ...]:
        """The graphs of all its encoders."""
        return self.encoders + self.then


@dataclass(frozen=True)
class Denoiser:
    """The network of the loop: which feed each of its input ports takes, and the port that answers.

    Feeds are "latents", "timestep", those of `Manifest.conditioning`, KNOWN_FEEDS, SCALE and PLACES. `channels` are
    what the latents' port takes behind the latents, some of BEHIND. The timestep is told times `time_scale`, and how
    strictly to follow the prompt times `guidance_scale`. With a `patch` above 1, latents go in and come out as tokens
    (B, h w / patch^2, C patch^2), a square of them each.
    """

    graph: str
    feeds: dict[str, str]
    output: str
    channels: tuple[str, ...] = ()
    time_scale: float = 1.0
    guidance_scale: float = 1.0
    patch: int = 1

    @property
    def edits(self) -> bool:
        """Whether it is shown a picture to edit."""
        return any(name in EDITED for name in self.channels)


@dataclass(frozen=True)
class Latents:
    """What the loop denoises; the sides of a picture are multiples of `multiple` pixels, and `longest` at most.

    `rgb`, where a bundle has it, previews without a VAE: colours in 0..1 = latents (as the network sees them) @ W + b,
    as rows of 3, one for each channel and the last for b.
    """

    channels: int
    multiple: int
    rgb: tuple[tuple[float, ...], ...] | None = None
    longest: int | None = None


@dataclass(frozen=True)
class Defaults:
    """What a picture is made with when the caller does not say."""

    width: int
    height: int
    sampler: str
    steps: int
    guidance: float
    image_guidance: float = 1.5  # of models that edit pictures
    timesteps: tuple[float, ...] | None = None  # of models that walk these and no others; as many as `steps`


@dataclass(frozen=True)
class Sizes:
    """The shortest and the longest side, in pixels, that a model paints well."""

    smallest: int
    largest: int


@dataclass(frozen=True)
class Origin:
    """Where the model came from and what made the bundle; never a path, user or host name.

    `trigger` are the words that its maker says it was trained on.
    """

    source: str
    revision: str | None
    licence: str | None
    command: str
    tools: dict[str, str]
    trigger: str | None = None


@dataclass(frozen=True)
class Manifest:
    """The whole of `bundle.json`.

    An upscaler has a `scale`, how many times wider its pictures become, and the graph "upscaler"; a ControlNet has
    `control`; a VAE on its own has latents and the VAE "default"; and none of these has anything of what paints. All
    other bundles have latents, defaults, text encoders, a denoiser, the VAE "default" and a scheduler.

    `family` is for people. `guidance`, one of GUIDANCE, is how the text steers. `vocabulary` holds all the words that a
    model knows, in lower case and the telling ones first; where it is empty there is no telling, and likewise without
    `sizes`. `weights` says where a layer's weight lies: graph -> layer path, as torch names it -> format.
    """

    format: int
    name: str
    family: str
    tasks: tuple[str, ...]
    graphs: dict[str, GraphInfo]
    files: dict[str, FileInfo]
    origin: Origin
    scale: int | None = None
    control: ControlNet | None = None
    latents: Latents | None = None
    defaults: Defaults | None = None
    text_encoders: tuple[TextEncoder, ...] = ()
    conditioning: dict[str, Joined] = field(default_factory=dict)
    denoisers: tuple[Denoiser, ...] = ()
    guidance: str = "cfg"
    vaes: dict[str, Autoencoder] = field(default_factory=dict)
    scheduler: str | None = None
    vocabulary: tuple[str, ...] = ()
    sizes: Sizes | None = None
    weights: dict[str, dict[str, dict[str, Placed]]] = field(default_factory=dict)

    @property
    def denoiser(self) -> Denoiser:
        """The network of the loop."""
        return self.denoisers[0]

    @property
    def paints(self) -> bool:
        """Whether it is a whole model, and no upscaler, ControlNet or VAE."""
        return bool(self.denoisers)

    @property
    def vae(self) -> Autoencoder:
        """The VAE that pictures are decoded with."""
        return self.vaes["default"]

    @property
    def is_vae(self) -> bool:
        """Whether it is a VAE on its own."""
        return bool(self.vaes) and not (self.denoisers or self.text_encoders or self.defaults or self.scheduler)

    def paths_of(self, graph: str, form: str) -> dict[str, str]:
        """Name of a weight in a graph -> the path of its layer, as far as `weights` says it."""
        layers = self.weights.get(graph, {})
        return {places[form].name: path for path, places in layers.items() if form in places}

    def to_json(self) -> str:
        """bundle.json, as `bundle.opening.read_manifest` reads it."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"
