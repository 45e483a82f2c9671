"""A schedule counts the calls of `tx.update`. It is refused where these are not the
steps, since it would end too early, or never."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tasks import gan, regression

from mnist_tune import TrialConfig, UserError
from mnist_tune.own_code.registry import register, register_optimizer
from mnist_tune.training.check import check_tasks

pytestmark = pytest.mark.usefixtures("as_users_have_it")

GOOD, GAME = regression(), gan()
SCHEDULED = {"schedule": "linear"}, {"schedule": "cosine"}, {"warmup_steps": 3}


def with_calls(calls):
    """Return a task whose step calls `tx.update` so often, in a scan as PPO does."""

    def step(params, opt, state, batch, key, tx):
        slope_of = jax.value_and_grad(GOOD.loss, has_aux=True)

        def call(carry, _):
            params, opt = carry
            (loss, _), slope = slope_of(params, state, batch, key)
            update, opt = tx.update(slope, opt, params)
            return (optax.apply_updates(params, update), opt), loss

        (params, opt), losses = jax.lax.scan(call, (params, opt), length=calls)
        return params, opt, state, losses.sum()

    return replace(GOOD, step=step)


def checked(task, **fields):
    register("counted")(lambda: task)
    check_tasks(["counted"], [TrialConfig(batch_size=8, **fields)])


@settings(max_examples=12, deadline=None)
@given(
    calls=st.sampled_from([0, 1, 2, 16]),
    every=st.sampled_from([1, 2, 4, 16]),
    fields=st.sampled_from(SCHEDULED),
)
def test_a_schedule_is_taken_only_if_its_count_rises_by_1_in_a_step(
    calls, every, fields
):
    """`MultiSteps` passes on one call in `every`: as many calls a step are right."""

    def accumulating(learning_rate):
        adam = optax.adam(learning_rate)
        return optax.MultiSteps(adam, every).gradient_transformation()

    register_optimizer("accumulating")(accumulating)
    fields = {"optimizer": "accumulating", **fields}
    if calls == every:
        checked(with_calls(calls), **fields)
        return
    with pytest.raises(UserError, match=r"leave --(schedule|warmup-steps) out") as line:
        checked(with_calls(calls), **fields)
    assert "\n" not in str(line.value)
    rise = calls // every
    what = f"rose by {rise} in one step" if rise else "did not rise in one step"
    assert what in str(line.value)
    # without a schedule, how often it is called makes no difference
    checked(with_calls(calls), optimizer="accumulating")


def test_the_remedy_for_many_calls_a_step_is_taken():
    def divided(learning_rate):
        if not callable(learning_rate):
            return optax.adam(learning_rate)
        return optax.adam(lambda count: learning_rate(count // 16))

    register_optimizer("divided")(divided)
    with pytest.raises(UserError, match=r"learning_rate\(count // 16\)"):
        checked(with_calls(16), schedule="linear", optimizer="adam")
    checked(with_calls(16), schedule="linear", optimizer="divided")


@pytest.mark.parametrize("fields", SCHEDULED)
def test_two_optimisers_that_step_once_each_may_have_a_schedule(fields):
    checked(GAME, **fields)
    checked(GAME, optimizer="adam", **fields)


def test_an_optimiser_of_a_split_that_is_called_twice_is_found():
    def step(params, opt, state, batch, key, tx):
        params, opt, state, loss = GAME.step(params, opt, state, batch, key, tx)
        zeros = jax.tree.map(jnp.zeros_like, params["judge"])
        _, judge_opt = tx.update(zeros, opt["judge"], params["judge"])
        return params, {**opt, "judge": judge_opt}, state, loss

    with pytest.raises(UserError, match="rose by 2 in one step"):
        checked(replace(GAME, step=step), schedule="cosine")


def test_injected_hyperparameters_and_schedule_free_optimisers_are_taken():
    """Both read the count themselves, one of them from 1."""

    def injected(learning_rate):
        return optax.inject_hyperparams(optax.sgd)(learning_rate)

    def free(learning_rate):
        return optax.contrib.schedule_free(optax.sgd(learning_rate), learning_rate)

    for factory in (injected, free):
        register_optimizer("own")(factory)
        checked(GOOD, optimizer="own", **SCHEDULED[0])
