"""Early stopping: ASHA proposes a stop, and the label so far decides. All seeds of a configuration share one fate."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from mnist_tune.regimes.curve import Curve
from mnist_tune.regimes.curve_rules import curve_regime, reached, shaken
from mnist_tune.regimes.data_facts import DataFacts
from mnist_tune.regimes.siblings import far_ahead, near_best
from mnist_tune.regimes.tuned import FAR, TREND_EPOCHS
from mnist_tune.trial import TrialConfig

SLOW, DEAD = "slow", "dead"
"""The reasons for which trials are stopped."""


class Fates:
    """Decides which configurations go on.

    A configuration that ASHA would stop is stopped if its curve is slow, or dead. What is undecided, oscillating or on
    its way within the epochs asked for goes on, since those are the rates that a sweep is about. The first seed that
    finishes an epoch decides for all: each seed then stops after the same epoch, or goes on, whenever it gets there.
    """

    def __init__(self, data: DataFacts) -> None:
        self._data = data
        self._rows: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        self._members: dict[Hashable, set[str]] = defaultdict(set)
        self._proposed: set[Hashable] = set()
        self._decided: dict[Hashable, dict[int, str]] = defaultdict(dict)
        self._best: dict[Hashable, tuple[float, float]] = {}
        """For a family and an epoch: the best accuracy after as many epochs, and its learning rate."""
        self._highest: dict[Hashable, float] = defaultdict(float)
        self._first: dict[Hashable, tuple[float, float]] = {}
        """For a family: the first epoch at the target, and the largest learning rate that was there then."""

    def replay(self, events: Iterable[Mapping[str, Any]], trials: Mapping[str, TrialConfig]) -> None:
        """Take up the decisions of a sweep that is resumed, from the events of its journal."""
        for event in events:
            trial_id = event.get("trial_id", "")
            if trial_id not in trials:
                continue
            decided = self._decided[_configuration(trials[trial_id])]
            if event["kind"] == "epoch":
                self._add(trial_id, trials[trial_id], event)
                decided.setdefault(event["epoch"], "")
            elif event["kind"] == "end" and event["stop_reason"] in (SLOW, DEAD):
                decided[self._rows[trial_id][-1]["epoch"]] = event["stop_reason"]

    def decide(self, trial_id: str, config: TrialConfig, row: Mapping[str, Any], proposed: bool) -> str:
        """Return the reason for which a trial is stopped after an epoch; empty if it goes on.

        Args:
            trial_id: the trial.
            config: its config.
            row: the epoch's row.
            proposed: whether ASHA would stop it.
        """
        key, epoch = _configuration(config), row["epoch"]
        self._add(trial_id, config, row)
        if proposed:
            self._proposed.add(key)
        if epoch not in self._decided[key]:
            self._decided[key][epoch] = self._verdict(trial_id, config) if key in self._proposed else ""
        return self._decided[key][epoch]

    def _add(self, trial_id: str, config: TrialConfig, row: Mapping[str, Any]) -> None:
        self._rows[trial_id] = [past for past in self._rows[trial_id] if past["epoch"] < row["epoch"]] + [row]
        self._members[_configuration(config)].add(trial_id)
        accuracy, family = row["train_accuracy"], _family(config)
        if accuracy is not None and math.isfinite(accuracy):
            at = family, row["epoch"]
            self._best[at] = max(self._best.get(at, (0.0, 0.0)), (accuracy, config.learning_rate))
            self._highest[family] = max(self._highest[family], accuracy)
            if accuracy >= (self._target(config) or math.inf):
                there = row["epoch"], config.learning_rate
                self._first[family] = min(there, self._first.get(family, there), key=lambda one: (one[0], -one[1]))

    def _verdict(self, trial_id: str, config: TrialConfig) -> str:
        others = self._members[_configuration(config)] - {trial_id}
        if any(self._goes_on(other, config) for other in others if len(self._rows[other]) >= TREND_EPOCHS):
            return ""
        return self._reason(self._curve(trial_id, config), config)

    def _goes_on(self, trial_id: str, config: TrialConfig) -> bool:
        label, _ = curve_regime(self._curve(trial_id, config), self._target(config))
        return label in ("converged", "oscillating", "overfit")

    def _reason(self, curve: Curve, config: TrialConfig) -> str:
        target = self._target(config)
        label, _ = curve_regime(curve, target)
        ahead = reached(curve, target, label)
        if label in ("slow", "diverged"):
            return SLOW if label == "slow" else DEAD
        if label != "undecided" or (ahead and ahead.likely <= config.epochs) or shaken(curve):
            return ""
        if ahead:
            first, rate = self._first.get(_family(config), (math.inf, 0.0))
            return SLOW if rate > config.learning_rate and ahead.likely > FAR * first else ""
        best, rate = self._best.get((_family(config), curve.epochs), (0.0, 0.0))
        return SLOW if rate > config.learning_rate and far_ahead(best, curve) else ""

    def _curve(self, trial_id: str, config: TrialConfig) -> Curve:
        return Curve.of(self._rows[trial_id], config, self._data)

    def _target(self, config: TrialConfig) -> float | None:
        """Return the data set's target, or what follows from the best of the family so far."""
        if self._data.target is not None:
            return self._data.target
        return near_best(self._highest[_family(config)], self._data.chance)


def _family(config: TrialConfig) -> Hashable:
    """Return what a config shares with its peers: all but the learning rate and the seeds."""
    return tuple(value for name, value in vars(config).items() if name not in ("learning_rate", "seed", "data_seed"))


def _configuration(config: TrialConfig) -> Hashable:
    return config.learning_rate, _family(config)
