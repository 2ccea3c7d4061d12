"""Small safetensors files, for tests of textual inversion."""

import json

import numpy as np

NAMES = {"float64": "F64", "float32": "F32", "float16": "F16", "uint16": "BF16", "int64": "I64", "uint8": "F8_E4M3"}


def safetensors(arrays, metadata=None):
    """The bytes of a safetensors file; uint16 arrays are taken for bfloat16, uint8 ones for F8_E4M3."""
    header, data = {"__metadata__": metadata} if metadata else {}, bytearray()
    for key, array in arrays.items():
        start = len(data)
        data += np.ascontiguousarray(array).tobytes()
        kind = NAMES[str(array.dtype)]
        header[key] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [start, len(data)]}
    return framed(json.dumps(header).encode(), bytes(data))


def framed(header, data=b""):
    return len(header).to_bytes(8, "little") + header + data


def some_vectors(count, width, seed=0):
    return np.random.default_rng(seed).normal(0, 0.02, (count, width)).astype(np.float32)
