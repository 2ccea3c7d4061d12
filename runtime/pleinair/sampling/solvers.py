"""The samplers' loops: generator functions that walk latents down a path.

History is local variables; noise is a callable; cancelling is `break`. `of` names what a solver's history and its
averages are made of: pictures (None), or the output of a network of that prediction type.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from math import expm1, sqrt

import numpy as np

from pleinair.sampling.coordinates import (
    FROM_X0,
    TO_X0,
    Denoise,
    Fresh,
    Noise,
    Seen,
    State,
    ancestral,
    churned,
    climb,
    deterministic,
    everything,
    langevin,
    move,
    ratio,
    stray,
)
from pleinair.sampling.path import Path, Point
from pleinair.sampling.spacings import karras, leggauss

Aim = Callable[[list[Seen], Point], np.ndarray]  # history, where the stride ends -> what to head for
Walk = Callable[[Denoise, np.ndarray, Path, Noise], Iterator[State]]
BASHFORTH = (  # Adams-Bashforth weights of equal strides, newest first
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)


def newest(past: list[Seen], b: Point) -> np.ndarray:
    """Head for what the network says now."""
    return past[0][1]


def dpm(stretch: float = 1.0, midpoint: bool = True) -> Aim:
    """Extrapolate two or three x0 in lambda (Lu et al. 2022, DPM-Solver++ multistep; diffusers DPMSolverMultistep).

    `stretch` is 1 for the ODE, 1 + eta for the SDE that `langevin` belongs to, -1 where the history holds eps.
    `midpoint` chooses between diffusers' solver types midpoint and heun for the second order.

    Deviation: for the third order SDE diffusers subtracts half of the second difference where its ODE form and
    k-diffusion's sample_dpmpp_3m_sde add it, which costs it an order; here it is added.
    """

    def aim(past: list[Seen], b: Point) -> np.ndarray:
        (a, x0), *older = past
        if not older or not b.sigma:
            return x0
        h = b.lam - a.lam
        (p, x1), *oldest = older
        near = (a.lam - p.lam) / h
        slope = (x0 - x1) / near
        if not oldest:
            return x0 + (0.5 if midpoint else linear_share(stretch * h)) * slope
        q, x2 = oldest[0]
        far = (p.lam - q.lam) / h
        bend = slope - (x1 - x2) / far
        first, second = slope + near / (near + far) * bend, bend / (near + far)
        return x0 + linear_share(stretch * h) * first + square_share(stretch * h) * second

    return aim


def linear_share(h: float) -> float:
    """The mean of s over a stride of 0..1 whose end counts exp(h) times its start."""
    return 1 / -expm1(-h) - 1 / h


def square_share(h: float) -> float:
    """The same mean of s^2 / 2."""
    return (0.5 - (h + expm1(-h)) / h**2) / -expm1(-h)


def adams(past: list[Seen], b: Point) -> np.ndarray:
    """Integrate the polynomial through the noise directions over sigma (diffusers LMSDiscreteScheduler)."""
    nodes = [ratio(p) for p, _ in past]
    start, end = nodes[0], ratio(b)
    points, weights = leggauss(4)  # exact for these polynomials
    at = (end - start) / 2 * points + (end + start) / 2
    basis = [np.prod([(at - other) / (node - other) for other in nodes if other != node], axis=0) for node in nodes]
    return weighted([float((weights * values).sum() / 2) for values in basis], past)


def bashforth(past: list[Seen], b: Point) -> np.ndarray:
    """Adams-Bashforth up to the fourth order, as if all strides were equal (PLMS, iPNDM)."""
    return weighted(BASHFORTH[len(past) - 1], past)


def deis(past: list[Seen], b: Point) -> np.ndarray:
    """Integrate the polynomial in log sigma through the eps of `past` (Zhang and Chen 2022, tAB-DEIS, log rho)."""
    a = past[0][0]
    if not b.sigma or a.lam == b.lam:
        return past[0][1]
    return weighted(exponential_weights([p.lam - a.lam for p, _ in past], b.lam - a.lam, -1.0), past)


def exponential_weights(nodes: Sequence[float], h: float, rate: float) -> list[float]:
    """How much what was seen at each of `nodes` counts in its polynomial's mean over 0..h weighted by exp(rate s)."""
    moments = [-expm1(-rate * h)]
    for power in range(1, len(nodes)):
        moments.append(h**power - power / rate * moments[-1])
    weights = np.linalg.solve(np.vander(nodes, increasing=True).T, moments)
    return [float(weight) / moments[0] for weight in weights]


