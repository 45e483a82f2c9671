"""Data that are larger than the device's memory for them: the same bits as in
memory."""

import pickle
from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest
from tasks import contrastive, regression, vae

from mnist_tune import TrialConfig
from mnist_tune.execution.pool import LanePool
from mnist_tune.execution.sharpness import SharpnessSettings
from mnist_tune.own_code.registry import register
from mnist_tune.training.check import check_tasks

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("as_users_have_it")]
RATES = np.geomspace(1e-3, 1e-2, 8)
TIMES = "compile_s", "train_s", "eval_s", "batch_s", "wait_s", "ended_at"


def trained(data, capacity, holdout, memory=None, sharpness=None):
    """Return the rows and states of lanes, half of which begin again after an epoch,
    and all are killed and resumed."""
    pool = LanePool(data, capacity, sharpness=sharpness, data_memory=memory)
    config = TrialConfig(architecture=data.spec.name, batch_size=24, holdout=holdout)
    configs = {
        str(i): replace(config, learning_rate=rate)
        for i, rate in enumerate(RATES[:capacity])
    }
    lanes = list(configs)
    rows = []
    for beginning in (lanes, lanes[1::2]):
        for lane in beginning:
            pool.attach(lane, configs[lane])
        rows += pool.run(lanes).values()
    for lane in lanes:
        pool.attach(lane, configs[lane], pool.checkpoint(lane))
    rows += pool.run(lanes).values()
    states = [pool.checkpoint(lane).arrays for lane in lanes]
    return [without_times(row) for row in rows], states


def without_times(row):
    return {name: value for name, value in row.report().items() if name not in TIMES}


@pytest.mark.parametrize(
    ("capacity", "factory", "holdout"),
    [(1, vae, 100), (8, vae, 100), (8, contrastive, 0)],
)
def test_data_three_times_the_memory_give_the_same_bits(capacity, factory, holdout):
    register(factory.__name__)(factory)
    data = check_tasks([factory.__name__], [TrialConfig(batch_size=24)])
    size = sum(leaf.nbytes for leaf in jax.tree.leaves((data.train, data.test)))
    rows, states = trained(data, capacity, holdout)
    rows_in_parts, states_in_parts = trained(data, capacity, holdout, size / 3)
    assert rows_in_parts == rows
    assert_equal = partial(np.testing.assert_array_equal, strict=True)
    jax.tree.map(assert_equal, states_in_parts, states)


def test_the_sharpness_of_data_in_parts_is_that_of_data_in_memory():
    register("regression")(regression)
    data = check_tasks(["regression"], [TrialConfig(batch_size=24)])
    settings = SharpnessSettings(5, 50)
    rows, _ = trained(data, 1, 100, sharpness=settings)
    assert rows[0]["sharpness"] > 0
    rows_in_parts, _ = trained(data, 1, 100, 4_000, settings)
    assert rows_in_parts == rows


def test_memory_mapped_files_travel_as_paths_and_give_in_parts_the_same_bits(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.normal(size=(400, 6)).astype("float32"))
    rows = {}
    checksums = {}
    for mode in (None, "r"):

        def mapped(mode=mode):
            x = np.load(tmp_path / "x.npy", mmap_mode=mode)
            return replace(contrastive(), data=lambda: (x[:300], x[300:]))

        register(f"mapped_{mode}")(mapped)
        examples = check_tasks([f"mapped_{mode}"], [TrialConfig(batch_size=24)])
        data = pickle.loads(pickle.dumps(examples))
        assert isinstance(data.test, np.memmap) == (mode == "r")
        memory = 3_000 if mode else None
        rows[mode], _ = trained(data, 1, 0, memory)
        checksums[mode] = examples.checksums
        assert (len(pickle.dumps(data)) < 2_000) == (mode == "r")
    assert rows[None] == rows["r"]
    assert checksums[None] == checksums["r"]
