"""The sides of the benchmarks do the same work."""

from functools import cache

import jax
import pytest

from benchmarks.sides.notebook import Notebook
from benchmarks.sides.ours import Ours
from benchmarks.sides.setting import Setting
from benchmarks.sides.sweep_work import Epoch, Outcome
from benchmarks.sweep_throughput import figures
from mnist_tune import TrialConfig
from mnist_tune.machine import usable_cpus


def pytorch(setting):
    pytest.importorskip("torch")
    from benchmarks.sides.pytorch import PyTorch

    return PyTorch(setting)


@pytest.fixture(scope="module")
def after_an_epoch(mnist_5k):
    """A function that trains a side, and returns its accuracies."""

    @cache
    def train(make, name):
        side = make(Setting(TrialConfig(architecture=name), mnist_5k))
        side.compile()
        side.train(0)
        return side.evaluate()

    return train


@pytest.mark.parametrize(
    "other", [pytest.param(Notebook, marks=pytest.mark.slow), pytorch]
)
def test_sides_train_the_same(after_an_epoch, other):
    with jax.numpy_rank_promotion("allow"):  # as the notebook adds its biases
        accuracies = [after_an_epoch(make, "mlp-16-relu") for make in (Ours, other)]
    # They differ by rounding alone, which an image at the edge of two classes may feel:
    # one in a thousand.
    assert accuracies[0] == pytest.approx(accuracies[1], abs=0.0015)
    assert accuracies[0][0] > 0.2  # twice chance: there was training to compare


def test_figures_of_a_sweep():
    """Two trials a core: each reports between 10 s and 11 s, and again two seconds
    later."""
    trials = 2 * usable_cpus()
    first = [Epoch(str(i), 10 + i / trials, 0.8) for i in range(trials)]
    second = [Epoch(str(i), 12 + i / trials, 0.9) for i in range(trials)]
    found = figures(
        "process", 20.0, 100.0, Outcome(first + second, driver_ms=4.0, driver_bytes=0.0)
    )
    last = 13 - 1 / trials
    assert found["trial_epochs_per_s"] == 2 * trials / 20
    # when as many trials have reported as there are cores
    full = 10 + (usable_cpus() - 1) / trials
    assert found["steady_per_s"] == pytest.approx(
        (2 * trials - usable_cpus()) / (last - full)
    )
    assert found["test_accuracy"] == pytest.approx(0.85)
