"""Early stopping: ASHA proposes a stop, and the label so far decides. All seeds of a
configuration share one fate.

What is decided follows from the rows, in the order of the journal. So a resumed sweep
replays them.
"""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ray.tune.schedulers import FIFOScheduler

from mnist_tune.regimes.curve import Curve
from mnist_tune.regimes.data_facts import DataFacts
from mnist_tune.regimes.divergence import finite_loss
from mnist_tune.regimes.families import siblings_of
from mnist_tune.regimes.labels import Family, Trial
from mnist_tune.regimes.limits import TREND
from mnist_tune.trial import TrialConfig, own_id
from mnist_tune.tuning.run import Run

SLOW, DEAD, ASHA = "slow", "dead", "asha"
"""The reasons for which trials are stopped."""

VERDICTS = 100
"""A configuration is judged after each epoch at first, and from epoch 200 on at each
hundredth of its epochs."""

TAKEN = ("trial_id", "epoch", "train_loss", "diverged")


class Asha(FIFOScheduler):  # type: ignore[misc]
    """A Tune scheduler that stops trials as ASHA does (Li et al. 2020), with a
    reduction factor of 2. Ray Tune's own can't be resumed, since its rungs are not
    kept.

    Rungs are at the grace period, the first epoch after which a trial may be stopped,
    at twice that, and so on. A trial is proposed for a stop if its training loss there
    is above the median of those that got there before it. Why a trial was stopped is
    one of the run's `stop_reasons`.
    """

    def __init__(self, grace_period: int, run: Run) -> None:
        super().__init__()
        self._grace_period, self._run = grace_period, run
        self._losses: dict[int, list[float]] = defaultdict(list)
        self._passed: dict[int, set[str]] = defaultdict(set)
        self._stops: dict[str, int] = {}

    def propose(self, trial_id: str, epoch: int, loss: float) -> bool:
        """Return whether a trial is proposed for a stop after an epoch. Each trial
        counts once at each rung."""
        if epoch < self._grace_period:
            return False
        rung = self._grace_period << (epoch // self._grace_period).bit_length() - 1
        if trial_id in self._passed[rung]:
            return False
        self._passed[rung].add(trial_id)
        losses, loss = self._losses[rung], finite_loss(loss)
        proposed = (
            bool(losses)
            and loss > (losses[(len(losses) - 1) // 2] + losses[len(losses) // 2]) / 2
        )
        insort(losses, loss)
        return proposed

    def on_trial_result(
        self, tune_controller: Any, trial: Any, result: dict[str, Any]
    ) -> Any:
        reason = self.take_up(
            own_id(trial), result.get("trial_config"), result, result["repeated"]
        )
        if reason:
            self._run.stop_reasons[own_id(trial)] = reason
        return self.STOP if reason else self.CONTINUE

    def on_trial_complete(
        self, tune_controller: Any, trial: Any, result: dict[str, Any]
    ) -> None:
        """Take a row with which the trial ended itself: Tune did not ask about it."""
        if result.get("epoch"):  # 0 if the trial can't train
            self.take_up(own_id(trial), result.get("trial_config"), result, True)

    def replay(self) -> None:
        """Take up the rows of a sweep that is resumed. A trial reports its last one
        again if it was not stopped."""
        rows = self._run.past.rows
        if rows is not None:
            for row in rows[["trial_id", "epoch", "train_loss"]].to_dict("records"):
                self.take_up(row["trial_id"], None, row)

    def take_up(
        self, trial_id: str, config: Any, row: Mapping[str, Any], repeated: bool = False
    ) -> str:
        """Take up an epoch's row, and return the reason for which its trial is stopped
        then; empty if it goes on. A row that is `repeated`, and was taken up before, is
        answered as it was then. Where `config` is None, it is that of the row
        before."""
        if self.propose(trial_id, row["epoch"], row["train_loss"]):
            self._stops[trial_id] = row["epoch"]
        return ASHA if self._stops.get(trial_id) == row["epoch"] else ""


@dataclass
class Configuration:
    """A configuration: its seeds share one fate."""

    siblings: Hashable
    seeds: set[str] = field(default_factory=set)
    is_proposed: bool = False
    decided: int = 0
    """The last epoch after which it was decided whether it goes on."""
    stops: dict[int, str] = field(default_factory=dict)
    """The reason for which it does not, by the epochs after which it was judged; empty
    if it does."""


class RegimeStopping(Asha):
    """Stops a configuration that is proposed if its label so far, among its peers
    (`Family`), is slow or diverged.

    What is undecided, oscillating or on its way goes on, since those are the rates that
    a sweep is about. The first seed that finishes an epoch decides for all: each seed
    then stops after the same epoch, or goes on, whenever it gets there.
    """

    def __init__(self, grace_period: int, run: Run, data: DataFacts) -> None:
        super().__init__(grace_period, run)
        self._data = data
        self._settings: dict[TrialConfig, Configuration] = {}
        """All configurations, by that of seed 0."""
        self._trials: dict[str, tuple[TrialConfig, Configuration]] = {}
        self._families: dict[Hashable, Family] = defaultdict(
            partial(Family, running=False)
        )
        self._changed: dict[Hashable, dict[str, None]] = defaultdict(dict)
        """The trials of each family that have a row since then."""

    def _know(self, trial_id: str, config: TrialConfig) -> None:
        alike = replace(config, seed=0, data_seed=0)
        setting = self._settings.setdefault(alike, Configuration(siblings_of(config)))
        setting.seeds.add(trial_id)
        self._changed[setting.siblings][trial_id] = None
        self._trials[trial_id] = config, setting

    def replay(self) -> None:
        """Take up the rows of a sweep that is resumed. What they led to is known, but
        for a last one that is undecided: the kill may have come before its trial was
        stopped."""
        past, histories = self._run.past, self._run.histories
        if past.rows is None:
            return
        rows = past.rows[: len(past.rows) - past.undecided]
        for trial_id, config in past.trials.items():
            if histories.last_epoch(trial_id):
                self._know(trial_id, config)
        for trial_id, epoch, loss, diverged in zip(
            *(rows[name].tolist() for name in TAKEN), strict=True
        ):
            if trial_id in self._trials:
                config, setting = self._trials[trial_id]
                setting.is_proposed |= self.propose(
                    trial_id, epoch, loss
                ) and not config.stop_reason(epoch, diverged)
                setting.decided = max(setting.decided, epoch)
        for trial_id, row in past.ended.items():
            if row["stop_reason"] in (SLOW, DEAD) and trial_id in self._trials:
                last_epoch = histories.last_epoch(trial_id)
                self._trials[trial_id][1].stops[last_epoch] = row["stop_reason"]
        for row in past.rows[len(rows) :].to_dict("records"):
            if row["trial_id"] in self._trials:
                self.take_up(row["trial_id"], None, row)

    def take_up(
        self, trial_id: str, config: Any, row: Mapping[str, Any], repeated: bool = False
    ) -> str:
        if config:
            self._know(trial_id, config)
        config, setting = self._trials[trial_id]
        epoch = row["epoch"]
        ends = config.stop_reason(epoch, row["diverged"])
        setting.is_proposed |= (
            self.propose(trial_id, epoch, row["train_loss"]) and not ends
        )
        self._run.take_up(trial_id, row, repeated)
        self._changed[setting.siblings][trial_id] = None
        judged = (
            setting.is_proposed and not ends and epoch % max(1, epoch // VERDICTS) == 0
        )
        if judged and epoch > setting.decided:
            setting.stops[epoch] = self._verdict(trial_id, setting)
        setting.decided = max(setting.decided, epoch)
        return setting.stops.get(epoch, "")

    def _verdict(self, trial_id: str, setting: Configuration) -> str:
        """Return the reason to stop a trial, by its label among its peers so far. Where
        the data set has no target, that follows from the complete ones: what is best so
        far may yet be beaten."""
        family = self._families[setting.siblings]
        for name in self._changed.pop(setting.siblings, ()):
            config, _ = self._trials[name]
            columns = self._run.histories.columns(name)
            curve = Curve.of(columns, config, self._data)
            family.put(name, Trial(config.learning_rate, config.momentum, curve))
        if not family.may_end(trial_id):
            return ""
        regime = family.label(trial_id).regime
        reason = {"slow": SLOW, "diverged": DEAD}.get(regime, "")
        for seed in map(family.trial, setting.seeds - {trial_id} if reason else ()):
            if seed.curve.epochs >= TREND and seed.own.regime in (
                "converged",
                "oscillating",
                "overfit",
            ):
                return ""
        return reason
