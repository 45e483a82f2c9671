"""Optimisers and schedules against plain loops of optax."""

import re
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mnist_tune.data_spec import DataSpec
from mnist_tune.named_code import parse_call
from mnist_tune.own_code.registry import register_optimizer
from mnist_tune.training.architectures import architecture
from mnist_tune.training.networks import initial
from mnist_tune.training.optimizers import ADAM, BUILT_IN, Step, threshold
from mnist_tune.training.program import Program
from mnist_tune.trial import TrialConfig

pytestmark = pytest.mark.usefixtures("as_users_have_it")  # optax promotes

DATA = DataSpec("made-up", (6,), (20, 20, 20), 10)
RATE, DECAY, CLIP, BATCH, EPOCHS = 0.05, 0.02, 0.3, 6, 3
STEPS = 10
"""In an epoch of 60 examples."""


@pytest.fixture(scope="module")
def examples():
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(size=(60, 6)), jnp.float32), jnp.asarray(
        rng.integers(0, 3, 60), jnp.int32
    )


EXPECTED: dict[str, tuple[Any, dict[str, Any]]] = {
    "sgd": (lambda rate: optax.sgd(rate), {}),
    "sgd, momentum": (lambda rate: optax.sgd(rate, momentum=0.9), {"momentum": 0.9}),
    "sgd, nesterov": (
        lambda rate: optax.sgd(rate, 0.9, nesterov=True),
        {"momentum": 0.9, "nesterov": True},
    ),
    "sgd, decay": (
        lambda rate: optax.chain(optax.add_decayed_weights(DECAY), optax.sgd(rate)),
        {"weight_decay": DECAY},
    ),
    "sgd, clipped, decay": (
        lambda rate: optax.chain(
            optax.clip_by_global_norm(CLIP),
            optax.add_decayed_weights(DECAY),
            optax.sgd(rate),
        ),
        {"weight_decay": DECAY, "clip_norm": CLIP},
    ),
    "adam": (lambda rate: optax.adam(rate), {"optimizer": "adam"}),
    "adam, arguments": (
        lambda rate: optax.adam(rate, b1=0.7, eps=1e-4, nesterov=True),
        {"optimizer": "adam(b1=0.7, eps=1e-4, nesterov=True)"},
    ),
    "adamw": (
        lambda rate: optax.adamw(rate, weight_decay=DECAY),
        {"optimizer": "adamw", "weight_decay": DECAY},
    ),
    "rmsprop": (
        lambda rate: optax.rmsprop(rate, momentum=0.8),
        {"optimizer": "rmsprop(momentum=0.8)"},
    ),
    "lion": (lambda rate: optax.lion(rate, weight_decay=0.0), {"optimizer": "lion"}),
    "lion, decay": (
        lambda rate: optax.lion(rate, weight_decay=DECAY),
        {"optimizer": "lion", "weight_decay": DECAY},
    ),
    "adagrad": (lambda rate: optax.adagrad(rate), {"optimizer": "adagrad"}),
    "adagrad, from 0.5": (
        lambda rate: optax.adagrad(rate, 0.5),
        {"optimizer": "adagrad(initial_accumulator_value=0.5)"},
    ),
    "rmsprop, from 1": (
        lambda rate: optax.rmsprop(rate, initial_scale=1.0),
        {"optimizer": "rmsprop(initial_scale=1.0)"},
    ),
}


def test_each_is_held_against_optax_and_is_in_the_docs():
    assert {
        parse_call(config.get("optimizer", "sgd")).name
        for _, config in EXPECTED.values()
    } == set(BUILT_IN)
    page = (Path(__file__).parents[2] / "docs" / "own_network.md").read_text()
    assert all(
        f"`{name}`" in re.search(r"^\| `--optimizer` .*$", page, re.MULTILINE)[0]
        for name in BUILT_IN
    )


def plain_loop(config, transformation, examples, steps):
    """Train with optax alone, in the order of the examples."""
    network = architecture(config.architecture, DATA)
    images, labels = map(np.asarray, examples)
    params = initial(network, 0)
    state = transformation.init(params)

    @jax.jit  # operations that are compiled one by one round otherwise
    def updated(gradient, state, params):
        updates, state = transformation.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    for i in range(steps):
        rows = slice(i % STEPS * BATCH, (i % STEPS + 1) * BATCH)
        gradient = gradient_of(network, params, images[rows], labels[rows])
        params, state = updated(gradient, state, params)
    return params


