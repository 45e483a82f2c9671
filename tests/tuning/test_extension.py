"""What a resume may add to a sweep, and what it refuses."""

from dataclasses import dataclass, replace

import pytest

from mnist_tune import TrialConfig, UserError
from mnist_tune.tuning.extension import CHANGEABLE, HOW, additions, extended
from mnist_tune.tuning.options import TrialOptions


@dataclass(frozen=True, kw_only=True)
class Rates(TrialOptions):
    learning_rates: tuple[float, ...] = (0.1, 1.0)
    seeds: tuple[int, ...] = (0,)
    batch_size: tuple[int, ...] = (128,)
    architecture: tuple[str, ...] = ("mlp-16-tanh",)


RECORDED = {"learning_rates": [0.01, 0.1], "seeds": [0, 1], "batch_size": [64], "epochs": 10, "scheduler": "fifo"}


def test_what_was_not_given_is_as_before():
    found = extended(Rates(resume="x", lanes=3), RECORDED, "x")
    assert (found.learning_rates, found.seeds, found.batch_size) == ((0.01, 0.1), (0, 1), (64,))
    assert (found.epochs, found.scheduler, found.lanes) == (10, "fifo", 3)
    named = extended(Rates(architecture=("net.py:mlp",)), RECORDED | {"architecture": ["net.py:mlp(width=3)"]}, "x")
    assert named.architecture == ("net.py:mlp(width=3)",)


def test_how_a_sweep_runs_may_be_given_anew(tmp_path):
    given = {"address": "head:6379", "dashboard": True, "data_dir": tmp_path, "dataset": "mnist-5k", "quiet": True}
    given |= {"execution": "lanes", "lanes": 3, "max_concurrent": 2, "time_budget": 9.0, "trials_per_gpu": 2}
    given |= {"output": tmp_path / "x", "resume": tmp_path / "x", "retry_errored": True, "save_every": 5}
    found = extended(Rates(**given), RECORDED | {"lanes": 7, "time_budget": 1.0, "max_concurrent": 1}, "x")
    assert {name: getattr(found, name) for name in given} == given
    assert set(CHANGEABLE) <= set(HOW)


def test_rates_and_seeds_are_added_and_epochs_replaced():
    found = extended(Rates(learning_rates=(0.1, 0.3), seeds=(2,), epochs=20), RECORDED, "x")
    assert (found.learning_rates, found.seeds, found.epochs) == ((0.01, 0.1, 0.3), (0, 1, 2), 20)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"batch_size": (32,)}, "--batch-size can't change in a resume: x has 64; leave it out, or start a new sweep"),
        ({"scheduler": "asha"}, "--scheduler can't change in a resume: x has fifo"),
        ({"target": 0.9}, "--target can't change in a resume: x has None"),
        ({"grace_period": 3}, "--grace-period can't change in a resume: x has 5"),
        ({"epochs": 8}, "--epochs 8: x was asked for 10 already; a resume can only add epochs"),
    ],
)
def test_what_can_not_change_is_refused(given, said):
    with pytest.raises(UserError) as caught:
        extended(Rates(**given), RECORDED, "x")
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("given", [{"epochs": 20}, {"learning_rates": (0.3,)}, {"batch_size": (32,)}])
def test_a_sweep_that_was_made_from_python_takes_nothing(given):
    with pytest.raises(UserError, match=r"can't change in a resume: x was made from Python"):
        extended(Rates(**given), {"scheduler": "fifo"}, "x")


def test_a_schedule_that_has_ended_takes_no_more_epochs():
    with pytest.raises(UserError, match="x has a cosine schedule, which ended at 0"):
        extended(Rates(epochs=20), RECORDED | {"schedule": "cosine"}, "x")


def test_a_schedule_that_has_ended_takes_more_rates_and_seeds():
    found = extended(Rates(learning_rates=(1.0,), seeds=(2,)), RECORDED | {"schedule": "cosine"}, "x")
    assert (found.learning_rates, found.seeds, found.epochs) == ((0.01, 0.1, 1.0), (0, 1, 2), 10)


def test_new_trials_have_new_ids_and_old_ones_train_longer():
    known = {f"{i:05d}": TrialConfig(learning_rate=rate, epochs=10) for i, rate in enumerate((0.1, 1.0))}
    wanted = [replace(trial, epochs=20) for trial in known.values()]
    assert additions(known, list(known.values())) == {}
    assert additions(known, wanted) == dict(zip(known, wanted, strict=True))
    new = TrialConfig(learning_rate=0.3, epochs=10)
    assert additions(known, [*known.values(), new]) == {"00002": new}


def test_added_trials_are_numbered_on_and_longer_ones_keep_their_ids():
    known = {f"{i:05d}": TrialConfig(learning_rate=rate, epochs=4) for i, rate in enumerate((0.1, 0.2))}
    wanted = [TrialConfig(learning_rate=rate, epochs=6) for rate in (0.2, 0.3, 0.4)]
    assert additions(known, wanted) == dict(zip(("00001", "00002", "00003"), wanted, strict=True))
    assert additions(known, [replace(known["00000"], epochs=3)]) == {}
