"""Optuna's samplers, for which the width, the depth and the activation of a network are
settings of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from mnist_tune.regimes.divergence import LOSS_CEILING


class NetworkSearch(OptunaSearch):  # type: ignore[misc]
    """Proposes networks by their parts, so that it learns of a width, say, from all
    networks that have it. `networks` has the parts of each one that may be proposed:
    every combination of parts is a network.

    If they are ranges, each optimizer has its own of the learning `rates`. What it
    learns of is the place in that range, as a rate of the range of all.
    """

    def __init__(
        self,
        networks: Mapping[str, Mapping[str, Any]],
        rates: Mapping[str, Any],
        **given: Any,
    ) -> None:
        super().__init__(**given)
        self._rates = rates if len({*map(str, rates.values())}) > 1 else {}
        self._parts, self._kinds = networks, [*next(iter(networks.values()))]
        self._names = {tuple(parts.values()): name for name, parts in networks.items()}

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        if self._rates:
            self._all = (
                config["trial"]["learning_rate"].lower,
                config["trial"]["learning_rate"].upper,
            )
        values = zip(self._kinds, zip(*self._names, strict=True), strict=True)
        apart = {kind: tune.choice(list(dict.fromkeys(each))) for kind, each in values}
        others = {
            name: value
            for name, value in config["trial"].items()
            if name != "architecture"
        }
        return bool(
            super().set_search_properties(
                metric, mode, {"trial": others | apart}, **spec
            )
        )

    def suggest(self, trial_id: str) -> Any:
        found = super().suggest(trial_id)
        trial = found["trial"]
        if own := self._rates.get(trial["optimizer"]):
            trial["learning_rate"] = _moved(trial["learning_rate"], self._all, own)
        trial["architecture"] = self._names[
            tuple(trial.pop(kind) for kind in self._kinds)
        ]
        return found

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Take up how a trial ended. A loss that is not finite is a very large one:
        Optuna refuses it."""
        if result and not math.isfinite(result.get(self.metric, math.nan)):
            result = result | {
                self.metric: LOSS_CEILING * (-1 if self.mode == "max" else 1)
            }
        super().on_trial_complete(trial_id, result, error)

    def add_evaluated_point(
        self, parameters: dict[str, Any], value: float, **how: Any
    ) -> None:
        parts = self._parts[parameters.pop("trial/architecture")]
        if own := self._rates.get(parameters.get("trial/optimizer", "")):
            parameters |= {
                "trial/learning_rate": _moved(
                    parameters["trial/learning_rate"], own, self._all
                )
            }
        super().add_evaluated_point(
            parameters | {f"trial/{name}": one for name, one in parts.items()},
            value,
            **how,
        )


def _moved(rate: float, first: tuple[float, float], then: tuple[float, float]) -> float:
    """Return the rate at the same place, on a log scale, of another range."""
    place = math.log(rate / first[0]) / (math.log(first[1] / first[0]) or 1)
    return float(np.clip(then[0] * (then[1] / then[0]) ** place, *then))
