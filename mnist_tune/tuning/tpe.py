"""Optuna's TPE, for which the width, the depth and the activation of a network are settings of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray import tune
from ray.tune.search.optuna import OptunaSearch


class NetworkSearch(OptunaSearch):  # type: ignore[misc]
    """Proposes networks by their parts, so that it learns of a width, say, from all networks that have it. `networks`
    has the parts of each one that may be proposed: every combination of parts is a network."""

    def __init__(self, networks: Mapping[str, Mapping[str, Any]], **given: Any) -> None:
        super().__init__(**given)
        self._parts = networks
        self._names = {tuple(parts.values()): name for name, parts in networks.items()}

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        columns = zip(*self._names, strict=True)
        parts = zip(next(iter(self._parts.values())), columns, strict=True)
        apart = {name: tune.choice(list(dict.fromkeys(values))) for name, values in parts}
        others = {name: value for name, value in config["trial"].items() if name != "architecture"}
        return bool(super().set_search_properties(metric, mode, {"trial": others | apart}, **spec))

    def suggest(self, trial_id: str) -> Any:
        found = super().suggest(trial_id)
        parts = next(iter(self._parts.values()))
        found["trial"]["architecture"] = self._names[tuple(found["trial"].pop(name) for name in parts)]
        return found

    def add_evaluated_point(self, parameters: dict[str, Any], value: float, **how: Any) -> None:
        parts = self._parts[parameters.pop("trial/architecture")]
        super().add_evaluated_point(parameters | {f"trial/{name}": one for name, one in parts.items()}, value, **how)
