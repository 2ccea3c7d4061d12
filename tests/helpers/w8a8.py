"""Tiny UNets quantized by NNCF, and what they answer in each form; `python w8a8.py GRAPH.xml` says it in dB, as JSON.

As a program of its own it can be told ONEDNN_MAX_CPU_ISA, which is read once.
"""

import json
import sys

import numpy as np

from pleinair.engines.int8.forms import FORMS, ChosenForm
from pleinair.engines.int8.rewriting import put_in_form
from pleinair.engines.int8.saturation import int8_constant
from pleinair.engines.openvino import ov
from pleinair.engines.openvino_weights import numbers

SIDES = (8, 16)
SETTINGS = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}


def quantize(file, out):
    """Write the W8A8 graph of a tiny UNet, calibrated on two calls with noise."""
    import nncf

    model = ov.Core().read_model(file)
    calls = [fed(model, seed) for seed in range(2)]
    how = {"model_type": nncf.ModelType.TRANSFORMER, "subset_size": len(calls)}
    fast = nncf.AdvancedQuantizationParameters(disable_bias_correction=True)
    ov.save_model(
        nncf.quantize(model, nncf.Dataset(calls), advanced_parameters=fast, **how), out, compress_to_fp16=False
    )


def fed(model, seed=0, sides=SIDES, batch=2):
    """Noise for each port of a UNet."""
    noise = np.random.default_rng(seed)
    feeds = {}
    for port in model.inputs:
        free = (
            {0: batch, 1: 7} if port.get_any_name() == "encoder_hidden_states" else {0: batch, 2: sides[0], 3: sides[1]}
        )
        shape = [free[n] if each.is_dynamic else each.get_length() for n, each in enumerate(port.get_partial_shape())]
        kind = port.get_element_type().to_dtype()
        time = port.get_any_name() == "timestep"
        feeds[port.get_any_name()] = np.full(shape, 500, kind) if time else noise.standard_normal(shape).astype(kind)
    return feeds


def static(file, feeds):
    """The graph with the shapes of these arrays."""
    model = ov.Core().read_model(file)
    model.reshape({name: array.shape for name, array in feeds.items()})
    return model


def compiled(model):
    return ov.Core().compile_model(model, "CPU", SETTINGS)


def answer(model, feeds):
    return next(iter(compiled(model)(feeds).values()))


def in_float(model):
    """The same quantized numbers, multiplied and added in float: what int8 is exact arithmetic of."""
    weights = {}
    for node in model.get_ordered_ops():
        if node.get_type_name() in ("MatMul", "Convolution") and int8_constant(node.input_value(1)) is not None:
            weights[node.get_name()] = node, ov.op.Constant(numbers(node.input_value(1)))
    for node, weight in weights.values():
        node.input(1).replace_source_output(weight.output(0))
    return model


def decibels(wanted, found):
    return float(10 * np.log10(np.ptp(wanted) ** 2 / max(np.mean((wanted - found) ** 2), 1e-30)))


def measured(file):
    """Form -> dB from the graph as it is stored, in exact arithmetic, and what became of its layers."""
    feeds = fed(ov.Core().read_model(file))
    exact = answer(in_float(static(file, feeds)), feeds)
    found = {}
    for form in FORMS:
        model = static(file, feeds)
        taken = put_in_form(model, ChosenForm(form, ""))
        own = answer(in_float(model.clone()), feeds)
        made = answer(model, feeds)
        found[form] = taken.record | {"exact": decibels(exact, made), "arithmetic": decibels(own, made)}
    return found


if __name__ == "__main__":
    print(json.dumps(measured(sys.argv[1])))
