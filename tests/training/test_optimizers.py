"""Optimisers and schedules against plain loops of optax."""

import re
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from programs import NO_KEY, hyper_of, in_order

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
ALL_STEPS = EPOCHS * STEPS


@pytest.fixture(scope="module")
def examples():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 6))
    labels = rng.integers(0, 3, 60)
    return jnp.asarray(x, jnp.float32), jnp.asarray(labels, jnp.int32)


DECAYED = optax.add_decayed_weights(DECAY)
CLIPPED = optax.clip_by_global_norm(CLIP)
EXPECTED: dict[str, tuple[optax.GradientTransformation, dict[str, Any]]] = {
    "sgd": (optax.sgd(RATE), {}),
    "sgd, momentum": (optax.sgd(RATE, momentum=0.9), {"momentum": 0.9}),
    "sgd, nesterov": (
        optax.sgd(RATE, 0.9, nesterov=True),
        {"momentum": 0.9, "nesterov": True},
    ),
    "sgd, decay": (optax.chain(DECAYED, optax.sgd(RATE)), {"weight_decay": DECAY}),
    "sgd, clipped, decay": (
        optax.chain(CLIPPED, DECAYED, optax.sgd(RATE)),
        {"weight_decay": DECAY, "clip_norm": CLIP},
    ),
    "adam": (optax.adam(RATE), {"optimizer": "adam"}),
    "adam, arguments": (
        optax.adam(RATE, b1=0.7, eps=1e-4, nesterov=True),
        {"optimizer": "adam(b1=0.7, eps=1e-4, nesterov=True)"},
    ),
    "adamw": (
        optax.adamw(RATE, weight_decay=DECAY),
        {"optimizer": "adamw", "weight_decay": DECAY},
    ),
    "rmsprop": (
        optax.rmsprop(RATE, momentum=0.8),
        {"optimizer": "rmsprop(momentum=0.8)"},
    ),
    "lion": (optax.lion(RATE, weight_decay=0.0), {"optimizer": "lion"}),
    "lion, decay": (
        optax.lion(RATE, weight_decay=DECAY),
        {"optimizer": "lion", "weight_decay": DECAY},
    ),
    "adagrad": (optax.adagrad(RATE), {"optimizer": "adagrad"}),
    "adagrad, from 0.5": (
        optax.adagrad(RATE, 0.5),
        {"optimizer": "adagrad(initial_accumulator_value=0.5)"},
    ),
    "rmsprop, from 1": (
        optax.rmsprop(RATE, initial_scale=1.0),
        {"optimizer": "rmsprop(initial_scale=1.0)"},
    ),
}


def optimizers_of(table):
    """The names of the optimisers in a table of trials' fields."""
    names = [fields.get("optimizer", "sgd") for fields in table]
    return {parse_call(name).name for name in names}


def test_each_is_held_against_optax_and_is_in_the_docs():
    assert optimizers_of(fields for _, fields in EXPECTED.values()) == set(BUILT_IN)
    page = (Path(__file__).parents[2] / "docs" / "own_network.md").read_text()
    [row] = re.findall(r"^\| `--optimizer` .*$", page, re.MULTILINE)
    for name in BUILT_IN:
        assert f"`{name}`" in row


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
        first = i % STEPS * BATCH
        rows = slice(first, first + BATCH)
        gradient = gradient_of(network, params, images[rows], labels[rows])
        params, state = updated(gradient, state, params)
    return params


@partial(jax.jit, static_argnums=0)
def gradient_of(network, params, x, y):
    def loss(params):
        logits = network.apply(params, x)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
        return losses.mean()

    return jax.grad(loss)(params)


def small_trial(**fields):
    return TrialConfig(
        architecture="mlp-4-tanh", learning_rate=RATE, batch_size=BATCH, **fields
    )


def ours(config, examples, epochs):
    program = Program.of(config, DATA)
    hyper = hyper_of(program, config, STEPS, jnp.float32)
    state = jax.tree.map(jnp.asarray, program.init(0, hyper))
    key = jnp.asarray(NO_KEY)
    order = jnp.asarray(in_order(60))
    train = jax.jit(program.train_epoch)
    for _ in range(epochs):
        state, _ = train(state, hyper, key, examples, order)
    return state.params


