"""The pure training: the notebook's numbers, one compilation, gradients and losses by
hand."""

from dataclasses import replace

import batch_orders
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import NO_KEY, hyper_of, in_order
from reference import SGD, cross_entropies, leaves
from text_tables import blocks, numbers

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
LARGE, SMALL = NOTEBOOK


@pytest.fixture(scope="module")
def pool(mnist):
    return LanePool(mnist)


@pytest.mark.numerical
@pytest.mark.parametrize("trial", [pytest.param(LARGE, marks=pytest.mark.slow), SMALL])
def test_reproduces_the_notebook(trial, pool):
    name, rate = trial.split(" at ")
    pool.attach("trial", TrialConfig(architecture=name, learning_rate=float(rate)))
    for train, test in NOTEBOOK[trial]:
        row = pool.run(["trial"])["trial"]
        assert row.train_accuracy == pytest.approx(train, abs=3e-4)
        assert row.test_accuracy == pytest.approx(test, abs=3e-4)


def stays():
    """What happens between two epochs where nothing is forgotten."""


@pytest.mark.parametrize("epochs", [(0, 1, 2, 3), (3, 1, 2, 0, 2, 3)])
@pytest.mark.parametrize("between", [stays, batch_orders.forget])
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
            order = batch_order(data_seed, epoch, count)
            np.testing.assert_array_equal(order, orders[epoch])


def small_problem(count=70, seed=0):
    rng = np.random.RandomState(seed)
    images = rng.randint(0, 256, (count, 784))
    labels = rng.randint(0, 10, count)
    return images.astype(np.uint8), labels.astype(np.uint8)


def divided(images):
    """Images as the network gets them."""
    return np.float32(images) / np.float32(255)


BY_HAND_TEXT = """
plain
    2.278760624365149 2.3623887195505184 2.3301950571529817 2.3261704967511365
    2.3283046858509913

momentum
    2.278760624365149 2.3623887195505184 2.332710698450515 2.3219320341379603
    2.333692767356539

nesterov
    2.278760624365149 2.3629900761071174 2.3350703317737906 2.3214755790999
    2.326224842539041
"""
"""The losses of the steps of `small_problem`'s epoch, computed in float64."""
BY_HAND = {form: numbers(" ".join(lines)) for form, lines in blocks(BY_HAND_TEXT)}


@pytest.mark.portable
@pytest.mark.parametrize("form", BY_HAND)
def test_epoch_is_sgd_with_a_partial_last_batch(form):
    images, labels = small_problem()
    momentum = 0.0 if form == "plain" else 0.9
    nesterov = form == "nesterov"
    config = TrialConfig(
        architecture="mlp-5-tanh",
        learning_rate=0.05,
        momentum=momentum,
        nesterov=nesterov,
        batch_size=16,
    )
    program = Program.of(config, DATA)
    order = np.random.RandomState(1).permutation(70).astype(np.int32)
    hyper = hyper_of(program, config, steps=5)
    state = program.init(3, hyper)
    train = jax.jit(program.train_epoch)
    trained, losses = train(state, hyper, NO_KEY, (images, labels), order)
    by_hand = SGD(state.params, 16, 0.05, momentum, nesterov)
    losses_by_hand = by_hand.epoch(images, labels, order)
    np.testing.assert_allclose(losses_by_hand, BY_HAND[form], rtol=1e-9)
    np.testing.assert_allclose(losses, BY_HAND[form], rtol=2e-6)
    params = leaves(trained.params)
    for mine, reference in zip(params, leaves(by_hand.params), strict=True):
        np.testing.assert_allclose(mine, reference, rtol=0, atol=5e-7)


def linear(params, state, x):
    return x @ params


def noting(_):
    """A network whose state notes what each step draws."""

    def init(key):
        drawn = jnp.zeros(5)
        return jnp.zeros((784, 10)), (drawn, jnp.int32(0))

    def train_apply(params, state, x, key):
        drawn, count = state
        drawn = drawn.at[count].set(jax.random.uniform(key))
        return x @ params, (drawn, count + 1)

    return Network(init, linear, train_apply)


@pytest.mark.parametrize("first", [0, 10])
def test_step_i_draws_from_the_key_folded_with_i(first):
    """Else an epoch, or the next chunk of one, would drop out the same units again."""
    register("noting")(noting)
    config = TrialConfig(architecture="noting", batch_size=16)
    program = Program.of(config, DATA)
    data = small_problem(70)  # four whole batches and a smaller one
    hyper = hyper_of(program, config, steps=5)
    key = np.array([3, 4], np.uint32)
    start = program.init(0, hyper)
    train = jax.jit(program.train_epoch)
    state, _ = train(start, hyper, key, data, in_order(70), first)
    drawn, _ = state.extra
    whole_key = jax.random.wrap_key_data(key)
    steps = range(first, first + 5)
    keys = [jax.random.fold_in(whole_key, step) for step in steps]
    np.testing.assert_array_equal(drawn, [*map(jax.random.uniform, keys)])


def mlp_of_five():
    """Return the program of a small network, the network, and parameters of it."""
    program = Program.of(TrialConfig(architecture="mlp-5-tanh"), DATA)
    network = architecture("mlp-5-tanh", DATA)
    return program, network, initial(network, 0)


