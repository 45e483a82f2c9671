"""The pure training: the notebook's numbers, one compilation, gradients and losses by hand."""

import batch_orders
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import SGD, leaves

from mnist_tune.data_spec import DataSpec
from mnist_tune.errors import UserError
from mnist_tune.execution.pool import LanePool
from mnist_tune.training.architectures import architecture
from mnist_tune.training.batch_order import batch_order
from mnist_tune.training.losses import cross_entropy
from mnist_tune.training.networks import dense, initial
from mnist_tune.training.program import EVALUATION_BLOCK, Program
from mnist_tune.trial import TrialConfig

DATA = DataSpec("made-up", (784,), (7,) * 10, 7, 255.0)
NOTEBOOK = {
    "mlp-1024-128-tanh at 0.1": [(0.94015, 0.9377), (0.95928, 0.9525)],
    "mlp-1024-128-tanh at 0.001": [(0.57940, 0.5819)],
    "mlp-4-tanh at 0.1": [(0.68098, 0.6829), (0.74153, 0.7386), (0.79400, 0.7928)],
}
"""The first epochs that the notebook printed; `sweeps/notebook.py` compares all of them."""


@pytest.mark.parametrize("trial", NOTEBOOK)
def test_reproduces_the_notebook(trial, mnist):
    name, rate = trial.split(" at ")
    pool = LanePool(mnist)
    pool.attach("trial", TrialConfig(architecture=name, learning_rate=float(rate)))
    for train, test in NOTEBOOK[trial]:
        row = pool.run(["trial"])["trial"]
        assert row["train_accuracy"] == pytest.approx(train, abs=3e-4)
        assert row["test_accuracy"] == pytest.approx(test, abs=3e-4)


@pytest.mark.parametrize("epochs", [(0, 1, 2, 3), (3, 1, 2, 0, 2, 3)])
@pytest.mark.parametrize("between", [lambda: None, batch_order.cache_clear, batch_orders.forget])
def test_batch_order_is_the_notebooks_stream(epochs, between):
    """In whatever order epochs are asked for, beside other streams, and from a cold start."""
    streams = {}
    for data_seed, count in [(7, 100), (8, 100), (7, 90)]:
        rng = np.random.RandomState(data_seed)
        streams[data_seed, count] = [rng.permutation(count) for _ in range(4)]
    batch_orders.forget()
    for epoch in epochs:
        for (data_seed, count), orders in streams.items():
            between()
            np.testing.assert_array_equal(batch_order(data_seed, epoch, count), orders[epoch])


def test_batch_order_is_a_pure_function():
    ahead = batch_order(11, 5, 100)
    batch_orders.forget()
    batch_order(11, 2, 100)
    np.testing.assert_array_equal(batch_order(11, 5, 100), ahead)


def small_problem(count=70, seed=0):
    rng = np.random.RandomState(seed)
    return rng.randint(0, 256, (count, 784)).astype(np.uint8), rng.randint(0, 10, count).astype(np.uint8)


BY_HAND = {
    "plain": [2.278760624365149, 2.3623887195505184, 2.3301950571529817, 2.3261704967511365, 2.3283046858509913],
    "momentum": [2.278760624365149, 2.3623887195505184, 2.332710698450515, 2.3219320341379603, 2.333692767356539],
    "nesterov": [2.278760624365149, 2.3629900761071174, 2.3350703317737906, 2.3214755790999, 2.326224842539041],
}
"""The losses of the steps of `small_problem`'s epoch, computed in float64."""


