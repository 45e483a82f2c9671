"""Sharpness: against dense Hessians in float64, with state and randomness, and where
Lanczos breaks down."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

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


def plain(_):
    def apply(params, x):
        return apply_mlp("tanh", params, x.astype(params[0][0].dtype))

    return Network(lambda key: jax.tree.map(jnp.asarray, normal_mlp(SIZES, 0)), apply)


def stateful(_):
    """Batch normalisation and dropout."""

    def train_apply(params, state, x, key):
        x = x.astype(params[0][0].dtype)
        hidden = jnp.tanh(x @ params[0][0] + params[0][1][None])
        hidden = (hidden - hidden.mean(0, keepdims=True)) / jnp.sqrt(
            hidden.var(0, keepdims=True) + 0.1
        )
        kept = jax.random.bernoulli(key, 0.8, hidden.shape)
        return jnp.where(kept, hidden, 0) @ params[1][0] + params[1][1][None], state + 1

    def init(key):
        return jax.tree.map(jnp.asarray, normal_mlp(SIZES, 0)), jnp.int32(0)

    return Network(init, lambda params, state, x: x[:, :3], train_apply)


@pytest.fixture(autouse=True)
def networks():
    for factory in (plain, stateful):
        register(factory.__name__)(factory)


@pytest.fixture
def problem():
    """70 images and labels, and the indices of 60 of them."""
    rng = np.random.RandomState(0)
    return (
        rng.randn(70, 4).astype(np.float32),
        rng.randint(0, 3, 70).astype(np.int32),
        np.arange(5, 65, dtype=np.int32),
    )


def derivatives(program, state, images, labels, number, index):
    """Return the gradient and the dense Hessian of the loss of a batch."""
    return tuple(
        map(
            np.asarray,
            _derivatives(
                program, state, (images, labels), jnp.int32(number), jnp.asarray(index)
            ),
        )
    )


@partial(jax.jit, static_argnums=0)
def _derivatives(program, state, data, number, index):
    flat, back = ravel_pytree(state.params)

    def loss(flat):
        return program.batch_loss(back(flat), state.extra, data, index, number)

    return jax.grad(loss)(flat), jax.jacrev(jax.grad(loss))(flat)


def float64_state(program):
    state = program.init(0, dict.fromkeys(program.step.names, 0.1))
    return state._replace(
        params=jax.tree.map(lambda x: 3 * jnp.asarray(x, jnp.float64), state.params)
    )


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
        state, (images, labels, probe) = (
            float64_state(program),
            map(jnp.asarray, problem),
        )
        parts = np.split(problem[2], [25, 50])
        hessians = [
            derivatives(program, state, images, labels, *part)[1]
            for part in enumerate(parts)
        ]
        expected = np.linalg.eigvalsh(
            np.average(hessians, axis=0, weights=[25, 25, 10])
        )[-1]
        measure = jax.jit(curvature.sharpness, static_argnums=(0, 5))
        found = measure(program, state, (images, labels), probe, None, 27)
        assert float(found.value) == pytest.approx(expected, rel=1e-6)
        assert float(found.residual) < 1e-6


ADAMS = [
    {"optimizer": "adam"},
    {
        "optimizer": "adam(b1=0.5, b2=0.9, eps=0.001, eps_root=0.01)",
        "clip_norm": 0.1,
        "weight_decay": 0.1,
    },
    {"optimizer": "adamw", "weight_decay": 1e-9},
]


@pytest.mark.usefixtures("as_users_have_it")  # optax promotes
@pytest.mark.parametrize("fields", ADAMS)
def test_of_adam_it_is_that_of_the_dense_preconditioned_hessian(fields, problem):
    """P is what optax divides by: a step is the learning rate times its `mu` over P."""
    with jax.enable_x64(True):
        config = TrialConfig(
            architecture="plain", batch_size=20, learning_rate=0.01, **fields
        )
        program = Program.of(config, DATA)
        images, labels, probe = map(jnp.asarray, problem)
        hyper = {
            name: jnp.float64(value)
            for name, value in program.step.hyperparameters(config, 3).items()
        }
        start = float64_state(program)
        start = start._replace(
            optimizer=program.step.transformation(hyper).init(start.params)
        )
        train = jax.jit(program.train_epoch)
        key = jnp.zeros(2, jnp.uint32)
        before, _ = train(start, hyper, key, (images, labels), probe[:60])
        after, _ = train(before, hyper, key, (images, labels), probe[:20])
        flat = [np.asarray(ravel_pytree(of)[0]) for of in (before.params, after.params)]
        mu = np.asarray(ravel_pytree(optax.tree.get(after.optimizer, "mu"))[0])
        divisors = np.asarray(
            ravel_pytree(program.step.preconditioner(hyper, after.optimizer))[0]
        )
        np.testing.assert_allclose(
            flat[1] - flat[0], -0.01 * mu / divisors, rtol=1e-6, atol=1e-9
        )

        [_, hessian] = derivatives(program, after, images, labels, 0, probe)
        expected = np.linalg.eigvals(hessian / divisors[:, None]).real.max()
        measure = jax.jit(curvature.sharpness, static_argnums=(0, 5))
        found = measure(program, after, (images, labels), probe, hyper, 27)
        assert float(found.value) == pytest.approx(expected, rel=1e-6)
        assert float(found.residual) < 1e-6
        assert np.isnan(
            float(measure(program, start, (images, labels), probe, hyper, 27).value)
        )


def test_each_kind_of_adam_has_its_preconditioner_compared():
    assert {parse_call(one["optimizer"]).name for one in ADAMS} == {*ADAM}


def test_batch_sharpness_is_the_curvature_along_the_gradient(problem):
    with jax.enable_x64(True):
        program = Program.of(TrialConfig(architecture="stateful"), DATA)
        state, (images, labels, probe) = (
            float64_state(program),
            map(jnp.asarray, problem),
        )
        batches = probe.reshape(3, 20)
        parts = [
            derivatives(program, state, images, labels, *part)
            for part in enumerate(batches)
        ]
        measure = jax.jit(curvature.batch_sharpness, static_argnums=0)
        found = measure(program, state, (images, labels), batches)
        expected = np.mean([g @ hessian @ g / (g @ g) for g, hessian in parts])
        assert float(found) == pytest.approx(expected, rel=1e-9)


def test_a_batch_without_a_gradient_is_left_out_of_batch_sharpness():
    """The batches are inputs of a quadratic loss, so each has its own curvature, and an
    input of 0 has no gradient."""

    class Quadratic:
        def batch_loss(self, params, extra, data, index, number):
            return (data[0][index] * params**2 / 2).mean()

    def measured(images):
        batches = jnp.arange(len(images), dtype=jnp.int32).reshape(-1, 1)
        images = jnp.array(images, jnp.float32)
        return float(
            curvature.batch_sharpness(
                Quadratic(), TrainState(jnp.float32(3), ()), (images, images), batches
            )
        )

    assert measured([4.0, 0.0, 2.0]) == 3
    assert np.isnan(measured([0.0, 0.0]))
    assert np.isnan(measured([4.0, np.nan]))  # it has diverged


def test_takes_the_largest_eigenvalue_not_the_largest_in_size():
    diagonal = jnp.array([-5.0, 0.5, 0.3, -1.0])
    assert float(of_diagonal(diagonal, 4).value) == pytest.approx(0.5, rel=1e-5)


def test_an_eigenvalue_is_within_the_residual():
    diagonal = jnp.linspace(-3.0, 1.0, 60)
    found = of_diagonal(diagonal, 5)
    off = float(jnp.abs(diagonal - found.value).min() / found.value)
    assert 0 < off <= float(found.residual) < 0.5


def of_diagonal(diagonal, products):
    return jax.jit(
        lambda d: curvature.largest_eigenvalue(lambda v: d * v, d, products)
    )(diagonal)


def test_breaks_down_where_the_start_vector_reaches_no_further():
    """A saturated cross-entropy has a Hessian of 0, one example has a Hessian of low
    rank, what diverged one of NaN."""
    for diagonal in (
        np.zeros(40),
        np.full(40, 2.0),
        np.full(40, -2.0),
        np.arange(40) % 3,
        [3.0],
        np.full(40, np.nan),
    ):
        diagonal = jnp.array(diagonal, jnp.float32)
        found = of_diagonal(diagonal, 16)
        np.testing.assert_allclose(found.value, diagonal.max(), rtol=1e-5)
        np.testing.assert_allclose(found.residual, 0 * diagonal[0], atol=1e-5)


def test_parameters_of_fewer_bits_are_multiplied_in_float32():
    params = jnp.array([1.0, 2.0], jnp.bfloat16)
    curved = jnp.array([1.0, 3.0])

    def loss(params, number, block):
        assert params.dtype == jnp.bfloat16  # the network gets what it was made for
        return jnp.sum(curved * params.astype(jnp.float32) ** 2) / 2

    probe = jnp.zeros(3, jnp.int32)
    found = curvature.largest_eigenvalue(
        lambda v: curvature.mean_product(loss, params, probe, v), params
    )
    assert found.value.dtype == jnp.float32
    assert float(found.value) == pytest.approx(3, rel=1e-2)


def test_the_probe_is_fixed_and_leaves_the_first_images():
    probe = curvature.probe_of(1000, 100)
    np.testing.assert_array_equal(probe, curvature.probe_of(1000)[:100])
    assert probe.dtype == np.int32
    assert len(set(probe.tolist())) == 100
    assert probe.max() > 500
