"""Early stopping: ASHA proposes a stop, and the label so far decides. All seeds of a configuration share one fate.

What is decided follows from the rows, in the order of the journal. So a resumed sweep replays them.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import defaultdict
from collections.abc import Hashable, Mapping, MutableMapping
from typing import Any

from ray.tune.schedulers import FIFOScheduler

from mnist_tune.regimes.curve import Curve
from mnist_tune.regimes.curve_rules import curve_regime, reached, shaken
from mnist_tune.regimes.data_facts import DataFacts
from mnist_tune.regimes.divergence import finite_loss
from mnist_tune.regimes.histories import Histories
from mnist_tune.regimes.siblings import far_ahead, near_best
from mnist_tune.regimes.tuned import FAR, TREND_EPOCHS
from mnist_tune.trial import TrialConfig, own_id
from mnist_tune.tuning.past import Past

SLOW, DEAD, ASHA = "slow", "dead", "asha"
"""The reasons for which trials are stopped."""

TAKEN = ("trial_id", "epoch", "train_accuracy", "train_loss", "diverged")


class Rungs:
    """Proposes trials for a stop as ASHA does (Li et al. 2020), with a reduction factor of 2.

    Rungs are at the grace period, at twice that, and so on. A trial is proposed if its training loss there is above the
    median of those that got there before it.
    """

    def __init__(self, grace_period: int) -> None:
        self._grace_period = grace_period
        self._losses: dict[int, list[float]] = defaultdict(list)
        self._passed: dict[int, set[str]] = defaultdict(set)

    def propose(self, trial_id: str, epoch: int, loss: float) -> bool:
        """Return whether a trial is proposed for a stop after an epoch. Each trial counts once at each rung."""
        if epoch < self._grace_period:
            return False
        rung = self._grace_period << (epoch // self._grace_period).bit_length() - 1
        if trial_id in self._passed[rung]:
            return False
        self._passed[rung].add(trial_id)
        losses, loss = self._losses[rung], finite_loss(loss)
        proposed = bool(losses) and loss > (losses[(len(losses) - 1) // 2] + losses[len(losses) // 2]) / 2
        insort(losses, loss)
        return proposed


class Asha:
    """Stops each trial that is proposed, as Ray Tune's own ASHA does.

    Tune's can't be resumed, since its rungs are not kept.
    """

    def __init__(self, rungs: Rungs) -> None:
        self._rungs = rungs
        self._stops: dict[str, int] = {}

    def replay(self, past: Past) -> None:
        """Take up the rows of a sweep that is resumed. A trial reports its last one again if it was not stopped."""
        if past.rows is not None:
            for row in past.rows[["trial_id", "epoch", "train_loss"]].to_dict("records"):
                self.take(row["trial_id"], None, row)

    def take(self, trial_id: str, config: Any, row: Mapping[str, Any], repeated: bool = False) -> str:
        """Take up an epoch's row, and return the reason for which its trial is stopped then; empty if it goes on."""
        if self._rungs.propose(trial_id, row["epoch"], row["train_loss"]):
            self._stops[trial_id] = row["epoch"]
        return ASHA if self._stops.get(trial_id) == row["epoch"] else ""


class Fates:
    """Decides which configurations go on.

    A configuration that ASHA would stop is stopped if its curve is slow, or dead. What is undecided, oscillating or on
    its way within the epochs asked for goes on, since those are the rates that a sweep is about. The first seed that
    finishes an epoch decides for all: each seed then stops after the same epoch, or goes on, whenever it gets there.
    """

    def __init__(self, data: DataFacts, rungs: Rungs) -> None:
        self._data, self._rungs = data, rungs
        self._histories = Histories()
        self._members: dict[Hashable, set[str]] = defaultdict(set)
        self._proposed: set[Hashable] = set()
        self._decided: dict[Hashable, dict[int, str]] = defaultdict(dict)
        self._best: dict[Hashable, tuple[float, float]] = {}
        """For a family and an epoch: the best accuracy after as many epochs, and its learning rate."""
        self._highest: dict[Hashable, float] = defaultdict(float)
        self._first: dict[Hashable, tuple[float, float]] = {}
        """For a family: the first epoch at the target, and the largest learning rate that was there then."""

    def replay(self, past: Past) -> None:
        """Take up the rows of a sweep that is resumed. What they led to is known, but for a last one that is undecided:
        the kill may have come before its trial was stopped."""
        if past.rows is None:
            return
        rows, trials = past.rows[: len(past.rows) - past.undecided], past.trials
        self._histories = Histories.of(rows, trials)
        families = {trial_id: _family(config) for trial_id, config in trials.items()}
        keys = {trial_id: (config.learning_rate, families[trial_id]) for trial_id, config in trials.items()}
        for trial_id, epoch, accuracy, loss, diverged in zip(*(rows[name].tolist() for name in TAKEN), strict=True):
            if trial_id in trials:
                self._note(families[trial_id], trials[trial_id], epoch, accuracy)
                proposed = self._rungs.propose(trial_id, epoch, loss)
                if proposed and not trials[trial_id].stop_reason(epoch, diverged):
                    self._proposed.add(keys[trial_id])
                self._decided[keys[trial_id]].setdefault(epoch, "")
        for trial_id, key in keys.items():
            epoch = self._histories.last_epoch(trial_id)
            if epoch:
                self._members[key].add(trial_id)
            if trial_id in past.ended and (reason := past.ended[trial_id][1]["stop_reason"]) in (SLOW, DEAD):
                self._decided[key][epoch] = reason
        for row in past.rows[len(rows) :].to_dict("records"):
            if row["trial_id"] in trials:
                self.take(row["trial_id"], trials[row["trial_id"]], row)

    def take(self, trial_id: str, config: TrialConfig, row: Mapping[str, Any], repeated: bool = False) -> str:
        """Take up an epoch's row, and return the reason for which its trial is stopped then; empty if it goes on.

        A row that is `repeated`, and was taken up before, is answered as it was then.
        """
        key, epoch = (config.learning_rate, _family(config)), row["epoch"]
        if repeated and epoch <= self._histories.last_epoch(trial_id):
            return self._decided[key].get(epoch, "")
        proposed = self._rungs.propose(trial_id, epoch, row["train_loss"])
        if config.stop_reason(epoch, row["diverged"]):
            proposed = False
            self._decided[key].setdefault(epoch, "")
        return self.decide(trial_id, config, row, proposed)

    def decide(self, trial_id: str, config: TrialConfig, row: Mapping[str, Any], proposed: bool) -> str:
        """Return the reason for which a trial, which ASHA may have proposed, is stopped after an epoch; or nothing."""
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


class Early(FIFOScheduler):  # type: ignore[misc]
    """A Tune scheduler that stops trials early.

    Args:
        fates: told of every row in the order of the journal, that of a trial's end included.
        reasons: where it writes why it stopped a trial, by trial id.
    """

    def __init__(self, fates: Fates | Asha, reasons: MutableMapping[str, str]) -> None:
        super().__init__()
        self._fates, self._reasons = fates, reasons

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> Any:
        config = result.get("trial_config")  # none if the trial can't train
        reason = config and self._fates.take(own_id(trial), config, result, result["repeated"])
        if reason:
            self._reasons[own_id(trial)] = reason
        return self.STOP if reason else self.CONTINUE

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Take a row with which the trial ended itself: Tune did not ask about it."""
        if result.get("trial_config"):
            self._fates.take(own_id(trial), result["trial_config"], result, True)
