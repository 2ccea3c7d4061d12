"""One round of one case in a process of its own: a job as JSON on stdin, what came out as JSON on stdout.

Jobs are {"task": "case", "case": Case, "spawned": the parent's perf_counter, "seconds": for the repeats, "count":
whether to count the arithmetic too}, {"task": "peak", "engine", "device", "threads"} and {"task": "engine", "engine"}.
"""

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from typing import Any, NamedTuple

from pleinair_bench.spending import spending, used, watch

STARTED = perf_counter()
FEWEST, MOST = 3, 60  # samples of one process, unless they are slow
SLOW_S, FEWEST_SLOW = 2.0, 2


class Compiled(NamedTuple):
    """What compiling one graph took, in seconds, and what it is computed in, as the engine says."""

    seconds: float
    precision: str | None


def main() -> None:
    """Do the job on stdin; engines may print what they like, stdout stays clean."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    job = json.load(sys.stdin)
    json.dump(done(job), answer)
    answer.close()


def done(job: dict[str, Any]) -> dict[str, Any]:
    """The result of a job, or {"status": ..., "reason": ...} for errors that belong into a row."""
    from pleinair.errors import PleinairError, ResourceError

    tasks = {"case": case, "peak": peak, "engine": engine}
    try:
        return {"status": "ok"} | tasks[job.pop("task")](**job)
    except (MemoryError, ResourceError) as error:
        return {"status": "out of memory", "reason": str(error) or "out of memory"}
    except PleinairError as error:
        return {"status": "failed", "reason": str(error)}
    except Exception as error:  # a bug in one case must not hide the others; its traceback is on stderr
        import traceback

        traceback.print_exc()
        return {"status": "crashed", "reason": f"{type(error).__name__}: {error}"}


def peak(engine: str, device: str, threads: int | None) -> dict[str, Any]:
    from pleinair_bench import peak as limits

    return {"peak": limits.measure(engine, device, threads)}


def engine(engine: str) -> dict[str, Any]:
    from pleinair.engines.engine import engine_named

    found = engine_named(engine)
    return {"engine": {"version": found.version, "devices": found.devices()}}


def case(case: dict[str, Any], spawned: float | None, seconds: float, count: bool) -> dict[str, Any]:
    """Samples in seconds by stage, and what the process took of memory, processor time and energy for them."""
    from pleinair.engines.engine import engine_named
    from pleinair_bench import models, yardstick
    from pleinair_bench.cases import BLOCKS, Case

    watch()
    begun = spawned if spawned is not None and 0 <= STARTED - spawned < 60 else STARTED
    asked = Case.from_dict(case)
    engine_named(asked.engine)
    samples = {"import": [perf_counter() - begun]}
    if asked.work == BLOCKS:
        return few_blocks(asked, samples) | {"samples": samples, "pace": yardstick.pace()}
    bundle = models.opened(asked.model, asked.engine, asked.weights, asked.components)
    measure = component if not asked.is_picture else cold if asked.work == "cold" else warm
    compiled = watch_compiling(asked.engine)
    found = measure(asked, bundle, samples, begun, seconds)
    if compiled:
        samples["compile"] = [sum(each.seconds for each in compiled)]
    found["precision"] = computed_in(asked.engine, asked.device, compiled)
    found["pace"] = yardstick.pace()
    found["graphs"] = models.identities(bundle, asked.engine, asked.components)
    if count:
        found["gflop"] = counted(asked, bundle)
    return found | {"samples": samples}


def few_blocks(asked: Any, samples: dict[str, list[float]]) -> dict[str, Any]:
    """A step and a decode of a real size, told from some blocks."""
    from pleinair_bench import blocks

    with spending() as found:
        samples |= blocks.seconds(asked.weights, asked.precision, asked.threads)
    return used(found, 1) | {"precision": blocks.hint(asked.precision)}


def component(asked: Any, bundle: Any, samples: dict[str, list[float]], begun: float, seconds: float) -> dict[str, Any]:
    """Call one graph again and again."""
    import numpy as np

    from pleinair.engines.graphs import open_graph

    place = (asked.engine, asked.device, asked.threads)
    graph = open_graph(bundle, asked.work, *place, precision=asked.precision)
    given = inputs(asked, bundle)
    mark = perf_counter()
    graph.prepare({name: array.shape for name, array in given.items()})
    samples["load"] = [perf_counter() - mark]
    mark = perf_counter()
    output = next(iter(graph(**given).values()))
    samples["first"] = [perf_counter() - mark]
    runs: list[float] = []
    found = repeated(lambda: graph(**given), runs, samples["first"][0], seconds)
    samples["run"] = runs
    if not np.isfinite(output).all():
        return {"status": "failed", "reason": "the graph returned NaN or infinity; try another engine"}
    wide = output.astype(np.float64)
    return found | {"output": {"mean": significant(wide.mean()), "std": significant(wide.std())}}


def cold(asked: Any, bundle: Any, samples: dict[str, list[float]], begun: float, seconds: float) -> dict[str, Any]:
    """One picture from the start of the process to the bytes of the file."""
    with spending() as found:
        pipe = pipeline(asked, bundle)
        result = paint(pipe, asked)
        encode(result)
        samples["total"] = [perf_counter() - begun]
    found |= used(found, 1)
    staged(samples, result.timings)
    return found | picture(result, asked, bundle)


def warm(asked: Any, bundle: Any, samples: dict[str, list[float]], begun: float, seconds: float) -> dict[str, Any]:
    """Pictures in a process that has painted one already."""
    pipe = pipeline(asked, bundle)
    mark = perf_counter()
    result = paint(pipe, asked)
    samples["first"] = [perf_counter() - mark]
    samples["load"] = [result.timings.load]
    totals: list[float] = []

    def again() -> None:
        staged(samples, paint(pipe, asked).timings, loading=False)

    found = repeated(again, totals, samples["first"][0] - samples["load"][0], seconds, warmups=0)
    samples["total"] = totals
    return found | picture(result, asked, bundle)


def repeated(
    call: Callable[[], object], runs: list[float], first: float, seconds: float, warmups: int = 1
) -> dict[str, Any]:
    """Call as often as fits into `seconds`, at most MOST times; `runs` receives the samples.

    The number is settled before the first sample, by the last call that is not one.
    """
    slow = first > SLOW_S  # its first call has warmed up all there is
    for _ in range(0 if slow else warmups):
        mark = perf_counter()
        call()
        first = perf_counter() - mark
    count = min(MOST, max(FEWEST_SLOW if slow else FEWEST, int(seconds / first)))
    with spending() as found:
        for _ in range(count):
            mark = perf_counter()
            call()
            runs.append(perf_counter() - mark)
    return found | used(found, len(runs))


def inputs(asked: Any, bundle: Any) -> dict[str, Any]:
    """The same numbers on every machine, in the shapes of this case."""
    import numpy as np

    noise, downsample = np.random.default_rng(0), bundle.manifest.vae.downsample
    named = {"batch": asked.batch, "height": asked.height // downsample, "width": asked.width // downsample}
    given = {}
    for name, port in bundle.manifest.graphs[asked.work].inputs.items():
        sides = (
            port.shape
            if name != "sample" and name != "latent_sample"
            else (asked.batch, port.shape[1], *(named[n] for n in ("height", "width")))
        )
        shape = tuple(side if isinstance(side, int) else named.get(side, 77) for side in sides)
        if name == "input_ids":
            given[name] = noise.integers(0, bundle.manifest.text_encoders[0].bos_id, shape)
        elif name == "timestep":
            given[name] = np.array([500], np.float32)
        else:
            given[name] = noise.standard_normal(shape, np.float32)
    return given


def counted(asked: Any, bundle: Any) -> float | None:
    """10^9 operations of one call, or of one step of a picture (text and guidance are one call of batch 2)."""
    from dataclasses import replace

    from pleinair.sampling.samplers import SAMPLERS
    from pleinair_bench.speeds import EXACT
    from pleinair_bench.work import gflop

    times = 1
    if asked.speed != EXACT:
        return None  # steps differ
    if asked.is_picture:
        guided = bundle.manifest.defaults.guidance > 1
        times = SAMPLERS[asked.sampler].evaluations
        asked = replace(asked, work="unet", batch=2 if guided else 1)
    files = bundle.manifest.graphs[asked.work].files
    present = [form for form in ("openvino", "onnx") if form in files and (bundle.path / files[form][0]).is_file()]
    shapes = {name: array.shape for name, array in inputs(asked, bundle).items()}
    work = gflop(bundle.path / files[present[0]][0], shapes) if present else None
    return round(work * times, 4) if work is not None else None


def pipeline(asked: Any, bundle: Any) -> Any:
    from pleinair.pipeline import load

    place = {"engine": asked.engine, "device": asked.device, "threads": asked.threads}
    return load(bundle.path, **place, precision=asked.precision, memory=asked.memory)


def paint(pipe: Any, asked: Any) -> Any:
    from pleinair_bench.reference import PROMPT, SEED
    from pleinair_bench.speeds import asked as told

    size = {"width": asked.width, "height": asked.height}
    return pipe.generate(PROMPT, seed=SEED, sampler=asked.sampler, **size, **told(asked.speed, asked.steps))


def encode(result: Any) -> None:
    """What writing the picture costs, without the disk."""
    from io import BytesIO

    result.images[0].save(BytesIO(), "PNG")


def staged(samples: dict[str, list[float]], timings: Any, loading: bool = True) -> None:
    """Add one picture's seconds to the stages."""
    stages = {
        "text": [timings.text],
        "first_step": timings.steps[:1],
        "step": timings.steps[1:],
        "decode": [timings.decode],
    }
    if loading:
        stages["load"] = [timings.load]
    for name, values in stages.items():
        samples.setdefault(name, []).extend(values)


