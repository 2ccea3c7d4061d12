"""Files as torch.save writes them, made without PyTorch."""

import io
import pickle
import zipfile

import numpy as np

STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "uint16": "BFloat16Storage", "int64": "LongStorage"}


def torch_archive(arrays, beside=b"", compressed=False):
    """The bytes of an archive {"state_dict": arrays}; `beside` are steps that push more keys and values.

    uint16 arrays are taken for bfloat16.
    """
    stream, steps = io.BytesIO(), [text("state_dict"), b"}("]
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        for key, (name, array) in enumerate(arrays.items()):
            steps += [text(name), tensor(str(key), array)]
            archive.writestr(f"model/data/{key}", np.ascontiguousarray(array).tobytes())
        archive.writestr("model/data.pkl", b"".join([b"\x80\x02}(", *steps, b"u", beside, b"u."]))
    return stream.getvalue()


def tensor(key, array):
    """The steps that push a tensor."""
    strides = tuple(stride // array.itemsize for stride in np.empty(array.shape, array.dtype).strides)
    storage = [text("storage"), b"ctorch\n", STORAGES[str(array.dtype)].encode(), b"\n", text(key), text("cpu")]
    view = [b"(", *storage, whole(array.size), b"tQ", whole(0), wholes(array.shape), wholes(strides)]
    return b"".join([b"ctorch._utils\n_rebuild_tensor_v2\n(", *view, b"\x89ccollections\nOrderedDict\n)RtR"])


def text(value):
    """The step that pushes a text; what pickle puts around values is left out."""
    return pickle.dumps(value, 2)[2:-1].partition(b"q\x00")[0]


def whole(value):
    return pickle.dumps(value, 2)[2:-1]


def wholes(values):
    return b"(" + b"".join(map(whole, values)) + b"t"