@pytest.mark.parametrize("total", [40, BLOCK, BLOCK + 5, 2 * BLOCK + 7, 1000])
def test_evaluation_counts_every_image_of_its_range_once(total):
    images, labels = small_problem(total)
    program, network, params = mlp_of_five()
    logits = np.asarray(jax.jit(network.apply)(params, divided(images)))
    losses = cross_entropies(logits, labels)
    is_right = logits.argmax(1) == labels
    evaluate = jax.jit(program.evaluate)
    state = TrainState(params, ())
    for first in (0, 3, BLOCK):
        rest = total - first
        counts = {1, BLOCK - 1, BLOCK, 2 * BLOCK + 7, rest - 5, rest}
        for count in sorted(counts):
            if not 0 < count <= rest:
                continue
            evaluated_range = np.array([first, count, 0], np.int32)
            evaluated, sums = evaluate(state, (images, labels), evaluated_range)
            inside = slice(first, first + count)
            assert int(evaluated["loss"]) == int(evaluated["accuracy"]) == count
            right = is_right[inside].sum()
            assert int(sums["accuracy"][0]) == right
            assert int(sums["accuracy"][1]) == right
            loss = losses[inside].sum()
            np.testing.assert_allclose(sums["loss"][0], loss, rtol=1e-5)


def test_evaluation_is_of_the_loss_that_is_trained():
    config = TrialConfig(architecture="mlp-tanh", loss="mse")
    program = Program.of(config, DataSpec("made-up", (2,), (2, 1), 1))
    outputs = np.array([[1, 0], [0, 2], [1, 1]], np.float32)
    labels = np.array([0, 1, 1], np.int32)
    identity = np.eye(2, dtype=np.float32)
    params = ((identity, np.zeros(2, np.float32)),)
    whole = np.array([0, 3, 0], np.int32)
    _, sums = program.evaluate(TrainState(params, ()), (outputs, labels), whole)
    distances = outputs - identity[labels]
    assert float(sums["loss"][0]) == pytest.approx(np.sum(distances**2) / 2)
    assert int(sums["accuracy"][0]) == 2


def test_losses_of_logits_in_few_bits_are_evaluated_in_float32():
    images, labels = small_problem(40)
    program, network, params = mlp_of_five()

    @jax.jit
    def few_bits(params, images):
        return network.apply(params, images).astype(jnp.bfloat16)

    task = classifier(Network(network.init, few_bits), DATA, "cross-entropy")
    coarse = replace(program, task=task)
    whole = np.array([0, 40, 0], np.int32)
    evaluate = jax.jit(coarse.evaluate)
    _, sums = evaluate(TrainState(params, ()), (images, labels), whole)
    logits = np.asarray(few_bits(params, divided(images)), np.float32)
    loss = cross_entropies(logits, labels).sum()
    np.testing.assert_allclose(sums["loss"][0], loss, rtol=1e-5)


def test_cross_entropy_is_finite_for_large_logits():
    logits = jnp.array([[1e4] + [0.0] * 9], jnp.float32)
    losses = cross_entropy(logits, jnp.array([1], jnp.uint8))
    np.testing.assert_allclose(losses, [1e4], rtol=1e-6)


def sizes_and_seed(sizes, seed):
    return sizes, seed


def test_the_notebooks_second_network(monkeypatch):
    params = Program.of(TrialConfig(architecture="stax-mlp"), DATA).shapes.params
    shapes = [weights.shape for weights, _ in params]
    assert shapes == [(784, 1024), (1024, 128), (128, 10)]
    monkeypatch.setattr("mnist_tune.training.networks.glorot_mlp", sizes_and_seed)
    network = architecture("stax-mlp", DATA)
    sizes, seed = network.init(jax.random.key(3))
    assert sizes == (784, 1024, 128, 10)
    assert seed == 3


def test_images_are_divided_then_standardised():
    data = DataSpec("made-up", (2,), (1, 1), 1, 255.0, (0.2, 0.4), (0.5, 0.1))
    images = jnp.array([[51, 204], [204, 51]], jnp.uint8)
    scaled = scale(images, data)
    np.testing.assert_allclose(scaled, [[0.0, 4.0], [1.2, -2.0]], atol=1e-5)


def he(inputs):
    return (2 / inputs) ** 0.5


GLOROT = [(2 / 1084) ** 0.5, (2 / 500) ** 0.5, (2 / 210) ** 0.5]


@pytest.mark.parametrize(
    ("name", "spreads", "biases"),
    [
        ("mlp-300-200-tanh", [0.1] * 3, 0.1),
        ("mlp-300-200-relu-he", [he(784), he(300), 0.005**0.5], None),
        ("mlp-300-200-relu-he0", [he(784), he(300), 0.0], None),
        ("mlp-300-200-relu-glorot", GLOROT, 0.01),
    ],
)
def test_weights_are_drawn_as_wide_as_documented(name, spreads, biases):
    layers = initial(architecture(name, DATA), 4)
    for (weights, *bias), spread in zip(layers, spreads, strict=True):
        assert weights.mean() == pytest.approx(0, abs=0.05 * spread)
        assert weights.std() == pytest.approx(spread, rel=0.05)
        assert len(bias) == (biases is not None)
    for _, *rest in layers[:-1]:
        for bias in rest:
            assert bias.std() == pytest.approx(biases, rel=0.2)


def test_the_notebooks_convnet_is_drawn_from_the_random_numbers_of_its_time():
    """JAX draws others today."""
    data = DataSpec("small", (11, 12, 3), (5, 5), 5)
    layers = initial(architecture("convnet", data), 4)
    convolutions = [(5, 5, 3, 12), (5, 5, 12, 16)]
    dense = [(32, 120), (120, 84), (84, 2)]
    shapes = [weights.shape for weights, _ in layers]
    assert shapes == convolutions + dense
    first = [weights.flat[:2].round(3).tolist() for weights, _ in layers]
    np.testing.assert_allclose(first[0], [-0.001, -0.002], atol=1e-6)
    np.testing.assert_allclose(first[2], [0.06, 0.014], atol=1e-6)
    np.testing.assert_allclose(first[4], [0.129, 0.19], atol=1e-6)
