"""What is said of networks and optimisers that can't train, before anything starts:
kept to the letter."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from kept_texts import assert_kept
from own_networks import DATA_SETS

from mnist_tune import UserError
from mnist_tune.data.dataset import Dataset, load_dataset
from mnist_tune.data_spec import DataSpec
from mnist_tune.own_code.registry import register, register_optimizer
from mnist_tune.training.architectures import architecture
from mnist_tune.training.check import check_networks
from mnist_tune.training.optimizers import check_optimizer
from mnist_tune.training.task import Network
from mnist_tune.trial import TrialConfig

pytestmark = pytest.mark.usefixtures("as_users_have_it")


@pytest.fixture(scope="module")
def dataset():
    return load_dataset(DATA_SETS["three channels, seven classes"]())


def examples_of(dataset):
    return dataset.train_images[:8], dataset.train_labels[:8]


def init(key):
    return {"w": jax.random.normal(key, (9 * 8 * 3, 7)) / 15, "b": jnp.zeros(7)}


def apply(params, images):
    return images.reshape(len(images), -1) @ params["w"] + params["b"]


def product(images, weights):
    if len(weights) != images[0].size:
        raise TypeError("no such product")
    return images.reshape(len(images), -1) @ weights


def silent(key):
    raise ValueError


def speaks(given):
    raise ValueError("\n  a long story: " + 400 * "x" + "\nwith a second line")


def looks(params, images):
    return apply(params, images) if images.sum() > 0 else apply(params, -images)


def through_numpy(params, images):
    return jnp.asarray(np.asarray(images)).reshape(len(images), -1) @ params["w"]


def looks_at_gradients(gradients, state, params=None):
    return (gradients if gradients["b"].sum() > 0 else params), state


def refuses(data):
    raise UserError("not today")


def wide(data, width=2, name=""):
    if not width:
        raise ValueError("an argument is 0\nand more")
    return width


def trained(train_apply, state=()):
    return Network(
        lambda key: (init(key), state), lambda p, s, x: apply(p, x), train_apply
    )


DRAWS = np.random.default_rng(0)
GOOD = Network(init, apply)
STATEFUL = trained(lambda p, s, x, key: (apply(p, x), s))
LIKE_EQUINOX = trained(
    lambda p, s, x, key: (apply(p, x), s), jax.tree_util.Partial(len, jnp.zeros(2))
)
"""Its state equals none but itself, as the states of Equinox do."""


class Static:
    """What a container keeps beside its arrays: a new one each time, which is equal."""

    def __eq__(self, other):
        return isinstance(other, Static)

    def __hash__(self):
        return 0


class Box:
    def __init__(self, x):
        self.x = x


jax.tree_util.register_pytree_node(
    Box, lambda box: ((box.x,), Static()), lambda static, children: Box(*children)
)
BOXED = trained(lambda p, s, x, key: (apply(p, x), Box(s.x)), Box(jnp.zeros(2)))
THROUGH_NUMPY = Network(lambda key: jax.tree.map(np.asarray, init(key)), apply)
LARGE = Network(lambda key: jnp.zeros((784, 7)), lambda p, x: product(x, p))


@pytest.mark.parametrize(
    "network", [GOOD, STATEFUL, LIKE_EQUINOX, BOXED, THROUGH_NUMPY]
)
def test_a_network_that_can_train_passes(network, dataset):
    register("mine")(lambda data: network)
    trial = TrialConfig(architecture="mine", batch_size=8)
    check_networks([trial], dataset.spec, examples_of(dataset))


WRONG = {
    "probabilities": Network(init, lambda params, x: jax.nn.softmax(apply(params, x))),
    "another number of classes": Network(init, lambda p, x: apply(p, x)[:, :5]),
    "one image's logits": Network(init, lambda p, x: apply(p, x)[0]),
    "a pair": Network(init, lambda p, x: (apply(p, x), 0)),
    "no logits": Network(init, lambda p, x: None),
    "other images": LARGE,
    "an init that fails": Network(lambda key: 1 / 0, apply),
    "an init that fails without a word": Network(silent, apply),
    "an init that fails with many": Network(speaks, apply),
    "no parameters": Network(lambda key: {}, lambda p, x: x),
    "a function among the parameters": Network(
        lambda key: {"w": init(key)["w"], "activation": silent}, apply
    ),
    "a number of Python's": Network(lambda key: {"w": 0.1}, apply),
    "one number of Python's": Network(lambda key: 0.1, apply),
    "a random key": Network(lambda key: {"k": key, **init(key)}, apply),
    "whole numbers as parameters": Network(
        lambda key: {"count": jnp.int32(0), **init(key)}, apply
    ),
    "NaN": Network(lambda key: {**init(key), "b": jnp.full(7, jnp.nan)}, apply),
    "keys that cannot be sorted": Network(
        lambda key: {"w": init(key)["w"], 1: jnp.zeros(7)}, apply
    ),
    "logits that overflow": Network(init, lambda p, x: apply(p, x) / jnp.zeros(1)),
    "NaN for one image": Network(init, lambda p, x: apply(p, x).at[1].set(jnp.nan)),
    "no state": Network(
        init, lambda p, s, x: apply(p, x), lambda p, s, x, key: (apply(p, x), s)
    ),
    "no new state": trained(lambda p, s, x, key: {"logits": apply(p, x)}),
    "three things": trained(lambda p, s, x, key: (apply(p, x), s, s)),
    "another number of classes in training": trained(
        lambda p, s, x, key: (apply(p, x)[:, :5], s)
    ),
    "training that fails": trained(lambda p, s, x, key: 1 / 0),
    "another state": trained(
        lambda p, s, x, key: (apply(p, x), {"n": jnp.zeros(3)}), {"n": jnp.zeros(2)}
    ),
    "NaN in the state": trained(
        lambda p, s, x, key: (apply(p, x), s), {"mean": jnp.full(2, jnp.nan)}
    ),
    "a key in the state": trained(
        lambda p, s, x, key: (apply(p, x), s), jax.random.key(0)
    ),
    "a factory that makes none": (init, apply),
    "an if on the images": Network(init, looks),
    "NumPy on the images": Network(init, through_numpy),
    "an if in training": trained(lambda p, s, x, key: (looks(p, x), s)),
    "random numbers of NumPy": Network(
        init, lambda p, x: apply(p, x) + float(DRAWS.normal())
    ),
    "an init that takes no heed of its key": Network(
        lambda key: {**init(key), "b": DRAWS.normal(size=7).astype("f4")}, apply
    ),
    "logits without a slope": Network(init, lambda p, x: jnp.sign(apply(p, x))),
}
OPTIMIZERS = {
    "which looks at its learning rate": lambda rate: optax.sgd(
        rate if rate > 0.1 else 0.1
    ),
    "which looks at the gradients": lambda rate: optax.GradientTransformation(
        optax.sgd(0.1).init, looks_at_gradients
    ),
    "a part of one": lambda rate: optax.adam(0.1)[:2],
    "none": lambda rate: None,
    "which fails": lambda rate: speaks(None),
}
NAMES = (
    "mlp",
    "mlp-0-tanh",
    "mlp-8",
    "mlp-8-elu",
    "mlp-x-tanh",
    "mlp-8-he",
    "convnet-3",
    "stax-mlp-3",
    "resnet",
    "convnet",
    "mlpx-8-tanh",
    "net.py",
    "wide(zzz=3)",
    "fixed(3)",
    "wide(width=0)",
    "wide(width=1)",
    "refuses",
)
CALLS = (
    "adam(b1=2.0)",
    "rmsprop(decay=1)",
    "adamm",
    "exact(beta1=0.9)",
    "adam(0.9)",
    "adam(learning_rate=0.1)",
    "adamw(weight_decay=0.1)",
    "lion(weight_decay=0.1)",
    "sgd(momentum=0.9)",
    "sgd(nesterov=True)",
    "rmsprop(momentum=0.9)",
    "any(clip_norm=1)",
    "any(schedule='cosine')",
    "any(warmup_steps=3)",
    "any(other=3)",
    "exact(b1=0, eps=1)",
)


def refusal(call, *arguments):
    """Return what is said, without JAX's own words and without numbers of lines."""
    try:
        call(*arguments)
    except UserError as error:
        said = re.sub(
            r"(TracerBoolConversionError): .*?( \(test_)", r"\1: ...\2", str(error)
        )
        assert "\n" not in said
        return re.sub(
            r"x{20,}",
            lambda many: f"{len(many[0])} x",
            re.sub(r"(?<=, )line \d+", where, said),
        )
    return "nothing"


