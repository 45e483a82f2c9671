"""Networks, optimisers and data of one's own, alone and as lanes, and resumed."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from unittest import mock

import jax
import numpy as np
import optax
import pytest
from own_networks import DATA_SETS, digits, patterns, write_networks

from mnist_tune import SweepOptions, TrialConfig, UserError, resume_sweep, run_sweep
from mnist_tune.data.dataset import load_dataset
from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.execution.pool import LanePool
from mnist_tune.own_code import modules
from mnist_tune.own_code.loading import load_own, own_code
from mnist_tune.own_code.registry import ENTRIES, register_optimizer
from mnist_tune.tuning import checks, sweep


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """The names of the networks by their files' names, loaded from a folder that is
    gone by then."""
    # in a folder that stays, so that its name is not used again
    folder = tmp_path_factory.mktemp("networks") / "gone"
    folder.mkdir()
    names = write_networks(folder)
    with pytest.MonkeyPatch.context() as patch, mock.patch.dict(modules.TEXTS):
        patch.setitem(ENTRIES, "architecture", dict(ENTRIES["architecture"]))
        with jax.numpy_dtype_promotion("standard"):
            load_own({"architecture": names})
        shutil.rmtree(folder)
        sys.path.remove(str(folder))
        yield {Path(name.partition(":")[0]).stem: name for name in names}


def trained(pool, configs, epochs=2):
    """Train these trials together, and return each one's rows and last state."""
    ids = [str(number) for number in range(len(configs))]
    for trial_id, config in zip(ids, configs, strict=True):
        pool.attach(trial_id, config)
    rows = [pool.run(ids) for _ in range(epochs)]
    trials = []
    for trial_id in ids:
        own_rows = [row[trial_id] for row in rows]
        trials.append((own_rows, pool.checkpoint(trial_id)))
    return trials


def dtypes_of(state):
    return {array.dtype for array in state.arrays.values()}


PAIRS = [
    ("net", "digits"),
    ("linen_net", "a hundred classes"),
    ("nnx_net", "two classes, one of 89%"),
    ("equinox_net", "three channels, seven classes"),
    ("batch_norm_net", "three channels, seven classes"),
    ("bfloat16_net", "three channels, seven classes"),
]
"""One pair for each network and each data set: the others differ in shapes only."""


@pytest.mark.slow
@pytest.mark.promise(
    "Each documented network trains on data of any shape, alone and as lanes"
)
@pytest.mark.parametrize(("network", "data"), PAIRS)
def test_a_network_trains_on_any_data_alone_and_as_lanes(
    networks, as_users_have_it, network, data, tmp_path
):
    dataset = load_dataset(DATA_SETS[data]())
    # whole batches only: a partial one is compiled apart, as below
    slow = TrialConfig(
        architecture=networks[network], learning_rate=0.05, batch_size=20, epochs=2
    )
    fast = replace(slow, learning_rate=0.2)
    pool = LanePool(dataset, capacity=2)
    together = trained(pool, [slow, fast])
    alone = [*trained(pool, [slow]), *trained(pool, [fast])]
    tolerance = 0.05 if network == "bfloat16_net" else 2e-4
    for (rows, state), (expected, single) in zip(together, alone, strict=True):
        for row, other in zip(rows, expected, strict=True):
            assert row.train_loss == pytest.approx(other.train_loss, rel=tolerance)
        assert expected[-1].train_loss < expected[-1].untrained_loss
        assert dtypes_of(state) == dtypes_of(single)
        path = tmp_path / "state.npz"
        single.save(path)
        for name, array in Checkpoint.load(path).arrays.items():
            np.testing.assert_array_equal(array, single.arrays[name], strict=True)


STEPS = {
    "adam in its warm-up, down a cosine": {
        "optimizer": "adam",
        "schedule": "cosine",
        "warmup_steps": 100,
    },
    "sgd, clipped and decayed": {
        "momentum": 0.9,
        "clip_norm": 0.5,
        "weight_decay": 1e-3,
        "schedule": "linear",
    },
    "batch normalisation and dropout": {"architecture": "batch_norm_net"},
    "noise from a random key": {"optimizer": "noisy"},
}


@pytest.mark.promise("A resumed trial has the same bits, also with dropout and noise")
@pytest.mark.parametrize("step", STEPS)
def test_a_restored_trial_is_bit_identical(networks, as_users_have_it, step, tmp_path):
    register_optimizer("noisy")(
        lambda learning_rate: optax.noisy_sgd(learning_rate, 0.01, 0.55, key=0)
    )
    dataset = load_dataset(digits())
    values = {"architecture": "net"} | STEPS[step]
    values["architecture"] = networks[values["architecture"]]
    config = TrialConfig(learning_rate=0.01, batch_size=16, epochs=4, **values)
    straight = LanePool(dataset)
    [(rows, whole)] = trained(straight, [config], epochs=3)
    [(_, half)] = trained(straight, [config], epochs=1)
    path = tmp_path / "state.npz"
    half.save(path)
    pool = LanePool(dataset)
    pool.attach("again", config, Checkpoint.load(path))
    for row in rows[1:]:
        resumed = pool.run(["again"])["again"]
        assert resumed.train_loss == row.train_loss
    for name, array in pool.checkpoint("again").arrays.items():
        np.testing.assert_array_equal(array, whole.arrays[name], strict=True)


@pytest.mark.promise("A resume refuses other data")
def test_a_resume_wants_the_same_code_and_the_same_data(
    networks, tmp_path, monkeypatch
):
    output = tmp_path / "sweep"
    name = networks["net"]
    options = SweepOptions(dataset=digits(), output=output, quiet=True)
    # before any trial starts
    monkeypatch.setattr(
        sweep, "run_plan", lambda opened, *rest: opened.writer.finish(ended="now")
    )
    monkeypatch.setattr(SweepOptions, "start_ray", lambda options: None)
    # it runs in one of Ray's processes
    monkeypatch.setattr(checks, "check_networks", lambda *arguments: None)
    run_sweep("own", [TrialConfig(architecture=name, epochs=50)] * 3, options)
    arrays = r"trained on arrays from Python; .*SweepOptions\(dataset=...\)"
    with pytest.raises(UserError, match=arrays):
        resume_sweep(output)
    with pytest.raises(UserError, match="was trained on other data"):
        resume_sweep(output, dataset=patterns((8, 8), 10))
    ENTRIES["architecture"].clear()
    resume_sweep(output, dataset=digits(), quiet=True)
    assert ("architecture", name) in own_code()[1], "the trials' processes get it"
    ENTRIES["architecture"].clear()
    takes_none = (
        r"^--changed-code takes a file that is named, too: --architecture .*net.py:mlp"
    )
    with pytest.raises(UserError, match=takes_none):
        resume_sweep(output, dataset=digits(), changed_code=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another user"))
    unsigned = ".*net.py:mlp, which is not signed by you; .*--trust-code"
    with pytest.raises(UserError, match=f"{output} would run {unsigned}"):
        resume_sweep(output, dataset=digits())
    resume_sweep(output, dataset=digits(), trust_code=True, quiet=True)
    ENTRIES["architecture"].clear()
    resume_sweep(output, dataset=digits(), quiet=True)  # trusted once, it is signed
