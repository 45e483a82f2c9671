"""What does a measurement of sharpness cost, and how much does it depend on its images
and on its Lanczos steps?

    python benchmarks/sharpness.py --record sharpness.csv

Prints for each network, untrained and after some epochs, the sharpness on 1,000 and
5,000 training images, with 16 and with 32 Lanczos steps, each with its residual, its
time on one thread and that time in epochs of training.
"""

from __future__ import annotations

import os

os.environ.update(PJRT_NPROC="1")  # read once, when JAX is first imported

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mnist_tune import TrialConfig, cli
from mnist_tune.data.dataset import load_dataset
from mnist_tune.execution.device_data import DeviceData
from mnist_tune.execution.executor import Executor, Stack
from mnist_tune.machine import processor_model
from mnist_tune.training import curvature
from mnist_tune.training.batch_order import batch_order
from mnist_tune.training.convolutions_in_loops import speed_up_convolutions
from mnist_tune.training.program import Program


@dataclass(frozen=True, kw_only=True)
class SharpnessBenchmark:
    """Times a measurement of sharpness, on one thread."""

    architectures: tuple[str, ...] = ("mlp-16-tanh", "mlp-1024-128-tanh")
    """Networks to measure."""
    images: tuple[int, ...] = (1_000, 5_000)
    """Training images to measure on."""
    epochs: int = 2
    """Epochs after which to measure again."""
    learning_rate: float = 0.1
    """Step size of those."""
    record: Path | None = None
    """CSV file to write."""


def measurements(name: str, config: SharpnessBenchmark) -> pd.DataFrame:
    """Return a row for each measurement of a network."""
    speed_up_convolutions()
    dataset = load_dataset("mnist")
    data = DeviceData.put(dataset, label_noise=0, holdout=0)
    program = Program.of(TrialConfig(architecture=name), dataset.spec)
    executor = Executor(program, Stack(1))
    executor.write(0, program.init(0, {"learning_rate": config.learning_rate}))
    rows = []
    epoch_s = float("inf")
    for epoch in range(config.epochs + 1):
        if epoch in (0, config.epochs):
            for images in config.images:
                for products in (curvature.PRODUCTS, curvature.MORE_PRODUCTS)[
                    : 2 if images < data.train_count else 1
                ]:
                    figures = _measured(executor, data, images, products)
                    rows.append({"network": name, "epoch": epoch} | figures)
        hyper = {"learning_rate": np.array([config.learning_rate], np.float32)}
        key = np.zeros((1, 2), np.uint32)
        order = batch_order(0, epoch, data.train_count)
        executor.train(1, [0], hyper, key, [(data.arrays, [order], 0)])
        epoch_s = min(executor.take_seconds()["train_s"], epoch_s)
    table = pd.DataFrame(rows)
    return table.assign(epochs_long=table["seconds"] / epoch_s)


def _measured(
    executor: Executor, data: DeviceData, images: int, products: int
) -> dict[str, float]:
    probe = curvature.probe_of(data.train_count, images)
    executor.take_seconds()
    value, residual = executor.measure(
        curvature.sharpness, 1, [0], data.arrays, probe, products
    )
    seconds = executor.take_seconds()["eval_s"]  # apart from compiling
    return {
        "images": images,
        "products": products,
        "sharpness": float(value[0]),
        "residual": float(residual[0]),
        "seconds": seconds,
    }


def main() -> None:
    config = cli.parse(SharpnessBenchmark)
    tables = [measurements(name, config) for name in config.architectures]
    table = pd.concat(tables).assign(processor=processor_model())
    print(table.to_string(index=False, float_format="{:.4g}".format))
    if config.record:
        table.to_csv(config.record, index=False, float_format="%.6g")


if __name__ == "__main__":
    cli.run(main)
