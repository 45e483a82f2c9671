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
from pathlib import Path
from typing import Annotated, Any

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
    side, found = Ours(setting), []
    side.compile()
    for epoch in range(setting.config.epochs):
        side.train(epoch)
        found.append(side.accuracy("test"))
    return found


def main() -> None:
    asked = cli.parse(Targets)
    configure_jax(WorkerSettings(Path(), threads=None, cache_dir=str(cache_folder())))
    for count in asked.train_images:
        start = time.perf_counter()
        dataset, runs = load_dataset(asked.dataset, train_images=count), {}
        epochs = max(asked.epochs, -(-asked.steps * 128 // count))
        for name in asked.architecture:
            for rate in asked.learning_rates:
                shared: dict[str, Any] = {
                    "momentum": 0.9,
                    "epochs": epochs,
                    "batch_size": min(count, 128),
                }
                config = TrialConfig(architecture=name, learning_rate=rate, **shared)
                runs[name, rate] = accuracies(Setting(config, dataset))
        settled = {of: float(np.median(run[-LAST:])) for of, run in runs.items()}
        of = max(settled, key=settled.__getitem__)
        best = max(max(run) for run in runs.values())
        chance = max(dataset.spec.label_counts) / count
        print(
            f"{dataset.name}, {count} images, {epochs} epochs: {settled[of]:.4f} ({of[0]}, {of[1]:g}), best epoch "
            f"{best:.4f}, target {settled[of] - (1 - chance) / 30:.4f}; {time.perf_counter() - start:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    cli.run(main)
