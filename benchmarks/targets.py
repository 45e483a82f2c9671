"""What does a good dense network reach on a data set, by the number of training images? Targets follow from that.

    python benchmarks/targets.py fashion-mnist --train-images 1000 5000 20000 60000

Two networks are trained at three learning rates with momentum 0.9, for 10 epochs or 1,500 steps, whichever is more. A
line says the best test accuracy: the median of a run's last three epochs, as labels take it, and the best of any epoch.
A target is the former, minus a thirtieth of the gap between chance and 1. In this process, without Ray.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import tyro

from mnist_tune import TrialConfig, cli
from mnist_tune.cache import cache_folder
from mnist_tune.data.dataset import load_dataset
from mnist_tune.execution.device_data import DeviceData
from mnist_tune.execution.process_setup import WorkerSettings, configure_jax
from mnist_tune.training.batch_order import batch_order
from mnist_tune.training.program import Program

LAST = 3
"""Epochs whose median counts."""


@dataclass(frozen=True)
class Targets:
    """Measure what dense networks reach."""

    dataset: Annotated[str, tyro.conf.Positional] = "fashion-mnist"
    train_images: tuple[int, ...] = (1000, 5000, 20000, 60000)
    architecture: tuple[str, ...] = ("mlp-256-relu-glorot", "mlp-256-128-64-relu-glorot")
    learning_rates: tuple[float, ...] = (0.01, 0.03, 0.1)
    epochs: int = 10
    steps: int = 1500
    data_dir: Path | None = None


def accuracies(config: TrialConfig, program: Program, data: DeviceData, epochs: int) -> np.ndarray:
    """Return the test accuracy after each epoch."""
    hyper = {name: np.float32(value) for name, value in
             program.step.hyperparameters(config, config.steps(data.train_count)).items()}  # fmt: skip
    train, state, found = _train(program), program.init(config.seed, hyper), []
    first, count = data.splits["test"]
    for epoch in range(epochs):
        order = batch_order(config.data_seed, epoch, data.train_count)
        state, _ = train(state, hyper, np.array([0, epoch], np.uint32), data.arrays, order)
        _, sums = _evaluate(program, state.params, state.extra, data.arrays, np.array([first, count], np.int32))
        found.append(int(sums["accuracy"][0]) / count)
    return np.array(found)


def _train(program: Program):  # type: ignore[no-untyped-def]
    return jax.jit(program.train_epoch)


_evaluate = partial(jax.jit, static_argnums=0)(Program.evaluate)


def main() -> None:
    asked = cli.parse(Targets)
    configure_jax(WorkerSettings(Path(), threads=None, cache_dir=str(cache_folder())))
    for count in asked.train_images:
        start = time.perf_counter()
        dataset = load_dataset(asked.dataset, asked.data_dir, train_images=count)
        data, runs = DeviceData.put(dataset, 0, 0), {}
        epochs = max(asked.epochs, -(-asked.steps * 128 // count))
        for name in asked.architecture:
            for rate in asked.learning_rates:
                config = TrialConfig(architecture=name, learning_rate=rate, momentum=0.9, epochs=epochs)
                config = config if count >= 128 else TrialConfig(**vars(config) | {"batch_size": count})
                runs[name, rate] = accuracies(config, Program.of(config, dataset.spec), data, epochs)
        settled = {of: float(np.median(run[-LAST:])) for of, run in runs.items()}
        of = max(settled, key=settled.__getitem__)
        best = max(float(run.max()) for run in runs.values())
        chance = max(dataset.spec.label_counts) / count
        print(
            f"{dataset.name}, {count} images, {epochs} epochs: {settled[of]:.4f} ({of[0]}, {of[1]:g}), best epoch "
            f"{best:.4f}, target {settled[of] - (1 - chance) / 30:.4f}; {time.perf_counter() - start:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    cli.run(main)
