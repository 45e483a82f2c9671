"""What a row of the table shows, and how names and numbers are written in it."""

import math
from dataclasses import replace

import pytest

from mnist_tune.numbers import exactly, told_apart
from mnist_tune.reports.table import columns
from mnist_tune.reports.view import View


def test_settings_are_written_as_they_were_asked_for():
    values = (16384, 30000, 0.99991, 1e-05, 0.1, "adam", 1.0)
    assert [exactly(value) for value in values] == [
        "16384",
        "30000",
        "0.99991",
        "1e-05",
        "0.1",
        "adam",
        "1",
    ]


def test_numbers_have_as_many_digits_as_tell_them_apart():
    assert told_apart([0.1, 1.23456, 0.1]) == {0.1: "0.1", 1.23456: "1.235"}
    assert told_apart([1.0001, 1.0002]) == {1.0001: "1.0001", 1.0002: "1.0002"}
    assert told_apart([1.01, 1.02], 2) == {1.01: "1.01", 1.02: "1.02"}
    assert told_apart([0.1 + 0.2, 0.3]) == {
        0.1 + 0.2: "0.30000000000000004",
        0.3: "0.3",
    }


def shown(trials, sweep, **how):
    """The table of a sweep, by its titles."""
    return {
        one.title: one.cells
        for one in columns(View([replace(sweep, trials=trials)], **how))
    }


def test_a_row_shows_what_tells_trials_apart_and_what_they_did(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.123456, 3])
    trials = sweep.trials.assign(
        batch_size=[32, 64, 64],
        error=["", "", "no memory"],
        reaches=[math.nan, math.inf, 3.2],
        reaches_from=[7.0, math.inf, 2.0],
        stop_reason=["completed", "completed", "error"],
    )
    assert shown(trials, sweep) == {
        "batch size": ["32", "64", "64"],
        "rate": ["0.1", "0.1235", "3"],
        "regime": ["converged", "converged", "diverged"],
        "epochs": ["4/4", "4/4", "1/4"],
        "test acc": ["0.9553", "0.9643", "0.0900"],
        "train acc": ["0.9653", "0.9743", "0.1000"],
        "curve": [""] * 3,
        "reaches 0.91": ["> 7", "never", "~3"],
        "stopped": ["completed", "completed", "error"],
        "why": [">= 0.91", ">= 0.91", "no memory"],
    }


def test_seeds_share_a_row_and_their_accuracies_have_an_interval_from_three_on(
    made_up_sweep,
):
    """For three seeds that is 4.30 times their standard error (Student's t). Two are
    told as they are."""
    sweep = made_up_sweep([0.1], seeds=3)
    trials = sweep.trials.assign(
        test_accuracy=[0.90, 0.91, 0.92], regime=["slow", "slow", "converged"]
    )
    found = shown(trials, sweep)
    assert (found["regime"], found["test acc"]) == (
        ["2 of 3 slow, 1 converged"],
        ["0.9100 ± 0.0248"],
    )
    assert shown(trials[:2], sweep)["test acc"] == ["0.9000, 0.9100"]
    assert shown(trials, sweep, rows="trials")["seed"] == ["0", "1", "2"]
    cut = trials.assign(epochs_run=[4, 0, 0], test_accuracy=[0.9, math.nan, math.nan])
    assert shown(cut, sweep)["test acc"] == ["0.9000"]


def test_ranges_of_rates_have_means_as_settings_do(made_up_sweep, monkeypatch):
    """The families share the rows; a range of different rates is no sample."""
    monkeypatch.setattr("mnist_tune.reports.view.RANGES", 4)
    sweep = made_up_sweep(
        [0.1, 0.2, 0.25, 0.3, 0.4, 3], architectures=["[red]x[/]", "plain"]
    )
    trials = sweep.trials.assign(test_accuracy=[0.5, 0.6, 0.85, 0.7, 0.7, 0.1] * 2)
    found = shown(trials, sweep, rows="ranges")
    assert found["rate"] == ["0.1–0.25", "0.3–3"] * 2
    assert found["test acc"] == ["0.6500", "0.7000"] * 2, (
        "of those that did not diverge"
    )
    assert found["regime"] == ["3 of 3 converged", "2 of 3 converged, 1 diverged"] * 2


def test_the_table_of_a_language_model_has_its_loss_in_nats_per_token(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2])
    tokens = replace(
        sweep, meta=sweep.meta | {"dataset": sweep.meta["dataset"] | {"positions": 7}}
    )
    known = [f"{one:.4g}" for one in sweep.trials["test_loss"]]
    assert shown(sweep.trials, tokens)["test loss, nats per token"] == known
    assert not [title for title in shown(sweep.trials, sweep) if "loss" in title]


def test_a_trial_that_was_at_its_target_and_is_below_it_again_is_said_to_have_left(
    made_up_sweep,
):
    sweep = made_up_sweep([0.1, 0.2])
    trials = sweep.trials.assign(reaches=14.0, reason=["left_target", "on_its_way"])
    assert shown(trials, sweep)["reaches 0.91"] == ["left", "> 12"]


def test_the_title_names_no_target_that_some_rows_do_not_have(made_up_sweep):
    """Each network may have a target of its own, or none yet."""
    sweep = made_up_sweep([0.1, 0.2])
    known = sweep.trials.assign(
        target=[0.91, 0.91], reaches=[3.0, 4.0], reaches_from=[3.0, 4.0]
    )
    assert "reaches 0.91" in shown(known, sweep)
    assert "reaches target" in shown(known.assign(target=[0.91, math.nan]), sweep)


def test_what_no_trial_has_and_what_all_share_is_not_shown(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2])
    accuracies = ["test acc", "train acc"]
    found = shown(sweep.trials.assign(reaches=math.nan, reaches_from=math.nan), sweep)
    assert [*found] == ["rate", "regime", *accuracies, "curve", "why"]
    assert shown(sweep.trials.assign(epochs_run=2), sweep)["epochs"] == ["2/4", "2/4"]
    more = sweep.trials.assign(
        label=["", "mine"], target=[0.91, 0.92], reaches=[1, 3], stop_reason="running"
    )
    assert [*shown(more, sweep)] == [
        "label",
        "rate",
        "regime",
        *accuracies,
        "curve",
        "reaches target",
        "stopped",
        "why",
    ]


@pytest.mark.parametrize("large", [1, 200])
def test_a_score_that_ranks_settings_has_a_column_and_is_drawn_first(
    made_up_sweep, large, monkeypatch
):
    monkeypatch.setattr("mnist_tune.reports.view.LARGE", large)
    sweep = made_up_sweep([0.1, 1])
    scored = {
        name: getattr(sweep, name).assign(score_kl=0.5) for name in ("trials", "epochs")
    }
    for rank_by in (None, "score_kl:min"):
        meta = sweep.meta | {"options": sweep.meta["options"] | {"rank_by": rank_by}}
        meta["dataset"] = {
            "name": "task",
            "note": "",
            "train_images": 100,
            "test_images": 50,
            "chance": 0.1,
        }
        view = View([replace(sweep, meta=meta, **scored)])
        assert ("kl" in [one.title for one in columns(view)]) == bool(rank_by)
        assert view.measures[0].title == ("kl" if rank_by else "test accuracy")
