"""What a sampler is set up by."""

from dataclasses import dataclass, field
from typing import Any

from pleinair.errors import BundleError


@dataclass(frozen=True)
class Wish:
    """How a sampler is to be set up: what its scheduler config says and what the caller asked for."""

    config: dict[str, Any] = field(default_factory=dict)
    eta: float | None = None
    churn: float = 0.0

    def order(self, default: int) -> int:
        """solver_order, 1 to 3; BundleError for others."""
        order = self.config.get("solver_order", default)
        if order not in (1, 2, 3):
            raise BundleError(f"the scheduler config's solver_order is {order!r}, not 1, 2 or 3; choose a --sampler")
        return order

    def share(self, default: float) -> float:
        """How much noise is renewed, where nothing was asked for: `default`."""
        return default if self.eta is None else self.eta

    @property
    def midpoint(self) -> bool:
        return self.config.get("solver_type") != "heun"

    @property
    def on_noise(self) -> bool:
        """Whether DPM-Solver is to extrapolate eps, as its first version did, rather than x0."""
        return self.config.get("algorithm_type") in ("dpmsolver", "sde-dpmsolver")
