"""One peer paints twice in a process of its own: a job as JSON on stdin, what came out as JSON on stdout.

Runs in the peer's environment, which need not have pleinair: standard library, NumPy and the peer, nothing else. All
are given the same start noise and DDIM, so that those that follow diffusers paint the same picture.
stable-diffusion.cpp takes no noise from outside; it gets Euler and its own.

A job's `precision` is "auto", for which a program is told nothing and chooses by itself, or "f32".
"""

import json
import os
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any, NamedTuple

import numpy as np

STARTED = perf_counter()
Painter = Callable[[list[float]], np.ndarray]  # appends when each step was done; returns (H, W, 3) in 0..1
ComputedIn = Callable[[], str | None]  # what was computed in, as the program says, when it has painted
TORCH = {"torch.float32": "f32", "torch.bfloat16": "bf16", "torch.float16": "f16"}
ONNX = {"tensor(float)": "f32", "tensor(float16)": "f16"}
STORED = {"fp32": "f32", "fp16": "f16"}


def pleinair(job: dict[str, Any], engine: str) -> tuple[Painter, ComputedIn]:
    import pleinair
    from pleinair.request.request import resolve
    from pleinair_bench.worker import computed_in, watch_compiling

    compiled = watch_compiling(engine)
    pipe = pleinair.load(job["bundle"], engine=engine, threads=job["threads"], precision=job["precision"])
    size = {"width": job["width"], "height": job["height"]}
    how = {"seed": 0, "steps": job["steps"], "sampler": "ddim", "guidance": job["guidance"]}
    request = resolve(pipe.bundle, job["prompt"], "", **size, **how)
    noise = np.load(job["noise"])[0]

    class Given:
        """The start noise, which is all that DDIM needs."""

        def normal(self, shape: tuple[int, ...]) -> np.ndarray:
            return noise.reshape(shape)

    def paint(marks: list[float]) -> np.ndarray:
        for frame in pipe.walk(request, generators=[Given()]):
            if frame.result is None:
                marks.append(perf_counter())
        return frame.result.pixels[0]

    return paint, lambda: computed_in(engine, "cpu", compiled)


def diffusers(job: dict[str, Any], channels_last: bool) -> tuple[Painter, ComputedIn]:
    import torch
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    torch.set_num_threads(job["threads"] or torch.get_num_threads())
    # its own default for the UNet; where nothing is said, transformers 5 loads a text encoder as it is stored, which a
    # UNet in float32 refuses
    pipe = StableDiffusionPipeline.from_pretrained(job["source"], safety_checker=None, torch_dtype=torch.float32)
    if channels_last:
        pipe.unet.to(memory_format=torch.channels_last)
        pipe.vae.to(memory_format=torch.channels_last)
    return like_diffusers(pipe, DDIMScheduler, job), lambda: TORCH.get(str(pipe.unet.dtype))


def optimum_intel(job: dict[str, Any]) -> tuple[Painter, ComputedIn]:
    from diffusers import DDIMScheduler
    from optimum.intel import OVStableDiffusionPipeline

    pipe = OVStableDiffusionPipeline.from_pretrained(job["bundle"], ov_config=openvino_settings(job))
    return like_diffusers(pipe, DDIMScheduler, job), lambda: hinted(pipe.unet.request)


def optimum_onnx(job: dict[str, Any]) -> tuple[Painter, ComputedIn]:
    import onnxruntime
    from diffusers import DDIMScheduler
    from optimum.onnxruntime import ORTStableDiffusionPipeline

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job["threads"] or 0
    pipe = ORTStableDiffusionPipeline.from_pretrained(job["bundle"], session_options=options)
    return like_diffusers(pipe, DDIMScheduler, job), lambda: ONNX.get(pipe.unet.session.get_inputs()[0].type)


