"""What does a good dense network reach on a data set, by the number of training images?
Targets follow from that.

    python benchmarks/targets.py fashion-mnist --train-images 1000 5000 20000 60000

Two networks are trained at three learning rates with momentum 0.9, for 10 epochs or
1,500 steps, whichever is more. A line says the best test accuracy: the median of a
run's last three epochs, as labels take it, and the best of any epoch. A target is the
former, minus a thirtieth of the gap between chance and 1. In this process, without Ray.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from benchmarks.sides.ours import Ours
from benchmarks.sides.setting import Setting
from mnist_tune import TrialConfig, cli
from mnist_tune.cache import cache_folder
from mnist_tune.data.dataset import load_dataset
from mnist_tune.execution.process_setup import WorkerSettings, configure_jax

LAST = 3
"""Epochs whose median counts."""


@dataclass(frozen=True)
class Targets:
    """Measure what dense networks reach."""

    dataset: Annotated[str, tyro.conf.Positional] = "fashion-mnist"
    train_images: tuple[int, ...] = (1000, 5000, 20000, 60000)
    architecture: tuple[str, ...] = (
        "mlp-256-relu-glorot",
        "mlp-256-128-64-relu-glorot",
    )
    learning_rates: tuple[float, ...] = (0.01, 0.03, 0.1)
    epochs: int = 10
    steps: int = 1500


def accuracies(setting: Setting) -> list[float]:
    """Return the test accuracy after each epoch."""
    side = Ours(setting)
    side.compile()
    scores = []
    for epoch in range(setting.config.epochs):
        side.train(epoch)
        scores.append(side.accuracy("test"))
    return scores


def main() -> None:
    config = cli.parse(Targets)
    configure_jax(WorkerSettings(Path(), threads=None, cache_dir=str(cache_folder())))
    for count in config.train_images:
        start = time.perf_counter()
        dataset = load_dataset(config.dataset, train_images=count)
        runs = {}
        epochs = max(config.epochs, -(-config.steps * 128 // count))
        for name, rate in product(config.architecture, config.learning_rates):
            trial = TrialConfig(
                architecture=name,
                learning_rate=rate,
                momentum=0.9,
                epochs=epochs,
                batch_size=min(count, 128),
            )
            runs[name, rate] = accuracies(Setting(trial, dataset))
        settled = {}
        for setting, run in runs.items():
            settled[setting] = float(np.median(run[-LAST:]))
        name, rate = max(settled, key=settled.__getitem__)
        accuracy = settled[name, rate]
        best = max(max(run) for run in runs.values())
        chance = max(dataset.spec.label_counts) / count
        target = accuracy - (1 - chance) / 30
        wall_s = time.perf_counter() - start
        print(
            f"{dataset.name}, {count} images, {epochs} epochs: {accuracy:.4f} ({name}, {rate:g}), "
            f"best epoch {best:.4f}, target {target:.4f}; {wall_s:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    cli.run(main)
