"""OpenVINO's libraries, which it opens by their names, but for what reads graphs that pleinair has none of."""

from pathlib import Path

from PyInstaller.utils.hooks import collect_data_files, collect_dynamic_libs

from pleinair.embedding.parts import FRONTENDS, needed

LIBRARIES = ["*.dll", "*.dylib", "lib*.so*"]
found = collect_dynamic_libs("openvino", search_patterns=LIBRARIES)
binaries = [(file, folder) for file, folder in found if needed("openvino", f"{folder}/{Path(file).name}")]
datas = collect_data_files("openvino", includes=["libs/cache.json"])
excludedimports = ["openvino_telemetry", "openvino.tools", "openvino.torch", "torch"]
excludedimports += [f"openvino.frontend.{name}" for name in FRONTENDS]