def like_diffusers(pipe: Any, scheduler: Any, job: dict[str, Any]) -> Painter:
    import torch

    # where a config is silent diffusers clips latents to [-1, 1], and neither ours nor the others do
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config, clip_sample=False)
    pipe.set_progress_bar_config(disable=True)
    noise = torch.from_numpy(np.load(job["noise"]))

    def paint(marks: list[float]) -> np.ndarray:
        def done(pipe: Any, step: int, t: Any, state: dict) -> dict:
            marks.append(perf_counter())
            return state

        return pipe(
            job["prompt"],
            latents=noise,
            num_inference_steps=job["steps"],
            guidance_scale=job["guidance"],
            width=job["width"],
            height=job["height"],
            output_type="np",
            callback_on_step_end=done,
        ).images[0]

    return paint


def openvino_genai(job: dict[str, Any]) -> tuple[Painter, ComputedIn]:
    import openvino
    import openvino_genai as genai

    class Given(genai.Generator):
        """The start noise, whether it is asked for as a tensor or number by number."""

        def __init__(self) -> None:
            super().__init__()
            self.noise = np.load(job["noise"])
            self.numbers = iter(self.noise.ravel())

        def next(self) -> float:
            return float(next(self.numbers))

        def randn_tensor(self, shape: Any) -> openvino.Tensor:
            return openvino.Tensor(self.noise.reshape(tuple(shape)))

    scratch = TemporaryDirectory()
    bundle = with_ddim(Path(job["bundle"]), Path(scratch.name))
    pipe = genai.Text2ImagePipeline(str(bundle))
    pipe.reshape(1, job["height"], job["width"], job["guidance"])
    pipe.compile("CPU", **openvino_settings(job))
    size = {"width": job["width"], "height": job["height"]}
    how = {"num_inference_steps": job["steps"], "guidance_scale": job["guidance"]}

    def paint(marks: list[float]) -> np.ndarray:
        def done(step: int, steps: int, latents: Any) -> bool:
            marks.append(perf_counter())
            return False

        return np.array(pipe.generate(job["prompt"], generator=Given(), callback=done, **size, **how).data)[0] / 255

    def told() -> str | None:
        """Its own models are out of reach: what OpenVINO makes of its smallest graph with the same settings."""
        graph = Path(job["bundle"]) / "text_encoder" / "openvino_model.xml"
        return hinted(openvino.Core().compile_model(graph, "CPU", openvino_settings(job)))

    return paint, told


def stable_diffusion_cpp(job: dict[str, Any]) -> tuple[Painter, ComputedIn]:
    from stable_diffusion_cpp import StableDiffusion

    how = {"n_threads": job["threads"] or -1, "verbose": False}
    if job["precision"] == "f32":
        how["wtype"] = "f32"  # else the type that the weights are stored in
    model = StableDiffusion(model_path=str(job["source"]), **how)

    def paint(marks: list[float]) -> np.ndarray:
        picture = model.generate_image(
            prompt=job["prompt"],
            width=job["width"],
            height=job["height"],
            sample_steps=job["steps"],
            sample_method="euler",
            cfg_scale=job["guidance"],
            seed=0,
            progress_callback=lambda step, steps, seconds: marks.append(perf_counter()) if step else None,
        )[0]
        return np.asarray(picture.convert("RGB")) / 255

    return paint, lambda: how.get("wtype") or STORED.get(job["weights"], job["weights"])


def with_ddim(bundle: Path, scratch: Path) -> Path:
    """Links to the bundle, beside a scheduler config that openvino-genai knows: DDIM, and no -Infinity."""
    changed = (bundle / "model_index.json", bundle / "scheduler" / "scheduler_config.json")
    index, config = (json.loads(file.read_text(encoding="utf-8")) for file in changed)
    index["scheduler"] = ["diffusers", "DDIMScheduler"]
    config = {name: value for name, value in config.items() if not isinstance(value, float) or np.isfinite(value)}
    config |= {"_class_name": "DDIMScheduler", "clip_sample": False}
    for entry in bundle.iterdir():
        if entry.name not in ("scheduler", "model_index.json"):
            (scratch / entry.name).symlink_to(entry.absolute())
    (scratch / "scheduler").mkdir()
    for file, content in zip(changed, (index, config), strict=True):
        (scratch / file.relative_to(bundle)).write_text(json.dumps(content), encoding="utf-8")
    return scratch


