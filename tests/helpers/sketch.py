"""A bundle whose graphs real engines open in no time: a few operators each, with storybook's ports and tokenizer."""

from functools import partial

import numpy as np

from bundles import edit_manifest, light_copy, seal
from hostile import operator
from pleinair.engines.telemetry import without_telemetry
from pleinair_bench.onnx_file import field, number, text

with without_telemetry():
    import openvino as ov

FLOAT, HALF, WHOLE = 1, 10, 7  # of TensorProto.DataType
TOKENS, WIDTH, SCALE = 824, 128, 8
TIMED = {"time_embedding": (16, 1), "time_emb_proj": (8, 16)}


def sketch(folder, weighs_time=False):
    """The bundle in both formats. The 4 channels of its UNet depend on the picture, the text and the time.

    One that `weighs_time` has linear layers for that, `time_embedding` and `time_emb_proj`.
    """
    light_copy(folder)
    layers = ["conv_in", "conv_out", *(TIMED if weighs_time else ())]
    graphs = {"text_encoder": text_encoder, "unet": partial(unet, weighs_time), **VAE}
    for name, model in graphs.items():
        file = folder / name / "model.onnx"
        file.write_bytes(model())
        ov.save_model(ov.Core().read_model(file), file.with_name("openvino_model.xml"), compress_to_fp16=False)

    def forget(raw):
        raw["files"] = {name: info for name, info in raw["files"].items() if (folder / name).is_file()}
        outputs = raw["graphs"]["text_encoder"]["outputs"]
        raw["graphs"]["text_encoder"]["outputs"] = {"last_hidden_state": outputs["last_hidden_state"]}
        raw["weights"] = {"unet": {path: {form: {"name": path} for form in ("openvino", "onnx")} for path in layers}}

    edit_manifest(folder, forget)
    return seal(folder)


def text_encoder():
    table = weight("table", (TOKENS, WIDTH))
    nodes = [operator("Gather", ["table", "input_ids"], ["last_hidden_state"])]
    ids = port("input_ids", WHOLE, "batch", 77)
    return model(nodes, [table], [ids], [port("last_hidden_state", FLOAT, "batch", 77, WIDTH)])


def unet(weighs_time=False):
    mean = [ints("axes", 1, 2), flag("keepdims", 1)]
    nodes = [
        operator("ReduceMean", ["encoder_hidden_states"], ["mean"], *mean),
        operator("Constant", [], ["sides"], ints("value_ints", 0, 1, 1, 1)),
        operator("Reshape", ["mean", "sides"], ["text"]),
        operator("Mul", ["timestep", "thousandth"], ["share"] if weighs_time else ["time"]),
        operator("Cast", ["conv_in"], ["wide_in"], flag("to", FLOAT)),
        operator("Conv", ["sample", "wide_in"], ["features"], ints("pads", 1, 1, 1, 1)),
        operator("Add", ["features", "text"], ["told"]),
        operator("Add", ["told", "time"], ["timed"]),
        operator("Tanh", ["timed"], ["bent"]),
        operator("Cast", ["conv_out"], ["wide_out"], flag("to", FLOAT)),
        operator("Conv", ["bent", "wide_out"], ["out_sample"], ints("pads", 1, 1, 1, 1)),
    ]
    weights = [weight("conv_in", (8, 4, 3, 3), HALF), weight("conv_out", (4, 8, 3, 3), HALF)]
    weights.append(tensor("thousandth", np.full(1, 1e-3, np.float32)))
    if weighs_time:
        nodes = [*nodes[:4], *timed(), *nodes[4:]]
        weights += [weight(name, shape) for name, shape in TIMED.items()]
    latents = "batch", 4, "height", "width"
    ports = [
        port("sample", FLOAT, *latents),
        port("timestep", FLOAT, 1),
        port("encoder_hidden_states", FLOAT, "batch", "tokens", WIDTH),
    ]
    return model(nodes, weights, ports, [port("out_sample", FLOAT, *latents)])


def timed():
    """A row of 8 numbers made of one, as UNets do."""
    return [
        operator("Constant", [], ["column"], ints("value_ints", 1, 1)),
        operator("Reshape", ["share", "column"], ["row"]),
        operator("Gemm", ["row", "time_embedding"], ["embedded"], flag("transB", 1)),
        operator("Sin", ["embedded"], ["bent_time"]),
        operator("Gemm", ["bent_time", "time_emb_proj"], ["projected"], flag("transB", 1)),
        operator("Constant", [], ["channels"], ints("value_ints", 0, 8, 1, 1)),
        operator("Reshape", ["projected", "channels"], ["time"]),
    ]


def vae_decoder():
    nodes = [
        operator("Conv", ["latent_sample", "colours"], ["deep"]),
        operator("DepthToSpace", ["deep"], ["sample"], flag("blocksize", SCALE)),
    ]
    ports = [port("latent_sample", FLOAT, "batch", 4, "height", "width")]
    out = port("sample", FLOAT, "batch", 3, "image_height", "image_width")
    return model(nodes, [weight("colours", (3 * SCALE**2, 4, 1, 1))], ports, [out])


def vae_encoder():
    nodes = [
        operator("SpaceToDepth", ["sample"], ["deep"], flag("blocksize", SCALE)),
        operator("Conv", ["deep", "moments"], ["latent_parameters"]),
    ]
    ports = [port("sample", FLOAT, "batch", 3, "image_height", "image_width")]
    out = port("latent_parameters", FLOAT, "batch", 8, "height", "width")
    return model(nodes, [weight("moments", (8, 3 * SCALE**2, 1, 1))], ports, [out])


VAE = {"vae_decoder": vae_decoder, "vae_encoder": vae_encoder}


def weight(name, shape, kind=FLOAT):
    """Random numbers that make smaller ones of what they are multiplied with."""
    numbers = np.random.default_rng(0).standard_normal(shape) / np.prod(shape[1:])
    return tensor(name, numbers.astype(np.float16 if kind == HALF else np.float32), kind)


def tensor(name, array, kind=FLOAT):
    sides = b"".join(number(1, side) for side in array.shape)
    return sides + number(2, kind) + text(8, name) + field(9, array.tobytes())


def port(name, kind, *shape):
    """An input or output whose sides have a size or a name."""
    sides = b"".join(field(1, text(2, side) if isinstance(side, str) else number(1, side)) for side in shape)
    return text(1, name) + field(2, field(1, number(1, kind) + field(2, sides)))


def ints(name, *values):
    return text(1, name) + b"".join(number(8, value) for value in values) + number(20, 7)


def flag(name, value):
    return text(1, name) + number(3, value) + number(20, 2)


def model(nodes, tensors, inputs, outputs):
    graph = b"".join(nodes) + text(2, "sketch")
    for place, parts in ((5, tensors), (11, inputs), (12, outputs)):
        graph += b"".join(field(place, part) for part in parts)
    return number(1, 8) + field(7, graph) + field(8, number(2, 17))
