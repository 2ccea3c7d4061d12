"""What whoever pours says of a model, where its files say nothing or another thing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pleinair.checks import one_of
from pleinair.sampling.spacings import TIMESTEP_SPACINGS

PREDICTIONS = ("epsilon", "v_prediction", "sample")


@dataclass(frozen=True)
class PourSettings:
    """What the network predicts, the sampler, the spacing of its timesteps, and `defaults` as in pleinair.json."""

    prediction: str | None = None
    sampler: str | None = None
    timestep_spacing: str | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Raise RequestError for a prediction or a spacing that no scheduler config names."""
        if self.prediction is not None:
            one_of("prediction", self.prediction, PREDICTIONS)
        if self.timestep_spacing is not None:
            one_of("timestep spacing", self.timestep_spacing, TIMESTEP_SPACINGS)

    def contradicting(self, said: str | None) -> list[str]:
        """What is said where a model says that it predicts another thing than is told; it may not say anything."""
        if said is None or self.prediction in (None, said):
            return []
        return [f"it says that it predicts {said}; as you say, it is treated as predicting {self.prediction}"]

    @property
    def scheduler(self) -> dict[str, Any]:
        """What is said of a scheduler config; networks that predict the picture begin at the last timestep."""
        spacing = self.timestep_spacing or ("trailing" if self.prediction == "sample" else None)
        said = {"prediction_type": self.prediction, "timestep_spacing": spacing}
        return {key: value for key, value in said.items() if value is not None}

    @property
    def wishes(self) -> dict[str, Any]:
        """What is said of a bundle's defaults."""
        return dict(self.defaults) | ({} if self.sampler is None else {"sampler": self.sampler})
