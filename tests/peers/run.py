"""Prove that optimum-intel and optimum-onnx open our bundles, and we what they export, each in its own environment.

    python tests/peers/run.py [PEER ...] [--environments FOLDER [--install]] [--tested FOLDER] [--all]

Run with the Python that has pleinair[export]. The two peers exclude each other and hold transformers back, so each gets
a fresh virtual environment from its constraints file, which holds what differs from the packages of that Python;
--environments keeps them for the next time, and with --install nothing else is done. --tested is the --basetemp of a
run of the tests, whose bundles are taken. --all lets the peers export more than one family, and takes minutes.
"""

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
PEERS = {
    "optimum-intel": ("optimum-intel", "openvino-tokenizers", "diffusers", "torch"),
    "optimum-onnx": ("optimum-onnx", "onnxruntime", "diffusers", "torch"),
}
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "PYTHONWARNINGS": "ignore",
    "OMP_NUM_THREADS": "1",
    "NNCF_DISABLE_OPTIMIZED_COMPRESSION": "1",  # else it compiles a graph for every shape, for the same bytes
}


def environment(folder: Path, peer: str) -> Path:
    """The Python of the peer's virtual environment, made where it is absent."""
    start = time.perf_counter()
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not (folder / "complete").exists():
        # not a copy of Python: a process that another thread starts meanwhile would hold it open for writing
        venv.create(folder, with_pip=True, clear=True, symlinks=os.name != "nt")
        (own_packages(python) / "lent.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
        constraints = HERE / f"constraints-{peer}.txt"
        install = [python, "-m", "pip", "install", "-q", "--no-compile", "-c", constraints, *PEERS[peer]]
        subprocess.run(install, check=True)
        (folder / "complete").touch()
    print(f"{peer}: environment ready after {time.perf_counter() - start:.0f} s", flush=True)
    return python


def own_packages(python: Path) -> Path:
    """Where a virtual environment keeps its packages; those in paths that a .pth file there names come after them."""
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True).stdout.strip())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"{' or '.join(PEERS)}; both when not given")
    parser.add_argument("--environments", type=Path, help="folder that keeps the environments")
    parser.add_argument("--install", action="store_true", help="only make the environments")
    parser.add_argument("--tested", type=Path, help="folder of a run of the tests, which has the bundles")
    parser.add_argument("--all", action="store_true", help="more that the peers export")
    arguments = parser.parse_args()
    if arguments.install and not arguments.environments:
        parser.error("--install makes what is to be kept; name a folder with --environments")
    if unknown := set(arguments.peers) - set(PEERS):
        parser.error(f"unknown peer {', '.join(unknown)}; choose from: {', '.join(PEERS)}")
    peers = arguments.peers or list(PEERS)
    failed, everything = 0, ["--all"] if arguments.all else []
    tested = ["--tested", arguments.tested] if arguments.tested else []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        environments, bundles = (arguments.environments or Path(folder)).absolute(), Path(folder) / "bundles"
        pythons = {peer: pool.submit(environment, environments / peer, peer) for peer in peers}
        if arguments.install:
            for python in pythons.values():
                python.result()
            return 0
        if timed("export tiny bundles", [sys.executable, HERE / "prepare.py", bundles, *tested]):
            return 1
        running = [pool.submit(worked, peer, pythons[peer].result(), bundles, everything) for peer in peers]
        failed += sum(each.result() for each in running)
    print("FAIL" if failed else "pass", flush=True)
    return failed


def worked(peer: str, python: Path, bundles: Path, everything: list[str]) -> int:
    """Our bundles in a peer, and what the peer exports in pleinair; how much failed."""
    failed = timed(f"{peer}: open and export", [python, HERE / "peer.py", peer, bundles, *everything])
    return failed + timed(f"{peer}: adopt", [sys.executable, HERE / "adopt_folders.py", peer, bundles])


def timed(what: str, command: list) -> int:
    """Run a command offline with its noise hidden unless it fails; 1 when it failed."""
    start = time.perf_counter()
    done = subprocess.run(command, env={**os.environ, **OFFLINE}, capture_output=True, text=True)
    shown = [line for line in done.stdout.splitlines() if line.startswith(("pass", "FAIL"))]
    print("\n".join([*shown, f"{what}: {time.perf_counter() - start:.0f} s"]), flush=True)
    if done.returncode:
        print(done.stdout, done.stderr, sep="\n", file=sys.stderr, flush=True)
    return int(done.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
