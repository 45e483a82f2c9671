"""What is said of networks and optimisers that can't train, before anything starts:
kept to the letter."""

import re
import sys
from dataclasses import replace
from functools import partial
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


def silent(key):
    raise ValueError


def speaks(_):
    raise ValueError("\n  a long story: " + 400 * "x" + "\nwith a second line")


def looks(params, images):
    return apply(params, images) if images.sum() > 0 else apply(params, -images)


def looks_at_gradients(gradients, state, params=None):
    return (gradients if gradients["b"].sum() > 0 else params), state


def refuses(data):
    raise UserError("not today")


def wide(data, width=2, name=""):
    if not width:
        raise ValueError("an argument is 0\nand more")
    return width


def fixed(data):
    return 1


def evaluates(params, state, images):
    return apply(params, images)


def keeps(params, state, images, key):
    """A `train_apply` that leaves the state as it is."""
    return apply(params, images), state


def trained(train_apply, state=()):
    """A network with a state."""

    def init_both(key):
        return init(key), state

    return Network(init_both, evaluates, train_apply)


def with_apply(function):
    return Network(init, function)


def with_init(function):
    return Network(function, apply)


class Static:
    """What a container keeps beside its arrays: a new one each time, which is equal."""

    def __eq__(self, other):
        return isinstance(other, Static)

    def __hash__(self):
        return 0


@jax.tree_util.register_pytree_node_class
class Box:
    def __init__(self, x):
        self.x = x

    def tree_flatten(self):
        return (self.x,), Static()

    @classmethod
    def tree_unflatten(cls, static, children):
        return cls(*children)


def boxes(params, state, images, key):
    return apply(params, images), Box(state.x)


def numpy_init(key):
    return jax.tree.map(np.asarray, init(key))


DRAWS = np.random.default_rng(0)
GOOD = Network(init, apply)
EQUALS_ITSELF = jax.tree_util.Partial(len, jnp.zeros(2))
"""A state that equals none but itself, as the states of Equinox do."""
CAN_TRAIN = {
    "good": GOOD,
    "with a state": trained(keeps),
    "like Equinox": trained(keeps, EQUALS_ITSELF),
    "boxed": trained(boxes, Box(jnp.zeros(2))),
    "through NumPy": with_init(numpy_init),
}


@pytest.mark.parametrize("name", CAN_TRAIN)
def test_a_network_that_can_train_passes(name, dataset):
    register("mine")(lambda data: CAN_TRAIN[name])
    trial = TrialConfig(architecture="mine", batch_size=8)
    check_networks([trial], dataset.spec, examples_of(dataset))


WRONG = {}


def wrong(title, network_of):
    """Record the network that is made of a function as one that can't train."""

    def record(function):
        WRONG[title] = network_of(function)
        return function

    return record


@wrong("probabilities", with_apply)
def probabilities(params, images):
    return jax.nn.softmax(apply(params, images))


@wrong("another number of classes", with_apply)
def of_five_classes(params, images):
    return apply(params, images)[:, :5]


@wrong("one image's logits", with_apply)
def of_one_image(params, images):
    return apply(params, images)[0]


@wrong("a pair", with_apply)
def pair(params, images):
    return apply(params, images), 0


@wrong("no logits", with_apply)
def nothing(params, images):
    return None


def large_init(key):
    return jnp.zeros((784, 7))


def large_apply(weights, images):
    if len(weights) != images[0].size:
        raise TypeError("no such product")
    return images.reshape(len(images), -1) @ weights


WRONG["other images"] = Network(large_init, large_apply)


@wrong("an init that fails", with_init)
def fails(key):
    return 1 / 0


WRONG["an init that fails without a word"] = with_init(silent)
WRONG["an init that fails with many"] = with_init(speaks)


def images_as_logits(params, images):
    return images


WRONG["no parameters"] = Network(lambda key: {}, images_as_logits)


@wrong("a function among the parameters", with_init)
def with_function(key):
    return {"w": init(key)["w"], "activation": silent}


@wrong("a number of Python's", with_init)
def number(key):
    return {"w": 0.1}