def openvino_settings(job: dict[str, Any]) -> dict[str, Any]:
    """OpenVINO's properties for what was asked for; what was not is its own choice."""
    threads = {"INFERENCE_NUM_THREADS": job["threads"]} if job["threads"] else {}
    return threads | ({"INFERENCE_PRECISION_HINT": "f32"} if job["precision"] == "f32" else {})


def hinted(model: Any) -> str | None:
    """What a model that OpenVINO has compiled is computed in."""
    return model.get_property("INFERENCE_PRECISION_HINT").get_type_name()


class Peer(NamedTuple):
    """What is painted with: the package that is installed for it, and what makes a painter of a job."""

    package: str
    make: Callable[[dict[str, Any]], tuple[Painter, ComputedIn]]


PEERS = {
    "pleinair openvino": Peer(package="pleinair", make=partial(pleinair, engine="openvino")),
    "pleinair onnx": Peer(package="pleinair", make=partial(pleinair, engine="onnx")),
    "diffusers": Peer(package="diffusers", make=partial(diffusers, channels_last=False)),
    "diffusers channels-last": Peer(package="diffusers", make=partial(diffusers, channels_last=True)),
    "openvino-genai": Peer(package="openvino-genai", make=openvino_genai),
    "optimum-intel": Peer(package="optimum-intel", make=optimum_intel),
    "optimum-onnx": Peer(package="optimum-onnx", make=optimum_onnx),
    "stable-diffusion.cpp": Peer(package="stable-diffusion-cpp-python", make=stable_diffusion_cpp),
}


def main() -> None:
    """Do the job on stdin; libraries may print what they like, stdout stays clean."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.modules["openvino_telemetry"] = None  # its import fails, and openvino reports nothing
    job = json.load(sys.stdin)
    try:
        found = {"status": "ok"} | painted(job)
    except MemoryError as error:
        found = {"status": "out of memory", "reason": str(error) or "out of memory"}
    except Exception as error:  # one peer's failure is its row
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        found = {"status": "failed", "reason": f"{type(error).__name__}: {(lines or [''])[-1][:200]}"}
    json.dump(found, answer)
    answer.close()


def painted(job: dict[str, Any]) -> dict[str, Any]:
    """Samples in seconds by stage; steps and decode are those of the second picture.

    Some load when they are made and some when they first paint: `load` is what the first picture, from the start of the
    process, takes longer than the second.
    """
    begun = job["spawned"] if 0 <= STARTED - job["spawned"] < 60 else STARTED
    peer = PEERS[job["peer"]]
    paint, told = peer.make(job)
    paint([])
    samples = {"total": [perf_counter() - begun]}
    marks: list[float] = []
    own, mark = process_time(), perf_counter()
    picture = paint(marks)
    end = perf_counter()
    samples["again"], spent = [end - mark], process_time() - own
    samples["load"] = [max(0.0, samples["total"][0] - samples["again"][0])]
    steps = [after - before for before, after in zip(marks, marks[1:], strict=False)]
    samples |= {
        "first_step": [marks[0] - mark] if marks else [],
        "step": steps,
        "decode": [end - marks[-1]] if marks else [],
    }
    np.save(job["picture"], np.asarray(picture, np.float32))
    found = {
        "samples": samples,
        "version": installed_version(peer.package),
        "cpu_s": spent,
        "peak_rss_mb": peak_rss_mb(),
    }
    return found | {"precision": told()}


def installed_version(package: str) -> str | None:
    try:
        return version(package)
    except Exception:  # a package without metadata
        return None


def peak_rss_mb() -> float | None:
    """The most memory this process has held, in MB of 2^20 bytes."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 2**10, 1)
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
    except (OSError, ImportError):
        return None


if __name__ == "__main__":
    main()
