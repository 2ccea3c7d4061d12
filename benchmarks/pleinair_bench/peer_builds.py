"""How the library that computes for a peer was built: version, commit, flags, as far as it says so itself."""

from collections.abc import Callable


def openvino_build() -> str | None:
    """Its own version has the commit."""
    import openvino

    return openvino.get_version()


def onnxruntime_build() -> str | None:
    """Commit, kind and flags of the compiler, as it says itself."""
    import onnxruntime

    return onnxruntime.get_build_info()


def torch_build() -> str | None:
    """Commit of torch, in which diffusers computes, and the instructions it has kernels for here."""
    import torch

    return f"torch {torch.version.git_version[:10]}, {torch.backends.cpu.get_cpu_capability()}"


def stable_diffusion_cpp_build() -> str | None:
    """Version and commit, which its package on PyPI does not know, and the instructions that it was compiled for."""
    from stable_diffusion_cpp import stable_diffusion_cpp as library

    version, commit, able = (
        call().decode() for call in (library.sd_version, library.sd_commit, library.sd_get_system_info)
    )
    found = [part.split("=")[0].strip() for part in able.partition(":")[2].split("|") if part.strip().endswith("= 1")]
    return f"version {version}, commit {commit}, {' '.join(found)}"


BUILDS: dict[str, Callable[[], str | None]] = {
    "openvino": openvino_build,
    "onnxruntime": onnxruntime_build,
    "torch": torch_build,
    "stable-diffusion.cpp": stable_diffusion_cpp_build,
}