def weighted(weights: Sequence[float], past: list[Seen]) -> np.ndarray:
    return sum(weight * seen for weight, (_, seen) in zip(weights, past, strict=True))


def multistep(
    aim: Aim = newest,
    fresh: Fresh = deterministic,
    memory: int = 1,
    of: str | None = None,
    added: Fresh | None = None,
    churn: float = 0.0,
) -> Walk:
    """A sampler with one network evaluation a step: where it heads for, and how much noise it renews.

    `added`: the deviation of the noise that is added, where it is not as much as was taken away (DDPM fixed_large).
    """

    def sample(denoise: Denoise, x: np.ndarray, path: Path, noise: Noise) -> Iterator[State]:
        state = State(x)
        past: deque[Seen] = deque(maxlen=memory)
        for left, (a, b) in zip(range(len(path), 0, -1), path.strides, strict=True):
            state.x, a = churned(state.x, a, path, churn, noise)
            target = state.x0 = denoise(state.x, a)
            if a.alpha or of != "epsilon":  # pure noise says nothing in noise per unit of image: a plain step there
                past.appendleft((a, FROM_X0[of](state.x0, state.x, a) if of else state.x0))
                target = aim(list(past)[: path.order_for(left)], b)
                target = TO_X0[of](target, state.x, a) if of else target
            if added:
                state.x = move(state.x, target, a, b, fresh(a, b)) + added(a, b) * noise()
            else:
                state.x = move(state.x, target, a, b, fresh(a, b), noise)
            yield state

    return sample


def straying(aim: Aim, memory: int) -> Walk:
    """Multistep on eps with the SDE of the first DPM-Solver (diffusers' sde-dpmsolver)."""

    def sample(denoise: Denoise, x: np.ndarray, path: Path, noise: Noise) -> Iterator[State]:
        state = State(x)
        past: deque[Seen] = deque(maxlen=memory)
        for left, (a, b) in zip(range(len(path), 0, -1), path.strides, strict=True):
            x0 = state.x0 = denoise(state.x, a)
            if not b.sigma:
                state.x = move(state.x, x0, a, b)
            else:
                past.appendleft((a, FROM_X0["epsilon"](x0, state.x, a)))
                state.x = stray(state.x, aim(list(past)[: path.order_for(left)], b), a, b, 1.0, noise())
            yield state

    return sample


def consistency(scaling: float) -> Walk:
    """Jump to the picture, put all noise back (Luo et al. 2023, diffusers LCMScheduler).

    `scaling` times t sets how fast the boundary condition (x0 is x where t is 0) fades; 0.5 is the data's deviation.
    """
    loop = multistep(fresh=everything)

    def sample(denoise: Denoise, x: np.ndarray, path: Path, noise: Noise) -> Iterator[State]:
        def bounded(x: np.ndarray, p: Point) -> np.ndarray:
            t = p.t * scaling
            return t / sqrt(t**2 + 0.25) * denoise(x, p) + 0.25 / (t**2 + 0.25) * x

        return loop(bounded, x, path, noise)

    return sample


def pndm(of: str, at: Callable[[int], Point], warm_up: bool) -> Walk:
    """Adams-Bashforth on network outputs (Liu et al. 2022; diffusers PNDMScheduler).

    It starts by looking twice at the second point (PLMS), or, where `warm_up` is set, with three Runge-Kutta strides
    of four evaluations. `at` gives the trained point of a whole t. With fewer than four steps diffusers' warm-up does
    not reach the end; here the last stride is always left to Adams-Bashforth.
    """

    def sample(denoise: Denoise, x: np.ndarray, path: Path, noise: Noise) -> Iterator[State]:
        def look(x: np.ndarray, p: Point) -> np.ndarray:
            return FROM_X0[of](denoise(x, p), x, p)

        def jump(out: np.ndarray, a: Point, b: Point) -> np.ndarray:
            return move(state.x, TO_X0[of](out, state.x, a), a, b)

        state = State(x)
        past: deque[Seen] = deque(maxlen=4)
        following = [a for a, _ in path.strides[1:]]
        for number, (a, b) in enumerate(path.strides):
            state.x0 = denoise(state.x, a)
            out = FROM_X0[of](state.x0, state.x, a)
            past.appendleft((a, out))
            if warm_up and number < 3 and following[number:]:
                end, half = following[number], round(a.t - b.t) // 2
                middle = at(int(end.t) + half)
                second = look(jump(out, a, at(int(a.t) - half)), middle)
                third = look(jump(second, a, middle), middle)
                fourth = look(jump(third, a, end), end)
                state.x = jump((out + 2 * second + 2 * third + fourth) / 6, a, end)
            elif number == 0 and following:
                end, stride = following[0], a.t - b.t
                again = look(jump(out, a, b), end)
                # diffusers starts the second try one stride above where it ends, which is not a for every spacing
                start = a if end.t + stride == a.t or end == b else at(int(end.t + stride))
                state.x = jump((out + again) / 2, start, end)
            else:
                state.x = jump(bashforth(list(past), b), a, b)
            yield state

    return sample


