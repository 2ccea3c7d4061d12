"""What a multistep solver heads for: the history of what the network saw, carried on over the next stride.

Histories are newest first. What they are made of, pictures or outputs of the network, is the solver's choice.
"""

from collections.abc import Callable, Sequence
from math import expm1

import numpy as np

from pleinair.sampling.coordinates import Seen, ratio
from pleinair.sampling.path import Point
from pleinair.sampling.sigmas import leggauss

Aim = Callable[[list[Seen], Point], np.ndarray]  # history, where the stride ends -> what to head for
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


def grouped(stretch: float = 1.0, midpoint: bool = True) -> Aim:
    """`dpm` for strides that all start where their group did, at the oldest x0 (DPM-Solver++ singlestep).

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

    return ahead


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


def exponential_weights(nodes: Sequence[float], h: float, rate: float) -> list[float]:
    """How much what was seen at each of `nodes` counts in its polynomial's mean over 0..h weighted by exp(rate s)."""
    moments = [-expm1(-rate * h)]
    for power in range(1, len(nodes)):
        moments.append(h**power - power / rate * moments[-1])
    weights = np.linalg.solve(np.vander(nodes, increasing=True).T, moments)
    return [float(weight) / moments[0] for weight in weights]


def weighted(weights: Sequence[float], past: list[Seen]) -> np.ndarray:
    """The sum of what was seen, newest first, each times its weight."""
    return sum(weight * seen for weight, (_, seen) in zip(weights, past, strict=True))
