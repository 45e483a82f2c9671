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
ASKED: list[dict[str, Any]] = [
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


def test_a_dry_run_tries_what_would_train(few_images, monkeypatch):
    """Nothing trains, and Ray is not needed."""
    networks = {
        "fails": Network(lambda key: 1 / 0, lambda params, images: images),
        "five": Network(
            lambda key: jnp.zeros((784, 5)),
            lambda params, images: images.reshape(len(images), -1) @ params,
        ),
    }
    monkeypatch.setattr(SweepOptions, "load", lambda *given: few_images)
    monkeypatch.setattr(module, "make_pool", lambda data, settings: None)
    wrong = {
        "fails": r": init\(key\) fails, ZeroDivisionError",
        "five": r": apply must return logits \[n, 10\]",
    }
    for name, said in wrong.items():
        register(name)(lambda data, name=name: networks[name])
        with pytest.raises(UserError, match=f"^architecture '{name}'{said}"):
            list(
                dry_run(
                    LearningRateRegimes(architecture=(name,), learning_rates=(0.1,))
                )
            )
    with pytest.raises(
        UserError,
        match=r"^architecture 'mlp-4-tanh': a step with optimizer .* fails, TypeError",
    ):
        list(
            dry_run(LearningRateRegimes(architecture=ONE, optimizer=("adam(b1='x')",)))
        )


def test_what_a_dry_run_says(few_images, monkeypatch):
    """An image trains in a millisecond a hidden unit, and four cores are there."""

    def pool(data, settings):
        trials = {}

        def run(ids):
            one = trials[ids[0]]
            seconds = (
                {"mlp-4-tanh": 4.096, "mlp-8-tanh": 8.192}[one.architecture]
                / one.batch_size
                * 128
            )
            spent = {"train_s": seconds, "eval_s": 0.5, "compile_s": 1.234}
            return {ids[0]: SimpleNamespace(**spent)}

        return SimpleNamespace(attach=trials.__setitem__, run=run)

    monkeypatch.setattr(SweepOptions, "load", lambda *given: few_images)
    monkeypatch.setattr(module, "make_pool", pool)
    monkeypatch.setattr(module, "configure_jax", lambda settings: None)
    monkeypatch.setattr(module, "usable_cpus", lambda: 4)
    usual, lines = (
        LearningRateRegimes(
            architecture=("mlp-4-tanh", "mlp-8-tanh"), learning_rates=(0.1,)
        ),
        [],
    )
    for asked in ASKED:
        lines += [f"=== {asked}", *dry_run(replace(usual, **asked))]
    # a lane's time says nothing of many lanes, and cores do not count
    with monkeypatch.context() as patch:
        patch.setattr(jax, "default_backend", lambda: "gpu")
        lines += ["=== on a GPU", *dry_run(usual)]
    for wrong in ({"resume": "auto", "output": "a"}, {"batch_size": (2000,)}):
        with pytest.raises(UserError) as refused:
            list(dry_run(replace(usual, **wrong)))
        lines.append(f"refused: {refused.value}")
    assert_kept("dry runs", "\n".join(lines) + "\n")
