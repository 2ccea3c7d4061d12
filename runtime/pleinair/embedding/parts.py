"""What painting needs of the packages that pleinair stands on, and which of their files it never opens."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from pleinair.bundle.manifest import Manifest

LIBRARIES = ("numpy", "pillow", "platformdirs", "tokenizers")  # beside an engine; what they depend on is not opened
FRONTENDS = ("gguf", "jax", "onnx", "paddle", "pytorch", "tensorflow", "tensorflow_lite")  # graphs are OpenVINO's own

# patterns of paths, where * is any number of characters and folders
UNUSED = {
    "numpy": ("*.pyi", "*/tests/*", "numpy/f2py/*", "numpy/_core/include/*", "*.a"),
    "onnxruntime": (
        "onnxruntime/capi/libonnxruntime.so.*",  # for programs in C; Python's module has all of it inside
        "onnxruntime/datasets/*",
        "onnxruntime/quantization/*",
        "onnxruntime/tools/*",
        "onnxruntime/transformers/*",
    ),
    "openvino": (
        "*.pyi",
        "openvino/cmake/*",
        "openvino/include/*",
        *(f"openvino/libs/*openvino_{name}_frontend*" for name in FRONTENDS),
        *(f"openvino/frontend/{name}/*" for name in FRONTENDS),
    ),
    "pleinair": ("pleinair/__main__.py", "pleinair/cli/*", "pleinair/embedding/*", "pleinair/models/*"),
    "tokenizers": ("*.pyi",),
}
OTHER_DEVICES = {
    "openvino": ("openvino/libs/*openvino_intel_[gn]pu_plugin*", "openvino/libs/cache.json"),  # the file is the GPU's
}
NOTICES = ("*/METADATA", "*/licenses/*", "*/licensing/*", "*/LICENSE*", "*/NOTICE*")  # of what pip keeps of a package


def needed(package: str, path: str, cpu_only: bool = False) -> bool:
    """Whether a program that paints, on the CPU alone or on any device, needs a file that pip installed."""
    folder = path.partition("/")[0]
    if folder in ("..", "") or "__pycache__" in path:
        return False
    if folder.endswith(".dist-info"):
        return matches(path, NOTICES)
    unused = UNUSED.get(package, ()) + (OTHER_DEVICES.get(package, ()) if cpu_only else ())
    return not matches(path, unused)


def graphs_of_other_engines(manifest: Manifest, form: str) -> set[str]:
    """The files of a bundle that no engine for graphs of this format opens."""
    by_form: dict[str, set[str]] = {}
    for graph in manifest.graphs.values():
        for each, files in graph.files.items():
            by_form.setdefault(each, set()).update(files)
    return set().union(*by_form.values()) - by_form.get(form, set())


def matches(path: str, patterns: Iterable[str]) -> bool:
    """Whether a path is one of those that the patterns mean."""
    return any(fnmatchcase(path, pattern) for pattern in patterns)
