"""The pure training: the notebook's numbers, one compilation, gradients and losses by
hand."""

from dataclasses import replace

import batch_orders
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import SGD, cross_entropies, leaves

from mnist_tune.data_spec import DataSpec
from mnist_tune.execution.pool import LanePool
from mnist_tune.own_code.registry import register
from mnist_tune.training.architectures import architecture
from mnist_tune.training.batch_order import batch_order
from mnist_tune.training.classifier import classifier, cross_entropy, scale
from mnist_tune.training.networks import initial
from mnist_tune.training.program import Program, TrainState
from mnist_tune.training.task import BLOCK, Network
from mnist_tune.trial import TrialConfig

DATA = DataSpec("made-up", (784,), (7,) * 10, 7, 255.0)
NOTEBOOK = {
    "mlp-1024-128-tanh at 0.1": [(0.94015, 0.9377)],
    "mlp-4-tanh at 0.1": [(0.68098, 0.6829), (0.74153, 0.7386), (0.79400, 0.7928)],
}
"""The first epochs that the notebook printed; `sweeps/notebook.py` compares all of
them."""


@pytest.fixture(scope="module")
def pool(mnist):
    return LanePool(mnist)


@pytest.mark.numerical
@pytest.mark.parametrize(
    "trial",
    [
        pytest.param(one, marks=pytest.mark.slow) if "1024" in one else one
        for one in NOTEBOOK
    ],
)
def test_reproduces_the_notebook(trial, pool):
    name, rate = trial.split(" at ")
    pool.attach("trial", TrialConfig(architecture=name, learning_rate=float(rate)))
    for train, test in NOTEBOOK[trial]:
        row = pool.run(["trial"])["trial"]
        assert row.train_accuracy == pytest.approx(train, abs=3e-4)
        assert row.test_accuracy == pytest.approx(test, abs=3e-4)


@pytest.mark.parametrize("epochs", [(0, 1, 2, 3), (3, 1, 2, 0, 2, 3)])
@pytest.mark.parametrize("between", [lambda: None, batch_orders.forget])
def test_batch_order_is_the_notebooks_stream(epochs, between):
    """In whatever order epochs are asked for, beside other streams, and from a cold
    start."""
    streams = {}
    for data_seed, count in [(7, 100), (8, 100), (7, 90)]:
        rng = np.random.RandomState(data_seed)
        streams[data_seed, count] = [rng.permutation(count) for _ in range(4)]
    batch_orders.forget()
    for epoch in epochs:
        for (data_seed, count), orders in streams.items():
            between()
            np.testing.assert_array_equal(
                batch_order(data_seed, epoch, count), orders[epoch]
            )


def small_problem(count=70, seed=0):
    rng = np.random.RandomState(seed)
    return rng.randint(0, 256, (count, 784)).astype(np.uint8), rng.randint(
        0, 10, count
    ).astype(np.uint8)


BY_HAND = {
    "plain": [
        2.278760624365149,
        2.3623887195505184,
        2.3301950571529817,
        2.3261704967511365,
        2.3283046858509913,
    ],
    "momentum": [
        2.278760624365149,
        2.3623887195505184,
        2.332710698450515,
        2.3219320341379603,
        2.333692767356539,
    ],
    "nesterov": [
        2.278760624365149,
        2.3629900761071174,
        2.3350703317737906,
        2.3214755790999,
        2.326224842539041,
    ],
}
"""The losses of the steps of `small_problem`'s epoch, computed in float64."""


