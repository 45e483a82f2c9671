"""Trials whose epochs cost nothing: what is left is what a row costs the driver, with
bare Ray Tune or with ours.

The losses fall at a pace that follows from the learning rate, so some trials are slow,
and early stopping judges them.
"""

from __future__ import annotations

import math
import os
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import ray
from ray import tune

from benchmarks.sides.meter import Meter
from benchmarks.sides.sweep_work import Outcome, SweepWork, run_side
from mnist_tune import SweepOptions, run_sweep
from mnist_tune.columns import EPOCHS
from mnist_tune.epoch_row import EpochRow
from mnist_tune.tuning import tuner
from mnist_tune.tuning.trainable import TrialTrainable

EMPTY = {int: 0, bool: False, str: "", float: math.nan}


def made_up_row(rate: float, epoch: int) -> dict[str, Any]:
    """Return an epoch's row, with every column of the `epochs` table."""
    error = 0.9 * (1 + 40 * rate * epoch) ** -0.5
    loss = 2.3 * error / 0.9
    row = {column.name: EMPTY[column.kind.type] for column in EPOCHS[1:]}
    row |= {"epoch": epoch, "step": 40 * epoch, "learning_rate": rate}
    row |= {"train_loss": loss, "train_accuracy": 1 - error}
    row |= {"test_loss": loss, "test_accuracy": 1 - error}
    row |= {"step_loss_first": loss, "step_loss_last": loss}
    row |= {"step_loss_max": 1.1 * loss, "window_loss_max": loss}
    row |= {"finite": True, "ended_at": time.time(), "untrained_loss": 2.3}
    row |= {"above_since": None, "guessing_since": None, "sharpness_steps": None}
    return row | {"answers": 1.0, "lanes": 1}


class Instant(TrialTrainable):
    """Our trainable, but for its training."""

    def setup(self, config: dict[str, Any], dataset: Any, settings: Any) -> None:
        nothing: Any = SimpleNamespace(save=lambda *_: None, detach=lambda *_: None)
        self._settings = settings
        self._blind = ""
        self._pool = nothing
        self._begin(config)

    def _epoch(self) -> dict[str, Any]:
        row = made_up_row(self._config.learning_rate, self._reported + 1)
        return self._report(EpochRow.of(row))


class Bare(tune.Trainable):  # type: ignore[misc]
    """A trainable as small as Tune allows."""

    def setup(self, config: dict[str, Any]) -> None:
        self._rate = config["rate"]
        self._epochs = config["epochs"]
        self._epoch = 0

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        self._epoch += 1
        return {
            "loss": 1 / self._epoch,
            "epoch": self._epoch,
            "done": self._epoch >= self._epochs,
        }


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of those that it started, but for
    Ray's."""
    seconds = time.process_time()
    for child in psutil.Process().children():
        words = " ".join(child.cmdline()).replace("/", " ").split()
        if "raylet" in words or "gcs_server" in words:
            continue
        times = child.cpu_times()
        seconds += times.user + times.system
    return float(seconds)


def run(work: SweepWork, side: str) -> Outcome:
    ray.init(
        address="local",
        num_cpus=work.trials,
        include_dashboard=False,
        log_to_driver=False,
    )
    meter = Meter(cpu_seconds, every=100)
    if side == "tune":
        # its files of results would double the cost
        os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
        rates = [config.learning_rate for config in work.configs()]
        tuner_of_ray = tune.Tuner(
            Bare,
            param_space={"rate": tune.grid_search(rates), "epochs": work.epochs},
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(
                storage_path=str(Path.cwd()), callbacks=[meter], verbose=0
            ),
        )
        tuner_of_ray.fit()
    else:
        vars(tuner)["TrialTrainable"] = Instant
        scheduler: Any = side
        options = SweepOptions(
            dataset=work.dataset,
            output=Path("sweep"),
            quiet=True,
            scheduler=scheduler,
            grace_period=work.epochs // 4,
            cpus_per_trial=1,
        )
        run_sweep("rows", work.configs(), options, callbacks=[meter])
    return meter.outcome()


if __name__ == "__main__":
    run_side(partial(run, side=sys.argv[2]))
