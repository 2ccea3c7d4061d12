"""What an engine's own errors and answers mean to people."""

import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from pleinair.checks import one_line, shown_path
from pleinair.engines.edits import Residuals
from pleinair.engines.int8.forms import TakenForm
from pleinair.errors import BundleError, EngineError, PleinairError, RequestError, ResourceError

CPU = "cpu"
FALLBACK = "--fallback"  # the option of errors of devices without which the CPU would go on
ELSEWHERE = {  # engine -> its option, and the devices that it has on some machine
    "OpenVINO": (
        "--engine openvino",
        re.compile(r"(gpu|npu)(\.\d+)?|(auto|hetero)(:((cpu|gpu|npu)(\.\d+)?\+?)+)?"),
    ),
    "ONNX Runtime": ("--engine onnx", re.compile(r"dml(:\d+)?")),
}


def unreadable(file: Path, error: Exception) -> PleinairError:
    """The error for a graph file that an engine cannot load."""
    if out_of_memory(error):
        return ResourceError(f"not enough memory to load '{file.parent.name}'; close programs, or use int8 weights")
    return BundleError(
        f"cannot load '{shown_path(file)}' ({reason(error)}); check the bundle with: pleinair info BUNDLE --verify"
    )


def failed(graph: str, device: str, error: Exception) -> PleinairError:
    """The error for a graph that an engine cannot compile or run."""
    if device.lower() == CPU and out_of_memory(error):
        return ResourceError(f"not enough memory to run '{graph}'; choose a smaller --size or --batch")
    if out_of_memory(error):
        return ResourceError(
            f"not enough memory to run '{graph}' on {device}; choose a smaller --size or --batch, or add {FALLBACK}",
            option=FALLBACK,
        )
    if device.lower() == CPU:
        return EngineError(f"'{graph}' failed on {device} ({reason(error)}); try another --device or --engine")
    return EngineError(
        f"'{graph}' failed on {device} ({reason(error)}); add {FALLBACK} to continue on the CPU, or try another"
        " --device or --engine",
        option=FALLBACK,
    )


def absent(engine: str, device: str, available: list[str]) -> RequestError:
    """The error for a device that is not here, which the CPU may stand in for where other machines have it."""
    having = [name for name, (_, devices) in ELSEWHERE.items() if devices.fullmatch(device.lower())]
    words = f"{engine} has no device '{one_line(device, 40)}' here; choose from {', '.join(available).lower()}"
    if engine in having:
        return RequestError(f"{words}, or add {FALLBACK}, which takes the CPU", option=FALLBACK)
    return RequestError(f"{words}, or try {ELSEWHERE[having[0]][0]}" if having else words)


def overflowed(graph: str, component: str, device: str, widens: bool) -> EngineError:
    """The error for numbers beyond the range of 16-bit floats; `widens` says whether the device has f32, too."""
    if widens:
        option = in_f32(component)
        return EngineError(f"'{graph}' left the range of f16 on {device}; add {option}", option=option)
    return EngineError(
        f"'{graph}' left the range of f16, all that '{device}' computes in; choose another device for it, such as"
        f" --device {component}=cpu, or add {FALLBACK}",
        option=FALLBACK,
    )


def in_f32(component: str) -> str:
    """The option that lets a component compute in f32."""
    return f"--precision {component}=f32"


def no_extra(graph: str) -> BundleError:
    """The error for a text encoder that takes no embeddings from outside."""
    return BundleError(
        f"'{graph}' of this bundle takes no textual inversions; export the model again, or leave --embedding out"
    )


def no_extra_on(graph: str, device: str) -> EngineError:
    """The error for embeddings from outside on a device that cannot take them."""
    return EngineError(
        f"'{graph}' takes no textual inversions on '{device}'; choose --device text=cpu, or add {FALLBACK}",
        option=FALLBACK,
    )


def no_layer(graph: str, path: str) -> BundleError:
    """The error for an edit of a layer that a graph does not have."""
    return BundleError(f"'{graph}' has no layer '{path}'; export the model again")


def no_residuals(model: str, edit: Residuals, channels: Sequence[int | None]) -> BundleError:
    """The error for a UNet whose skip connections and middle, of so many `channels`, are not a ControlNet's."""
    return BundleError(
        f"the ControlNet '{edit.name}' is not for '{model}': it adds to skip connections of {listed(edit.channels)}"
        f" channels, and that model's are {listed(channels)}; give a --control that was made for the model"
    )


def int8_in_part(graph: str, taken: TakenForm) -> str:
    """A line for people about a graph in int8 of which not all could be given the form that suits this CPU."""
    if taken.left:
        every = taken.left + taken.linear
        return (
            f"'{graph}' is int8, and {taken.left} of its {every} linear layers have to stay as they are, which is no"
            " faster than f32 here; export the model again"
        )
    return (
        f"'{graph}' is int8, and {taken.unknown} of its weights are stored in a way that is not known, so that sums may"
        " overflow here; export the model again"
    )


def listed(channels: Sequence[int | None]) -> str:
    """Widths of skip connections, equal ones that follow each other together: 320 x 4, 640 x 3."""
    runs = [(width, len([*same])) for width, same in groupby(channels)]
    return ", ".join(f"{width or 'any'} x {count}" for width, count in runs[:8]) or "none"


def check_finite(numbers: np.ndarray, when: str) -> None:
    """Raise EngineError for NaN or infinity, which would end as a black picture."""
    if not np.isfinite(numbers).all():
        raise EngineError(
            f"the network returned NaN or infinity {when};"
            " try --precision f32, another --engine or --device, or a lower --guidance"
        )


OUT_OF_MEMORY = ("bad_alloc", "bad alloc", "can't alloc", "out of memory", "failed to allocate", "cannot allocate")


def out_of_memory(error: Exception) -> bool:
    """Whether an engine's error says that memory has ended; each has its own words for it."""
    return isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in OUT_OF_MEMORY)


def reason(error: Exception) -> str:
    """The telling line of an engine's many-line message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return one_line(lines[-1] if lines else type(error).__name__, 200)
