"""What is said of networks and optimisers that can't train, before anything starts."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from own_networks import DATA_SETS

from mnist_tune import UserError
from mnist_tune.data.dataset import load_dataset
from mnist_tune.own_code.registry import register, register_optimizer
from mnist_tune.training import architectures
from mnist_tune.training.network import Network
from mnist_tune.training.network_check import check
from mnist_tune.trial import TrialConfig

pytestmark = pytest.mark.usefixtures("as_users_have_it")


@pytest.fixture(scope="module")
def dataset():
    return load_dataset(DATA_SETS["three channels, seven classes"]())


@pytest.fixture
def said(dataset):
    """A function that checks a network, and an optimiser, and returns the error."""

    def run(network, optimizer=None, **fields):
        register("mine")(lambda data: network)
        if optimizer:
            register_optimizer("own")(optimizer)
            fields["optimizer"] = "own"
        config = TrialConfig(architecture="mine", batch_size=8, **fields)
        with pytest.raises(UserError) as caught:
            check(config, dataset.spec, dataset.train_images[:8], dataset.train_labels[:8])
        assert "\n" not in str(caught.value)
        assert "'mine'" in str(caught.value)
        return str(caught.value)

    return run


def init(key):
    return {"w": jax.random.normal(key, (9 * 8 * 3, 7)) / 15, "b": jnp.zeros(7)}


def apply(params, images):
    return images.reshape(len(images), -1) @ params["w"] + params["b"]


def product(images, weights):
    return images.reshape(len(images), -1) @ weights


GOOD = Network(init, apply)


STATEFUL = Network(lambda key: (init(key), ()), lambda p, s, x: apply(p, x), lambda p, s, x, key: (apply(p, x), s))
THROUGH_NUMPY = Network(lambda key: jax.tree.map(np.asarray, init(key)), apply)


@pytest.mark.parametrize("network", [GOOD, STATEFUL, THROUGH_NUMPY])
def test_a_network_that_can_train_passes(network, dataset):
    register("mine")(lambda data: network)
    check(TrialConfig(architecture="mine", batch_size=8), dataset.spec, dataset.train_images, dataset.train_labels)


def silent(key):
    raise ValueError


WRONG = {
    "another number of classes": (
        Network(init, lambda p, x: apply(p, x)[:, :5]),
        "apply must return logits [n, 7], since arrays has 7 classes; for 4 images it returned [4, 5]",
    ),
    "one image's logits": (Network(init, lambda p, x: apply(p, x)[0]), "it returned [7]"),
    "a pair": (Network(init, lambda p, x: (apply(p, x), 0)), "it returned a tuple of 2"),
    "other images": (
        Network(lambda key: jnp.zeros((784, 7)), lambda p, x: product(x, p)),
        "apply fails on images [4, 9, 8, 3], TypeError: ",
    ),
    "a mistake in a helper": (
        Network(lambda key: jnp.zeros((784, 7)), lambda p, x: product(x, p)),
        f" (test_network_check.py, line {product.__code__.co_firstlineno + 1})",
    ),
    "an init that fails": (Network(lambda key: 1 / 0, apply), "init fails, ZeroDivisionError: division by zero"),
    "an init that fails without a word": (Network(silent, apply), "init fails, ValueError: no message"),
    "no parameters": (Network(lambda key: {}, lambda p, x: x), "init returned no array; return the parameters"),
    "a function among the parameters": (
        Network(lambda key: {"w": init(key)["w"], "activation": jnp.tanh}, apply),
        "init returned ['activation'],",
    ),
    "a number of Python's": (Network(lambda key: {"w": 0.1}, apply), "init returned ['w'], which is of type float; "),
    "a random key": (
        Network(lambda key: {"k": key, **init(key)}, apply),
        "init returned ['k'], a random key; take the key",
    ),
    "whole numbers as parameters": (
        Network(lambda key: {"count": jnp.int32(0), **init(key)}, apply),
        "['count'], of type int32; parameters are floats",
    ),
    "NaN": (
        Network(lambda key: {**init(key), "b": jnp.full(7, jnp.nan)}, apply),
        "['b'], which holds NaN or infinity before training",
    ),
    "logits that overflow": (
        Network(init, lambda p, x: apply(p, x) / jnp.zeros(1)),
        "returned NaN or infinity for untrained parameters; scale the images (--standardize)",
    ),
    "NaN for one image": (
        Network(init, lambda p, x: apply(p, x).at[1].set(jnp.nan)),
        "returned NaN or infinity for untrained parameters; scale the images (--standardize)",
    ),
    "no state": (
        Network(init, lambda p, s, x: apply(p, x), lambda p, s, x, key: (apply(p, x), s)),
        "with train_apply, init must return (params, state), it returned a dict",
    ),
    "no new state": (
        Network(lambda key: (init(key), ()), lambda p, s, x: apply(p, x), lambda p, s, x, key: apply(p, x)),
        "train_apply must return (logits, state)",
    ),
    "another number of classes in training": (
        Network(
            lambda key: (init(key), ()),
            lambda p, s, x: apply(p, x),
            lambda p, s, x, key: (apply(p, x)[:, :5], s),
        ),
        "train_apply must return logits [n, 7], since arrays has 7 classes; for 4 images it returned [4, 5]",
    ),
    "training that fails": (
        Network(lambda key: (init(key), ()), lambda p, s, x: apply(p, x), lambda p, s, x, key: 1 / 0),
        "'mine': train_apply fails on images [4, 9, 8, 3], ZeroDivisionError: division by zero",
    ),
    "another state": (
        Network(
            lambda key: (init(key), {"n": jnp.zeros(2)}),
            lambda p, s, x: apply(p, x),
            lambda p, s, x, key: (apply(p, x), {"n": jnp.zeros(3)}),
        ),
        "train_apply returned another state than it got: {'n': (3,)} for {'n': (2,)}",
    ),
    "NaN in the state": (
        Network(
            lambda key: (init(key), {"mean": jnp.full(2, jnp.nan)}),
            lambda p, s, x: apply(p, x),
            lambda p, s, x, key: (apply(p, x), s),
        ),
        "init returned ['mean'], which holds NaN or infinity before training",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said(said, name):
    network, expected = WRONG[name]
    assert expected in said(network)


def test_equinox_users_are_told_how_to_split_a_model(said):
    import equinox as eqx

    network = Network(lambda key: eqx.nn.MLP(216, 7, 8, 1, key=key), apply)
    assert "return arrays only, jnp.asarray(x); with Equinox, return eqx.partition(model, eqx.is_array)[0]" in said(
        network
    )


def test_an_optimizer_that_looks_at_its_learning_rate(said):
    def own(learning_rate):
        return optax.sgd(learning_rate if learning_rate > 0.1 else 0.1)

    line = said(GOOD, own)
    assert "with optimizer 'own' can't train, TracerBoolConversionError" in line
    assert line.endswith(
        "; the learning rate is traced, as one program trains all rates: jnp.where, or --schedule and --warmup-steps"
    )


def test_an_optimizer_must_be_one_of_optax(said):
    for made, kind in ((optax.adam(0.1)[:2], "tuple"), (None, "NoneType")):
        assert f"optimizer 'own' returned a {kind}; return one of optax" in said(GOOD, lambda rate, made=made: made)


def test_parameters_that_jax_cannot_sort(said):
    mixed = Network(lambda key: {"w": init(key)["w"], 1: jnp.zeros(7)}, apply)
    assert "taking apart what init returned fails, ValueError: Comparator raised exception" in said(mixed)


def test_a_factory_must_return_a_network(said):
    assert "mine returned a tuple; return mnist_tune.Network(init, apply)" in said((init, apply))


def test_a_network_that_is_registered_again_is_the_new_one(dataset):
    for network in (GOOD, STATEFUL):
        register("mine")(lambda data, network=network: network)
        assert architectures.architecture("mine", dataset.spec) is network