@partial(jax.jit, static_argnums=0)
def gradient_of(network, params, x, y):
    def loss(p):
        return optax.softmax_cross_entropy_with_integer_labels(
            network.apply(p, x), y
        ).mean()

    return jax.grad(loss)(params)


def ours(config, examples, epochs):
    program = Program.of(config, DATA)
    hyper = {
        name: jnp.float32(value)
        for name, value in program.step.hyperparameters(config, STEPS).items()
    }
    state, key = (
        jax.tree.map(jnp.asarray, program.init(0, hyper)),
        jnp.zeros(2, jnp.uint32),
    )
    train = jax.jit(program.train_epoch)
    for _ in range(epochs):
        state, _ = train(state, hyper, key, examples, jnp.arange(60, dtype=jnp.int32))
    return state.params


@pytest.mark.parametrize("name", EXPECTED)
def test_ten_steps_are_those_of_optax(name, examples):
    make, fields = EXPECTED[name]
    config = TrialConfig(
        architecture="mlp-4-tanh",
        learning_rate=RATE,
        batch_size=BATCH,
        epochs=EPOCHS,
        **fields,
    )
    expected = plain_loop(config, make(RATE), examples, STEPS)
    for mine, theirs in zip(
        jax.tree.leaves(ours(config, examples, 1)),
        jax.tree.leaves(expected),
        strict=True,
    ):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-6)


QUADRATIC: dict[str, tuple[dict[str, Any], float]] = {
    "sgd": ({}, 2),
    "sgd, momentum": ({"momentum": 0.9}, 3.8),
    "sgd, nesterov": ({"momentum": 0.9, "nesterov": True}, 3.8 / 2.8),
    "adam": ({"optimizer": "adam(eps=1)"}, 38),
    "adam, b1": ({"optimizer": "adam(b1=0.5, eps=1)"}, 6),
    "adam, nesterov": ({"optimizer": "adam(eps=1, nesterov=True)"}, 38 / 2.8),
    "adamw": ({"optimizer": "adamw(eps=1)", "weight_decay": 1e-6}, 38),
}


@pytest.mark.parametrize("name", QUADRATIC)
def test_steps_on_a_quadratic_grow_above_the_threshold_and_not_below(name):
    """The gradients are small, so that Adam divides by 1, its `eps`."""
    fields, expected = QUADRATIC[name]
    config = TrialConfig(learning_rate=RATE, **fields)
    limit = threshold(config.optimizer, config.momentum, config.nesterov)
    assert limit == pytest.approx(expected)
    step, start = Step.of(config), jnp.float32(1e-32)
    transformation = step.transformation(
        {
            name: jnp.float32(value)
            for name, value in step.hyperparameters(config, STEPS).items()
        }
    )

    @jax.jit
    def sizes(curvature):
        def one(carry, _):
            x, state = carry
            updates, state = transformation.update(curvature * x, state, x)
            return (x + updates, state), jnp.abs(x)

        return jax.lax.scan(one, (start, transformation.init(start)), None, 400)[1]

    for share, grows in ((0.998, False), (1.002, True)):
        found = sizes(jnp.float32(share * limit / RATE))
        assert bool(found[300:].max() > found[100:200].max()) is grows


def test_each_optimizer_with_a_threshold_is_tried_on_a_quadratic():
    assert {
        parse_call(fields.get("optimizer", "sgd")).name
        for fields, _ in QUADRATIC.values()
    } == {"sgd", *ADAM}


@pytest.mark.parametrize(
    "optimizer", ["lion", "rmsprop(decay=0.8)", "adagrad", "own.py:adam", "adam(b1=1)"]
)
def test_other_optimisers_have_no_known_threshold(optimizer):
    assert np.isnan(threshold(optimizer, 0.0, False))


def test_an_optimizer_with_injected_hyperparameters_trains(examples):
    register_optimizer("injected")(
        lambda rate: optax.inject_hyperparams(optax.sgd)(learning_rate=rate)
    )
    trained = []
    for optimizer in ("injected", "sgd"):
        config = TrialConfig(
            architecture="mlp-4-tanh",
            learning_rate=RATE,
            batch_size=BATCH,
            optimizer=optimizer,
        )
        trained.append(jax.tree.leaves(ours(config, examples, 1)))
    for mine, theirs in zip(*trained, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-6)