@pytest.mark.portable
@pytest.mark.parametrize("form", BY_HAND)
def test_epoch_is_sgd_with_a_partial_last_batch(form):
    images, labels = small_problem()
    momentum, nesterov = 0.0 if form == "plain" else 0.9, form == "nesterov"
    config = TrialConfig(
        architecture="mlp-5-tanh", momentum=momentum, nesterov=nesterov, batch_size=16
    )
    program = Program.of(config, DATA)
    order = np.random.RandomState(1).permutation(70).astype(np.int32)
    values = {"learning_rate": np.float32(0.05), "momentum": np.float32(momentum)}
    hyper = {name: values[name] for name in program.step.names}
    state, key = program.init(3, hyper), np.zeros(2, np.uint32)
    got, losses = jax.jit(program.train_epoch)(
        state, hyper, key, (images, labels), order
    )
    by_hand = SGD(state.params, 16, 0.05, momentum, nesterov)
    np.testing.assert_allclose(
        by_hand.epoch(images, labels, order), BY_HAND[form], rtol=1e-9
    )
    np.testing.assert_allclose(losses, BY_HAND[form], rtol=2e-6)
    for mine, reference in zip(leaves(got.params), leaves(by_hand.params), strict=True):
        np.testing.assert_allclose(mine, reference, rtol=0, atol=5e-7)


@pytest.mark.parametrize("first", [0, 10])
def test_step_i_draws_from_the_key_folded_with_i(first):
    """Else an epoch, or the next chunk of one, would drop out the same units again."""

    def noting(_):
        def train_apply(params, state, x, key):
            drawn, count = state
            return x @ params, (drawn.at[count].set(jax.random.uniform(key)), count + 1)

        zeros = jnp.zeros((784, 10)), (jnp.zeros(5), jnp.int32(0))
        return Network(
            lambda key: zeros, lambda params, state, x: x @ params, train_apply
        )

    register("noting")(noting)
    program = Program.of(TrialConfig(architecture="noting", batch_size=16), DATA)
    data = small_problem(70)  # four whole batches and a smaller one
    hyper = {name: np.float32(0.1) for name in program.step.names}
    key = np.array([3, 4], np.uint32)
    state, _ = jax.jit(program.train_epoch)(
        program.init(0, hyper), hyper, key, data, np.arange(70, dtype=np.int32), first
    )
    keys = [
        jax.random.fold_in(jax.random.wrap_key_data(key), first + i) for i in range(5)
    ]
    np.testing.assert_array_equal(
        state.extra[0], [jax.random.uniform(one) for one in keys]
    )


@pytest.mark.parametrize("total", [40, BLOCK, BLOCK + 5, 2 * BLOCK + 7, 1000])
def test_evaluation_counts_every_image_of_its_range_once(total):
    images, labels = small_problem(total)
    program = Program.of(TrialConfig(architecture="mlp-5-tanh"), DATA)
    network = architecture("mlp-5-tanh", DATA)
    params = initial(network, 0)
    logits = np.asarray(
        jax.jit(network.apply)(params, np.float32(images) / np.float32(255))
    )
    losses, correct = cross_entropies(logits, labels), logits.argmax(1) == labels
    evaluate = jax.jit(program.evaluate)
    for first in (0, 3, BLOCK):
        counts = {1, BLOCK - 1, BLOCK, 2 * BLOCK + 7, total - first - 5, total - first}
        for count in sorted(count for count in counts if 0 < count <= total - first):
            of = np.array([first, count], np.int32)
            evaluated, sums = evaluate(TrainState(params, ()), (images, labels), of)
            inside = slice(first, first + count)
            assert int(evaluated) == count
            assert (
                int(sums["accuracy"][0])
                == int(sums["accuracy"][1])
                == correct[inside].sum()
            )
            np.testing.assert_allclose(sums["loss"][0], losses[inside].sum(), rtol=1e-5)


def test_evaluation_is_of_the_loss_that_is_trained():
    program = Program.of(
        TrialConfig(architecture="mlp-tanh", loss="mse"),
        DataSpec("made-up", (2,), (2, 1), 1),
    )
    images, labels = (
        np.array([[1, 0], [0, 2], [1, 1]], np.float32),
        np.array([0, 1, 1], np.int32),
    )
    outputs = [[1, 0], [0, 2], [1, 1]]
    params = ((np.eye(2, dtype=np.float32), np.zeros(2, np.float32)),)
    _, sums = program.evaluate(
        TrainState(params, ()), (images, labels), np.array([0, 3], np.int32)
    )
    assert float(sums["loss"][0]) == pytest.approx(
        np.sum((outputs - np.eye(2)[labels]) ** 2) / 2
    )
    assert int(sums["accuracy"][0]) == 2


