"""Ray Tune as in its documentation: a function that calls `tune.report` every epoch,
and `Tuner(...).fit()`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ray import tune

from benchmarks.sides.meter import Meter
from benchmarks.sides.sweep_work import Epoch, Outcome, SweepWork, run_side
from mnist_tune.data.dataset import load_dataset


def run(work: SweepWork) -> Outcome:
    trials = {config.learning_rate: config for config in work.configs()}

    def train_mnist(config: dict[str, Any]) -> None:
        from benchmarks.sides.ours import Ours  # the driver needs no JAX
        from benchmarks.sides.setting import Setting

        trial = trials[config["learning_rate"]]
        side = Ours(Setting(trial, load_dataset(work.dataset)))
        side.compile()
        for epoch in range(trial.epochs):
            side.train(epoch)
            _, accuracy = side.evaluate()
            tune.report(
                Epoch(str(trial.learning_rate), time.time(), accuracy)._asdict()
            )

    meter = Meter()
    tuner = tune.Tuner(
        train_mnist,
        param_space={"learning_rate": tune.grid_search(list(trials))},
        run_config=tune.RunConfig(storage_path=str(Path.cwd()), callbacks=[meter]),
    )
    tables = [result.metrics_dataframe[[*Epoch._fields]] for result in tuner.fit()]
    return meter.outcome(
        Epoch(*row) for table in tables for row in table.itertuples(index=False)
    )


if __name__ == "__main__":
    run_side(run)
