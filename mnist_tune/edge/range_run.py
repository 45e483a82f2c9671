"""A range test of one network: one training run while the learning rate grows, for
seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from mnist_tune.cache import cache_folder
from mnist_tune.data.dataset import Dataset, check_counts
from mnist_tune.data.task_data import TaskData
from mnist_tune.errors import UserError
from mnist_tune.execution.process_setup import WorkerSettings, configure_jax
from mnist_tune.judged import settings_of
from mnist_tune.own_code.loading import load_own
from mnist_tune.regimes.data_facts import data_facts
from mnist_tune.sweep import Sweep
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.options import ARCHITECTURE_HELP, OPTIMIZER_HELP, Data
from mnist_tune.tuning.resuming import trained_as
from mnist_tune.tuning.tasks import apart, load_data, returned

if TYPE_CHECKING:
    from mnist_tune.training.rising_rate import Ramp, RangeCurve


@dataclass(frozen=True, kw_only=True)
class RangeTestOptions(Data):
    """Train once while the learning rate grows from 1e-5 to 100, and say at which rate
    the loss blows up."""

    architecture: Annotated[str, tyro.conf.arg(help=ARCHITECTURE_HELP)] = (
        "mlp-1024-128-tanh"
    )
    optimizer: Annotated[str, tyro.conf.arg(help=OPTIMIZER_HELP)] = "sgd"
    batch_size: int = 128
    """Images per step."""
    momentum: float = 0.0
    """Momentum of SGD, in [0, 1)."""
    loss: Literal["cross-entropy", "mse"] = "cross-entropy"
    """The loss; mse is half the squared distance of the outputs from the one-hot
    label."""
    sweep: str | Path | None = None
    """The folder or URI of a sweep: test its best setting, on its data."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """A range test for each seed of initialisation and batch order."""
    picture: Path = Path("range_test.png")
    """File for the picture of the curves."""

    def trial(self) -> TrialConfig:
        """Return the trial that is tested, without its seed."""
        return TrialConfig(
            architecture=self.task[0] if self.task else self.architecture,
            optimizer=self.optimizer,
            batch_size=self.batch_size,
            momentum=self.momentum,
            loss=self.loss,
            holdout=0,
        )


@dataclass(frozen=True)
class RangeTest:
    """The curves of a range test, a seed each."""

    architecture: str
    curves: tuple[RangeCurve, ...]
    loss: str = "cross-entropy"


def range_test(options: RangeTestOptions, ramp: Ramp | None = None) -> RangeTest:
    """Run range tests, each of which trains a copy of the network.

    Args:
        options: what is tested.
        ramp: the learning rates, by default 700 from 1e-5 to 100. With another ramp,
            such as those of libraries, a test ends only where the loss exceeds four
            times its least.

    Raises:
        UserError: the network or the data can't be used.
    """
    load_own(options)
    setting = options.trial()
    sweep = None
    if options.sweep is not None:
        options, (setting, *_), sweep = trained_as(options, options.sweep, _best)
    elif len(options.own) > 1:
        raise UserError("a range test is of one task; name one with --task")
    if options.loop:
        raise UserError(
            "a range test raises the rate within an epoch, which a loop can't; leave --loop out"
        )
    trials = [replace(setting, seed=seed, data_seed=seed) for seed in options.seeds]
    configure_jax(WorkerSettings(threads=None, cache_dir=str(cache_folder())))
    dataset = load_data(options, trials, sweep, here=True)
    check_counts(trials, dataset)
    curves = tuple(_curve(trial, dataset, ramp) for trial in trials)
    return RangeTest(setting.architecture, curves, setting.loss)


def _best(sweep: Sweep) -> list[TrialConfig]:
    """Return the best setting of a sweep; if none competes to be that, one of a
    trial."""
    best = sweep.best().head(1)
    if best.empty:
        best = sweep.trials.head(1)
    return settings_of(best)


def _curve(
    config: TrialConfig, dataset: Dataset | TaskData, ramp: Ramp | None = None
) -> RangeCurve:
    """Return the losses of a range test of a trial's network, with its seeds; schedule
    and warm-up don't count."""
    from jax.errors import JaxRuntimeError

    from mnist_tune.execution.device_data import DeviceData
    from mnist_tune.training.program import Program
    from mnist_tune.training.rising_rate import Ramp, RangeCurve, range_curve

    data = DeviceData.put(dataset, config.label_noise, config.held_out, memory=math.inf)
    trained = replace(config, schedule="constant", warmup_steps=0)
    program = Program.of(trained, dataset.spec)
    hyper = program.step.hyperparameters(config, config.steps(data.train_count))
    state = program.init(config.seed, hyper)
    facts = data_facts({"dataset": asdict(dataset.spec)})
    guess = facts.guess(config)
    if ramp:
        guess = math.inf
    test = RangeCurve(ramp or Ramp(), guess=guess, of_task=not facts.of_networks)
    try:
        return range_curve(
            program, state, hyper, config.data_seed, data.arrays, data.train_count, test
        )
    except (JaxRuntimeError, ValueError) as error:
        # before its last line, JAX has the traceback of one's own code
        message = str(error).strip().splitlines()[-1]
        what = f"{config.architecture} raised as its learning rate grew"
        raise UserError(f"{what}: {message}") from None


def blow_ups(trials: Sequence[TrialConfig], dataset: Dataset | TaskData) -> list[float]:
    """Return the rate at which the loss of each trial's network blows up in a range
    test, in processes of their own. Raises `UserError` if a network raised."""
    import ray

    shared = dataset.held or ray.put(dataset)
    try:
        references = [apart(_blow_up, trial, shared) for trial in trials]
        return returned(*references)
    except UserError as error:
        raise UserError(f"{error}; give a learning rate with --expected") from None


def _blow_up(config: TrialConfig, dataset: Dataset | TaskData) -> float:
    configure_jax(WorkerSettings(cache_dir=str(cache_folder())))
    return _curve(config, dataset).blow_up
