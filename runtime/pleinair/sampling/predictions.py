"""What a network's output says: noise, a picture or a direction between them, each turned into x0 and back."""

from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np

from pleinair.errors import BundleError
from pleinair.sampling.path import Point
from pleinair.sampling.scheduler_config import is_flow_class, trained_as

PREDICTIONS = ("epsilon", "v_prediction", "sample", "flow_prediction")
EDM_PREDICTIONS = {"epsilon": "edm", "v_prediction": "edm_v_prediction"}

Conversion = Callable[[np.ndarray, np.ndarray, Point], np.ndarray]


def prediction_type(config: dict[str, Any]) -> str:
    """What the network's output is, a key of `TO_X0`; BundleError for what this version cannot read."""
    kind, trained = config.get("prediction_type", "epsilon"), trained_as(config)
    if trained == "flow" and is_flow_class(config.get("_class_name")):
        return "flow"
    if kind not in (EDM_PREDICTIONS if trained == "edm" else PREDICTIONS):
        raise BundleError(f"prediction type '{kind}' is not supported; export a model with one of {PREDICTIONS}")
    return EDM_PREDICTIONS[kind] if trained == "edm" else kind.replace("flow_prediction", "flow")


def epsilon_to_x0(out: np.ndarray, x: np.ndarray, p: Point) -> np.ndarray:
    """The output is the noise (Ho et al. 2020)."""
    return (x - p.sigma * out) / p.alpha


def v_to_x0(out: np.ndarray, x: np.ndarray, p: Point) -> np.ndarray:
    """The output is v = alpha eps - sigma x0 (Salimans and Ho 2022)."""
    return p.alpha * x - p.sigma * out


def flow_to_x0(out: np.ndarray, x: np.ndarray, p: Point) -> np.ndarray:
    """alpha + sigma = 1 there, not alpha^2 + sigma^2."""
    return x - p.sigma * out


def edm_to_x0(out: np.ndarray, x: np.ndarray, p: Point) -> np.ndarray:
    """Karras et al. 2022, eq. 7: 1 - sigma^2 is (alpha sigma_data)^2."""
    return ((1 - p.sigma**2) * x + sqrt(1 - p.sigma**2) * p.sigma * out) / p.alpha


def edm_v_to_x0(out: np.ndarray, x: np.ndarray, p: Point) -> np.ndarray:
    """The same with the other sign, as EDMEulerScheduler's v_prediction has it."""
    return ((1 - p.sigma**2) * x - sqrt(1 - p.sigma**2) * p.sigma * out) / p.alpha


def x0_to_epsilon(x0: np.ndarray, x: np.ndarray, p: Point) -> np.ndarray:
    """The noise that is left when x0 is taken out of x."""
    return (x - p.alpha * x0) / p.sigma


def x0_to_v(x0: np.ndarray, x: np.ndarray, p: Point) -> np.ndarray:
    """alpha eps - sigma x0, told from x and x0."""
    return (p.alpha * x - x0) / p.sigma


def x0_to_flow(x0: np.ndarray, x: np.ndarray, p: Point) -> np.ndarray:
    """The velocity from the picture to its noise."""
    return (x - x0) / p.sigma


def as_it_is(out: np.ndarray, x: np.ndarray, p: Point) -> np.ndarray:
    """The output is x0."""
    return out


TO_X0: dict[str, Conversion] = {  # network output, x, where -> x0
    "epsilon": epsilon_to_x0,
    "v_prediction": v_to_x0,
    "sample": as_it_is,
    "flow": flow_to_x0,
    "edm": edm_to_x0,
    "edm_v_prediction": edm_v_to_x0,
}
FROM_X0: dict[str, Conversion] = {  # x0, x, where -> network output
    "epsilon": x0_to_epsilon,
    "v_prediction": x0_to_v,
    "sample": as_it_is,
    "flow": x0_to_flow,
}
