"""How long does an epoch take, with the notebook's own loop, with mnist_tune and with PyTorch?

    python benchmarks/epoch.py

All sides use one thread, and the same images, batch order, learning rate and initial parameters. In every round they
take turns, an epoch each. The benchmark prints the machine and, for each architecture, medians over the rounds, the
median, smallest and largest ratio within a round, and whether the targets are met.
"""

from __future__ import annotations

import os

# JAX, NumPy and PyTorch read these once, when they are first imported.
os.environ.update(PJRT_NPROC="1", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import importlib.util
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from benchmarks.comparison import Benchmark, Comparison, Figures, Target, run
from benchmarks.sides.notebook import Notebook
from benchmarks.sides.ours import Ours
from benchmarks.sides.setting import Setting, Side
from mnist_tune import cli
from mnist_tune.data.dataset import Dataset, load_dataset
from mnist_tune.training.architectures import kind_of

TARGETS = {
    "mlp-1024-128-tanh": (
        Target("ours", "train_s", "at most", 1.03, "notebook"),
        Target("ours", "train_eval_s", "at most", 0.85, "notebook"),
    ),
    "convnet": (Target("ours", "train_s", "at most", 0.9, "torch"),),
}
FORMATS = {
    "compile_s": "{:.2f}",  # everything that happens only once
    "train_s": "{:.3f}",
    "eval_s": "{:.3f}",  # training and test set
    "train_eval_s": "{:.3f}",
    "test_accuracy": "{:.4f}",
}
TORCH_IS_INSTALLED = importlib.util.find_spec("torch") is not None
INSTALL_TORCH = "no PyTorch: it is not installed; python -m pip install torch"


@dataclass(frozen=True, kw_only=True)
class EpochBenchmark(Benchmark):
    """Times an epoch and an evaluation with the notebook's loop, mnist_tune and PyTorch, on one thread."""

    architectures: tuple[str, ...] = ("mlp-1024-128-tanh", "convnet")
    """Architectures to time; each has its own table. For convnet, the notebook's loop is left out: it takes minutes."""
    learning_rate: float = 0.1
    """Step size."""
    batch_size: int = 128
    """Images in a step."""
    images: int | None = None
    """Train only on this many images, the first ones, and test on a sixth as many; by default, use all."""
    data_dir: Path | None = None
    """Folder with the four IDX files of MNIST, raw or gzipped."""


def comparisons(config: EpochBenchmark) -> Iterator[Comparison]:
    if not TORCH_IS_INSTALLED:
        print(INSTALL_TORCH)
    data = first_images(load_dataset("mnist", config.data_dir), config.images)
    for name in config.architectures:
        setting = Setting(name, config.learning_rate, config.batch_size, data)
        sides = {side: timed(make(setting)) for side, make in sides_of(name).items()}
        yield Comparison(
            title=f"{name}: an epoch of {len(data.train_labels)} images, batch size {config.batch_size}, one thread",
            sides=sides,
            formats=FORMATS,
            pairs=[("ours", other) for other in sides if other != "ours"],
            ratio_figures=("train_s", "eval_s", "train_eval_s"),
            targets=TARGETS.get(name, ()),
        )


def sides_of(name: str) -> dict[str, type[Side]]:
    """Return the sides to time for an architecture, in the order of the table."""
    sides: dict[str, type[Side]] = {} if name == "convnet" else {"notebook": Notebook}
    sides["ours"] = Ours
    if TORCH_IS_INSTALLED:
        from benchmarks.sides.pytorch import PyTorch

        sides["torch"] = PyTorch
    return sides


def timed(side: Side) -> Callable[[], Figures]:
    """Compile a side, and return a function that trains and evaluates it for the next epoch."""
    start = time.perf_counter()
    side.compile()
    compile_s = time.perf_counter() - start
    epochs = count()

    def turn() -> Figures:
        start = time.perf_counter()
        side.train(next(epochs))
        trained = time.perf_counter()
        _, test_accuracy = side.evaluate()
        train_s, eval_s = trained - start, time.perf_counter() - trained
        seconds = {"compile_s": compile_s, "train_s": train_s, "eval_s": eval_s, "train_eval_s": train_s + eval_s}
        return seconds | {"test_accuracy": test_accuracy}

    return turn


def first_images(dataset: Dataset, images: int | None) -> Dataset:
    if images is None:
        return dataset
    train, test = images, max(images // 6, 1)
    return replace(
        dataset,
        train_images=dataset.train_images[:train],
        train_labels=dataset.train_labels[:train],
        test_images=dataset.test_images[:test],
        test_labels=dataset.test_labels[:test],
    )


def main() -> None:
    config = cli.parse(EpochBenchmark)
    for name in config.architectures:
        kind_of(name)  # refuses an unknown name before the first is timed
    run(config, comparisons(config))


if __name__ == "__main__":
    cli.run(main)
