"""What a dry run says, with made-up times."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from kept_texts import assert_kept

from mnist_tune import SweepOptions, UserError
from mnist_tune.commands.lr_regimes import LearningRateRegimes
from mnist_tune.own_code.registry import register
from mnist_tune.training.task import Network
from mnist_tune.tuning import dry_run as module
from mnist_tune.tuning.dry_run import dry_run

ONE = ("mlp-4-tanh",)
CHANGES: list[dict[str, Any]] = [
    {"learning_rates": (0.1, 1.0), "epochs": 3},
    {
        "architecture": ONE,
        "batch_size": (100, 240),
        "holdout": 24,
        "epochs": 1,
        "quiet": True,
    },
    {
        "architecture": ONE,
        "batch_size": (96, 512),
        "max_concurrent": 2,
        "drop_last": True,
        "train_images": 1000,
    },
    {
        "architecture": ONE,
        "seeds": (0, 1, 2, 3),
        "cpus_per_trial": 2,
        "optimizer": ("adam",),
    },
    {
        "architecture": ONE,
        "seeds": (0, 1),
        "cpus_per_trial": 9,
        "sharpness": True,
        "train_evaluation": 500,
    },
]


pytestmark = pytest.mark.usefixtures("as_users_have_it")


def fails(data):
    """A network whose weights can't be made."""
    return Network(lambda key: 1 / 0, lambda params, images: images)


def five(data):
    """A network with five classes in place of ten."""

    def init(key):
        return jnp.zeros((784, 5))

    def apply(params, images):
        return images.reshape(len(images), -1) @ params

    return Network(init, apply)


def test_a_dry_run_tries_what_would_train(few_images, monkeypatch):
    """Nothing trains, and Ray is not needed."""
    monkeypatch.setattr(SweepOptions, "load", lambda *_: few_images)
    monkeypatch.setattr(module, "make_pool", lambda data, settings: None)
    register("fails")(fails)
    register("five")(five)
    rates = {"learning_rates": (0.1,)}
    options = LearningRateRegimes(architecture=("fails",), **rates)
    line = r"^architecture 'fails': init\(key\) fails, ZeroDivisionError"
    with pytest.raises(UserError, match=line):
        list(dry_run(options))
    options = LearningRateRegimes(architecture=("five",), **rates)
    line = r"^architecture 'five': apply must return logits \[n, 10\]"
    with pytest.raises(UserError, match=line):
        list(dry_run(options))
    options = LearningRateRegimes(architecture=ONE, optimizer=("adam(b1='x')",))
    line = r"^architecture 'mlp-4-tanh': a step with optimizer .* fails, TypeError"
    with pytest.raises(UserError, match=line):
        list(dry_run(options))


SECONDS = {"mlp-4-tanh": 4.096, "mlp-8-tanh": 8.192}
"""How long an epoch takes in batches of 128."""


class MadeUpPool:
    """An image trains in a millisecond a hidden unit."""

    def __init__(self, data, settings):
        self.trials = {}

    def attach(self, lane, trial):
        self.trials[lane] = trial

    def run(self, lanes):
        [lane] = lanes
        trial = self.trials[lane]
        seconds = SECONDS[trial.architecture] / trial.batch_size * 128
        row = SimpleNamespace(train_s=seconds, eval_s=0.5, compile_s=1.234)
        return {lane: row}


def test_what_a_dry_run_says(few_images, monkeypatch):
    """Four cores are there."""
    monkeypatch.setattr(SweepOptions, "load", lambda *_: few_images)
    monkeypatch.setattr(module, "make_pool", MadeUpPool)
    monkeypatch.setattr(module, "configure_jax", lambda settings: None)
    monkeypatch.setattr(module, "usable_cpus", lambda: 4)
    usual = LearningRateRegimes(
        architecture=("mlp-4-tanh", "mlp-8-tanh"), learning_rates=(0.1,)
    )
    lines = []
    for changes in CHANGES:
        lines += [f"=== {changes}", *dry_run(replace(usual, **changes))]
    # a lane's time says nothing of many lanes, and cores do not count
    with monkeypatch.context() as patch:
        patch.setattr(jax, "default_backend", lambda: "gpu")
        lines += ["=== on a GPU", *dry_run(usual)]
    for wrong in ({"resume": "auto", "output": "a"}, {"batch_size": (2000,)}):
        with pytest.raises(UserError) as refused:
            list(dry_run(replace(usual, **wrong)))
        lines.append(f"refused: {refused.value}")
    assert_kept("dry runs", "\n".join(lines) + "\n")