def unipc(order: int = 2, of: str | None = None, plain: bool = False, uncorrected: Sequence[int] = ()) -> Walk:
    """Predict like DPM++, then correct each step with what the network says at its end (Zhao et al. 2023).

    `plain` is the paper's B1(h) in place of B2(h); `uncorrected` lists the steps, from 0, that are left as predicted.
    """

    def sample(denoise: Denoise, x: np.ndarray, path: Path, noise: Noise) -> Iterator[State]:
        def carried(x: np.ndarray, past: list[Seen], b: Point, end: np.ndarray | None = None) -> np.ndarray:
            target = unified(past, b, end, -1.0 if of else 1.0, plain)
            a = past[0][0]
            return move(x, TO_X0[of](target, x, a) if of else target, a, b)

        state = State(x)
        past: deque[Seen] = deque(maxlen=order + 1)
        before, used = x, 0  # where the last step started, and with how many x0
        for number, (a, b) in enumerate(path.strides):
            state.x0 = denoise(state.x, a)
            seen = FROM_X0[of](state.x0, state.x, a) if of and a.alpha else state.x0
            if past and number - 1 not in uncorrected:
                state.x = carried(before, list(past)[:used], a, seen)
            if not a.alpha:  # lambda is infinite there: nothing to extrapolate from
                state.x = move(state.x, state.x0, a, b)
                yield state
                continue
            past.appendleft((a, seen))
            allowed = path.order_for(len(path) - number) or order
            before, used = state.x, min(order, allowed, len(past))
            state.x = carried(state.x, list(past)[:used], b)
            yield state

    return sample


def unified(
    past: list[Seen], b: Point, end: np.ndarray | None = None, rate: float = 1.0, plain: bool = False
) -> np.ndarray:
    """What to head for from past[0] to b: UniP, or UniC where what was found at b is given as `end`."""
    (a, x0), *older = past
    if not b.sigma:
        return x0
    h = b.lam - a.lam
    nodes = [(p.lam - a.lam) / h for p, _ in older]
    slopes = [(seen - x0) / node for (_, seen), node in zip(older, nodes, strict=True)]
    if end is not None:
        nodes, slopes = [*nodes, 1.0], [*slopes, end - x0]
    if len(nodes) <= 1:  # as the paper simplifies the lowest order
        weights = [0.5 * (rate * h / -expm1(-rate * h) if plain else 1.0)] * len(nodes)
    else:
        weights = np.linalg.solve(np.vander(nodes, increasing=True).T, phi_ratios(-rate * h, len(nodes)))
    return x0 + sum(float(weight) * slope for weight, slope in zip(weights, slopes, strict=True))


def phi_ratios(h: float, count: int) -> list[float]:
    """k! phi_{k+1}(h) / phi_1(h) for k = 1 .. count: what the weights of UniPC must sum to."""
    phi, factorial, ratios = expm1(h) / h - 1, 1, []
    for k in range(1, count + 1):
        ratios.append(phi * factorial / expm1(h))
        factorial *= k + 1
        phi = phi / h - 1 / factorial
    return ratios


