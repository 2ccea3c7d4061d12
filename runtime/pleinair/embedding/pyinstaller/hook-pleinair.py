"""What PyInstaller cannot see of pleinair: modules and engines imported by name, data, storybook, and licences.

Storybook's graphs are those of the engines that the program is frozen with; `--exclude-module openvino` or
`--exclude-module onnxruntime` leaves one out.
"""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from PyInstaller.utils.hooks import collect_data_files, collect_submodules

from pleinair.bundle.manifest import MANIFEST
from pleinair.bundle.opening import read_manifest
from pleinair.bundle.shipped import default_path
from pleinair.embedding.parts import LIBRARIES, graphs_of_other_engines, needed
from pleinair.engines.engine import ENGINES, installed

COMMANDS = ("pleinair.cli", "pleinair.embedding", "pleinair.__main__")
TEXTS = ("LICENSE", "ThirdPartyNotices")  # which ONNX Runtime has in its package
hiddenimports = collect_submodules("pleinair", filter=lambda name: not name.startswith(COMMANDS))
excludedimports = ["pleinair_export", "pleinair_bench", "typer", "rich", "huggingface_hub", "httpx2", "av"]
datas = collect_data_files("pleinair", excludes=["models", "cli", "embedding"])


def notices(package):
    """Versions and licences, without what pip notes of the machine that it ran on."""
    found = distribution(package)
    said = (file for file in found.files or () if needed(package, file.as_posix()))
    kept = (file for file in said if ".dist-info/" in file.as_posix() or file.name.startswith(TEXTS))
    return [(str(found.locate_file(file)), str(file.parent)) for file in kept]


for package in ("pleinair", *LIBRARIES):
    datas += notices(package)


def hook(hook_api):
    """Add storybook and the engines' licences, when it is known which engines are left out."""
    engines = [each for name, each in ENGINES.items() if each.format and installed(name)]
    engines = [each for each in engines if each.requires not in hook_api.analysis.excludes]
    storybook = default_path()
    manifest = read_manifest(storybook)
    unused = [graphs_of_other_engines(manifest, each.format) for each in engines]
    left_out = set.intersection(*unused) if unused else set()
    place = Path("pleinair", "models", "storybook")
    files = [name for name in (MANIFEST, *manifest.files) if name not in left_out]
    hook_api.add_datas([(str(storybook / name), str((place / name).parent)) for name in files])
    for name in (name for each in engines for name in each.packages):
        try:
            hook_api.add_datas(notices(name))
        except PackageNotFoundError:
            continue
