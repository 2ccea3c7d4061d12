"""One guided step of Stable Diffusion 1.5's UNet at 512x512 on the CPU: in float, and in the forms of W8A8.

    ONEDNN_MAX_CPU_ISA=AVX2 python benchmarks/int8_forms.py FOLDER --forms stored channels-first

Processor time of one thread, all in turn. FOLDER keeps the graphs (2.6 GB), with random weights and a calibration on
noise: they cost as much time as real ones, and the dB tell orders of size alone. Making them takes 6 GB and NNCF.
"""

import argparse
import gc
from collections import Counter
from pathlib import Path
from time import process_time

import numpy as np

from pleinair.engines.int8.forms import FORMS, ChosenForm
from pleinair.engines.int8.rewriting import put_in_form
from pleinair.engines.openvino import ov
from pleinair_bench.filling import filled

SHAPES = {"sample": (2, 4, 64, 64), "timestep": (1,), "encoder_hidden_states": (2, 77, 768)}
CALIBRATION = SHAPES | {"sample": (1, 4, 32, 32), "encoder_hidden_states": (1, 77, 768)}
SETTINGS = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
WIDE = "f32"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--forms", nargs="+", default=[WIDE, *FORMS], choices=[WIDE, *FORMS])
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    wide = filled("sd15", "unet", "fp16", "openvino", asked.folder).graph_file("unet", "openvino")
    small = asked.folder / "w8a8.xml"
    if not small.exists():
        quantize(wide, small)
    feeds = fed(SHAPES)
    requests = {form: opened(wide if form == WIDE else small, form) for form in asked.forms}
    answers = {form: next(iter(each.infer(feeds).values())).copy() for form, each in requests.items()}
    seconds: dict[str, list[float]] = {form: [] for form in requests}
    for _ in range(asked.rounds):
        for form, request in requests.items():
            mark = process_time()
            request.infer(feeds)
            seconds[form].append(process_time() - mark)
            print(f"{form} {seconds[form][-1]:.2f} s", flush=True)
    first = asked.forms[0]
    for form, each in seconds.items():
        ratio = np.median(np.array(seconds[first]) / np.array(each))
        print(
            f"{form:15} median {np.median(each):6.2f} s, least {min(each):6.2f} s, {first} / it {ratio:.2f},"
            f" {decibels(answers[first], answers[form]):.1f} dB from {first}"
        )


def quantize(wide: Path, small: Path) -> None:
    import nncf

    even = nncf.AdvancedSmoothQuantParameters(convolution=-1, matmul=-1)  # which takes long, and no time off a step
    model = nncf.quantize(
        ov.Core().read_model(wide),
        nncf.Dataset([fed(CALIBRATION)]),
        subset_size=1,
        model_type=nncf.ModelType.TRANSFORMER,
        advanced_parameters=nncf.AdvancedQuantizationParameters(disable_bias_correction=True, smooth_quant_alphas=even),
    )
    ov.save_model(model, small, compress_to_fp16=False)


def fed(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    noise = np.random.default_rng(0)
    arrays = {name: noise.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    return arrays | {"timestep": np.array([500])}


def opened(file: Path, form: str) -> ov.InferRequest:
    core = ov.Core()
    model = core.read_model(file)
    model.reshape(SHAPES)
    if form != WIDE:
        mark = process_time()
        print(put_in_form(model, ChosenForm(form, "it was asked for")), f"{process_time() - mark:.1f} s")
    compiled = core.compile_model(model, "CPU", SETTINGS)
    print(form, dict(kernels(compiled).most_common(6)), flush=True)
    del model
    gc.collect()
    return compiled.create_infer_request()


def kernels(compiled: ov.CompiledModel) -> Counter[str]:
    """How often each kernel of a layer with weights, or of attention, runs."""
    told = (node.get_rt_info() for node in compiled.get_runtime_model().get_ops())
    pairs = ((str(info["layerType"].astype(str)), str(info["primitiveType"].astype(str))) for info in told)
    counted = ("Convolution", "FullyConnected", "ScaledDotProductAttention", "Softmax", "MHA")
    return Counter(f"{kind} {kernel}" for kind, kernel in pairs if kind in counted)


def decibels(wanted: np.ndarray, found: np.ndarray) -> float:
    """Peak signal-to-noise ratio, the peak being the range of what is wanted."""
    return 10 * np.log10(np.ptp(wanted) ** 2 / max(np.mean((wanted - found) ** 2), 1e-30))


if __name__ == "__main__":
    main()