def assert_close(mine, theirs):
    pairs = zip(jax.tree.leaves(mine), jax.tree.leaves(theirs), strict=True)
    for own, other in pairs:
        np.testing.assert_allclose(own, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", EXPECTED)
def test_ten_steps_are_those_of_optax(name, examples):
    transformation, fields = EXPECTED[name]
    config = small_trial(epochs=EPOCHS, **fields)
    expected = plain_loop(config, transformation, examples, STEPS)
    assert_close(ours(config, examples, 1), expected)


QUADRATIC: dict[str, tuple[dict[str, Any], float]] = {
    "sgd": ({}, 2),
    "sgd, momentum": ({"momentum": 0.9}, 3.8),
    "sgd, nesterov": ({"momentum": 0.9, "nesterov": True}, 3.8 / 2.8),
    "adam": ({"optimizer": "adam(eps=1)"}, 38),
    "adam, b1": ({"optimizer": "adam(b1=0.5, eps=1)"}, 6),
    "adam, nesterov": ({"optimizer": "adam(eps=1, nesterov=True)"}, 38 / 2.8),
    "adamw": ({"optimizer": "adamw(eps=1)", "weight_decay": 1e-6}, 38),
}


@partial(jax.jit, static_argnums=0)
def distances(transformation, curvature):
    """How far 400 steps on a quadratic are from its least value."""

    def step(carry, _):
        x, state = carry
        updates, state = transformation.update(curvature * x, state, x)
        return (x + updates, state), jnp.abs(x)

    start = jnp.float32(1e-32)
    carry = (start, transformation.init(start))
    _, sizes = jax.lax.scan(step, carry, None, 400)
    return sizes


@pytest.mark.parametrize("name", QUADRATIC)
def test_steps_on_a_quadratic_grow_above_the_threshold_and_not_below(name):
    """The gradients are small, so that Adam divides by 1, its `eps`."""
    fields, expected = QUADRATIC[name]
    config = TrialConfig(learning_rate=RATE, **fields)
    limit = threshold(config.optimizer, config.momentum, config.nesterov)
    assert limit == pytest.approx(expected)
    step = Step.of(config)
    values = step.hyperparameters(config, STEPS)
    hyper = {name: jnp.float32(value) for name, value in values.items()}
    transformation = step.transformation(hyper)
    for share, grows in ((0.998, False), (1.002, True)):
        curvature = jnp.float32(share * limit / RATE)
        sizes = distances(transformation, curvature)
        late, early = sizes[300:].max(), sizes[100:200].max()
        assert bool(late > early) is grows


def test_each_optimizer_with_a_threshold_is_tried_on_a_quadratic():
    assert optimizers_of(fields for fields, _ in QUADRATIC.values()) == {"sgd", *ADAM}


@pytest.mark.parametrize(
    "optimizer", ["lion", "rmsprop(decay=0.8)", "adagrad", "own.py:adam", "adam(b1=1)"]
)
def test_other_optimisers_have_no_known_threshold(optimizer):
    assert np.isnan(threshold(optimizer, 0.0, False))


def test_an_optimizer_with_injected_hyperparameters_trains(examples):
    def injected(rate):
        return optax.inject_hyperparams(optax.sgd)(learning_rate=rate)

    register_optimizer("injected")(injected)
    params = ours(small_trial(optimizer="injected"), examples, 1)
    assert_close(params, ours(small_trial(optimizer="sgd"), examples, 1))


WARM_UP = optax.linear_schedule(0.0, RATE, 7)
DECLINE = optax.linear_schedule(RATE, 0.0, ALL_STEPS - 7)
SCHEDULES = {
    ("constant", 7): WARM_UP,
    ("cosine", 0): optax.cosine_decay_schedule(RATE, ALL_STEPS),
    ("cosine", 7): optax.warmup_cosine_decay_schedule(0.0, RATE, 7, ALL_STEPS),
    ("linear", 0): optax.linear_schedule(RATE, 0.0, ALL_STEPS),
    ("linear", 7): optax.join_schedules([WARM_UP, DECLINE], [7]),
}


@pytest.mark.parametrize(("schedule", "warmup"), SCHEDULES)
def test_schedules_are_those_of_optax_to_the_last_step(schedule, warmup, examples):
    config = small_trial(epochs=EPOCHS, schedule=schedule, warmup_steps=warmup)
    transformation = optax.sgd(SCHEDULES[schedule, warmup])
    expected = plain_loop(config, transformation, examples, ALL_STEPS)
    assert_close(ours(config, examples, EPOCHS), expected)


def test_a_hundred_rates_and_three_decays_compile_once(examples):
    traced = []

    def counted(learning_rate, **arguments):
        traced.append(learning_rate)
        decay = optax.add_decayed_weights(arguments["decay"])
        return optax.chain(decay, optax.sgd(learning_rate))

    register_optimizer("counted")(counted)
    programs = set()
    for rate, decay in product(np.geomspace(1e-3, 1, 100), (1e-4, 1e-3, 1e-2)):
        config = TrialConfig(
            architecture="mlp-4-tanh",
            batch_size=BATCH,
            learning_rate=float(rate),
            clip_norm=1.0,
            optimizer=f"counted(decay={decay})",
        )
        program = Program.of(config, DATA)
        hyper = hyper_of(program, config, STEPS)
        if program not in programs:
            programs.add(program)
            run: Any = jax.jit(program.train_epoch)
            state = program.init(0, hyper)
        run(state, hyper, NO_KEY, examples, in_order(60))
    assert len(programs) == 1
    assert run._cache_size() == 1
    assert len(traced) == 2  # the initial state, and the epoch


def test_plain_sgd_has_no_state_and_no_hyperparameter_but_the_rate():
    step = Step.of(TrialConfig())
    assert step.names == ("learning_rate",)
    sgd = step.transformation({"learning_rate": 0.1})
    state = sgd.init({"w": jnp.zeros(3)})
    assert not jax.tree.leaves(state)


def test_an_optimizer_that_takes_any_argument_gets_it(monkeypatch):
    calls = []

    def factory(learning_rate, /, scale=1.0, **arguments):
        calls.append((scale, arguments))
        return optax.sgd(learning_rate)

    register_optimizer("any")(factory)
    step = Step.of(TrialConfig(optimizer="any(scale=2.0, name='a', momentum=0.5)"))
    step.transformation({"learning_rate": 0.1, "scale=": 2.0, "momentum=": 0.5})
    assert calls == [(2.0, {"name": "a", "momentum": 0.5})]


def test_multi_steps_of_optax_is_taken_as_it_is():
    def accumulating(learning_rate):
        return optax.MultiSteps(optax.sgd(learning_rate), every_k_schedule=2)

    register_optimizer("accumulating")(accumulating)
    step = Step.of(TrialConfig(optimizer="accumulating"))
    tx = step.transformation({"learning_rate": 0.1})
    params = {"w": jnp.zeros(3)}
    state = tx.init(params)
    ones = jnp.ones(3)
    first, state = tx.update({"w": ones}, state, params)
    second, state = tx.update({"w": 3 * ones}, state, params)
    np.testing.assert_array_equal(first["w"], np.zeros(3))
    np.testing.assert_allclose(second["w"], np.full(3, -0.2), rtol=1e-6)


def annealed(learning_rate, total_steps):
    """SGD whose rate falls to 0 at the last step of its trial."""
    return optax.sgd(optax.linear_schedule(learning_rate, 0.0, total_steps))


def test_a_factory_that_asks_for_total_steps_gets_those_of_its_trial(examples):
    register_optimizer("annealed")(annealed)
    fields = {"architecture": "mlp-4-tanh", "batch_size": BATCH, "learning_rate": 0.05}
    config = TrialConfig(optimizer="annealed", epochs=EPOCHS, **fields)
    program = Program.of(config, DATA)
    hyper = hyper_of(program, config, STEPS)
    state = program.init(0, hyper)
    linear = TrialConfig(schedule="linear", epochs=EPOCHS, **fields)
    as_built_in = Program.of(linear, DATA)
    other = as_built_in.init(0, hyper_of(as_built_in, linear, STEPS))
    order = in_order(60)
    for _ in range(EPOCHS):
        state, _ = program.train_epoch(state, hyper, NO_KEY, examples, order)
        other, _ = as_built_in.train_epoch(
            other, hyper_of(as_built_in, linear, STEPS), NO_KEY, examples, order
        )
    for leaf, leaf_of_other in zip(
        jax.tree.leaves(state.params), jax.tree.leaves(other.params), strict=True
    ):
        np.testing.assert_allclose(leaf, leaf_of_other, rtol=1e-5, atol=1e-7)


def test_total_steps_are_whole_numbers_of_what_a_trial_trains_on():
    calls = []

    def counted(learning_rate, *, total_steps):
        calls.append(total_steps)
        return optax.sgd(learning_rate)

    def with_default(learning_rate, total_steps=7):
        calls.append(total_steps)
        return optax.sgd(learning_rate)

    def steps_of(optimizer, **fields):
        calls.clear()
        config = TrialConfig(optimizer=optimizer, batch_size=BATCH, **fields)
        Program.of(config, DATA).step.transformation({"learning_rate": 0.1})
        return calls

    register_optimizer("counted")(counted)
    register_optimizer("with_default")(with_default)
    assert steps_of("counted", epochs=3) == [3 * 10]
    assert steps_of("counted", epochs=3, holdout=9) == [3 * 9]
    assert steps_of("counted", epochs=3, holdout=9, drop_last=True) == [3 * 8]
    # a number of one's own stays
    assert steps_of("counted(total_steps=5)", epochs=3) == [5]
    assert steps_of("with_default", epochs=3) == [7]