SCHEDULES = {
    ("constant", 7): optax.linear_schedule(0.0, RATE, 7),
    ("cosine", 0): optax.cosine_decay_schedule(RATE, EPOCHS * STEPS),
    ("cosine", 7): optax.warmup_cosine_decay_schedule(0.0, RATE, 7, EPOCHS * STEPS),
    ("linear", 0): optax.linear_schedule(RATE, 0.0, EPOCHS * STEPS),
    ("linear", 7): optax.join_schedules(
        [
            optax.linear_schedule(0.0, RATE, 7),
            optax.linear_schedule(RATE, 0.0, EPOCHS * STEPS - 7),
        ],
        [7],
    ),
}


@pytest.mark.parametrize(("schedule", "warmup"), SCHEDULES)
def test_schedules_are_those_of_optax_to_the_last_step(schedule, warmup, examples):
    fields = {"schedule": schedule, "warmup_steps": warmup}
    config = TrialConfig(
        architecture="mlp-4-tanh",
        learning_rate=RATE,
        batch_size=BATCH,
        epochs=EPOCHS,
        **fields,
    )
    transformation = optax.sgd(SCHEDULES[schedule, warmup])
    expected = plain_loop(config, transformation, examples, EPOCHS * STEPS)
    for mine, theirs in zip(
        jax.tree.leaves(ours(config, examples, EPOCHS)),
        jax.tree.leaves(expected),
        strict=True,
    ):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-6)


def test_a_hundred_rates_and_three_decays_compile_once(examples):
    traced = []

    def counted(learning_rate, **arguments):
        traced.append(learning_rate)
        return optax.chain(
            optax.add_decayed_weights(arguments["decay"]), optax.sgd(learning_rate)
        )

    register_optimizer("counted")(counted)
    programs, images = set(), examples
    for rate in np.geomspace(1e-3, 1, 100):
        for decay in (1e-4, 1e-3, 1e-2):
            fields = {
                "learning_rate": float(rate),
                "clip_norm": 1.0,
                "optimizer": f"counted(decay={decay})",
            }
            config = TrialConfig(architecture="mlp-4-tanh", batch_size=BATCH, **fields)
            program = Program.of(config, DATA)
            hyper = {
                name: np.float32(x)
                for name, x in program.step.hyperparameters(config, STEPS).items()
            }
            if program not in programs:
                run: Any = jax.jit(program.train_epoch)
                programs.add(program)
                state = program.init(0, hyper)
            run(
                state,
                hyper,
                np.zeros(2, np.uint32),
                images,
                np.arange(60, dtype=np.int32),
            )
    assert len(programs) == 1
    assert run._cache_size() == 1
    assert len(traced) == 2  # the initial state, and the epoch


def test_plain_sgd_has_no_state_and_no_hyperparameter_but_the_rate():
    step = Step.of(TrialConfig())
    assert step.names == ("learning_rate",)
    assert not jax.tree.leaves(
        step.transformation({"learning_rate": 0.1}).init({"w": jnp.zeros(3)})
    )


def test_an_optimizer_that_takes_any_argument_gets_it(monkeypatch):
    given = []

    def factory(learning_rate, /, scale=1.0, **arguments):
        given.append((scale, arguments))
        return optax.sgd(learning_rate)

    register_optimizer("any")(factory)
    step = Step.of(TrialConfig(optimizer="any(scale=2.0, name='a', momentum=0.5)"))
    step.transformation({"learning_rate": 0.1, "scale=": 2.0, "momentum=": 0.5})
    assert given == [(2.0, {"name": "a", "momentum": 0.5})]


def test_multi_steps_of_optax_is_taken_as_it_is():
    def accumulating(learning_rate):
        return optax.MultiSteps(optax.sgd(learning_rate), every_k_schedule=2)

    register_optimizer("accumulating")(accumulating)
    tx = Step.of(TrialConfig(optimizer="accumulating")).transformation(
        {"learning_rate": 0.1}
    )
    params = {"w": jnp.zeros(3)}
    state = tx.init(params)
    first, state = tx.update({"w": jnp.ones(3)}, state, params)
    second, state = tx.update({"w": 3 * jnp.ones(3)}, state, params)
    np.testing.assert_array_equal(first["w"], np.zeros(3))
    np.testing.assert_allclose(second["w"], np.full(3, -0.2), rtol=1e-6)