def sa_solver(predictor: int = 2, corrector: int = 2, tau: float = 1.0, of: str | None = None) -> Walk:
    """Stochastic Adams: predict, then correct with the same noise (Xue et al. 2023; diffusers SASolverScheduler).

    Noise comes in only while t is within 200..800, as diffusers has it.
    """

    def sample(denoise: Denoise, x: np.ndarray, path: Path, noise: Noise) -> Iterator[State]:
        def carried(x: np.ndarray, seen: list[Seen], a: Point, b: Point, fresh: np.ndarray) -> np.ndarray:
            forgetting = tau**2 if 200 <= a.t <= 800 else 0.0
            if not b.sigma or a.lam == b.lam:
                return x if b.sigma else move(x, TO_X0[of](seen[0][1], x, a) if of else seen[0][1], a, b)
            rate = -1.0 if of else 1 + forgetting
            target = stochastic_adams(seen, a, b, rate)
            if of:
                return stray(x, target, a, b, forgetting, fresh)
            return move(x, target, a, b, langevin(a, b, forgetting), lambda: fresh)

        state = State(x)
        past: deque[Seen] = deque(maxlen=max(predictor, corrector))
        before = fresh = None
        allowed = None
        for left, (a, b) in zip(range(len(path), 0, -1), path.strides, strict=True):
            state.x0 = denoise(state.x, a)
            seen = FROM_X0[of](state.x0, state.x, a) if of else state.x0
            if past:
                start = past[0][0]
                past.appendleft((a, seen))
                order = min(corrector, (allowed or corrector) + 1)
                state.x = carried(before, list(past)[:order], start, a, fresh)
            else:
                past.appendleft((a, seen))
            allowed = path.order_for(left)
            before, fresh = state.x, noise()
            state.x = carried(state.x, list(past)[: min(predictor, allowed or predictor)], a, b, fresh)
            yield state

    return sample


def stochastic_adams(seen: list[Seen], a: Point, b: Point, rate: float) -> np.ndarray:
    """What to head for from a to b, given what was seen at a, before it, and (correcting) at b; newest first."""
    h = b.lam - a.lam
    nodes = [p.lam - a.lam for p, _ in seen]
    if len(seen) != 2 or rate < 0:
        return weighted(exponential_weights(nodes, h, rate), seen)
    # the second order on pictures is simplified as in UniPC: half of h instead of the exact mean
    share = rate * h**2 / (2 * -expm1(-rate * h))
    slope = (seen[0][1] - seen[1][1]) / (nodes[0] - nodes[1])
    return seen[nodes.index(0.0)][1] + share * slope


def singlestep(
    stretch: float = 1.0, midpoint: bool = True, of: str | None = None, fresh: Fresh = deterministic
) -> Walk:
    """DPM-Solver++ in groups of strides that all start where the group did (diffusers DPMSolverSinglestepScheduler).

    How far a group has come is the order that the path allows for the stride: 1, 2, 1, 2, 1, 1, say.
    The third order SDE deviates as `dpm` does.
    """

    def ahead(past: list[Seen], b: Point) -> np.ndarray:
        *found, (a, x0) = past  # x0 is the group's first
        if not found or not b.sigma:
            return x0
        h = b.lam - a.lam
        near = (found[0][0].lam - a.lam) / h
        rise = (found[0][1] - x0) / near
        share = linear_share(stretch * h)
        if len(found) == 1:
            return x0 + (0.5 if midpoint else share) * rise
        if midpoint:
            return x0 + share * rise
        far = (found[1][0].lam - a.lam) / h
        early = (found[1][1] - x0) / far
        first, second = (near * early - far * rise) / (near - far), 2 * (rise - early) / (near - far)
        return x0 + share * first + square_share(stretch * h) * second

    def sample(denoise: Denoise, x: np.ndarray, path: Path, noise: Noise) -> Iterator[State]:
        state = State(x)
        past: deque[Seen] = deque(maxlen=3)
        base = x
        for left, (a, b) in zip(range(len(path), 0, -1), path.strides, strict=True):
            state.x0 = denoise(state.x, a)
            past.appendleft((a, FROM_X0[of](state.x0, state.x, a) if of else state.x0))
            order = min(path.order_for(left) or 1, len(past))
            if order > 1 and not past[order - 1][0].alpha:  # lambda is infinite in pure noise: no slope from there
                order -= 1
            base = state.x if order == 1 else base
            start, target = past[order - 1][0], ahead(list(past)[:order], b)
            target = TO_X0[of](target, base, start) if of else target
            state.x = move(base, target, start, b, fresh(start, b), noise)
            yield state

    return sample


def heun(of: str = "epsilon", churn: float = 0.0) -> Walk:
    """Look again from the far end and average the two noise directions (Karras et al. 2022, algorithms 1 and 2)."""

    def sample(denoise: Denoise, x: np.ndarray, path: Path, noise: Noise) -> Iterator[State]:
        state = State(x)
        for a, b in path.strides:
            state.x, a = churned(state.x, a, path, churn, noise)
            state.x, state.x0 = heun_step(denoise, state.x, a, b, of)
            yield state

    return sample


