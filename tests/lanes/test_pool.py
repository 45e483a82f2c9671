"""The pool of lanes in one process: compilations, restore, the values used."""

import time

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_tune.errors import UserError
from mnist_tune.lanes.batches import plan_batches
from mnist_tune.lanes.calibration import calibrate
from mnist_tune.lanes.executor import Executor, fitting_lanes
from mnist_tune.lanes.pool import LanePool
from mnist_tune.lanes.state_file import Checkpoint
from mnist_tune.lanes.turns import CATCH_UP, MOST_BATCHES, WAIT_SHARE, Turn, lanes_to_hold
from mnist_tune.training.program import Program
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.plan import Plan

SMALL = TrialConfig(architecture="mlp-8-tanh", epochs=4)
OF_THE_BATCH = ("compile_s", "train_s", "eval_s", "batch_s", "lanes", "fill")


def assert_same(row, other):
    """Equal bit for bit in all that must not depend on the batch."""
    row, other = ({k: v for k, v in r.items() if k not in OF_THE_BATCH} for r in (row, other))
    np.testing.assert_equal(row, other)  # unlike ==, holds for equal NaN


@pytest.fixture
def compilations():
    counted = []

    def count(event, seconds, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            counted.append(event)

    jax.monitoring.register_event_duration_secs_listener(count)
    yield counted
    jax.monitoring.unregister_event_duration_listener(count)


def test_sixteen_learning_rates_compile_once(mnist_5k, compilations):
    pool = LanePool(mnist_5k)
    for i, rate in enumerate(np.geomspace(0.001, 4, 16)):
        pool.attach(str(i), TrialConfig(architecture="mlp-8-tanh", learning_rate=float(rate)))
        row = pool.run([str(i)])[str(i)]
        pool.run([str(i)])
        pool.detach(str(i))
        if i == 0:
            assert row["compile_s"] > 0
            assert len(compilations) > 0
            compilations.clear()
    assert compilations == []


def test_a_restored_trial_is_bit_identical(mnist_5k, tmp_path):
    config = TrialConfig(architecture="mlp-8-tanh", momentum=0.9, learning_rate=0.02)
    straight = LanePool(mnist_5k)
    straight.attach("a", config)
    rows = [straight.run(["a"])["a"] for _ in range(4)]
    first = LanePool(mnist_5k)
    first.attach("a", config)
    first.run(["a"])
    first.run(["a"])
    first.checkpoint("a").save(tmp_path / "a.npz")
    second = LanePool(mnist_5k)
    second.attach("a", config, Checkpoint.load(tmp_path / "a.npz"))
    for epoch in (2, 3):
        assert_same(second.run(["a"])["a"], rows[epoch])


def test_a_reused_lane_starts_anew(mnist_5k):
    pool = LanePool(mnist_5k)
    pool.attach("a", SMALL)
    first = pool.run(["a"])["a"]
    pool.detach("a")
    pool.attach("b", SMALL)
    assert_same(pool.run(["b"])["b"], first)


def test_a_full_pool_and_a_foreign_state_are_refused(mnist_5k):
    pool = LanePool(mnist_5k)
    pool.attach("a", SMALL)
    with pytest.raises(UserError, match="lanes"):
        pool.attach("b", SMALL)
    other = TrialConfig(architecture="mlp-9-tanh")
    with pytest.raises(UserError, match="does not fit"):
        pool.attach("c", other, pool.checkpoint("a"))


def test_detaching_twice_frees_one_lane(mnist_5k):
    pool = LanePool(mnist_5k)
    pool.attach("a", SMALL)
    pool.detach("a")
    pool.detach("a")
    pool.attach("b", SMALL)
    with pytest.raises(UserError):
        pool.attach("c", SMALL)


def test_label_noise_and_holdout_reach_the_training(mnist_5k):
    pool = LanePool(mnist_5k)
    plain = {}
    for name, fields in {"plain": {}, "noise": {"label_noise": 3000}, "holdout": {"holdout": 500}}.items():
        pool.attach(name, TrialConfig(architecture="mlp-8-tanh", **fields))
        plain[name] = [pool.run([name])[name] for _ in range(3)][-1]
    assert plain["noise"]["train_accuracy"] < plain["plain"]["train_accuracy"] - 0.2
    assert "validation_accuracy" not in plain["plain"]
    assert 0.1 < plain["holdout"]["validation_accuracy"] < 1
    assert plain["holdout"]["step"] == 3 * -(-3500 // 128)


def test_a_rate_that_is_too_large_diverges_at_a_step(mnist_5k):
    pool = LanePool(mnist_5k)
    pool.attach("a", TrialConfig(architecture="mlp-8-tanh", learning_rate=1e6))
    row = pool.run(["a"])["a"]
    assert row["diverged"]
    assert 1 <= row["above_since"] <= row["step"]
    assert row["step_loss_max"] > row["untrained_loss"]


RATES = [0.01, 0.02, 0.04, 0.1, 0.3, 1.0, 2.0]


def attached(dataset, capacity, execution, rates, **fields):
    pool = LanePool(dataset, capacity, execution)
    for i, rate in enumerate(rates):
        pool.attach(str(i), TrialConfig(architecture="mlp-8-tanh", learning_rate=rate, **fields))
    return pool


@pytest.mark.parametrize("fields", [{}, {"momentum": 0.9, "batch_size": 32}, {"label_noise": 500, "batch_size": 100}])
@pytest.mark.parametrize("architecture", ["mlp-8-tanh", "mlp-40-17-relu"])
@pytest.mark.parametrize("execution", ["loop", "shared", "vmap"])
def test_a_lanes_numbers_are_the_same_bit_for_bit_in_any_company(mnist_5k, execution, architecture, fields):
    """Chaotic rates are among them: an epoch of those amplifies a difference in the last bit beyond any tolerance."""
    configs = [TrialConfig(architecture=architecture, learning_rate=rate, **fields) for rate in RATES]
    together, single = LanePool(mnist_5k, 8, execution), LanePool(mnist_5k)
    for i, config in enumerate(configs):
        together.attach(str(i), config)
    rows = [together.run([str(i) for i in range(len(RATES))]) for _ in range(2)]
    for i, config in enumerate(configs):
        single.attach("0", config)
        for epoch in range(2):
            assert_same(rows[epoch][str(i)], single.run(["0"])["0"])


@pytest.mark.parametrize("execution", ["shared", "vmap"])
def test_lanes_may_be_at_different_epochs_and_orders(mnist_5k, execution):
    """Lanes ahead of others, and with other seeds, train in one call of `run` and keep their own numbers."""
    configs = [
        TrialConfig(architecture="mlp-8-tanh", learning_rate=0.02 * (1 + i), seed=i % 3, data_seed=i % 2)
        for i in range(6)
    ]
    pool = LanePool(mnist_5k, 8, execution)
    for i, config in enumerate(configs):
        pool.attach(str(i), config)
    pool.run(["0", "1"])
    together = pool.run([str(i) for i in range(6)])
    alone = LanePool(mnist_5k)
    for i, config in enumerate(configs):
        alone.attach("a", config)
        rows = [alone.run(["a"])["a"] for _ in range(2 if i < 2 else 1)]
        assert_same(together[str(i)], rows[-1])


def test_lanes_that_do_not_ask_stay_as_they_are(mnist_5k):
    pool = attached(mnist_5k, 8, "vmap", RATES)
    before = pool.checkpoint("6")
    pool.run([str(i) for i in range(5)])  # padded to 8: the writes of the padding must be dropped
    after = pool.checkpoint("6")
    for name, array in before.arrays.items():
        np.testing.assert_array_equal(after.arrays[name], array)


def test_compilations_grow_with_the_logarithm_of_the_capacity(mnist_5k, compilations):
    pool = attached(mnist_5k, 16, "vmap", [0.01 * (1 + i) for i in range(16)])
    for count in (1, 2, 3, 5, 7, 8, 11, 16):
        pool.run([str(i) for i in range(count)])
    compilations.clear()
    for count in (4, 6, 9, 10, 12, 13, 14, 15, 16, 1):
        pool.run([str(i) for i in range(count)])
    assert compilations == []
    [group] = pool._groups.values()
    trained = {key for key in group.executor._compiled if key[0] == "train"}
    assert len(trained) <= 5  # log2(16) + 1


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.sampled_from(["loop", "shared", "vmap"]))
def test_every_lane_that_asks_runs_once(streams, execution):
    batches = plan_batches({str(i): stream for i, stream in enumerate(streams)}, 16, execution)
    members = [lane for batch in batches for lane in batch.members]
    assert sorted(members) == sorted(str(i) for i in range(len(streams)))
    for batch in batches:
        assert len(batch.members) <= batch.size <= 16
        assert batch.size & (batch.size - 1) == 0
        if batch.shared:
            assert len({streams[int(lane)] for lane in batch.members}) == 1
            assert len(batch.members) >= batch.size * 7 / 8


def test_trials_of_one_batch_order_start_together():
    trials = {str(i): TrialConfig(learning_rate=0.1 * (1 + i // 2), data_seed=i % 2) for i in range(6)}
    plan = Plan.grid(trials).by_batch_order()
    assert list(plan.trials) == [values["trial_id"] for values in plan.space["grid_search"]] == list("024135")


STREAMS = st.dictionaries(st.text(), st.none() | st.tuples(st.integers(0, 2), st.integers(0, 30)), min_size=1)


@given(STREAMS)
def test_lanes_wait_for_those_a_little_behind_in_their_order(streams):
    held = lanes_to_hold(streams, {})
    assert held.keys() < streams.keys()
    for lane, stream in streams.items():
        gaps = [stream[1] - other[1] for other in streams.values() if stream and other and other[0] == stream[0]]
        assert (lane in held) == any(0 < gap <= CATCH_UP for gap in gaps)


@given(st.lists(st.integers(0, CATCH_UP), min_size=2, max_size=8))
def test_lanes_out_of_step_get_into_step(epochs):
    held = {}
    for _ in range(CATCH_UP):
        streams = {str(i): (0, epoch) for i, epoch in enumerate(epochs)}
        held = lanes_to_hold(streams, held)
        epochs = [epoch + (str(i) not in held) for i, epoch in enumerate(epochs)]
    assert len(set(epochs)) == 1


def test_no_lane_waits_for_ever():
    held, epoch = {}, 1
    for _ in range(10 * (MOST_BATCHES + 1)):  # there is always one at the epoch before
        held = lanes_to_hold({"old": (0, epoch), "new": (0, epoch - 1)}, held)
        epoch += "old" not in held
    assert epoch == 11


def test_only_the_first_batch_waits_for_lanes_that_still_start():
    turn, now = Turn(), time.monotonic()
    turn.attach("a", pause=2.0)
    turn.asking["a"] = None
    assert not turn.ready(now + 1.9)
    assert turn.ready(turn.wakes)
    turn.attach("b", pause=0.0)  # the device is full
    assert not turn.ready(now)  # "b" has not asked yet
    turn.asking["b"] = None
    assert turn.ready(time.monotonic())
    turn.asking.clear()
    turn.end_batch({"a", "b"}, seconds=1.0)
    turn.asking |= {"a": None, "b": None}
    turn.attach("c", pause=2.0)
    turn.asking["c"] = None
    assert turn.ready(time.monotonic())


def test_a_batch_waits_a_while_for_trials_in_place_of_those_that_ended():
    turn = Turn()
    turn.end_batch({"a", "b"}, seconds=10.0)
    turn.detach("a")
    turn.detach("b")
    turn.attach("c", pause=0.0)
    turn.asking["c"] = None
    now = time.monotonic()
    assert not turn.ready(now)
    assert turn.ready(now + WAIT_SHARE * 10.0)  # nobody comes
    turn.attach("d", pause=0.0)
    turn.asking["d"] = None
    assert turn.ready(now)


def test_no_lane_leaks_over_many_trials(mnist_5k):
    pool = LanePool(mnist_5k, 4, "loop")
    for i in range(200):
        pool.attach(str(i), SMALL)
        if i >= 3:
            pool.detach(str(i - 3))
    assert pool.attached == 3
    for i in range(197, 200):
        pool.detach(str(i))
    for i in range(4):
        pool.attach(f"last {i}", SMALL)


def test_calibration_is_remembered(tmp_path):
    program = Program.of(SMALL)
    first = calibrate(program, 4, str(tmp_path))
    assert first.loop_s > 0
    assert first.batch_s > 0
    assert calibrate(program, 4, str(tmp_path)) == first


def test_a_device_out_of_memory_goes_on_with_smaller_batches(mnist_5k, monkeypatch):
    sizes, train = [], Executor.train

    def scarce(self, batch, *arguments):
        sizes.append(batch.size)
        if batch.size > 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 byte")
        return train(self, batch, *arguments)

    monkeypatch.setattr(Executor, "train", scarce)
    pool = attached(mnist_5k, 8, "vmap", RATES)
    rows = pool.run([str(i) for i in range(7)])
    assert sizes == [8, 4, 2, 2, 2, 1]
    assert [row["epoch"] for row in rows.values()] == [1] * 7
    sizes.clear()
    pool.run([str(i) for i in range(7)])
    assert sizes == [2, 2, 2, 1]


def test_lanes_that_fit():
    program = Program.of(TrialConfig(architecture="mlp-8-tanh"))
    state = 4 * (784 * 8 + 8 + 8 * 10 + 10)
    assert fitting_lanes(program, 40.5 * state) == 10


def test_a_rate_changed_in_mid_flight_is_the_one_used(mnist_5k):
    """As population based training does it: another rate from a checkpoint on."""
    pool = LanePool(mnist_5k)
    pool.attach("a", TrialConfig(architecture="mlp-8-tanh", learning_rate=0.1))
    before = pool.run(["a"])["a"]
    checkpoint = pool.checkpoint("a")
    after = {}
    for rate in (1e-12, 0.1, 0.2):
        pool.attach("a", TrialConfig(architecture="mlp-8-tanh", learning_rate=rate), checkpoint)
        after[rate] = pool.run(["a"])["a"]
        assert after[rate]["learning_rate"] == rate
        assert after[rate]["epoch"] == 2
    assert after[1e-12]["train_loss"] == pytest.approx(before["train_loss"], rel=1e-6)
    assert after[0.2]["train_loss"] < after[0.1]["train_loss"] < before["train_loss"]