@wrong("one number of Python's", with_init)
def lone_number(key):
    return 0.1


@wrong("a random key", with_init)
def with_key(key):
    return {"k": key, **init(key)}


@wrong("whole numbers as parameters", with_init)
def with_count(key):
    return {"count": jnp.int32(0), **init(key)}


@wrong("NaN", with_init)
def with_nan(key):
    return {**init(key), "b": jnp.full(7, jnp.nan)}


@wrong("keys that cannot be sorted", with_init)
def unsorted(key):
    return {"w": init(key)["w"], 1: jnp.zeros(7)}


@wrong("logits that overflow", with_apply)
def overflowing(params, images):
    return apply(params, images) / jnp.zeros(1)


@wrong("NaN for one image", with_apply)
def nan_for_one_image(params, images):
    return apply(params, images).at[1].set(jnp.nan)


WRONG["no state"] = Network(init, evaluates, keeps)


@wrong("no new state", trained)
def without_state(params, state, images, key):
    return {"logits": apply(params, images)}


@wrong("three things", trained)
def with_state_twice(params, state, images, key):
    return apply(params, images), state, state


@wrong("another number of classes in training", trained)
def trains_five_classes(params, state, images, key):
    return apply(params, images)[:, :5], state


@wrong("training that fails", trained)
def training_fails(params, state, images, key):
    return 1 / 0


@wrong("another state", partial(trained, state={"n": jnp.zeros(2)}))
def with_larger_state(params, state, images, key):
    return apply(params, images), {"n": jnp.zeros(3)}


NAN_STATE = {"mean": jnp.full(2, jnp.nan)}
WRONG["NaN in the state"] = trained(keeps, NAN_STATE)
WRONG["a key in the state"] = trained(keeps, jax.random.key(0))
WRONG["a factory that makes none"] = (init, apply)
WRONG["an if on the images"] = with_apply(looks)


@wrong("NumPy on the images", with_apply)
def through_numpy(params, images):
    return jnp.asarray(np.asarray(images)).reshape(len(images), -1) @ params["w"]


@wrong("an if in training", trained)
def looks_in_training(params, state, images, key):
    return looks(params, images), state


@wrong("random numbers of NumPy", with_apply)
def draws(params, images):
    return apply(params, images) + float(DRAWS.normal())


@wrong("an init that takes no heed of its key", with_init)
def without_key(key):
    return {**init(key), "b": DRAWS.normal(size=7).astype("f4")}


@wrong("logits without a slope", with_apply)
def flat(params, images):
    return jnp.sign(apply(params, images))


def looks_at_its_rate(rate):
    least = rate if rate > 0.1 else 0.1
    return optax.sgd(least)


def with_a_look_at_gradients(rate):
    return optax.GradientTransformation(optax.sgd(0.1).init, looks_at_gradients)


def part(rate):
    return optax.adam(0.1)[:2]


def no_optimizer(rate):
    return None


OPTIMIZERS = {
    "which looks at its learning rate": looks_at_its_rate,
    "which looks at the gradients": with_a_look_at_gradients,
    "a part of one": part,
    "none": no_optimizer,
    "which fails": speaks,
}
NAMES = """
    mlp
    mlp-0-tanh
    mlp-8
    mlp-8-elu
    mlp-x-tanh
    mlp-8-he
    convnet-3
    stax-mlp-3
    resnet
    convnet
    mlpx-8-tanh
    net.py
    wide(zzz=3)
    fixed(3)
    wide(width=0)
    wide(width=1)
    refuses
"""
CALLS = """
    adam(b1=2.0)
    rmsprop(decay=1)
    adamm
    exact(beta1=0.9)
    adam(0.9)
    adam(learning_rate=0.1)
    adamw(weight_decay=0.1)
    lion(weight_decay=0.1)
    sgd(momentum=0.9)
    sgd(nesterov=True)
    rmsprop(momentum=0.9)
    any(clip_norm=1)
    any(schedule='cosine')
    any(warmup_steps=3)
    any(other=3)
    exact(b1=0, eps=1)
"""


