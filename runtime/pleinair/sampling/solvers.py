"""The solvers' loops: generator functions that walk latents down a path; `runge_kutta` has those that look twice.

History is local variables; noise is a callable; cancelling is `break`. Each stride yields one state, and tells the
network how many came before. `of` names what a solver's history and its averages are made of: pictures ("sample"), or
the output of a network of another prediction type.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from math import sqrt

import numpy as np

from pleinair.sampling.coordinates import (
    Denoise,
    Draw,
    Fresh,
    Keep,
    Seen,
    Solver,
    State,
    churned,
    deterministic,
    everything,
    langevin,
    move,
    same,
    stray,
    untouched,
)
from pleinair.sampling.extrapolation import (
    Aim,
    bashforth,
    newest,
    stochastic_adams,
    unified,
)
from pleinair.sampling.path import Path, Point
from pleinair.sampling.predictions import FROM_X0, TO_X0


def multistep(
    aim: Aim = newest,
    fresh: Fresh = deterministic,
    memory: int = 1,
    of: str = "sample",
    added: Fresh | None = None,
    churn: float = 0.0,
) -> Solver:
    """A sampler with one network evaluation a step: where it heads for, and how much noise it renews.

    `added`: the deviation of the noise that is added, where it is not as much as was taken away (DDPM fixed_large).
    """

    def sample(denoise: Denoise, x: np.ndarray, path: Path, draw: Draw, keep: Keep = untouched) -> Iterator[State]:
        past: deque[Seen] = deque(maxlen=memory)
        for step, (a, b) in enumerate(path.strides):
            x, a = churned(x, a, path, churn, draw)
            target = x0 = denoise(x, a, step)
            if a.alpha or of != "epsilon":  # pure noise says nothing in noise per unit of image: a plain step there
                past.appendleft((a, FROM_X0[of](x0, x, a)))
                target = aim(list(past)[: path.order_for(len(path) - step)], b)
                target = TO_X0[of](target, x, a)
            if added:
                x = move(x, target, a, b, fresh(a, b)) + added(a, b) * draw()
            else:
                x = move(x, target, a, b, fresh(a, b), draw)
            x = keep(x, path.reached(step))
            yield State(x, x0)

    return sample


def straying(aim: Aim, memory: int) -> Solver:
    """Multistep on eps with the SDE of the first DPM-Solver (diffusers' sde-dpmsolver)."""

    def sample(denoise: Denoise, x: np.ndarray, path: Path, draw: Draw, keep: Keep = untouched) -> Iterator[State]:
        past: deque[Seen] = deque(maxlen=memory)
        for step, (a, b) in enumerate(path.strides):
            x0 = denoise(x, a, step)
            if not b.sigma:
                x = move(x, x0, a, b)
            else:
                past.appendleft((a, FROM_X0["epsilon"](x0, x, a)))
                x = stray(x, aim(list(past)[: path.order_for(len(path) - step)], b), a, b, 1.0, draw())
            x = keep(x, path.reached(step))
            yield State(x, x0)

    return sample


def consistency(scaling: float) -> Solver:
    """Jump to the picture, put all noise back (Luo et al. 2023, diffusers LCMScheduler).

    `scaling` times t sets how fast the boundary condition (x0 is x where t is 0) fades; 0.5 is the data's deviation.
    """
    loop = multistep(fresh=everything)

    def sample(denoise: Denoise, x: np.ndarray, path: Path, draw: Draw, keep: Keep = untouched) -> Iterator[State]:
        def bounded(x: np.ndarray, p: Point, step: int) -> np.ndarray:
            t = p.t * scaling
            return t / sqrt(t**2 + 0.25) * denoise(x, p, step) + 0.25 / (t**2 + 0.25) * x

        return loop(bounded, x, path, draw, keep)

    return sample


def pndm(of: str, at: Callable[[int], Point], warm_up: bool) -> Solver:
    """Adams-Bashforth on network outputs (Liu et al. 2022; diffusers PNDMScheduler).

    It starts by looking twice at the second point (PLMS), or, where `warm_up` is set, with three Runge-Kutta strides
    of four evaluations. `at` gives the trained point of a whole t. With fewer than four steps diffusers' warm-up does
    not reach the end; here the last stride is always left to Adams-Bashforth.
    """

    def sample(denoise: Denoise, x: np.ndarray, path: Path, draw: Draw, keep: Keep = untouched) -> Iterator[State]:
        def look(x: np.ndarray, p: Point, step: int) -> np.ndarray:
            return FROM_X0[of](denoise(x, p, step), x, p)

        def jump(x: np.ndarray, out: np.ndarray, a: Point, b: Point) -> np.ndarray:
            return move(x, TO_X0[of](out, x, a), a, b)

        past: deque[Seen] = deque(maxlen=4)
        following = [a for a, _ in path.strides[1:]]
        for step, (a, b) in enumerate(path.strides):
            x0 = denoise(x, a, step)
            out = FROM_X0[of](x0, x, a)
            past.appendleft((a, out))
            if warm_up and step < 3 and following[step:]:
                end, half = following[step], round(a.t - b.t) // 2
                middle = at(int(end.t) + half)
                second = look(jump(x, out, a, at(int(a.t) - half)), middle, step)
                third = look(jump(x, second, a, middle), middle, step)
                fourth = look(jump(x, third, a, end), end, step)
                x = jump(x, (out + 2 * second + 2 * third + fourth) / 6, a, end)
            elif step == 0 and following:
                end, stride = following[0], a.t - b.t
                again = look(jump(x, out, a, b), end, step)
                # diffusers starts the second try one stride above where it ends, which is not a for every spacing
                start = a if end.t + stride == a.t or end == b else at(int(end.t + stride))
                x = jump(x, (out + again) / 2, start, end)
            else:
                x = jump(x, bashforth(list(past), b), a, b)
            x = keep(x, path.reached(step))
            yield State(x, x0)

    return sample


def unipc(order: int = 2, of: str = "sample", plain: bool = False, uncorrected: Sequence[int] = ()) -> Solver:
    """Predict like DPM++, then correct each step with what the network says at its end (Zhao et al. 2023).

    `plain` is the paper's B1(h) in place of B2(h); `uncorrected` lists the steps, from 0, that are left as predicted.
    """

    def sample(denoise: Denoise, x: np.ndarray, path: Path, draw: Draw, keep: Keep = untouched) -> Iterator[State]:
        def carried(x: np.ndarray, past: list[Seen], b: Point, end: np.ndarray | None = None) -> np.ndarray:
            target = unified(past, b, end, -1.0 if of == "epsilon" else 1.0, plain)
            a = past[0][0]
            return move(x, TO_X0[of](target, x, a), a, b)

        past: deque[Seen] = deque(maxlen=order + 1)
        before, used = x, 0  # where the last step started, and with how many x0
        for step, (a, b) in enumerate(path.strides):
            x0 = denoise(x, a, step)
            seen = FROM_X0[of](x0, x, a) if a.alpha else x0
            if past and step - 1 not in uncorrected:
                x = carried(before, list(past)[:used], a, seen)
            if not a.alpha:  # lambda is infinite there: nothing to extrapolate from
                x = move(x, x0, a, b)
            else:
                past.appendleft((a, seen))
                allowed = path.order_for(len(path) - step) or order
                before, used = x, min(order, allowed, len(past))
                x = carried(x, list(past)[:used], b)
            x = keep(x, path.reached(step))
            yield State(x, x0)

    return sample


def sa_solver(predictor: int = 2, corrector: int = 2, tau: float = 1.0, of: str = "sample") -> Solver:
    """Stochastic Adams: predict, then correct with the same noise (Xue et al. 2023; diffusers SASolverScheduler).

    Noise comes in only while t is within 200..800, as diffusers has it.
    """

    def sample(denoise: Denoise, x: np.ndarray, path: Path, draw: Draw, keep: Keep = untouched) -> Iterator[State]:
        def carried(x: np.ndarray, seen: list[Seen], a: Point, b: Point, fresh: np.ndarray) -> np.ndarray:
            forgetting = tau**2 if 200 <= a.t <= 800 else 0.0
            if not b.sigma or a.lam == b.lam:
                return x if b.sigma else move(x, TO_X0[of](seen[0][1], x, a), a, b)
            rate = -1.0 if of == "epsilon" else 1 + forgetting
            target = stochastic_adams(seen, a, b, rate)
            if of == "epsilon":
                return stray(x, target, a, b, forgetting, fresh)
            return move(x, target, a, b, langevin(a, b, forgetting), same(fresh))

        past: deque[Seen] = deque(maxlen=max(predictor, corrector))
        before = fresh = None
        allowed = None
        for step, (a, b) in enumerate(path.strides):
            x0 = denoise(x, a, step)
            seen = FROM_X0[of](x0, x, a)
            if past:
                start = past[0][0]
                past.appendleft((a, seen))
                order = min(corrector, (allowed or corrector) + 1)
                x = carried(before, list(past)[:order], start, a, fresh)
            else:
                past.appendleft((a, seen))
            allowed = path.order_for(len(path) - step)
            before, fresh = x, draw()
            x = carried(x, list(past)[: min(predictor, allowed or predictor)], a, b, fresh)
            x = keep(x, path.reached(step))
            yield State(x, x0)

    return sample


def singlestep(aim: Aim, of: str = "sample", fresh: Fresh = deterministic) -> Solver:
    """DPM-Solver++ in groups of strides that all start where the group did (diffusers DPMSolverSinglestepScheduler).

    How far a group has come is the order that the path allows for the stride: 1, 2, 1, 2, 1, 1, say.
    """

    def sample(denoise: Denoise, x: np.ndarray, path: Path, draw: Draw, keep: Keep = untouched) -> Iterator[State]:
        past: deque[Seen] = deque(maxlen=3)
        base = x
        for step, (a, b) in enumerate(path.strides):
            x0 = denoise(x, a, step)
            past.appendleft((a, FROM_X0[of](x0, x, a)))
            order = min(path.order_for(len(path) - step) or 1, len(past))
            if order > 1 and not past[order - 1][0].alpha:  # lambda is infinite in pure noise: no slope from there
                order -= 1
            base = x if order == 1 else base
            start, target = past[order - 1][0], aim(list(past)[:order], b)
            target = TO_X0[of](target, base, start)
            x = keep(move(base, target, start, b, fresh(start, b), draw), path.reached(step))
            yield State(x, x0)

    return sample
