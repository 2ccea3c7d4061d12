"""What each peer paints a job with: standard library, NumPy and the peer, for its environment has no more.

A job's `precision` is "auto", for which a program is told nothing and chooses by itself, or "f32".
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

ComputedIn = Callable[[], str | None]  # what was computed in, as the program says, when it has painted
TORCH = {"torch.float32": "f32", "torch.bfloat16": "bf16", "torch.float16": "f16"}
ONNX = {"tensor(float)": "f32", "tensor(float16)": "f16"}
STORED = {"fp32": "f32", "fp16": "f16"}
LCM = "lcm"


class PeerPicture(NamedTuple):
    """A picture (H, W, 3) in 0..1.

    Where a program loads while it paints, `load_s` is how long that took, and `decode_s` what the decoder took without
    it.
    """

    pixels: np.ndarray
    load_s: float = 0.0
    decode_s: float | None = None


Painter = Callable[[list[float]], PeerPicture]  # appends when each step was done


def pleinair(job: dict[str, Any], engine: str) -> tuple[Painter, ComputedIn]:
    import pleinair
    from pleinair.request.request import resolve
    from pleinair_bench.worker import computed_in, watch_compiling

    compiled = watch_compiling(engine)
    pipe = pleinair.load(job["folder"], engine=engine, threads=job["threads"], precision=job["precision"])
    size = {"width": job["width"], "height": job["height"]}
    how = {"seed": 0, "sampler": job["sampler"], "guidance": job["guidance"]} | job["options"]
    vae = {"vae": job["vae"]} if job["vae"] else {}
    request = resolve(pipe.bundle, job["prompt"], "", **size, **how, **vae)
    noise = np.load(job["noise"])[0]

    class Given:
        """The start noise, which is all that DDIM needs."""

        def normal(self, shape: tuple[int, ...]) -> np.ndarray:
            return noise.reshape(shape)

    def paint(marks: list[float]) -> PeerPicture:
        for frame in pipe.walk(request, generators=None if job["sampler"] == LCM else [Given()]):
            if frame.result is None:
                marks.append(perf_counter())
        spent = frame.result.timings
        return PeerPicture(frame.result.pixels[0], spent.load, spent.decode)

    return paint, lambda: computed_in(engine, "cpu", compiled)


def diffusers(job: dict[str, Any], channels_last: bool) -> tuple[Painter, ComputedIn]:
    import torch
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    torch.set_num_threads(job["threads"] or torch.get_num_threads())
    # its own default for the UNet; where nothing is said, transformers 5 loads a text encoder as it is stored, which a
    # UNet in float32 refuses
    pipe = StableDiffusionPipeline.from_pretrained(job["folder"], safety_checker=None, torch_dtype=torch.float32)
    if channels_last:
        pipe.unet.to(memory_format=torch.channels_last)
        pipe.vae.to(memory_format=torch.channels_last)
    return like_diffusers(pipe, DDIMScheduler, job), lambda: TORCH.get(str(pipe.unet.dtype))


def optimum_intel(job: dict[str, Any]) -> tuple[Painter, ComputedIn]:
    from diffusers import DDIMScheduler
    from optimum.intel import OVStableDiffusionPipeline

    pipe = OVStableDiffusionPipeline.from_pretrained(job["folder"], ov_config=openvino_settings(job))
    return like_diffusers(pipe, DDIMScheduler, job), lambda: hinted(pipe.unet.request)


def optimum_onnx(job: dict[str, Any]) -> tuple[Painter, ComputedIn]:
    import onnxruntime
    from diffusers import DDIMScheduler
    from optimum.onnxruntime import ORTStableDiffusionPipeline

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job["threads"] or 0
    pipe = ORTStableDiffusionPipeline.from_pretrained(job["folder"], session_options=options)
    return like_diffusers(pipe, DDIMScheduler, job), lambda: ONNX.get(pipe.unet.session.get_inputs()[0].type)


def like_diffusers(pipe: Any, scheduler: Any, job: dict[str, Any]) -> Painter:
    import torch

    # where a config is silent diffusers clips latents to [-1, 1], and neither ours nor the others do
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config, clip_sample=False)
    pipe.set_progress_bar_config(disable=True)
    noise = torch.from_numpy(np.load(job["noise"]))

    def paint(marks: list[float]) -> PeerPicture:
        def done(pipe: Any, step: int, t: Any, state: dict) -> dict:
            marks.append(perf_counter())
            return state

        made = pipe(
            job["prompt"],
            latents=noise,
            num_inference_steps=job["steps"],
            guidance_scale=job["guidance"],
            width=job["width"],
            height=job["height"],
            output_type="np",
            callback_on_step_end=done,
        )
        return PeerPicture(made.images[0])

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
    few = job["sampler"] == LCM
    bundle = with_scheduler(Path(job["folder"]), Path(scratch.name), "LCMScheduler" if few else "DDIMScheduler")
    pipe = genai.Text2ImagePipeline(str(bundle))
    pipe.reshape(1, job["height"], job["width"], job["guidance"])
    pipe.compile("CPU", **openvino_settings(job))
    size = {"width": job["width"], "height": job["height"]}
    how = {"num_inference_steps": job["steps"], "guidance_scale": job["guidance"]}

    def paint(marks: list[float]) -> PeerPicture:
        def done(step: int, steps: int, latents: Any) -> bool:
            marks.append(perf_counter())
            return False

        noise = genai.CppStdGenerator(0) if few else Given()
        made = pipe.generate(job["prompt"], generator=noise, callback=done, **size, **how)
        return PeerPicture(np.array(made.data)[0] / 255)

    def told() -> str | None:
        """Its own models are out of reach: what OpenVINO makes of its smallest graph with the same settings."""
        graph = Path(job["folder"]) / "text_encoder" / "openvino_model.xml"
        return hinted(openvino.Core().compile_model(graph, "CPU", openvino_settings(job)))

    return paint, told


def stable_diffusion_cpp(job: dict[str, Any]) -> tuple[Painter, ComputedIn]:
    from stable_diffusion_cpp import StableDiffusion

    how = {"n_threads": job["threads"] or -1, "verbose": False}
    if job["precision"] == "f32":
        how["wtype"] = "f32"  # else the type that the weights are stored in
    model = StableDiffusion(model_path=str(job["folder"]), **how)

    def paint(marks: list[float]) -> PeerPicture:
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
        return PeerPicture(np.asarray(picture.convert("RGB")) / 255)

    return paint, lambda: how.get("wtype") or STORED.get(job["weights"], job["weights"])


def with_scheduler(bundle: Path, scratch: Path, name: str) -> Path:
    """Links to the bundle, beside the config of a scheduler that openvino-genai knows, without -Infinity."""
    changed = (bundle / "model_index.json", bundle / "scheduler" / "scheduler_config.json")
    index, config = (json.loads(file.read_text(encoding="utf-8")) for file in changed)
    index["scheduler"] = ["diffusers", name]
    config = {name: value for name, value in config.items() if not isinstance(value, float) or np.isfinite(value)}
    config |= {"_class_name": name, "clip_sample": False}
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
    """What is painted with: the package installed for it, what makes a painter of a job, and what computes for it."""

    package: str
    make: Callable[[dict[str, Any]], tuple[Painter, ComputedIn]]
    library: str  # a key of peer_builds.BUILDS


PEERS = {
    "pleinair openvino": Peer(package="pleinair", make=partial(pleinair, engine="openvino"), library="openvino"),
    "pleinair onnx": Peer(package="pleinair", make=partial(pleinair, engine="onnx"), library="onnxruntime"),
    "diffusers": Peer(package="diffusers", make=partial(diffusers, channels_last=False), library="torch"),
    "diffusers channels-last": Peer(package="diffusers", make=partial(diffusers, channels_last=True), library="torch"),
    "openvino-genai": Peer(package="openvino-genai", make=openvino_genai, library="openvino"),
    "optimum-intel": Peer(package="optimum-intel", make=optimum_intel, library="openvino"),
    "optimum-onnx": Peer(package="optimum-onnx", make=optimum_onnx, library="onnxruntime"),
    "stable-diffusion.cpp": Peer(
        package="stable-diffusion-cpp-python", make=stable_diffusion_cpp, library="stable-diffusion.cpp"
    ),
}
