"""Ray Tune as in its documentation: a function that calls `tune.report` every epoch, and `Tuner(...).fit()`."""

from __future__ import annotations

import time
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from ray import tune

from benchmarks.sides.sweep_work import Driver, Epoch, Outcome, SweepWork, run_side
from mnist_tune.data.dataset import load_dataset

EPOCH_FIELDS = [field.name for field in fields(Epoch)]


class Meter(tune.Callback):  # type: ignore[misc]
    """Keeps the results, and the driver's CPU time at each result."""

    def __init__(self) -> None:
        self.epochs: list[Epoch] = []
        self.cpu_times: list[float] = []

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **_: Any) -> None:
        self.epochs.append(Epoch(**{name: result[name] for name in EPOCH_FIELDS}))
        self.cpu_times.append(time.process_time())


def run(work: SweepWork) -> Outcome:
    trials = {config.learning_rate: config for config in work.configs()}

    def train_mnist(config: dict[str, Any]) -> None:
        from benchmarks.sides.one_process import setting_of, train_trial  # the driver needs no JAX
        from benchmarks.sides.ours import Ours

        trial = trials[config["learning_rate"]]
        side = Ours(setting_of(trial, load_dataset(work.dataset)))
        side.compile()
        for epoch in train_trial(side, trial):
            tune.report(asdict(epoch))

    meter = Meter()
    tuner = tune.Tuner(
        train_mnist,
        param_space={"learning_rate": tune.grid_search(list(trials))},
        run_config=tune.RunConfig(storage_path=str(Path.cwd()), callbacks=[meter]),
    )
    tuner.fit()
    return Outcome(meter.epochs, Driver(meter.cpu_times[-1] - meter.cpu_times[0], len(meter.cpu_times)))


if __name__ == "__main__":
    run_side(run)
