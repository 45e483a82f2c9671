"""Modules of Flax NNX, Flax Linen and Equinox, as people write them."""

from functools import partial

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mnist_tune import Network, UserError, init_and_rebuild, register
from mnist_tune.data_spec import DataSpec
from mnist_tune.own_code.registry import ENTRIES
from mnist_tune.training.architectures import architecture

DATA = DataSpec("digits", (8, 8), (10,) * 10, 20, divisor=1.0)


class NnxCNN(nnx.Module):
    def __init__(self, classes, width=4, *, rngs):
        self.conv = nnx.Conv(1, width, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(width, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.out = nnx.Linear(64 * width, classes, rngs=rngs)

    def __call__(self, images):
        x = nnx.relu(self.norm(self.conv(images)))
        return self.out(self.dropout(x.reshape(len(x), -1)))


class LinenCNN(nn.Module):
    classes: int
    width: int = 4

    @nn.compact
    def __call__(self, images, train: bool):
        x = nn.Conv(self.width, (3, 3))(images)
        x = nn.relu(nn.BatchNorm(use_running_average=not train)(x))
        x = nn.Dropout(0.5, deterministic=not train)(x.reshape(len(x), -1))
        return nn.Dense(self.classes)(x)


class EquinoxCNN(eqx.Module):
    conv: eqx.nn.Conv2d
    norm: eqx.nn.BatchNorm
    dropout: eqx.nn.Dropout
    out: eqx.nn.Linear

    def __init__(self, classes, width=4, *, key):
        first, second = jax.random.split(key)
        self.conv = eqx.nn.Conv2d(1, width, 3, padding=1, key=first)
        self.norm = eqx.nn.BatchNorm(width, "batch", mode="ema")
        self.dropout = eqx.nn.Dropout(0.5)
        self.out = eqx.nn.Linear(64 * width, classes, key=second)

    def __call__(self, image, state, *, key):
        x, state = self.norm(self.conv(image), state)
        x = self.dropout(jax.nn.relu(x).reshape(-1), key=key)
        return self.out(x), state


CLASSES = {"nnx": NnxCNN, "linen": LinenCNN, "equinox": EquinoxCNN}


@pytest.fixture(params=CLASSES)
def network(request):
    """A CNN with batch norm and dropout, by its class."""
    return Network.of(CLASSES[request.param], DATA, width=3)


def images(seed=0):
    return jax.random.normal(jax.random.key(seed), (6, 8, 8))


def same(first, second):
    leaves = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    return all(np.array_equal(a, b) for a, b in leaves)


def test_each_seed_draws_its_own_parameters(network):
    params, state = network.init(jax.random.key(0))
    again, _ = network.init(jax.random.key(0))
    other, _ = network.init(jax.random.key(1))
    assert same(params, again)
    assert not same(params, other)
    assert jax.tree.structure(params) == jax.tree.structure(other)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    assert jax.tree.leaves(state), "batch norm's statistics"


def test_training_draws_by_the_key_and_moves_the_statistics_and_evaluation_does_neither(
    network,
):
    params, state = network.init(jax.random.key(0))
    train = jax.jit(network.train_apply)
    first, moved = train(params, state, images(), jax.random.key(0))
    again, _ = train(params, state, images(), jax.random.key(0))
    other, _ = train(params, state, images(), jax.random.key(1))
    assert first.shape == (6, 10)
    assert same(first, again)
    assert not np.allclose(first, other)
    assert not same(state, moved)
    assert jax.tree.structure(state) == jax.tree.structure(moved)
    evaluate = jax.jit(network.apply)
    before = evaluate(params, state, images())
    after = evaluate(params, moved, images())
    assert same(before, evaluate(params, state, images()))
    assert not np.allclose(before, after), "it uses the statistics"


def test_a_gradient_reaches_every_parameter(network):
    params, state = network.init(jax.random.key(0))

    def loss(params):
        logits, _ = network.train_apply(params, state, images(), jax.random.key(0))
        return (logits**2).mean()

    gradient = jax.jit(jax.grad(loss))(params)
    # batch norm removes the biases before it
    dead = [leaf for leaf in jax.tree.leaves(gradient) if not np.any(leaf)]
    assert len(dead) <= 1


@pytest.mark.parametrize("kind", CLASSES)
def test_the_module_comes_back_with_its_parameters(kind):
    network = Network.of(CLASSES[kind], DATA)
    params, state = network.init(jax.random.key(3))
    logits = network.apply(params, state, images())
    module = network.rebuild(params, state)
    with_channels = images()[..., None]
    if kind == "nnx":
        assert isinstance(module, NnxCNN)
        result = module(with_channels)
    elif kind == "linen":
        result = module(with_channels, train=False)
    else:
        module, state = module
        assert isinstance(module, EquinoxCNN)
        call = jax.vmap(
            lambda x: module(x, state, key=jax.random.key(0))[0], axis_name="batch"
        )
        result = call(jnp.moveaxis(with_channels, -1, 1))
    np.testing.assert_allclose(result, logits, rtol=1e-5, atol=1e-5)


def of_nnx(module, x, state, key, training):
    if training:
        module.train()
    else:
        module.eval()
    logits = module(x[..., None])
    return logits, nnx.state(module, nnx.BatchStat)


def of_equinox(module, x, state, key, training):
    if not training:
        module = eqx.nn.inference_mode(module)
    call = jax.vmap(module, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
    return call(x[:, None], state, key=jax.random.split(key, len(x)))


CALLS = {"nnx": of_nnx, "equinox": of_equinox}


@pytest.mark.parametrize("kind", CALLS)
def test_a_task_takes_a_module_apart_and_puts_it_together_as_a_network_does(kind):
    network = Network.of(CLASSES[kind], DATA, width=3)
    init, rebuild = init_and_rebuild(CLASSES[kind], 10, width=3)
    params, state = init(jax.random.key(2))
    assert same((params, state), network.init(jax.random.key(2)))

    @partial(jax.jit, static_argnames="training")
    def called(params, state, key, training):
        module = rebuild(params, state, key)
        return CALLS[kind](module, images(), state, key, training)

    key = jax.random.key(3)
    trained, new_state = called(params, state, key, training=True)
    of_network, new_of_network = network.train_apply(params, state, images(), key)
    assert jax.tree.structure(new_state) == jax.tree.structure(state)
    np.testing.assert_allclose(trained, of_network, rtol=1e-5, atol=1e-5)
    for leaf, other in zip(
        jax.tree.leaves(new_state), jax.tree.leaves(new_of_network), strict=True
    ):
        np.testing.assert_allclose(leaf, other, rtol=1e-5, atol=1e-6)
    # dropout follows the key
    other, _ = called(params, state, jax.random.key(4), training=True)
    assert not np.allclose(trained, other)
    evaluated, _ = called(params, new_state, key, training=False)
    logits = network.apply(params, new_state, images())
    np.testing.assert_allclose(evaluated, logits, rtol=1e-5, atol=1e-5)


def test_a_function_that_makes_a_module_is_taken_apart_without_a_state():
    init, rebuild = init_and_rebuild(
        lambda width, key: eqx.nn.MLP(3, 2, width, 1, key=key), 5
    )
    params, state = init(jax.random.key(0))
    assert not jax.tree.leaves(state)
    assert rebuild(params, state)(jnp.ones(3)).shape == (2,)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        (LinenCNN, "a module of Linen has init and apply already"),
        (eqx.nn.Linear(2, 3, key=jax.random.key(0)), "name the class"),
        (
            len,
            "a class of modules of Flax NNX or Equinox, or a function of rngs or key",
        ),
    ],
)
def test_what_can_not_be_taken_apart_is_said(module, line):
    with pytest.raises(UserError, match=line):
        init_and_rebuild(module)


@pytest.mark.parametrize("kind", CLASSES)
def test_a_class_is_named_like_a_function_with_its_arguments(kind):
    register("cnn")(CLASSES[kind])
    try:
        wide = architecture("cnn(width=5)", DATA)
        positional = architecture("cnn(5)", DATA)
    finally:
        del ENTRIES["architecture"]["cnn"]
    params, _ = wide.init(jax.random.key(0))
    same_params, _ = positional.init(jax.random.key(0))
    assert same(params, same_params)
    shapes = {leaf.shape for leaf in jax.tree.leaves(params)}
    assert any(5 in shape for shape in shapes)


def test_a_linen_module_is_taken_from_a_function():
    register("cnn")(lambda data: LinenCNN(data.classes, 2))
    try:
        network = architecture("cnn", DATA)
    finally:
        del ENTRIES["architecture"]["cnn"]
    params, state = network.init(jax.random.key(0))
    assert network.apply(params, state, images()).shape == (6, 10)


def sequential(size, classes, *, key):
    first, second = jax.random.split(key)
    layers = [
        eqx.nn.Lambda(jnp.ravel),
        eqx.nn.Linear(size, 5, key=first),
        eqx.nn.Lambda(jax.nn.relu),
        eqx.nn.Linear(5, classes, key=second),
    ]
    return eqx.nn.Sequential(layers)


def stacked(size, classes, *, rngs):
    layers = [nnx.Linear(size, 5, rngs=rngs), nnx.Linear(5, classes, rngs=rngs)]
    return nnx.Sequential(lambda x: x.reshape(len(x), -1), *layers)


@pytest.mark.parametrize("maker", [sequential, stacked])
def test_a_function_that_makes_a_module_is_taken_too(maker):
    network = Network.of(maker, DATA)
    params, state = network.init(jax.random.key(0))
    other, _ = network.init(jax.random.key(1))
    assert not same(params, other)
    assert network.apply(params, state, images()).shape == (6, 10)


@pytest.mark.parametrize("kind", CLASSES)
def test_a_class_with_some_of_its_arguments_is_named_like_a_class(kind):
    """As Flax's own `ResNet18 = partial(ResNet, stage_sizes=...)`."""
    register("wide")(partial(CLASSES[kind], width=5))
    try:
        wide = architecture("wide", DATA)
        narrow = architecture("wide(width=2)", DATA)
    finally:
        del ENTRIES["architecture"]["wide"]
    expected, _ = Network.of(CLASSES[kind], DATA, width=5).init(jax.random.key(0))
    params, _ = wide.init(jax.random.key(0))
    assert same(params, expected)
    params, _ = narrow.init(jax.random.key(0))
    assert not any(5 in leaf.shape for leaf in jax.tree.leaves(params))


class LinenOfDevices(nn.Module):
    classes: int

    @nn.compact
    def __call__(self, images, train: bool = True):
        norm = nn.BatchNorm(use_running_average=not train, axis_name="batch")
        return nn.Dense(self.classes)(norm(images.reshape(len(images), -1)))


class NnxOfDevices(nnx.Module):
    def __init__(self, size, classes, *, rngs):
        self.norm = nnx.BatchNorm(size, axis_name="batch", rngs=rngs)
        self.out = nnx.Linear(size, classes, rngs=rngs)

    def __call__(self, images):
        return self.out(self.norm(images.reshape(len(images), -1)))


@pytest.mark.parametrize("module", [LinenOfDevices, NnxOfDevices])
def test_statistics_may_be_averaged_over_the_devices(module):
    """As in Flax's examples, which train on several."""
    network = Network.of(module, DATA)
    params, state = network.init(jax.random.key(0))
    trained, new = network.train_apply(params, state, images(), jax.random.key(1))
    assert trained.shape == (6, 10)
    means = [leaf for leaf in jax.tree.leaves(new) if leaf.shape == (64,)]
    expected = 0.01 * images().reshape(6, -1).mean(0)
    assert any(np.allclose(mean, expected, atol=1e-5) for mean in means)


class Told(eqx.Module):
    """As Equinox's own transformers, whose calls are told by an argument."""

    out: eqx.nn.Linear
    dropout: eqx.nn.Dropout

    def __init__(self, *, key):
        self.out = eqx.nn.Linear(64, 10, key=key)
        self.dropout = eqx.nn.Dropout(0.5)

    def __call__(self, image, enable_dropout, key):
        x = self.dropout(image.reshape(-1), inference=not enable_dropout, key=key)
        return self.out(x)


def test_a_call_of_equinox_may_be_told_whether_it_trains():
    network = Network.of(Told, DATA)
    params, state = network.init(jax.random.key(0))
    evaluated = network.apply(params, state, images())
    weight, bias = params.out.weight, params.out.bias
    expected = images().reshape(6, -1) @ weight.T + bias[None]
    np.testing.assert_allclose(evaluated, expected, rtol=1e-5, atol=1e-6)
    trained, _ = network.train_apply(params, state, images(), jax.random.key(1))
    assert not np.allclose(trained, evaluated, atol=0.01)


class NnxRows(nnx.Module):
    def __init__(self, size, classes, *, rngs):
        self.out = nnx.Linear(size, classes, rngs=rngs)

    def __call__(self, rows):
        return self.out(rows)


class EquinoxRows(eqx.Module):
    out: eqx.nn.Linear

    def __init__(self, size, classes, *, key):
        self.out = eqx.nn.Linear(size, classes, key=key)

    def __call__(self, row):
        return self.out(row)


@pytest.mark.parametrize(
    ("module", "given", "remedy"),
    [
        (NnxRows, r"NnxRows on images \[n, 8, 8, 1\]", "images.reshape"),
        (EquinoxRows, r"EquinoxRows on an image \[1, 8, 8\]", "image.reshape"),
    ],
)
def test_a_module_that_takes_rows_is_told_what_it_got(module, given, remedy):
    network = Network.of(module, DATA)
    params, state = network.init(jax.random.key(0))
    line = rf"^{given} fails, .*; if it takes rows, flatten them in its call: {remedy}"
    with pytest.raises(UserError, match=line):
        network.apply(params, state, images())


def test_what_makes_no_module_is_refused():
    with pytest.raises(
        UserError, match=r"^Network\.of takes a class of modules of Flax"
    ):
        Network.of(lambda data: None, DATA)


class Needy(nnx.Module):
    def __init__(self, inputs, hidden, *, rngs):
        self.layer = nnx.Linear(inputs, hidden, rngs=rngs)


def test_what_a_module_lacks_is_named():
    with pytest.raises(UserError) as error:
        Network.of(Needy, DATA, hidden=3)
    assert str(error.value) == (
        "Needy needs inputs: name Needy(inputs=...), or a function that returns "
        "Network.of(Needy, data, inputs=...); known by themselves are data, shape, size, "
        "channels, classes, num_classes, tokens"
    )


@pytest.mark.parametrize(
    "module",
    [NnxCNN(10, rngs=nnx.Rngs(0)), eqx.nn.MLP(64, 10, 8, 1, key=jax.random.key(0))],
    ids=["nnx", "equinox"],
)
def test_a_module_that_is_drawn_already_is_refused(module):
    kind = type(module).__name__
    with pytest.raises(UserError, match=f"^a {kind} is given whose parameters"):
        Network.of(module, DATA)