def heun_step(denoise: Denoise, x: np.ndarray, a: Point, b: Point, of: str) -> tuple[np.ndarray, np.ndarray]:
    """x at b, and the x0 seen at a."""
    x0 = denoise(x, a)
    far = move(x, x0, a, b)
    if b.sigma and (a.alpha or of != "epsilon"):
        mean = (FROM_X0[of](x0, x, a) + FROM_X0[of](denoise(far, b), far, b)) / 2
        far = move(x, TO_X0[of](mean, x, a), a, b)
    return far, x0


def restart(denoise: Denoise, x: np.ndarray, path: Path, noise: Noise) -> Iterator[State]:
    """Heun that goes back up to sigma 2 from 0.1 and down again (Xu et al. 2023; A1111's restart_sampler).

    As there, 20 steps or more are laid out anew on Karras' sigmas between the path's first and last, nine (from 36
    on: a quarter, twice) of them for going down again; with fewer it is Heun.
    """
    state = State(x)
    strides, reached = restarted(path), path.strides[0][0]
    for a, b in strides:
        if ratio(a) > ratio(reached):
            state.x = climb(state.x, reached, a, noise)
        state.x, state.x0 = heun_step(denoise, state.x, a, b, "epsilon")
        reached = state.at = b
        yield state


def restarted(path: Path) -> list[tuple[Point, Point]]:
    """As many strides as the path has, some of which start above where the one before ended."""
    steps, first, last = len(path), path.strides[0][0], path.strides[-1]
    if steps < 20 or not first.alpha or last[1].sigma:
        return list(path.strides)
    again, times = (9, 1) if steps < 36 else (steps // 4, 2)
    sigmas = [*karras(ratio(last[0]), ratio(first), steps - again * times), 0.0]
    points = [first, *(path.level(float(sigma)) for sigma in sigmas[1:-1]), last[1]]
    low, high = (int(np.abs(np.subtract(sigmas, wanted)).argmin()) for wanted in (0.1, 2.0))
    if high >= low:
        return list(path.strides)
    strides = list(pairwise(points))
    inner = karras(sigmas[low], sigmas[high], again + 1)[1:-1]
    down = [points[high], *(path.level(float(sigma)) for sigma in inner), points[low]]
    return strides[:low] + list(pairwise(down)) * times + strides[low:]


def midway(fresh: Fresh = deterministic, of: str | None = None, churn: float = 0.0) -> Walk:
    """Head for what is seen half way down in log sigma (k-diffusion's sample_dpm_2 with eps, its dpmpp_2s with x0)."""

    def sample(denoise: Denoise, x: np.ndarray, path: Path, noise: Noise) -> Iterator[State]:
        state = State(x)
        for a, b in path.strides:
            state.x, a = churned(state.x, a, path, churn, noise)
            x0 = state.x0 = denoise(state.x, a)
            new = fresh(a, b)
            down = sqrt(b.sigma**2 - new**2) / b.alpha if b.alpha else 0.0
            if down and a.alpha:
                middle = path.level(sqrt(ratio(a) * down))
                half = move(state.x, x0, a, middle)
                x0 = denoise(half, middle)
                x0 = TO_X0[of](FROM_X0[of](x0, half, middle), state.x, a) if of else x0
            state.x = move(state.x, x0, a, b, new, noise)
            yield state

    return sample


def dpmpp_sde(eta: float = 1.0) -> Walk:
    """Half a stride with noise, then the stride again towards what was seen there (diffusers DPMSolverSDEScheduler).

    diffusers draws from one Brownian motion in sigma, so the stride's noise contains the half's. Here the two
    independent parts are drawn and combined: the same law, without a tree.
    """

    def sample(denoise: Denoise, x: np.ndarray, path: Path, noise: Noise) -> Iterator[State]:
        state = State(x)
        for a, b in path.strides:
            x0 = state.x0 = denoise(state.x, a)
            if not b.sigma or not a.alpha:
                state.x = move(state.x, x0, a, b, ancestral(a, b, eta), noise)
                yield state
                continue
            middle = path.level(sqrt(ratio(a) * ratio(b)))
            early, late = noise(), noise()
            share = (ratio(a) - ratio(middle)) / (ratio(a) - ratio(b))
            half = move(state.x, x0, a, middle, ancestral(a, middle, eta), lambda early=early: early)
            both = sqrt(share) * early + sqrt(1 - share) * late
            x0 = denoise(half, middle)
            state.x = move(state.x, x0, a, b, ancestral(a, b, eta), lambda both=both: both)
            yield state

    return sample