def where(line):
    """Return what stands at a line of this file, `line 123`."""
    return (
        Path(__file__).read_text().splitlines()[int(line[0].split()[1]) - 1].strip(" ,")
    )


@pytest.mark.promise(
    "Before the sweep's folder is made, what is wrong with a network is one line"
)
def test_refusals(dataset, monkeypatch):
    examples = examples_of(dataset)
    monkeypatch.delitem(sys.modules, "equinox", raising=False)

    def tried(network, data=dataset, **fields):
        register("mine")(lambda data: network)
        trial = TrialConfig(architecture="mine", batch_size=8, **fields)
        return refusal(check_networks, [trial], data.spec, examples)

    text = "".join(f"{name}: {tried(network)}\n" for name, network in WRONG.items())
    for name, optimizer in OPTIMIZERS.items():
        register_optimizer("own")(optimizer)
        text += f"an optimizer, {name}: {tried(GOOD, optimizer='own')}\n"
    monkeypatch.setitem(sys.modules, "equinox", None)
    text += f"a model of Equinox: {tried(WRONG['a function among the parameters'])}\n"
    for scaled in (
        replace(dataset, standardize=True),
        replace(dataset, train_images=(255 * dataset.train_images).astype(np.uint8)),
    ):
        text += f"logits that overflow for scaled images: {tried(WRONG['logits that overflow'], scaled)}\n"
    words = Dataset("words", *[np.zeros((8, 3), np.uint8)] * 4)
    text += f"logits for an example of tokens: {tried(Network(init, lambda p, x: x), words)}\n"
    text += (
        f"mlp-8-tanh for tokens: {refusal(architecture, 'mlp-8-tanh', words.spec)}\n"
    )
    for maker in (wide, refuses):
        register(maker.__name__)(maker)
    register("fixed")(lambda data: 1)
    for shape in ((10, 14), (400,), (12, 10), (11, 11, 3, 1), (11, 11, 3)):
        text += f"convnet for {shape}: {refusal(architecture, 'convnet', DataSpec('small', shape, (5, 5), 5))}\n"
    for name in NAMES:
        text += f"{name}: {refusal(architecture, name, DataSpec('small', (10, 14), (5, 5), 5))}\n"
    register_optimizer("any")(
        lambda learning_rate, **arguments: optax.sgd(learning_rate)
    )
    register_optimizer("exact")(
        lambda learning_rate, b1=0.9, *, eps=1e-8: optax.sgd(learning_rate)
    )
    text += "".join(f"{call}: {refusal(check_optimizer, call)}\n" for call in CALLS)
    assert_kept("refusals", text)


def test_probabilities_have_a_squared_distance_too(dataset):
    register("mine")(lambda data: WRONG["probabilities"])
    trial = TrialConfig(architecture="mine", batch_size=8, loss="mse")
    examples = examples_of(dataset)
    assert refusal(check_networks, [trial], dataset.spec, examples) == "nothing"
