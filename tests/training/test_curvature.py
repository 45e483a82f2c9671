"""Sharpness: against dense Hessians in float64, with state and randomness, and where
Lanczos breaks down."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from programs import NO_KEY, hyper_of

from mnist_tune.data_spec import DataSpec
from mnist_tune.named_code import parse_call
from mnist_tune.own_code.registry import register
from mnist_tune.training import curvature
from mnist_tune.training.networks import apply_mlp, normal_mlp
from mnist_tune.training.optimizers import ADAM
from mnist_tune.training.program import Program, TrainState
from mnist_tune.training.task import Network
from mnist_tune.trial import TrialConfig

DATA = DataSpec("made-up", (4,), (30, 25, 15), 10)
SIZES = (4, 3, 3)


def init(key):
    return jax.tree.map(jnp.asarray, normal_mlp(SIZES, 0))


def plain(_):
    def apply(params, x):
        first_weights, _ = params[0]
        return apply_mlp("tanh", params, x.astype(first_weights.dtype))

    return Network(init, apply)


def normalised(hidden):
    """Batch normalisation."""
    centred = hidden - hidden.mean(0, keepdims=True)
    variance = hidden.var(0, keepdims=True)
    return centred / jnp.sqrt(variance + 0.1)


def stateful(_):
    """Batch normalisation and dropout."""

    def train_apply(params, state, x, key):
        (w1, b1), (w2, b2) = params
        hidden = jnp.tanh(x.astype(w1.dtype) @ w1 + b1[None])
        hidden = normalised(hidden)
        is_kept = jax.random.bernoulli(key, 0.8, hidden.shape)
        return jnp.where(is_kept, hidden, 0) @ w2 + b2[None], state + 1

    def init_both(key):
        return init(key), jnp.int32(0)

    def apply(params, state, x):
        return x[:, :3]

    return Network(init_both, apply, train_apply)


@pytest.fixture(autouse=True)
def networks():
    for factory in (plain, stateful):
        register(factory.__name__)(factory)


@pytest.fixture
def problem():
    """70 images and labels, and the indices of 60 of them."""
    rng = np.random.RandomState(0)
    images = rng.randn(70, 4).astype(np.float32)
    labels = rng.randint(0, 3, 70).astype(np.int32)
    return images, labels, np.arange(5, 65, dtype=np.int32)


def derivatives(program, state, data, number, index):
    """Return the gradient and the dense Hessian of the loss of a batch."""
    both = _derivatives(program, state, data, jnp.int32(number), jnp.asarray(index))
    gradient, hessian = map(np.asarray, both)
    return gradient, hessian


@partial(jax.jit, static_argnums=0)
def _derivatives(program, state, data, number, index):
    flat, back = ravel_pytree(state.params)

    def loss(flat):
        return program.batch_loss(back(flat), state.extra, data, index, number)

    gradient = jax.grad(loss)
    return gradient(flat), jax.jacrev(gradient)(flat)


def float64_state(program):
    def in_float64(x):
        return 3 * jnp.asarray(x, jnp.float64)

    state = program.init(0, dict.fromkeys(program.step.names, 0.1))
    return state._replace(params=jax.tree.map(in_float64, state.params))


def raveled(tree):
    flat, _ = ravel_pytree(tree)
    return np.asarray(flat)


@pytest.mark.parametrize(
    ("name", "loss"), [("plain", "cross-entropy"), ("stateful", "mse")]
)
def test_is_the_largest_eigenvalue_of_the_dense_hessian(
    name, loss, problem, monkeypatch
):
    """In two blocks and a smaller one."""
    monkeypatch.setattr(curvature, "BLOCK", 25)
    with jax.enable_x64(True):
        program = Program.of(TrialConfig(architecture=name, loss=loss), DATA)
        state = float64_state(program)
        images, labels, probe = map(jnp.asarray, problem)
        data = (images, labels)
        hessians = []
        for number, index in enumerate(np.split(problem[2], [25, 50])):
            _, hessian = derivatives(program, state, data, number, index)
            hessians.append(hessian)
        whole = np.average(hessians, axis=0, weights=[25, 25, 10])
        largest = np.linalg.eigvalsh(whole)[-1]
        measure = jax.jit(curvature.sharpness, static_argnums=(0, 5))
        sharpness = measure(program, state, data, probe, None, 27)
        assert float(sharpness.value) == pytest.approx(largest, rel=1e-6)
        assert float(sharpness.residual) < 1e-6


OWN_ARGUMENTS = {
    "optimizer": "adam(b1=0.5, b2=0.9, eps=0.001, eps_root=0.01)",
    "clip_norm": 0.1,
    "weight_decay": 0.1,
}
ADAMS = [
    {"optimizer": "adam"},
    OWN_ARGUMENTS,
    {"optimizer": "adamw", "weight_decay": 1e-9},
]


@pytest.mark.usefixtures("as_users_have_it")  # optax promotes
@pytest.mark.parametrize("fields", ADAMS)
def test_of_adam_it_is_that_of_the_dense_preconditioned_hessian(fields, problem):
    """P is what optax divides by: a step is the learning rate times its `mu` over P."""
    rate = 0.01
    config = TrialConfig(
        architecture="plain", batch_size=20, learning_rate=rate, **fields
    )
    with jax.enable_x64(True):
        program = Program.of(config, DATA)
        images, labels, probe = map(jnp.asarray, problem)
        data = (images, labels)
        hyper = hyper_of(program, config, 3, jnp.float64)
        start = float64_state(program)
        optimizer = program.step.transformation(hyper).init(start.params)
        start = start._replace(optimizer=optimizer)
        train = jax.jit(program.train_epoch)
        key = jnp.asarray(NO_KEY)
        before, _ = train(start, hyper, key, data, probe[:60])
        after, _ = train(before, hyper, key, data, probe[:20])
        change = raveled(after.params) - raveled(before.params)
        mu = raveled(optax.tree.get(after.optimizer, "mu"))
        divisors = raveled(program.step.preconditioner(hyper, after.optimizer))
        np.testing.assert_allclose(change, -rate * mu / divisors, rtol=1e-6, atol=1e-9)

        _, hessian = derivatives(program, after, data, 0, probe)
        preconditioned = hessian / divisors[:, None]
        largest = np.linalg.eigvals(preconditioned).real.max()
        measure = jax.jit(curvature.sharpness, static_argnums=(0, 5))
        sharpness = measure(program, after, data, probe, hyper, 27)
        assert float(sharpness.value) == pytest.approx(largest, rel=1e-6)
        assert float(sharpness.residual) < 1e-6
        untrained = measure(program, start, data, probe, hyper, 27)
        assert np.isnan(float(untrained.value))


def test_each_kind_of_adam_has_its_preconditioner_compared():
    names = {parse_call(fields["optimizer"]).name for fields in ADAMS}
    assert names == {*ADAM}


def test_batch_sharpness_is_the_curvature_along_the_gradient(problem):
    with jax.enable_x64(True):
        program = Program.of(TrialConfig(architecture="stateful"), DATA)
        state = float64_state(program)
        images, labels, probe = map(jnp.asarray, problem)
        data = (images, labels)
        batches = probe.reshape(3, 20)
        curvatures = []
        for number, index in enumerate(batches):
            g, hessian = derivatives(program, state, data, number, index)
            curvatures.append(g @ hessian @ g / (g @ g))
        measure = jax.jit(curvature.batch_sharpness, static_argnums=0)
        sharpness = measure(program, state, data, batches)
        expected = np.mean(curvatures)
        assert float(sharpness) == pytest.approx(expected, rel=1e-9)


class Quadratic:
    """A program whose loss of a batch is a quadratic: its input is the curvature."""

    def batch_loss(self, params, extra, data, index, number):
        images, _ = data
        return (images[index] * params**2 / 2).mean()


def quadratic_sharpness(images):
    """The batch sharpness of quadratics with these curvatures."""
    batches = jnp.arange(len(images), dtype=jnp.int32).reshape(-1, 1)
    images = jnp.array(images, jnp.float32)
    state = TrainState(jnp.float32(3), ())
    data = (images, images)
    return float(curvature.batch_sharpness(Quadratic(), state, data, batches))


def test_a_batch_without_a_gradient_is_left_out_of_batch_sharpness():
    """An input of 0 has no gradient."""
    assert quadratic_sharpness([4.0, 0.0, 2.0]) == 3
    assert np.isnan(quadratic_sharpness([0.0, 0.0]))
    assert np.isnan(quadratic_sharpness([4.0, np.nan]))  # it has diverged


def test_takes_the_largest_eigenvalue_not_the_largest_in_size():
    diagonal = jnp.array([-5.0, 0.5, 0.3, -1.0])
    largest = of_diagonal(diagonal, 4)
    assert float(largest.value) == pytest.approx(0.5, rel=1e-5)


def test_an_eigenvalue_is_within_the_residual():
    diagonal = jnp.linspace(-3.0, 1.0, 60)
    largest = of_diagonal(diagonal, 5)
    nearest = jnp.abs(diagonal - largest.value).min()
    off = float(nearest / largest.value)
    assert 0 < off <= float(largest.residual) < 0.5


def of_diagonal(diagonal, products):
    @jax.jit
    def largest(diagonal):
        def product(v):
            return diagonal * v

        return curvature.largest_eigenvalue(product, diagonal, products)

    return largest(diagonal)


LOW_RANK = [
    np.zeros(40),
    np.full(40, 2.0),
    np.full(40, -2.0),
    np.arange(40) % 3,
    [3.0],
    np.full(40, np.nan),
]


@pytest.mark.parametrize("diagonal", LOW_RANK)
def test_breaks_down_where_the_start_vector_reaches_no_further(diagonal):
    """A saturated cross-entropy has a Hessian of 0, one example has a Hessian of low
    rank, what diverged one of NaN."""
    diagonal = jnp.array(diagonal, jnp.float32)
    largest = of_diagonal(diagonal, 16)
    np.testing.assert_allclose(largest.value, diagonal.max(), rtol=1e-5)
    np.testing.assert_allclose(largest.residual, 0 * diagonal[0], atol=1e-5)


def test_parameters_of_fewer_bits_are_multiplied_in_float32():
    params = jnp.array([1.0, 2.0], jnp.bfloat16)
    curved = jnp.array([1.0, 3.0])
    probe = jnp.zeros(3, jnp.int32)

    def loss(params, number, block):
        assert params.dtype == jnp.bfloat16  # the network gets what it was made for
        return jnp.sum(curved * params.astype(jnp.float32) ** 2) / 2

    def product(v):
        return curvature.mean_product(loss, params, probe, v)

    largest = curvature.largest_eigenvalue(product, params)
    assert largest.value.dtype == jnp.float32
    assert float(largest.value) == pytest.approx(3, rel=1e-2)


def test_the_probe_is_fixed_and_leaves_the_first_images():
    probe = curvature.probe_of(1000, 100)
    np.testing.assert_array_equal(probe, curvature.probe_of(1000)[:100])
    assert probe.dtype == np.int32
    assert len(set(probe.tolist())) == 100
    assert probe.max() > 500
