"""The pool of lanes in one process: compilations, restore, the values used."""

import re
import time
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compiled import kept

from mnist_tune.execution.executor import Executor
from mnist_tune.execution.pool import LanePool
from mnist_tune.execution.program_error import DeviceError, ProgramError
from mnist_tune.own_code.registry import register, register_optimizer
from mnist_tune.training.task import Network
from mnist_tune.trial import TrialConfig


def out_of_memory():
    return jax.errors.JaxRuntimeError(
        "RESOURCE_EXHAUSTED: Out of memory allocating 1 byte"
    )


@pytest.fixture
def compilations():
    counted = []

    def count(event, seconds, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            counted.append(event)

    kept.cache_clear()
    jax.monitoring.register_event_duration_secs_listener(count)
    yield counted
    jax.monitoring.unregister_event_duration_listener(count)


def test_sixteen_learning_rates_compile_once(few_images, compilations):
    pool = LanePool(few_images)
    for i, rate in enumerate(np.geomspace(0.001, 4, 16)):
        pool.attach(
            str(i), TrialConfig(architecture="mlp-8-tanh", learning_rate=float(rate))
        )
        row = pool.run([str(i)])[str(i)]
        pool.run([str(i)])
        pool.detach(str(i))
        if i == 0:
            assert row.compile_s > 0
            assert len(compilations) > 0
            compilations.clear()
    assert compilations == []


RATES = [0.01, 0.02, 0.04, 0.1, 0.15, 0.2, 0.3]
CALM = {
    "train_loss": 1e-5,
    "test_loss": 1e-5,
    "train_accuracy": 5e-4,
    "test_accuracy": 2e-3,
}
"""Relative for losses; absolute for accuracies: two of so many images."""


def attached(dataset, capacity, rates, **fields):
    pool = LanePool(dataset, capacity)
    for i, rate in enumerate(rates):
        pool.attach(
            str(i), TrialConfig(architecture="mlp-8-tanh", learning_rate=rate, **fields)
        )
    return pool


def assert_close(row, other, tolerances=CALM):
    """Equal to rounding, as lanes of a batch and the same lanes by themselves are."""
    for name, tolerance in tolerances.items():
        kind = "rel" if name.endswith("loss") else "abs"
        expected = pytest.approx(getattr(other, name), **{kind: tolerance})
        assert getattr(row, name) == expected, name
    assert row.epoch == other.epoch
    assert row.diverged == other.diverged


@pytest.mark.slow
@pytest.mark.numerical
def test_a_lanes_numbers_are_the_same_to_rounding_in_company(mnist_5k):
    """Also of lanes at different epochs, with other seeds and in other orders."""
    fields = {
        "architecture": "mlp-40-17-relu",
        "momentum": 0.5,
        "label_noise": 500,
        "batch_size": 100,
    }
    configs = [
        TrialConfig(learning_rate=rate, seed=i % 3, data_seed=i % 2, **fields)
        for i, rate in enumerate(RATES)
    ]
    pool = LanePool(mnist_5k, 8)
    alone = LanePool(mnist_5k)
    for i, config in enumerate(configs):
        pool.attach(str(i), config)
    pool.run(["0", "1"])
    together = pool.run([*pool.lanes])
    assert {(row.lanes, row.fill) for row in together.values()} == {(7, 7 / 8)}
    for i, config in enumerate(configs):
        alone.attach("a", config)
        rows = [alone.run(["a"])["a"] for _ in range(2 if i < 2 else 1)]
        assert_close(together[str(i)], rows[-1])


def test_of_lanes_at_forty_epochs_of_one_data_seed_only_the_first_draws_an_order(
    few_images, monkeypatch
):
    """Each of the others needs the one that the lane before it has used."""
    draws = []

    class Counting(np.random.RandomState):
        def permutation(self, x):
            draws.append(x)
            return super().permutation(x)

    monkeypatch.setattr(np.random, "RandomState", Counting)
    pool = attached(few_images, 40, [0.1] * 40)
    for epoch, lane in enumerate(pool.lanes.values()):
        lane.memory = replace(lane.memory, epoch=epoch)
    pool.run([*pool.lanes])
    assert len(draws) >= 40
    draws.clear()
    pool.run([*pool.lanes])
    assert len(draws) == 1


def test_lanes_of_trials_of_different_lengths_have_total_steps_of_their_own(few_images):
    @register_optimizer("annealed")
    def annealed(learning_rate, total_steps):
        return optax.sgd(optax.linear_schedule(learning_rate, 0.0, total_steps))

    config = TrialConfig(architecture="mlp-8-tanh", optimizer="annealed")
    pool = LanePool(few_images, 4)
    alone = LanePool(few_images)
    for epochs in (1, 3):
        trial = replace(config, epochs=epochs)
        pool.attach(str(epochs), trial)
        alone.attach("a", trial)
        row_alone = alone.run(["a"])["a"]
        assert_close(pool.run([str(epochs)])[str(epochs)], row_alone)
    short, long = pool.lanes.values()
    assert short.group is not long.group


def test_the_wait_is_the_time_in_which_no_batch_ran(few_images):
    pool = attached(few_images, 1, RATES[:1])
    pool.run(["0"])
    pool.lanes["0"].since -= 5
    assert pool.run(["0"])["0"].wait_s == pytest.approx(5, abs=0.5)
    assert pool.run(["0"])["0"].wait_s < 0.5


def test_the_seconds_of_all_rows_are_those_that_passed(few_images):
    pool = attached(few_images, 4, RATES[:3])
    pool.run(["0", "1", "2"])
    rows = []
    start = time.perf_counter()
    for _ in range(3):
        rows += pool.run(["0", "1", "2"]).values()
    passed = time.perf_counter() - start
    assert [row.compile_s for row in rows] == [0.0] * 9
    assert sum(row.train_s + row.eval_s for row in rows) <= passed
    for row in rows:
        assert row.train_s > 0
        assert row.eval_s > 0
        assert row.batch_s == pytest.approx(3 * (row.train_s + row.eval_s))


@pytest.mark.promise(
    "An error of one's own code in a lane ends its trial alone, at once, and is named"
)
@pytest.mark.parametrize("where", ["train", "evaluate"])
@pytest.mark.parametrize("capacity", [1, 8])
def test_own_code_that_raises_in_a_lane_ends_that_lane_alone_and_says_where(
    few_images, where, capacity
):
    """The others keep their states, and their numbers are those of a run without it."""

    def host(largest):
        if float(largest) > 20:
            raise ValueError(f"{where} refuses\nsuch a rate")
        return np.float32(0)

    def refused(params):
        """Return 0, or raise an error for large weights."""
        largest = jnp.abs(jax.lax.stop_gradient(params)).max()
        return jax.pure_callback(host, largest, largest, vmap_method="sequential")

    def refusing(data):
        def init(key):
            return jnp.zeros((data.size, data.classes)), ()

        def logits(params, x):
            return x.reshape(len(x), -1) @ params

        def apply(params, state, x):
            if where == "evaluate":
                return logits(params, x) + refused(params)
            return logits(params, x)

        def train_apply(params, state, x, key):
            if where == "train":
                return logits(params, x) + refused(params), state
            return logits(params, x), state

        return Network(init, apply, train_apply)

    register("refusing")(refusing)
    pool = LanePool(few_images, capacity)
    alone = LanePool(few_images, capacity)
    for i, rate in enumerate([1e4, 0.01, 0.02][:capacity]):
        pool.attach(str(i), TrialConfig(architecture="refusing", learning_rate=rate))
    outcomes = pool.outcomes(list(pool.lanes))
    line_number = host.__code__.co_firstlineno + 2
    line = f"ValueError: {where} refuses ({__file__}:{line_number})"
    assert str(outcomes.pop("0")) == line
    with pytest.raises(ProgramError, match=re.escape(line)):
        pool.run(["0"])
    for lane_id, row in outcomes.items():
        alone.attach(lane_id, pool.lanes[lane_id].config)
        assert_close(row, alone.run([lane_id])[lane_id])
        assert_close(pool.run([lane_id])[lane_id], alone.run([lane_id])[lane_id])


@pytest.mark.parametrize("where", ["train", "evaluate"])
def test_a_lack_of_memory_costs_no_lane_its_state(few_images, monkeypatch, where):
    """Even where no batch of two fits, the lanes train one by one."""
    pool = attached(few_images, 8, RATES[:3])
    alone = attached(few_images, 8, RATES[:1])
    train = Executor.train
    measure = Executor.measure

    def train_alone(executor, size, *arguments):
        if size > 1:
            raise out_of_memory()
        return train(executor, size, *arguments)

    def measure_alone(executor, run, size, *arguments):
        if size > 1:
            raise out_of_memory()
        return measure(executor, run, size, *arguments)

    lanes_of_a_batch = 3
    if where == "train":
        monkeypatch.setattr(Executor, "train", train_alone)
        lanes_of_a_batch = 1
    else:
        monkeypatch.setattr(Executor, "measure", measure_alone)
    rows = pool.run(["0", "1", "2"])
    for row in rows.values():
        assert row.lanes == lanes_of_a_batch
    assert_close(rows["0"], alone.run(["0"])["0"])


def test_programs_that_no_lane_uses_any_more_take_no_memory(few_images):
    """Nor does JAX keep what it compiled for them."""
    anything: Any = jax.jit(lambda x: x + 1)
    pool = LanePool(few_images)
    anything(np.float32(1))
    assert anything._cache_size() == 1
    for size in (32, 64, 128, 256, 512):
        pool.attach("a", TrialConfig(architecture="mlp-8-tanh", batch_size=size))
    assert len(pool._groups) < 5
    assert anything._cache_size() == 0


@pytest.mark.parametrize("compiled", [True, False])
def test_lanes_that_a_failed_call_took_with_it_go_on_elsewhere(
    few_images, monkeypatch, compiled
):
    """The program is not to blame: no trial ends."""
    pool = attached(few_images, 4, RATES[:3])
    if compiled:
        pool.run(["0", "1", "2"])

    def failing(executor, *_):
        for leaf in jax.tree.leaves(executor.stack.state):
            leaf.delete()
        raise out_of_memory()

    monkeypatch.setattr(Executor, "_put", failing)
    with pytest.raises(DeviceError, match="has been deleted"):
        pool.run(["0", "1", "2"])


def test_a_rate_changed_in_mid_flight_is_the_one_used(few_images):
    """As population based training does it: another rate from a checkpoint on."""
    pool = LanePool(few_images)
    pool.attach("a", TrialConfig(architecture="mlp-8-tanh", learning_rate=0.1))
    before = pool.run(["a"])["a"]
    checkpoint = pool.checkpoint("a")
    assert checkpoint.config == pool.lanes["a"].config
    after = {}
    for rate in (1e-12, 0.1, 0.2):
        pool.attach(
            "a", TrialConfig(architecture="mlp-8-tanh", learning_rate=rate), checkpoint
        )
        after[rate] = pool.run(["a"])["a"]
        assert after[rate].learning_rate == rate
        assert after[rate].epoch == 2
    assert after[1e-12].train_loss == pytest.approx(before.train_loss, rel=1e-6)
    assert after[0.2].train_loss < after[0.1].train_loss < before.train_loss
