"""Tasks of several kinds: alone and as lanes, killed and resumed, and what each step,
evaluation and state gets."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tasks import TASKS, contrastive, denoiser, gan, pinn, vae

from mnist_tune import Task, TrialConfig
from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.execution.pool import LanePool
from mnist_tune.own_code.registry import register
from mnist_tune.regimes.divergence import blown_up
from mnist_tune.training.check import check_tasks

pytestmark = pytest.mark.usefixtures("as_users_have_it")


@cache
def examples_of(factory):
    return check_tasks([factory.__name__], [TrialConfig(batch_size=32)])


@cache
def made(factory, capacity):
    return LanePool(examples_of(factory), capacity)


def pool_of(factory, capacity=1):
    """Return the pool of lanes for a task: it compiles what the tests of the task share
    once."""
    register(factory.__name__)(factory)
    return made(factory, capacity)


def config_of(factory, rate):
    return TrialConfig(
        architecture=factory.__name__, learning_rate=rate, batch_size=32, epochs=4
    )


NUMBERS = ("epoch", "step", "train_loss", "test_loss", "step_loss_max", "scores")


def numbers_of(row):
    """Return what an epoch's row says of its training, but for the time that it
    took."""
    return {name: getattr(row, name) for name in NUMBERS}


@pytest.mark.slow
@pytest.mark.parametrize("factory", TASKS)
def test_a_task_learns_and_goes_on_bit_for_bit_after_a_kill(factory, tmp_path):
    pool = pool_of(factory)
    config = config_of(factory, TASKS[factory])
    state = tmp_path / "a.npz"
    pool.attach("a", config)
    rows = [pool.run(["a"])["a"] for _ in range(2)]
    pool.checkpoint("a").save(state)
    rows += [pool.run(["a"])["a"] for _ in range(2)]
    last_arrays = pool.checkpoint("a").arrays
    pool.detach("a")
    pool.attach("a", config, Checkpoint.load(state))
    for row in rows[2:]:
        row_again = pool.run(["a"])["a"]
        assert numbers_of(row_again) == numbers_of(row)
    for name, array in pool.checkpoint("a").arrays.items():
        np.testing.assert_array_equal(array, last_arrays[name], strict=True)
    assert not any(row.diverged for row in rows)
    if factory.__name__ != "gan":  # its losses are a game's
        untrained_loss = rows[0].untrained_loss
        assert rows[-1].train_loss < rows[0].train_loss < untrained_loss
        assert rows[-1].test_loss < untrained_loss


# a sweep does so with a regression
@pytest.mark.parametrize("factory", [vae, denoiser, pinn, contrastive, gan])
def test_lanes_train_a_task_as_processes_do(factory):
    rate = TASKS[factory]
    together = pool_of(factory, capacity=4)
    alone = pool_of(factory)
    rows_alone = {}
    for lane, rate_of_lane in (("0", rate / 3), ("1", rate), ("2", rate / 10)):
        config = config_of(factory, rate_of_lane)
        together.attach(lane, config)
        alone.attach("a", config)
        rows_alone[lane] = alone.run(["a"])["a"]
    rows = together.run(["0", "1", "2"])
    for lane, row_alone in rows_alone.items():
        for name in ("train_loss", "test_loss", "untrained_loss"):
            value = pytest.approx(getattr(row_alone, name), rel=1e-4)
            assert getattr(rows[lane], name) == value


def noting():
    """Examples 0 to 39 to train on, 40 to 59 to test on. The state keeps what the keys
    draw."""

    def init(key):
        return {"w": jnp.ones(2)}, {"drawn": jnp.zeros(6)}

    def loss(params, state, numbers, key):
        earlier = jnp.roll(state["drawn"], 1)
        drawn = earlier.at[0].set(jax.random.uniform(key))
        return (params["w"] ** 2).sum(), {"drawn": drawn}

    def score(params, state, numbers, key):
        drawn = jnp.full(len(numbers), jax.random.uniform(key))
        return {"loss": numbers.astype(jnp.float32), "drawn": drawn}

    return Task(init, loss, lambda: (40, 20), score, block=8)


def test_keys_follow_from_seed_epoch_and_step_and_in_evaluation_from_split_and_block_alone():
    register("noting")(noting)
    pool = LanePool(check_tasks(["noting"], [TrialConfig(batch_size=20)]), 2)
    config = TrialConfig(architecture="noting", batch_size=20)
    pool.attach("a", replace(config, learning_rate=0.1))
    pool.attach("b", replace(config, learning_rate=0.2))
    first = pool.run(["a", "b"])
    second = pool.run(["a", "b"])
    drawn_by_a = pool.checkpoint("a").arrays[".extra['drawn']"]
    drawn_by_b = pool.checkpoint("b").arrays[".extra['drawn']"]
    # the rates differ, the seed does not
    np.testing.assert_array_equal(drawn_by_a, drawn_by_b)
    # each step of each epoch
    assert len(np.unique(drawn_by_a[:4])) == 4
    assert first["a"].scores == second["a"].scores == second["b"].scores
    assert first["a"].train_loss == np.arange(40).mean()
    # the last block is padded and masked
    assert first["a"].test_loss == np.arange(40, 60).mean()


def whole_batches():
    """A score of whole batches of 8: 20 test examples are two of them, and four are
    left out."""

    def init(key):
        return {"w": jnp.ones(2)}, ()

    def loss(params, state, x, key):
        return (params["w"] ** 2).sum() + x.mean(), state

    x = np.arange(60, dtype=np.float32)
    return Task(init, loss, lambda: (x[:40], x[40:]), block=8)


def test_a_score_of_whole_batches_leaves_out_the_rest():
    pool = pool_of(whole_batches)
    pool.attach("a", config_of(whole_batches, 0.01))
    row = pool.run(["a"])["a"]
    rest = row.train_loss - np.arange(40).mean()
    assert row.test_loss == pytest.approx(rest + np.arange(40, 56).mean(), rel=1e-6)


def told_its_split():
    """A score that is the number of its split: of numbers alone, held-out examples are
    training examples."""

    def score(params, state, numbers, key, split):
        return jnp.full(len(numbers), split)

    return replace(noting(), score=score)


@pytest.mark.parametrize("capacity", [1, 2])
def test_a_score_that_asks_for_its_split_is_told_it(capacity):
    register("told_its_split")(told_its_split)
    data = check_tasks(["told_its_split"], [TrialConfig(batch_size=20)])
    pool = LanePool(data, capacity)
    config = replace(config_of(told_its_split, 0.1), batch_size=8, holdout=8)
    pool.attach("a", config)
    row = pool.run(["a"])["a"]
    assert (row.train_loss, row.test_loss, row.validation_loss) == (0.0, 1.0, 2.0)


def read_from_the_host():
    """A task whose examples are made on the host, other ones in each step."""

    def read(numbers, step):
        items = []
        for number in np.asarray(numbers):
            rng = np.random.default_rng((int(number), int(step)))
            items.append(rng.normal(size=3))
        return np.stack(items).astype("float32")

    def loss(params, state, numbers, key):
        kind = jax.ShapeDtypeStruct((len(numbers), 3), jnp.float32)
        x = jax.pure_callback(
            read, kind, numbers, state["step"], vmap_method="sequential"
        )
        errors = (x - params["w"]) ** 2
        return errors.mean(), {"step": state["step"] + 1}

    def init(key):
        return {"w": jnp.ones(3)}, {"step": jnp.int32(0)}

    return Task(init, loss, lambda: (40, 16), block=8)


def test_examples_of_each_step_may_be_made_on_the_host():
    pool = pool_of(read_from_the_host, capacity=2)
    config = config_of(read_from_the_host, 0.1)
    for lane in ("a", "b"):
        pool.attach(lane, config)
    first = pool.run(["a", "b"])
    second = pool.run(["a", "b"])
    assert first["a"].train_loss == first["b"].train_loss
    assert first["a"].train_loss != second["a"].train_loss
    assert pool.checkpoint("a").arrays[".extra['step']"] == 4  # of two batches each


def with_a_scale():
    """A loss for each example, and beside it one number for each block of 8."""

    def loss(params, state, x, key):
        return (params["w"] ** 2).sum() + x.mean(), state

    def score(params, state, x, key):
        return {"loss": x, "scale": x.sum()}

    x = np.arange(60, dtype=np.float32)
    return Task(whole_batches().init, loss, lambda: (x[:40], x[40:]), score, block=8)


@pytest.mark.parametrize("data_memory", [None, 1])
def test_a_score_of_whole_batches_leaves_others_their_examples(data_memory):
    register("with_a_scale")(with_a_scale)
    data = check_tasks(["with_a_scale"], [TrialConfig(batch_size=32)])
    pool = LanePool(data, data_memory=data_memory)
    pool.attach("a", config_of(with_a_scale, 0.01))
    row = pool.run(["a"])["a"]
    assert row.train_loss == np.arange(40).mean()
    # 20 test examples are two blocks of 8, and four more
    assert row.test_loss == np.arange(40, 60).mean()
    assert row.scores == {"scale": np.arange(40, 56).mean() * 8}


@pytest.mark.parametrize(
    ("untrained", "least", "deviation", "loss", "diverged"),
    [
        (-0.01, -47.0, 0.0, -46.0, False),
        (1.0, 1.0, 0.0, 99.0, False),
        (1.0, 1.0, 0.0, 101.0, True),
        (-0.01, -40.0, 0.0, 3960.0, True),
        (0.0, 0.0, 2.0, 198.0, False),
        (0.0, 0.0, 2.0, 199.0, True),
    ],
)
def test_a_task_diverges_by_the_scale_of_its_own_losses(
    untrained, least, deviation, loss, diverged
):
    assert blown_up(loss, untrained, least, deviation) is diverged


def cancels():
    """A loss that is 0 on average before training, though not in each block; a step
    adds 50 at a rate of 1."""

    def init(key):
        return {"w": jnp.float32(0)}, ()

    def loss(params, state, x, key):
        return params["w"] + x.mean(), state

    x = np.tile(np.repeat([-1.0, 1.0], 8), 8).astype(np.float32)
    return Task(init, loss, lambda: (x, x), block=8)


def test_blocks_of_the_untrained_loss_give_its_scale_and_the_noise_of_what_was_learned(
    tmp_path,
):
    pool = pool_of(cancels)
    config = config_of(cancels, 0.5)
    state = tmp_path / "a.npz"
    pool.attach("a", config)
    pool.run(["a"])
    pool.checkpoint("a").save(state)
    pool.attach("a", config, Checkpoint.load(state))
    row = pool.run(["a"])["a"]
    assert row.untrained_loss == 0
    deviation = pool.lanes["a"].memory.untrained_deviation
    assert deviation == pytest.approx(1)
    # each block's loss fell by as much
    assert row.loss_noise == pytest.approx(0, abs=1e-6)