def refusal(call, *arguments):
    """Return what is said, without JAX's own words and without numbers of lines."""
    try:
        call(*arguments)
    except UserError as error:
        line = str(error)
        assert "\n" not in line
        line = re.sub(r"(TracerBoolConversionError): .*?( \(test_)", r"\1: ...\2", line)
        line = re.sub(r"(?<=, )line (\d+)", source_line, line)
        return re.sub(r"x{20,}", how_many, line)
    return "nothing"


def how_many(letters):
    return f"{len(letters[0])} x"


def source_line(number):
    """Return what stands at a line of this file."""
    lines = Path(__file__).read_text().splitlines()
    return lines[int(number[1]) - 1].strip(" ,")


def checked(network, data, examples, **fields):
    """Return what is said of a network that is to train on data."""
    register("mine")(lambda data: network)
    trial = TrialConfig(architecture="mine", batch_size=8, **fields)
    return refusal(check_networks, [trial], data.spec, examples)


def refused_networks(dataset):
    examples = examples_of(dataset)
    for title, network in WRONG.items():
        yield f"{title}: {checked(network, dataset, examples)}"
    for title, optimizer in OPTIMIZERS.items():
        register_optimizer("own")(optimizer)
        line = checked(GOOD, dataset, examples, optimizer="own")
        yield f"an optimizer, {title}: {line}"


def refused_model_of_equinox(dataset):
    network = WRONG["a function among the parameters"]
    return checked(network, dataset, examples_of(dataset))


def refused_for_its_data(dataset):
    """Yield what is said of networks that do not suit the data."""
    examples = examples_of(dataset)
    overflows = WRONG["logits that overflow"]
    standardized = replace(dataset, standardize=True)
    as_bytes = (255 * dataset.train_images).astype(np.uint8)
    of_bytes = replace(dataset, train_images=as_bytes)
    for scaled in (standardized, of_bytes):
        line = checked(overflows, scaled, examples)
        yield f"logits that overflow for scaled images: {line}"
    words = Dataset("words", *[np.zeros((8, 3), np.uint8)] * 4)
    line = checked(with_apply(images_as_logits), words, examples)
    yield f"logits for an example of tokens: {line}"
    line = refusal(architecture, "mlp-8-tanh", words.spec)
    yield f"mlp-8-tanh for tokens: {line}"
    for shape in ((10, 14), (400,), (12, 10), (11, 11, 3, 1), (11, 11, 3)):
        line = refusal(architecture, "convnet", small(shape))
        yield f"convnet for {shape}: {line}"


def small(shape):
    return DataSpec("small", shape, (5, 5), 5)


def any_arguments(learning_rate, **arguments):
    return optax.sgd(learning_rate)


def exact_arguments(learning_rate, b1=0.9, *, eps=1e-8):
    return optax.sgd(learning_rate)


def refused_names():
    for maker in (wide, refuses, fixed):
        register(maker.__name__)(maker)
    for name in NAMES.split():
        yield f"{name}: {refusal(architecture, name, small((10, 14)))}"
    register_optimizer("any")(any_arguments)
    register_optimizer("exact")(exact_arguments)
    for call in CALLS.strip().splitlines():
        call = call.strip()
        yield f"{call}: {refusal(check_optimizer, call)}"


@pytest.mark.promise(
    "Before the sweep's folder is made, what is wrong with a network is one line"
)
def test_refusals(dataset, monkeypatch):
    monkeypatch.delitem(sys.modules, "equinox", raising=False)
    lines = [*refused_networks(dataset)]
    monkeypatch.setitem(sys.modules, "equinox", None)
    lines.append(f"a model of Equinox: {refused_model_of_equinox(dataset)}")
    lines += refused_for_its_data(dataset)
    lines += refused_names()
    assert_kept("refusals", "".join(f"{line}\n" for line in lines))


def test_probabilities_have_a_squared_distance_too(dataset):
    examples = examples_of(dataset)
    line = checked(WRONG["probabilities"], dataset, examples, loss="mse")
    assert line == "nothing"
