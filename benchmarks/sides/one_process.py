"""The trials one after another in this process, without Ray: with our epoch (`floor`) or with the notebook's loop.

`floor` shows how fast a core is if nothing has to be coordinated.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.sides.notebook import Notebook
from benchmarks.sides.ours import Ours
from benchmarks.sides.setting import Setting, Side
from benchmarks.sides.sweep_work import Epoch, Outcome, SweepWork, run_side
from mnist_tune import TrialConfig
from mnist_tune.data.dataset import Dataset, load_dataset


def train_trial(side: Side, config: TrialConfig) -> Iterator[Epoch]:
    """Train a trial on a side that has its learning rate already; yield each epoch."""
    for epoch in range(config.epochs):
        start = time.perf_counter()
        side.train(epoch)
        _, test_accuracy = side.evaluate()
        yield Epoch(time.perf_counter() - start, time.time(), test_accuracy, str(config.learning_rate))


def setting_of(config: TrialConfig, data: Dataset) -> Setting:
    return Setting(config.architecture, config.learning_rate, config.batch_size, data)


def floor_trials(configs: list[TrialConfig], data: Dataset) -> Iterator[tuple[Side, TrialConfig]]:
    """Yield each trial with a side for it, compiled once for all trials."""
    ours = Ours(setting_of(configs[0], data))
    ours.compile()
    for config in configs:
        ours.restart(config.learning_rate)
        yield ours, config


def notebook_trials(configs: list[TrialConfig], data: Dataset) -> Iterator[tuple[Side, TrialConfig]]:
    """Yield each trial with a new side, which compiles: the learning rate is a constant of the notebook's step."""
    for config in configs:
        yield Notebook(setting_of(config, data)), config


Trials = Callable[[list[TrialConfig], Dataset], Iterator[tuple[Side, TrialConfig]]]
TRIALS: dict[str, Trials] = {"floor": floor_trials, "notebook": notebook_trials}


def run(work: SweepWork, trials: Trials) -> Outcome:
    started = trials(work.configs(), load_dataset(work.dataset))
    return Outcome([epoch for side, config in started for epoch in train_trial(side, config)])


if __name__ == "__main__":
    run_side(partial(run, trials=TRIALS[sys.argv[2]]))
