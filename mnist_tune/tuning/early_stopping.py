"""Early stopping of our own trials, as schedulers of Ray Tune. A sweep that is resumed
replays its journal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.tune.schedulers import FIFOScheduler

from mnist_tune.regimes.data_facts import DataFacts
from mnist_tune.regimes.stopping import DEAD, SLOW, Halving, RegimeRules
from mnist_tune.trial import OUT_OF_PATIENCE, own_id
from mnist_tune.tuning.run import Run

ASHA = "asha"
"""The reason for which successive halving stops a trial."""

COLUMNS = ["trial_id", "epoch", "train_loss", "diverged"]
"""The columns of the rows that decisions follow from."""


class Stopping(FIFOScheduler):  # type: ignore[misc]
    """A Tune scheduler that stops trials. Why it stopped one is one of the run's
    `stop_reasons`."""

    run: Run

    def on_trial_result(
        self, tune_controller: Any, trial: Any, result: dict[str, Any]
    ) -> Any:
        trial_id = own_id(trial)
        config = result.get("trial_config")
        reason = self.take_up(trial_id, config, result, result["repeated"])
        if not reason:
            return self.CONTINUE
        self.run.stop_reasons[trial_id] = reason
        return self.STOP

    def on_trial_complete(
        self, tune_controller: Any, trial: Any, result: dict[str, Any]
    ) -> None:
        """Take a row with which the trial ended itself: Tune did not ask about it."""
        if result.get("epoch"):  # 0 if the trial can't train
            self.take_up(own_id(trial), result.get("trial_config"), result, True)

    def take_up(
        self, trial_id: str, config: Any, row: Mapping[str, Any], repeated: bool = False
    ) -> str:
        """Take up an epoch's row, and return the reason for which its trial is stopped
        then; empty if it goes on. A row that is `repeated`, and was taken up before, is
        answered as it was then. Where `config` is None, it is that of the row
        before."""
        raise NotImplementedError


class Asha(Halving, Stopping):
    """Stops what successive halving proposes. Ray Tune's own ASHA can't be resumed,
    since its rungs are not kept."""

    def __init__(self, grace_period: int, run: Run) -> None:
        super().__init__(grace_period)
        self.run = run
        self._stops: dict[str, int] = {}

    def replay(self) -> None:
        """Take up the rows of a sweep that is resumed. A trial reports its last one
        again if it was not stopped."""
        rows = self.run.past.rows
        if rows is not None:
            for row in rows[["trial_id", "epoch", "train_loss"]].to_dict("records"):
                self.take_up(row["trial_id"], None, row)

    def take_up(
        self, trial_id: str, config: Any, row: Mapping[str, Any], repeated: bool = False
    ) -> str:
        if self.propose(trial_id, row["epoch"], row["train_loss"]):
            self._stops[trial_id] = row["epoch"]
        if self._stops.get(trial_id) == row["epoch"]:
            return ASHA
        return ""


class RegimeStopping(RegimeRules, Stopping):
    """Stops what the rules say."""

    def __init__(self, grace_period: int, run: Run, data: DataFacts) -> None:
        super().__init__(grace_period, data, run.histories)
        self.run = run

    def replay(self) -> None:
        """Take up the rows of a sweep that is resumed. What they led to is known, but
        for a last one that is undecided: the kill may have come before its trial was
        stopped."""
        past = self.run.past
        histories = self.run.histories
        if past.rows is None:
            return
        rows = past.rows[: len(past.rows) - past.undecided]
        for trial_id, config in past.trials.items():
            last_epoch = histories.last_epoch(trial_id)
            if last_epoch:
                self.know(trial_id, config)
            if self.run.stop_reasons.get(trial_id) == OUT_OF_PATIENCE:
                self.end(trial_id, last_epoch)
        columns = [rows[name].tolist() for name in COLUMNS]
        for trial_id, epoch, loss, diverged in zip(*columns, strict=True):
            if trial_id in self._trials:
                self.remember(trial_id, epoch, loss, diverged)
        for trial_id, row in past.ended.items():
            if row["stop_reason"] in (SLOW, DEAD) and trial_id in self._trials:
                last_epoch = histories.last_epoch(trial_id)
                self.remember_stop(trial_id, last_epoch, row["stop_reason"])
        for row in past.rows[len(rows) :].to_dict("records"):
            if row["trial_id"] in self._trials:
                self.take_up(row["trial_id"], None, row)

    def take_up(
        self, trial_id: str, config: Any, row: Mapping[str, Any], repeated: bool = False
    ) -> str:
        if config:
            self.know(trial_id, config)
        if row.get("stop_reason") == OUT_OF_PATIENCE:
            self.end(trial_id, row["epoch"])
        self.run.take_up(trial_id, row, repeated)
        return self.judge(trial_id, row["epoch"], row["train_loss"], row["diverged"])
