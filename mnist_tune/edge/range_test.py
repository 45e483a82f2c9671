"""A range test of one network: one training run while the learning rate grows, seconds, in this process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import tyro

from mnist_tune.cache import cache_folder
from mnist_tune.data.dataset import check_counts, load_dataset
from mnist_tune.errors import UserError
from mnist_tune.execution.process_setup import WorkerSettings, configure_jax
from mnist_tune.own_code.loading import load_own
from mnist_tune.training.range_suggestions import RangeCurve
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.options import ARCHITECTURE_HELP, OPTIMIZER_HELP, refuse_empty


@dataclass(frozen=True, kw_only=True)
class RangeTestOptions:
    """Train once while the learning rate grows from 1e-5 to 100, and say at which rate the loss blows up."""

    architecture: Annotated[str, tyro.conf.arg(help=ARCHITECTURE_HELP)] = "mlp-1024-128-tanh"
    optimizer: Annotated[str, tyro.conf.arg(help=OPTIMIZER_HELP)] = "sgd"
    batch_size: int = 128
    """Images per step."""
    momentum: float = 0.0
    """Momentum of SGD, in [0, 1)."""
    loss: Literal["cross-entropy", "mse"] = "cross-entropy"
    """The loss; mse is half the squared distance of the outputs from the one-hot label."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """A range test for each seed of initialisation and batch order."""
    dataset: Annotated[Any, tyro.conf.arg(constructor=Optional[str], metavar="NAME|FILE.npz|FOLDER")] = None
    """As in sweeps/lr_regimes.py; by default mnist."""
    data_dir: Path | None = None
    """Folder with the four IDX files of mnist or fashion-mnist."""
    train_images: int | None = None
    """Train on the first so many training images only."""
    standardize: bool = False
    """Subtract the training set's mean and divide by its standard deviation."""
    picture: Path = Path("range_test.png")
    """File for the picture of the curves."""

    def __post_init__(self) -> None:
        refuse_empty(self, "seeds")

    def trial(self, seed: int) -> TrialConfig:
        """Return the trial that is tested."""
        names = "architecture", "optimizer", "batch_size", "momentum", "loss"
        return TrialConfig(**{name: getattr(self, name) for name in names}, seed=seed, data_seed=seed)


@dataclass(frozen=True)
class RangeTest:
    """The curves of a range test, and what rules suggest, a seed each."""

    architecture: str
    curves: tuple[RangeCurve, ...]
    suggestions: Mapping[str, tuple[float | None, ...]]
    """By the name of the rule; None where a rule has no suggestion, never NaN."""


def range_test(options: RangeTestOptions) -> RangeTest:
    """Run range tests. Nothing else is changed by them: they train copies.

    Raises:
        UserError: the network or the data can't be used.
    """
    load_own(options)
    trials = [options.trial(seed) for seed in options.seeds]
    dataset = load_dataset(options.dataset, options.data_dir, True, options.standardize, options.train_images)
    check_counts(trials, dataset)
    configure_jax(WorkerSettings(Path(), threads=None, cache_dir=str(cache_folder())))
    from jax.errors import JaxRuntimeError

    from mnist_tune.edge.predictors import Bench, last_line
    from mnist_tune.execution.device_data import DeviceData
    from mnist_tune.training.network_check import check

    check(trials[0], dataset.spec, dataset.train_images, dataset.train_labels)
    data = DeviceData.put(dataset, 0, 0)
    benches = [Bench(trial, data, dataset.spec) for trial in trials]
    try:
        said, curves = [bench.suggestions() for bench in benches], tuple(bench.range_curve() for bench in benches)
    except JaxRuntimeError as error:
        raise UserError(f"{options.architecture} raised as its learning rate grew: {last_line(error)}") from None
    suggestions = {name: tuple(one[name] for one in said) for name in said[0]}
    return RangeTest(options.architecture, curves, suggestions)
