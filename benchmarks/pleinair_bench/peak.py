"""The most this machine can do, as its engines do it: one large matrix product and one large convolution.

Those two are what a diffusion model is made of. Their sizes are those of SD 1.5's: a 3x3 convolution over 320 channels
of 64x64 latents, and a product of 1024 tokens by 1280 x 5120 weights. The best of several runs counts: it is a limit.
"""

from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from typing import Any

import numpy as np

from pleinair.errors import EngineError

TOKENS, WIDE, WIDER = 1024, 1280, 5120
CHANNELS, SIDE = 320, 64
GEMM_GFLOP = 2 * TOKENS * WIDE * WIDER / 1e9
CONV_GFLOP = 2 * CHANNELS**2 * 9 * SIDE**2 / 1e9
KINDS = ("gemm_fp32", "conv_fp32", "gemm_int8", "conv_int8")
NARROW = {"BF16": "bf16", "FP16": "f16"}  # what OpenVINO says a device can -> the hint, and the end of the kinds' names
LEAST_S, MOST_S, REPEATS = 0.4, 3.0, 5  # of one kind


def measure(engine: str, device: str, threads: int | None) -> dict[str, Any]:
    """10^9 operations a second for each of KINDS (None where the engine has no such kernel), and the ISA it chose.

    Where the device computes in bf16 or f16, `gemm_bf16` and so on as well.

    The ISA is what the engine names its kernels (OpenVINO: "brgconv_avx512_f32"), None where it does not tell.
    """
    if engine == "openvino":
        return _openvino(device, threads)
    if engine == "onnx":
        return _onnx(device, threads)
    raise EngineError(f"engine '{engine}' has no peak to measure; choose openvino or onnx")


def best_rate(call: Callable[[], object], work: float) -> float:
    """10^9 operations a second of the fastest of several calls."""
    call()
    fastest, started, calls = float("inf"), perf_counter(), 0
    while calls < REPEATS or perf_counter() - started < LEAST_S:
        mark = perf_counter()
        call()
        fastest, calls = min(fastest, perf_counter() - mark), calls + 1
        if perf_counter() - started > MOST_S:
            break
    return round(work / fastest, 1)


def _weights(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32) / 32


def _openvino(device: str, threads: int | None) -> dict[str, Any]:
    from pleinair.engines.openvino_weights import ops, ov

    def quantized(node: Any, reach: float) -> Any:
        low, high = ops.constant(np.float32(-reach)), ops.constant(np.float32(reach * 127 / 128))
        return ops.fake_quantize(node, low, high, low, high, 256)

    def gemm(int8: bool) -> Any:
        tokens, weights = ops.parameter([TOKENS, WIDE], np.float32), ops.constant(_weights((WIDER, WIDE)))
        if int8:
            return tokens, ops.matmul(quantized(tokens, 4), quantized(weights, 0.125), False, True)
        return tokens, ops.matmul(tokens, weights, False, True)

    def conv(int8: bool) -> Any:
        picture = ops.parameter([1, CHANNELS, SIDE, SIDE], np.float32)
        weights = ops.constant(_weights((CHANNELS, CHANNELS, 3, 3)))
        ends = (quantized(picture, 4), quantized(weights, 0.125)) if int8 else (picture, weights)
        return picture, ops.convolution(*ends, [1, 1], [1, 1], [1, 1], [1, 1])

    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    name = device.upper().replace("+", ",")  # of several, HETERO:GPU,CPU
    found: dict[str, Any] = {}
    isa: dict[str, str] = {}
    narrow: list[str] = []
    with suppress(RuntimeError):  # no such device, of which the models will tell
        able = ov.Core().get_property(name, "OPTIMIZATION_CAPABILITIES")
        narrow = [hint for kind, hint in NARROW.items() if kind in able]
    for kind in (*KINDS, *(f"{shape}_{hint}" for hint in narrow for shape in ("gemm", "conv"))):
        hint = kind.partition("_")[2] if kind not in KINDS else "f32"
        make, work = (gemm, GEMM_GFLOP) if kind.startswith("gemm") else (conv, CONV_GFLOP)
        start, end = make(kind.endswith("int8"))
        try:
            named = settings | {"INFERENCE_PRECISION_HINT": hint}
            compiled = ov.Core().compile_model(ov.Model([end], [start], kind), name, named)
            request = compiled.create_infer_request()
            given = np.random.default_rng(1).standard_normal(tuple(start.get_output_shape(0)), np.float32)
            found[kind] = best_rate(
                lambda request=request, given=given: request.infer([given], share_inputs=True), work
            )
            isa[kind] = _kernel(compiled)
        except RuntimeError:  # a device may lack one of them
            found[kind] = None
    return found | {"isa": {kind: kernel for kind, kernel in isa.items() if kernel} or None}


def _kernel(compiled: Any) -> str | None:
    """What OpenVINO calls the kernel that does the work of a compiled model."""
    for node in compiled.get_runtime_model().get_ops():
        info = {name: node.rt_info[name].astype(str) for name in ("layerType", "primitiveType") if name in node.rt_info}
        if info.get("layerType") in ("MatMul", "FullyConnected", "Convolution"):
            return info.get("primitiveType")
    return None


def _onnx(device: str, threads: int | None) -> dict[str, Any]:
    from pleinair.engines.onnx import PROVIDERS, SILENT, ort
    from pleinair_bench.onnx_file import one_operator

    single, byte, sign, whole = (np.dtype(kind) for kind in (np.float32, np.uint8, np.int8, np.int32))
    padded = {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
    tokens, picture = (TOKENS, WIDE), (1, CHANNELS, SIDE, SIDE)
    small = np.random.default_rng(2).integers(-100, 100, (WIDE, WIDER)).astype(sign)
    kernel = np.random.default_rng(3).integers(-100, 100, (CHANNELS, CHANNELS, 3, 3)).astype(sign)
    scale, zero, middle = np.array(0.02, single), np.array(0, sign), np.array(128, byte)
    convolved = {
        "x": (byte, picture), "x_scale": scale, "x_zero": middle, "w": kernel, "w_scale": scale, "w_zero": zero,
        "y_scale": scale, "y_zero": middle,
    }  # fmt: skip
    models = {
        "gemm_fp32": ("MatMul", {"x": (single, tokens), "w": _weights((WIDE, WIDER))}, (single, (TOKENS, WIDER)), None),
        "conv_fp32": ("Conv", {"x": (single, picture), "w": _weights(kernel.shape)}, (single, picture), padded),
        "gemm_int8": ("MatMulInteger", {"x": (byte, tokens), "w": small}, (whole, (TOKENS, WIDER)), None),
        "conv_int8": ("QLinearConv", convolved, (byte, picture), padded),
    }
    found: dict[str, Any] = {}
    for kind, (operator, inputs, output, attributes) in models.items():
        options = ort.SessionOptions()
        options.log_severity_level = SILENT
        if threads:
            options.intra_op_num_threads = threads
        dtype, shape = inputs["x"]
        noise = np.random.default_rng(4)
        given = noise.integers(0, 255, shape).astype(byte) if dtype == byte else noise.standard_normal(shape, single)
        work = GEMM_GFLOP if kind.startswith("gemm") else CONV_GFLOP
        try:
            model = one_operator(operator, inputs, output, attributes)
            session = ort.InferenceSession(model, options, providers=[PROVIDERS[device]], enable_fallback=0)
            found[kind] = best_rate(lambda session=session, given=given: session.run(None, {"x": given}), work)
        except Exception:  # ONNX Runtime's own exceptions share no base; a device may lack one of them
            found[kind] = None
    return found | {"isa": None}
