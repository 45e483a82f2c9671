"""Early stopping: ASHA proposes a stop, and the label so far decides. All seeds of a configuration share one fate."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from mnist_tune.regimes.curve import Curve
from mnist_tune.regimes.curve_rules import curve_regime, reached, shaken
from mnist_tune.regimes.data_facts import DataFacts
from mnist_tune.regimes.histories import Histories
from mnist_tune.regimes.siblings import far_ahead, near_best
from mnist_tune.regimes.tuned import FAR, TREND_EPOCHS
from mnist_tune.trial import TrialConfig

SLOW, DEAD = "slow", "dead"
"""The reasons for which trials are stopped."""

PROGRESS = ("trial_id", "epoch", "train_accuracy")


class Fates:
    """Decides which configurations go on.

    A configuration that ASHA would stop is stopped if its curve is slow, or dead. What is undecided, oscillating or on
    its way within the epochs asked for goes on, since those are the rates that a sweep is about. The first seed that
    finishes an epoch decides for all: each seed then stops after the same epoch, or goes on, whenever it gets there.
    """

    def __init__(self, data: DataFacts) -> None:
        self._data = data
        self._histories = Histories()
        self._members: dict[Hashable, set[str]] = defaultdict(set)
        self._proposed: set[Hashable] = set()
        self._decided: dict[Hashable, dict[int, str]] = defaultdict(dict)
        self._best: dict[Hashable, tuple[float, float]] = {}
        """For a family and an epoch: the best accuracy after as many epochs, and its learning rate."""
        self._highest: dict[Hashable, float] = defaultdict(float)
        self._first: dict[Hashable, tuple[float, float]] = {}
        """For a family: the first epoch at the target, and the largest learning rate that was there then."""

    def replay(self, epochs: pd.DataFrame, stopped: Mapping[str, str], trials: Mapping[str, TrialConfig]) -> None:
        """Take up the decisions of a sweep that is resumed.

        Args:
            epochs: the rows of its journal.
            stopped: the stop reasons of its trials, by id.
            trials: the configs of all trials, by id.
        """
        self._histories = Histories.of(epochs, trials)
        families = {trial_id: _family(config) for trial_id, config in trials.items()}
        decided = {trial_id: self._decided[trials[trial_id].learning_rate, families[trial_id]] for trial_id in trials}
        for trial_id, epoch, accuracy in zip(*(epochs[name].tolist() for name in PROGRESS), strict=True):
            if trial_id in trials:
                self._note(families[trial_id], trials[trial_id], epoch, accuracy)
                decided[trial_id].setdefault(epoch, "")
        for trial_id, epoch in ((trial_id, self._histories.last_epoch(trial_id)) for trial_id in trials):
            if epoch:
                self._members[trials[trial_id].learning_rate, families[trial_id]].add(trial_id)
            if stopped.get(trial_id) in (SLOW, DEAD):
                decided[trial_id][epoch] = stopped[trial_id]

    def decide(self, trial_id: str, config: TrialConfig, row: Mapping[str, Any], proposed: bool) -> str:
        """Return the reason for which a trial is stopped after an epoch; empty if it goes on.

        Args:
            trial_id: the trial.
            config: its config.
            row: the epoch's row.
            proposed: whether ASHA would stop it.
        """
        family, epoch = _family(config), row["epoch"]
        key = config.learning_rate, family
        self._histories.add(trial_id, row)
        self._members[key].add(trial_id)
        self._note(family, config, epoch, row["train_accuracy"])
        if proposed:
            self._proposed.add(key)
        if epoch not in self._decided[key]:
            self._decided[key][epoch] = self._verdict(trial_id, config) if key in self._proposed else ""
        return self._decided[key][epoch]

    def _note(self, family: Hashable, config: TrialConfig, epoch: int, accuracy: float | None) -> None:
        """Take note of how far a trial got, for its peers."""
        if accuracy is None or not math.isfinite(accuracy):
            return
        at = family, epoch
        self._best[at] = max(self._best.get(at, (0.0, 0.0)), (accuracy, config.learning_rate))
        self._highest[family] = max(self._highest[family], accuracy)
        if accuracy >= (self._target(family) or math.inf):
            there = epoch, config.learning_rate
            self._first[family] = min(there, self._first.get(family, there), key=lambda one: (one[0], -one[1]))

    def _verdict(self, trial_id: str, config: TrialConfig) -> str:
        others = self._members[config.learning_rate, _family(config)] - {trial_id}
        if any(self._goes_on(other, config) for other in others if self._histories.count(other) >= TREND_EPOCHS):
            return ""
        return self._reason(self._curve(trial_id, config), config)

    def _goes_on(self, trial_id: str, config: TrialConfig) -> bool:
        label, _ = curve_regime(self._curve(trial_id, config), self._target(_family(config)))
        return label in ("converged", "oscillating", "overfit")

    def _reason(self, curve: Curve, config: TrialConfig) -> str:
        target = self._target(_family(config))
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
        return Curve.of(self._histories.columns(trial_id), config, self._data)

    def _target(self, family: Hashable) -> float | None:
        """Return the data set's target, or what follows from the best of the family so far."""
        if self._data.target is not None:
            return self._data.target
        return near_best(self._highest[family], self._data.chance)


def _family(config: TrialConfig) -> Hashable:
    """Return what a config shares with its peers: all but the learning rate and the seeds."""
    return tuple(value for name, value in vars(config).items() if name not in ("learning_rate", "seed", "data_seed"))
