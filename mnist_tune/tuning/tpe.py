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
        **options: Any,
    ) -> None:
        super().__init__(**options)
        different = set(map(str, rates.values()))
        self._rates = dict(rates)
        if len(different) < 2:
            self._rates = {}
        self._parts = networks
        first_parts = next(iter(networks.values()))
        self._kinds = list(first_parts)
        self._names = {tuple(parts.values()): name for name, parts in networks.items()}

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        settings = dict(config["trial"])
        if self._rates:
            rates = settings["learning_rate"]
            self._all = rates.lower, rates.upper
        settings.pop("architecture", None)
        columns = zip(*self._names, strict=True)
        for kind, parts in zip(self._kinds, columns, strict=True):
            distinct = list(dict.fromkeys(parts))
            settings[kind] = tune.choice(distinct)
        is_accepted = super().set_search_properties(
            metric, mode, {"trial": settings}, **spec
        )
        return bool(is_accepted)

    def suggest(self, trial_id: str) -> Any:
        proposal = super().suggest(trial_id)
        trial = proposal["trial"]
        rates = self._rates.get(trial["optimizer"])
        if rates:
            trial["learning_rate"] = _moved(trial["learning_rate"], self._all, rates)
        parts = tuple(trial.pop(kind) for kind in self._kinds)
        trial["architecture"] = self._names[parts]
        return proposal

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Take up how a trial ended. A loss that is not finite is a very large one:
        Optuna refuses it."""
        if result and not math.isfinite(result.get(self.metric, math.nan)):
            worst = LOSS_CEILING
            if self.mode == "max":
                worst = -LOSS_CEILING
            result = result | {self.metric: worst}
        super().on_trial_complete(trial_id, result, error)

    def add_evaluated_point(
        self, parameters: dict[str, Any], value: float, **how: Any
    ) -> None:
        name = parameters.pop("trial/architecture")
        point = dict(parameters)
        rates = self._rates.get(point.get("trial/optimizer", ""))
        if rates:
            rate = point["trial/learning_rate"]
            point["trial/learning_rate"] = _moved(rate, rates, self._all)
        for kind, part in self._parts[name].items():
            point[f"trial/{kind}"] = part
        super().add_evaluated_point(point, value, **how)


def _moved(rate: float, first: tuple[float, float], then: tuple[float, float]) -> float:
    """Return the rate at the same place, on a log scale, of another range."""
    lowest, highest = first
    place = math.log(rate / lowest) / (math.log(highest / lowest) or 1)
    lowest, highest = then
    return float(np.clip(lowest * (highest / lowest) ** place, lowest, highest))