def picture(result: Any, asked: Any, bundle: Any) -> dict[str, Any]:
    from pleinair_bench.reference import likeness
    from pleinair_bench.speeds import EXACT

    if asked.speed != EXACT:
        return {}
    return {"picture": likeness(result.pixels[0], bundle, asked.steps, asked.sampler)}


def watch_compiling(engine: str) -> list[Compiled]:
    """A list that receives each compilation of this process from now on, where the engine compiles apart from reading
    (OpenVINO).
    """
    compiled: list[Compiled] = []
    if engine != "openvino":
        return compiled
    from pleinair.engines.openvino import ov

    original = ov.Core.compile_model

    def timed(*arguments: Any, **named: Any) -> Any:
        mark = perf_counter()
        model = original(*arguments, **named)
        compiled.append(Compiled(perf_counter() - mark, hinted(model)))
        return model

    ov.Core.compile_model = timed
    return compiled


def hinted(model: Any) -> str | None:
    """What a model that OpenVINO has compiled is computed in; None on a device that does not tell."""
    with suppress(RuntimeError, AttributeError):
        return model.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return None


def computed_in(engine: str, device: str, compiled: list[Compiled]) -> str | None:
    """The precisions of all graphs, joined by +; ONNX Runtime computes float32 graphs in float32 on the CPU."""
    if engine == "onnx":
        return "f32" if device == "cpu" else None
    return "+".join(sorted({each.precision for each in compiled if each.precision})) or None


def significant(number: float) -> float:
    """Six digits."""
    return float(f"{number:.6g}")


if __name__ == "__main__":
    main()
