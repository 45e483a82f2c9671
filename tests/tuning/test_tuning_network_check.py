"""Networks and optimisers that are tried before a sweep starts."""

from types import SimpleNamespace

import optax
import pytest
import ray
from own_networks import patterns

from mnist_tune import TrialConfig, UserError
from mnist_tune.data.dataset import load_dataset
from mnist_tune.own_code.registry import register_optimizer
from mnist_tune.tuning.opening import check_networks


def test_each_optimizer_is_tried_in_whatever_order(as_users_have_it, monkeypatch):
    """In this process instead of one of Ray's."""
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setattr(ray, "remote", lambda **_: lambda function: SimpleNamespace(remote=function))
    monkeypatch.setattr(ray, "get", lambda said: said)
    register_optimizer("picky")(lambda learning_rate: optax.sgd(learning_rate if learning_rate > 1 else 1))
    trials = [TrialConfig(architecture="mlp-4-tanh", batch_size=8, optimizer=name) for name in ("picky", "sgd")]
    dataset = load_dataset(patterns((4, 3), 3))
    for order in (trials, trials[::-1]):
        with pytest.raises(UserError, match="with optimizer 'picky' can't train"):
            check_networks(order, dataset)
    check_networks(trials[1:], dataset)
