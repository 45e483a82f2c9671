"""How long does an epoch take, with the notebook's own loop, with mnist_tune and with
PyTorch?

    python benchmarks/epoch.py

All sides use one thread, and the same images, batch order, learning rate and initial
parameters. In every round they take turns, an epoch each. The benchmark prints the
machine and, for each architecture, medians over the rounds, the median, smallest and
largest ratio within a round, and whether the targets are met.
"""

from __future__ import annotations

import os

# JAX, NumPy and PyTorch read these once, when they are first imported.
os.environ.update(
    PJRT_NPROC="1", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1"
)

import importlib.util
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

from benchmarks.comparison import Benchmark, Comparison, Figures, Target, run
from benchmarks.sides.notebook import Notebook
from benchmarks.sides.ours import Ours
from benchmarks.sides.setting import Setting, Side
from mnist_tune import TrialConfig, cli
from mnist_tune.data.dataset import load_dataset
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
    """Times an epoch and an evaluation with the notebook's loop, mnist_tune and
    PyTorch, on one thread."""

    architectures: tuple[str, ...] = ("mlp-1024-128-tanh", "convnet")
    """Architectures to time; each has its own table. For convnet, the notebook's loop
    is left out: it takes minutes."""
    images: int | None = None
    """Train only on this many images, the first ones; by default, use all."""


def comparisons(config: EpochBenchmark) -> Iterator[Comparison]:
    if not TORCH_IS_INSTALLED:
        print(INSTALL_TORCH)
    data = load_dataset("mnist", train_images=config.images)
    for name in config.architectures:
        trial = TrialConfig(architecture=name)
        setting = Setting(trial, data)
        sides = {side: timed(make(setting)) for side, make in sides_of(name).items()}
        yield Comparison(
            title=f"{name}: an epoch of {len(data.train_labels)} images, batch size {trial.batch_size}, one thread",
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
    """Compile a side, and return a function that trains and evaluates it for the next
    epoch."""
    start = time.perf_counter()
    side.compile()
    compile_s = time.perf_counter() - start
    epochs = count()

    def turn() -> Figures:
        start = time.perf_counter()
        side.train(next(epochs))
        trained = time.perf_counter()
        _, test_accuracy = side.evaluate()
        train_s = trained - start
        eval_s = time.perf_counter() - trained
        seconds = {
            "compile_s": compile_s,
            "train_s": train_s,
            "eval_s": eval_s,
            "train_eval_s": train_s + eval_s,
        }
        return seconds | {"test_accuracy": test_accuracy}

    return turn


def main() -> None:
    config = cli.parse(EpochBenchmark)
    for name in config.architectures:
        kind_of(name)  # refuses an unknown name before the first is timed
    run(config, comparisons(config))


if __name__ == "__main__":
    cli.run(main)