def test_losses_of_logits_in_few_bits_are_evaluated_in_float32():
    program = Program.of(TrialConfig(architecture="mlp-5-tanh"), DATA)
    images, labels = small_problem(40)
    network = architecture("mlp-5-tanh", DATA)
    params, logits = (
        initial(network, 0),
        jax.jit(lambda *given: network.apply(*given).astype(jnp.bfloat16)),
    )
    coarse = replace(
        program, task=classifier(Network(network.init, logits), DATA, "cross-entropy")
    )
    _, sums = jax.jit(coarse.evaluate)(
        TrainState(params, ()), (images, labels), np.array([0, 40], np.int32)
    )
    found = np.asarray(logits(params, np.float32(images) / np.float32(255)), np.float32)
    np.testing.assert_allclose(
        sums["loss"][0], cross_entropies(found, labels).sum(), rtol=1e-5
    )


def test_cross_entropy_is_finite_for_large_logits():
    logits = jnp.array([[1e4] + [0.0] * 9], jnp.float32)
    np.testing.assert_allclose(
        cross_entropy(logits, jnp.array([1], jnp.uint8)), [1e4], rtol=1e-6
    )


def test_the_notebooks_second_network(monkeypatch):
    params = Program.of(TrialConfig(architecture="stax-mlp"), DATA).shapes.params
    assert [w.shape for w, _ in params] == [(784, 1024), (1024, 128), (128, 10)]
    monkeypatch.setattr(
        "mnist_tune.training.networks.glorot_mlp", lambda sizes, seed: (sizes, seed)
    )
    assert architecture("stax-mlp", DATA).init(jax.random.key(3)) == (
        (784, 1024, 128, 10),
        3,
    )


def test_images_are_divided_then_standardised():
    data = DataSpec("made-up", (2,), (1, 1), 1, 255.0, (0.2, 0.4), (0.5, 0.1))
    images = jnp.array([[51, 204], [204, 51]], jnp.uint8)
    np.testing.assert_allclose(
        scale(images, data), [[0.0, 4.0], [1.2, -2.0]], atol=1e-5
    )


@pytest.mark.parametrize(
    ("name", "spreads", "biases"),
    [
        ("mlp-300-200-tanh", [0.1] * 3, 0.1),
        ("mlp-300-200-relu-he", [(2 / 784) ** 0.5, (2 / 300) ** 0.5, 0.005**0.5], None),
        ("mlp-300-200-relu-he0", [(2 / 784) ** 0.5, (2 / 300) ** 0.5, 0.0], None),
        (
            "mlp-300-200-relu-glorot",
            [(2 / 1084) ** 0.5, (2 / 500) ** 0.5, (2 / 210) ** 0.5],
            0.01,
        ),
    ],
)
def test_weights_are_drawn_as_wide_as_documented(name, spreads, biases):
    layers = initial(architecture(name, DATA), 4)
    for (weights, *bias), spread in zip(layers, spreads, strict=True):
        assert weights.mean() == pytest.approx(0, abs=0.05 * spread)
        assert weights.std() == pytest.approx(spread, rel=0.05)
        assert len(bias) == (biases is not None)
    drawn = [bias.std() for _, *rest in layers[:-1] for bias in rest]
    assert drawn == [pytest.approx(biases, rel=0.2)] * len(drawn)


def test_the_notebooks_convnet_is_drawn_from_the_random_numbers_of_its_time():
    """JAX draws others today."""
    data = DataSpec("small", (11, 12, 3), (5, 5), 5)
    layers = initial(architecture("convnet", data), 4)
    assert [weights.shape for weights, _ in layers] == [
        (5, 5, 3, 12),
        (5, 5, 12, 16),
        (32, 120),
        (120, 84),
        (84, 2),
    ]
    first = [weights.flat[:2].round(3).tolist() for weights, _ in layers]
    np.testing.assert_allclose(first[0], [-0.001, -0.002], atol=1e-6)
    np.testing.assert_allclose(first[2], [0.06, 0.014], atol=1e-6)
    np.testing.assert_allclose(first[4], [0.129, 0.19], atol=1e-6)
