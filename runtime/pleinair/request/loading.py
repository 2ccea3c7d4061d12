"""The table of what opening a model can be asked: keyword arguments of `load`, and the flags of commands that open one.

It is of the same rows as the table of options, and docs/options.md has both.
"""

from dataclasses import dataclass

from pleinair.engines.engine import ENGINES
from pleinair.engines.int8.forms import AUTO as FORM_AUTO
from pleinair.engines.int8.forms import FORMS
from pleinair.engines.precision import AUTO, PRECISIONS
from pleinair.request.file_types import Folder
from pleinair.request.option import option, options_of
from pleinair.request.value_types import Choice, Flag, Whole, Words

DEVICES = ("cpu", "gpu", "npu", "dml", "auto")
WITH_GRAPHS = tuple(name for name, info in ENGINES.items() if info.format)
MEMORY = ("auto", "high", "low")
MAX_THREADS = 1024


@dataclass(frozen=True)
class Loading:
    """How a model is opened. What `device` and `precision` mean is for the engine to say."""

    model: str | None = option(
        None,
        Folder(),
        "Bundle, .safetensors file, diffusers folder, or a name that `pleinair models` lists.",
        usual="storybook",
    )
    engine: str | None = option(
        None,
        Words((FORM_AUTO, *WITH_GRAPHS)),
        "openvino, onnx, or auto: what `pleinair tune` found, else the one that should finish first.",
        usual="auto",
    )
    device: str | None = option(
        None,
        Words(DEVICES),
        "cpu, gpu, gpu.1, npu, auto, hetero:gpu,cpu (OpenVINO); cpu, dml, dml:1 (ONNX Runtime); by component:"
        " unet=npu,vae=gpu.",
        usual="cpu",
    )
    threads: int | None = option(None, Whole(1, MAX_THREADS), "CPU threads.", usual="the engine's choice")
    precision: str | None = option(
        None,
        Words((AUTO, *PRECISIONS)),
        "Number format for computing: auto, f32, bf16, f16; by component: unet=bf16,vae=f32.",
        usual="auto",
    )
    memory: str = option(
        MEMORY[0],
        Choice(MEMORY),
        "low: finish each stage for all pictures, then free its memory; auto: do so if memory is short; high: do not.",
    )
    preflight: bool = option(True, Flag(), "Check before loading that a job fits in memory.")
    verify: bool = option(True, Flag(), "Check the model's files against their SHA-256.")
    fallback: bool = option(False, Flag(), "Continue on the CPU if a device is missing or fails, and say so.")
    cache: bool = option(True, Flag(), "Keep compiled networks on disk for the next start.")
    int8: str = option(
        FORM_AUTO,
        Choice((FORM_AUTO, *FORMS)),
        "Form of W8A8 graphs on the CPU (OpenVINO): auto takes what suits it, stored leaves the graph as it is.",
    )
    fold: bool = option(
        True,
        Flag(),
        "Merge upsampling with the convolutions after it (OpenVINO on the CPU); merged is faster, and differs by"
        " rounding alone.",
    )
    share: bool = option(
        True,
        Flag(),
        "Compute once what the prompt and the negative prompt have in common (Stable Diffusion 1 and 2, on the CPU).",
    )


LOADING = {each.name: each for each in options_of(Loading, "Model")}