@pytest.mark.portable
@pytest.mark.parametrize("form", BY_HAND)
def test_epoch_is_sgd_with_a_partial_last_batch(form):
    images, labels = small_problem()
    momentum, nesterov = 0.0 if form == "plain" else 0.9, form == "nesterov"
    config = TrialConfig(architecture="mlp-5-tanh", momentum=momentum, nesterov=nesterov, batch_size=16)
    program = Program.of(config, DATA)
    order = np.random.RandomState(1).permutation(70).astype(np.int32)
    state = program.init(3)
    values = {"learning_rate": np.float32(0.05), "momentum": np.float32(momentum)}
    hyper = {name: values[name] for name in program.step.names}
    key = np.zeros(2, np.uint32)
    got, losses = jax.jit(program.train_epoch)(state, hyper, key, images, labels, order)
    by_hand = SGD(state.params, 16, 0.05, momentum, nesterov)
    np.testing.assert_allclose(by_hand.epoch(images, labels, order), BY_HAND[form], rtol=1e-9)
    np.testing.assert_allclose(losses, BY_HAND[form], rtol=2e-6)
    for mine, reference in zip(leaves(got.params), leaves(by_hand.params), strict=True):
        np.testing.assert_allclose(mine, reference, rtol=0, atol=5e-7)


@pytest.mark.parametrize("first", [0, 3, EVALUATION_BLOCK])
@pytest.mark.parametrize("count", [1, EVALUATION_BLOCK - 1, EVALUATION_BLOCK, 2 * EVALUATION_BLOCK + 7])
@pytest.mark.parametrize("after", [0, 5, 300])
def test_evaluation_counts_every_image_of_its_range_once(first, count, after):
    images, labels = small_problem(first + count + after)
    program = Program.of(TrialConfig(architecture="mlp-5-tanh"), DATA)
    params = program.init(0).params
    loss, right = jax.jit(program.evaluate)(params, (), images, labels, np.int32(first), np.int32(count))
    inside = slice(first, first + count)
    logits = program.network.apply(params, jnp.asarray(images[inside], jnp.float32) / 255)
    assert int(right) == int((np.asarray(logits).argmax(1) == labels[inside]).sum())
    np.testing.assert_allclose(loss, cross_entropy(logits, jnp.asarray(labels[inside])).sum(), rtol=1e-5)


def test_cross_entropy_is_finite_for_large_logits():
    logits = jnp.array([[1e4] + [0.0] * 9], jnp.float32)
    np.testing.assert_allclose(cross_entropy(logits, jnp.array([1], jnp.uint8)), [1e4], rtol=1e-6)


def test_gradient_of_the_dense_layer():
    rng = np.random.RandomState(0)
    x, w, b = (rng.randn(*shape).astype(np.float32) for shape in ((6, 5), (5, 4), (4,)))
    loss, plain = lambda f: lambda *a: jnp.sum(jnp.sin(f(*a))), lambda x, w, b: jnp.dot(x, w) + b[None, :]
    got = jax.grad(loss(dense), argnums=(0, 1, 2))(x, w, b)
    for mine, reference in zip(got, jax.grad(loss(plain), argnums=(0, 1, 2))(x, w, b), strict=True):
        np.testing.assert_allclose(mine, reference, rtol=1e-5, atol=1e-6)


def test_normal_initialisation_is_the_notebooks():
    rng, params = np.random.RandomState(4), initial(architecture("mlp-6-3-tanh", DATA), 4)
    for (w, b), (m, n) in zip(params, [(784, 6), (6, 3), (3, 10)], strict=True):
        np.testing.assert_array_equal(w, (0.1 * rng.randn(m, n)).astype(np.float32))
        np.testing.assert_array_equal(b, (0.1 * rng.randn(n)).astype(np.float32))


def test_glorot_initialisation_is_staxs():
    from jax.example_libraries import stax

    layers = [stax.Flatten, stax.Dense(1024), stax.Relu, stax.Dense(128), stax.Relu, stax.Dense(10)]
    with jax.threefry_partitionable(False):
        _, reference = stax.serial(*layers)[0](jax.random.PRNGKey(123), (-1, 28, 28, 1))
    for mine, theirs in zip(initial(architecture("stax-mlp", DATA), 123), [p for p in reference if p], strict=True):
        np.testing.assert_allclose(mine[0], theirs[0], rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(mine[1], theirs[1], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["mlp", "mlp-0-tanh", "mlp-8", "mlp-8-elu", "mlp-x-tanh", "convnet-3", "resnet"])
def test_unknown_architectures_are_refused(name):
    with pytest.raises(UserError, match=name):
        architecture(name, DATA)
