"""Which form of a W8A8 graph OpenVINO is given on a CPU, and why: one bundle serves every CPU.

Without VNNI, products of int8 are added in pairs by vpmaddubsw, in 16 bits that saturate; and where only AVX2 is, a
linear layer in int8 takes as long as in f32, while a convolution takes half (docs/performance.md#w8a8).
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

AUTO = "auto"
STORED, SHIFTED, PAIRED, CHANNELS_FIRST = "stored", "shifted", "paired", "channels-first"
FORMS = (STORED, SHIFTED, PAIRED, CHANNELS_FIRST)
WEIGHTS_STAY = (STORED, SHIFTED)  # forms whose weights in int8 are those of the bundle
WORDS = {
    STORED: "as they are stored",
    SHIFTED: "with the inputs of convolutions shifted to begin at 0",
    PAIRED: "with weights that cannot saturate, and attention in float",
    CHANNELS_FIRST: "with weights that cannot saturate, linear layers as convolutions and attention in float",
}
AVX512 = ("avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
# ONEDNN_MAX_CPU_ISA -> what it forbids
FORBIDDEN: Mapping[str, tuple[str, ...]] = {
    "SSE41": ("avx", "avx2", "avx_vnni", *AVX512),
    "AVX": ("avx2", "avx_vnni", *AVX512),
    "AVX2": ("avx_vnni", *AVX512),
    "AVX2_VNNI": AVX512,
    "AVX2_VNNI_2": AVX512,
    "AVX512_CORE": ("avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"),
}


class ChosenForm(NamedTuple):
    """One of FORMS, and in a few words why it was taken."""

    form: str
    why: str


class CPUClass(NamedTuple):
    """CPUs that have any of these `flags`, and none of a class before."""

    flags: tuple[str, ...]
    chosen: ChosenForm


CLASSES = (
    CPUClass(("avx512_vnni", "amx_int8"), ChosenForm(SHIFTED, "this CPU has VNNI")),
    CPUClass(("avx_vnni",), ChosenForm(SHIFTED, "this CPU has AVX-VNNI")),
    CPUClass(("avx512f",), ChosenForm(PAIRED, "this CPU has AVX-512 without VNNI")),
    CPUClass(("avx2",), ChosenForm(CHANNELS_FIRST, "this CPU has AVX2, and neither AVX-512 nor VNNI")),
    CPUClass(("sse4_2",), ChosenForm(PAIRED, "this CPU is not known to have AVX2")),
)
OTHERS = ChosenForm(STORED, "this is not an x86 CPU")


def chosen_form(asked: str, flags: Collection[str], forced: str = "") -> ChosenForm:
    """The form for a CPU with these flags (as /proc/cpuinfo calls them); `forced` is ONEDNN_MAX_CPU_ISA."""
    if asked != AUTO:
        return ChosenForm(asked, "it was asked for")
    forbidden = FORBIDDEN.get(forced.upper(), ())
    usable = {flag for flag in flags if flag not in forbidden}
    found = next((row.chosen for row in CLASSES if usable.intersection(row.flags)), OTHERS)
    return found if not usable.symmetric_difference(flags) else found._replace(why=f"{found.why} (forced: {forced})")


@dataclass(frozen=True)
class TakenForm:
    """What became of one graph: counts of its layers.

    `shifted` convolutions read numbers from 0 on. `linear` layers over image tokens were turned into convolutions and
    `left` were not; `attention` is how many quantizers were taken out of attention; `rounded` weights of `weights` in
    int8 were rounded anew, `unknown` ones are stored in a way that is not known.
    """

    form: str
    why: str
    shifted: int = 0
    linear: int = 0
    left: int = 0
    attention: int = 0
    rounded: int = 0
    weights: int = 0
    unknown: int = 0

    @property
    def record(self) -> dict[str, Any]:
        """For records: the form, why, and those of the counts that are not 0."""
        return {name: value for name, value in asdict(self).items() if value}


def form_again(recorded: Any, here: str) -> str | None:
    """The form that a record of graphs in int8 asks for; None for that which suits the CPU, which is `here`.

    Graphs with weights as they are stored may overflow on another CPU, and then give yet another picture.
    """
    graphs = recorded.values() if isinstance(recorded, dict) else ()
    forms = {graph.get("form") for graph in graphs if isinstance(graph, dict) and isinstance(graph.get("form"), str)}
    again = FORMS if here in WEIGHTS_STAY else (PAIRED, CHANNELS_FIRST)
    return next((form for form in again if forms == {form} and form != here), None)
