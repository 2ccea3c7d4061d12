"""Measure every sampler against pinned diffusers and write docs/samplers.md: `python tests/golden/samplers.py`.

Needs the `export` extra and about ten minutes on one core.
"""

import itertools
import sys
from pathlib import Path

import diffusers
import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "helpers"))

import oracle  # noqa: E402
import toy  # noqa: E402
from pleinair.sampling.names import default_sampler  # noqa: E402
from pleinair.sampling.samplers import SAMPLERS  # noqa: E402
from pleinair.sampling.spacings import TIMESTEP_SPACINGS  # noqa: E402

STEPS = (1, 2, 3, 5, 10, 20, 50, 100)
STARTS = ((10, 4), (20, 13), (50, 10))  # steps, and how many of them image to image leaves out
NO_SAMPLE = ("euler_a", "dpm2", "dpm2_a", "pndm", *oracle.FORMULAS)  # diffusers refuses prediction type sample
NO_START = ("pndm", "lms")  # diffusers carries a history that it does not have
PAGE = HERE.parents[1] / "docs" / "samplers.md"

HEAD = """# Samplers

`--sampler` takes a name from the first column, or A1111's label in any case, also with a schedule after it ("DPM++ 2M
Karras", "Euler a"). Names that only stable-diffusion.cpp, ComfyUI or InvokeAI use work too. If a model's scheduler
config names a diffusers class, that class's solver settings (order, algorithm and solver type, corrector, variance
type, few-step schedule, ...) apply.

"""
TAIL = """
- *Order* is the solver's own. A multistep solver of third order starts at a lower order, so as a whole it is of second
  order. iPNDM's weights assume equal strides.
- *Evaluations* are calls of the network in a step. A sampler with two needs only one in the last step. PLMS needs two
  in the first step.
- *Noise* is whether the sampler adds new noise. Even if not, `eta` or `s_churn` can add some. TCD's `eta` is its gamma.
- *float32* is the worst difference from diffusers {version}, relative to the largest number of the final latents, over
  {cases} trajectories for each sampler on a small network: {steps} steps, every spacing that
  diffusers has for the sampler, all prediction types, starts from a picture, and the same noise.
- *float64* is what remains of that worst case when both compute in float64, as far as diffusers allows: some of its
  tables stay in float32.

`python tests/golden/samplers.py` measures this and writes the page. A test compares it with the table in
`runtime/pleinair/sampling/samplers.py`.

## Where the difference exceeds 1e-5

| sampler | steps | spacing | bound | reason |
|---|---|---|---|---|
{exceptions}

{variants} combinations of settings in a scheduler config (`solver_order`, `algorithm_type`, `solver_type`,
`final_sigmas_type`, ...) were compared too. The worst difference is {worst_variant}, with
{worst_name}: at a high order, coefficients nearly
cancel in diffusers' float32.

## Where we differ on purpose

- **Third order SDE** (`dpmpp_3m_sde`; `heun` of the singlestep solver): diffusers subtracts half of the second
  difference, while its own ODE form and k-diffusion add it. With diffusers' sign the solver is only of first order
  (`test_third_order_sde_needs_the_sign_that_diffusers_has_wrong`). For the measurement above, diffusers' sign is
  corrected.
- **Churn** (`s_churn`) works as in Karras et al. and k-diffusion: the network sees the latents with the added noise.
  diffusers' Euler shows it the latents without that noise, so the noise is never removed.
- **`dpmpp_sde`** draws two independent parts of each stride's Brownian motion instead of building a tree. The
  distribution is the same, but not the numbers of torchsde. For the measurement, diffusers gets our parts.
- **`restart`** plans its path anew on Karras sigmas from 20 steps on, whatever the spacing, as A1111 does.
- **`pndm` and `lms`, starting from a picture,** begin with an empty history. diffusers gives weight to values from
  before the start, which it never computed.
- **`pndm` with Runge-Kutta warm-up** (`skip_prk_steps: false`) works with fewer than four steps. In diffusers it fails.
- **`ipndm`** uses the sigmas of Stable Diffusion. diffusers' IPNDMScheduler has its own schedule.
- `clip_sample` is meant for pixels and never applied.
"""


def cases(sampler):
    """(config, spacing, steps, start) of everything that is measured."""
    configs = [*toy.CONFIGS.values(), *([] if sampler in NO_SAMPLE else [toy.SAMPLE])]
    few = sampler in ("lcm", "tcd")
    for config, spacing, steps in itertools.product(configs, oracle.spacings(sampler), STEPS):
        eulers = sampler == "ddpm" and config is toy.SAMPLE and spacing not in TIMESTEP_SPACINGS
        if not eulers and (not few or steps <= 50):
            yield config, spacing, steps, 0
    if sampler not in (*NO_START, *oracle.FORMULAS):
        yield from ((config, None, *start) for config in configs for start in STARTS)


def measured(sampler):
    """(worst difference, what is left of it in float64, how many cases)."""
    worst, exact, count = 0.0, 0.0, 0
    for config, spacing, steps, start in cases(sampler):
        ours = toy.walk(config, sampler, spacing, steps, steps, start)
        later = {"start": start} if start else {}
        found = toy.difference(ours, oracle.trajectory(config, sampler, spacing, steps, steps, **later))
        if not found <= toy.tolerance(sampler, spacing, steps):
            print(f"beyond its bound: {sampler} {spacing} {config['prediction_type']} {steps} {start}: {found:.1e}")
        count += 1
        if not found <= worst:
            ours = toy.walk(config, sampler, spacing, steps, steps, start, precision=np.float64)
            theirs = oracle.trajectory(config, sampler, spacing, steps, steps, dtype=torch.float64, **later)
            worst, exact = found, toy.difference(ours, theirs)
    return worst, exact, count


def main() -> None:
    torch.set_num_threads(1)
    diffusers.utils.logging.set_verbosity_error()
    columns = ["sampler", "order", "evaluations", "noise", "A1111", "diffusers", "options", "float32", "float64"]
    lines, total = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"], 0
    for name, info in SAMPLERS.items():
        worst, exact, count = measured(name)
        total += count
        kind = f"`{info.diffusers}`" if info.diffusers else toy.FORMULAS[name]
        options = ", ".join(f"`{option}`" for option in info.options)
        noise = "yes" if info.stochastic else "no"
        cells = (f"`{name}`", info.order, info.evaluations, noise, info.a1111, kind, options)
        lines.append(f"| {' | '.join(map(str, cells))} | {worst:.1e} | {exact:.1e} |")
        print(lines[-1], flush=True)
    variants = {}
    for variant in toy.VARIANTS:
        config = {**toy.CONFIGS["epsilon"], **variant}
        sampler = default_sampler(config)
        variants[toy.variant_name(variant)] = max(
            toy.difference(toy.walk(config, sampler, None, steps, steps), oracle.of_variant(config, steps, steps))
            for steps in (5, 10, 14, 20, 50)
        )
    worst_name = max(variants, key=variants.get)
    tail = TAIL.format(
        cases=f"about {total // len(SAMPLERS)}",
        version=diffusers.__version__,
        steps=", ".join(map(str, STEPS)),
        exceptions=toy.exceptions_table(),
        variants=len(variants),
        worst_variant=f"{variants[worst_name]:.0e}",
        worst_name=f"`{worst_name}`",
    )
    PAGE.write_text(HEAD + "\n".join(lines) + "\n" + tail, "utf-8")


if __name__ == "__main__":
    main()
