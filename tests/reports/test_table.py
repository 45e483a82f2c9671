"""What a row of the table shows, and how names and numbers are written in it."""

import math
from dataclasses import replace

import pytest
from changed_sweeps import with_columns, with_data, with_meta, with_trials
from text_tables import barred_rows

from mnist_tune.numbers import exactly, told_apart
from mnist_tune.reports.table import columns
from mnist_tune.reports.view import View


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (16384, "16384"),
        (30000, "30000"),
        (0.99991, "0.99991"),
        (1e-05, "1e-05"),
        (0.1, "0.1"),
        ("adam", "adam"),
        (1.0, "1"),
    ],
)
def test_settings_are_written_as_they_were_asked_for(value, text):
    assert exactly(value) == text


def test_numbers_have_as_many_digits_as_tell_them_apart():
    assert told_apart([0.1, 1.23456, 0.1]) == {0.1: "0.1", 1.23456: "1.235"}
    assert told_apart([1.0001, 1.0002]) == {1.0001: "1.0001", 1.0002: "1.0002"}
    assert told_apart([1.01, 1.02], 2) == {1.01: "1.01", 1.02: "1.02"}
    rounded = 0.1 + 0.2
    assert told_apart([rounded, 0.3]) == {rounded: "0.30000000000000004", 0.3: "0.3"}


def shown(sweep, **how):
    """The cells of a sweep's table, by the titles of their columns."""
    return {column.title: column.cells for column in columns(View([sweep], **how))}


def test_a_row_shows_what_tells_trials_apart_and_what_they_did(made_up_sweep):
    sweep = with_trials(
        made_up_sweep([0.1, 0.123456, 3]),
        batch_size=[32, 64, 64],
        error=["", "", "no memory"],
        reaches=[math.nan, math.inf, 3.2],
        reaches_from=[7.0, math.inf, 2.0],
        stop_reason=["completed", "completed", "error"],
    )
    table = """
        batch size   | 32        | 64        | 64
        rate         | 0.1       | 0.1235    | 3
        regime       | converged | converged | diverged
        epochs       | 4/4       | 4/4       | 1/4
        test acc     | 0.9553    | 0.9643    | 0.0900
        train acc    | 0.9653    | 0.9743    | 0.1000
        curve        |           |           |
        reaches 0.91 | > 7       | never     | ~3
        stopped      | completed | completed | error
        why          | >= 0.91   | >= 0.91   | no memory
    """
    assert shown(sweep) == {title: cells for title, *cells in barred_rows(table)}


def with_options(sweep, **options):
    """The sweep as if it had been asked for these."""
    recorded = sweep.meta["options"] | options
    return replace(sweep, meta=sweep.meta | {"options": recorded})


def test_the_title_says_of_how_many_images_a_training_accuracy_is(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2])
    part = with_options(sweep, train_evaluation=1000)
    assert shown(part)["train acc of 1000"] == ["0.9653", "0.9797"]
    for count in ("all", 60_000):
        assert "train acc" in shown(with_options(sweep, train_evaluation=count))


def test_seeds_share_a_row_and_their_accuracies_have_an_interval_from_three_on(
    made_up_sweep,
):
    """For three seeds that is 4.30 times their standard error (Student's t). Two are
    told as they are."""
    sweep = with_trials(
        made_up_sweep([0.1], seeds=3),
        test_accuracy=[0.90, 0.91, 0.92],
        regime=["slow", "slow", "converged"],
    )
    cells = shown(sweep)
    assert cells["regime"] == ["2 of 3 slow, 1 converged"]
    assert cells["test acc"] == ["0.9100 ± 0.0248"]
    two_seeds = replace(sweep, trials=sweep.trials[:2])
    assert shown(two_seeds)["test acc"] == ["0.9000, 0.9100"]
    assert shown(sweep, rows="trials")["seed"] == ["0", "1", "2"]
    accuracies = [0.9, math.nan, math.nan]
    cut = with_trials(sweep, epochs_run=[4, 0, 0], test_accuracy=accuracies)
    assert shown(cut)["test acc"] == ["0.9000"]


def test_ranges_of_rates_have_means_as_settings_do(made_up_sweep, monkeypatch):
    """The families share the rows; a range of different rates is no sample."""
    monkeypatch.setattr("mnist_tune.reports.view.RANGES", 4)
    rates = [0.1, 0.2, 0.25, 0.3, 0.4, 3]
    sweep = made_up_sweep(rates, architectures=["[red]x[/]", "plain"])
    accuracies = [0.5, 0.6, 0.85, 0.7, 0.7, 0.1] * 2
    cells = shown(with_trials(sweep, test_accuracy=accuracies), rows="ranges")
    assert cells["rate"] == ["0.1–0.25", "0.3–3"] * 2
    means = ["0.6500", "0.7000"]
    assert cells["test acc"] == means * 2, "of those that did not diverge"
    assert cells["regime"] == ["3 of 3 converged", "2 of 3 converged, 1 diverged"] * 2


def test_the_table_of_a_language_model_has_its_loss_in_nats_per_token(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2])
    tokens = with_data(sweep, positions=7)
    losses = [f"{loss:.4g}" for loss in sweep.trials["test_loss"]]
    assert shown(tokens)["test loss, nats per token"] == losses
    assert not [title for title in shown(sweep) if "loss" in title]


def test_a_trial_that_was_at_its_target_and_is_below_it_again_is_said_to_have_left(
    made_up_sweep,
):
    sweep = made_up_sweep([0.1, 0.2])
    late = with_trials(sweep, reaches=14.0, reason=["left_target", "on_its_way"])
    assert shown(late)["reaches 0.91"] == ["left", "> 12"]


def test_the_title_names_no_target_that_some_rows_do_not_have(made_up_sweep):
    """Each network may have a target of its own, or none yet."""
    sweep = with_trials(
        made_up_sweep([0.1, 0.2]),
        target=[0.91, 0.91],
        reaches=[3.0, 4.0],
        reaches_from=[3.0, 4.0],
    )
    assert "reaches 0.91" in shown(sweep)
    one_target = with_trials(sweep, target=[0.91, math.nan])
    assert "reaches target" in shown(one_target)


def test_what_no_trial_has_and_what_all_share_is_not_shown(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2])
    never_reaches = with_trials(sweep, reaches=math.nan, reaches_from=math.nan)
    titles = "rate, regime, test acc, train acc, curve, why"
    assert ", ".join(shown(never_reaches)) == titles
    short = with_trials(sweep, epochs_run=2)
    assert shown(short)["epochs"] == ["2/4", "2/4"]
    labelled = with_trials(
        sweep,
        label=["", "mine"],
        target=[0.91, 0.92],
        reaches=[1, 3],
        stop_reason="running",
    )
    assert ", ".join(shown(labelled)) == (
        "label, rate, regime, test acc, train acc, curve, reaches target, stopped, why"
    )


TASK = {
    "name": "task",
    "note": "",
    "train_images": 100,
    "test_images": 50,
    "chance": 0.1,
}


@pytest.mark.parametrize("large", [1, 200])
def test_a_score_that_ranks_settings_has_a_column_and_is_drawn_first(
    made_up_sweep, large, monkeypatch
):
    monkeypatch.setattr("mnist_tune.reports.view.LARGE", large)
    sweep = with_columns(made_up_sweep([0.1, 1]), score_kl=0.5)
    options = sweep.meta["options"]

    def view_of(rank_by):
        ranked = options | {"rank_by": rank_by}
        return View([with_meta(sweep, options=ranked, dataset=TASK)])

    by_accuracy = view_of(None)
    assert "kl" not in [column.title for column in columns(by_accuracy)]
    assert by_accuracy.measures[0].title == "test accuracy"
    by_score = view_of("score_kl:min")
    assert "kl" in [column.title for column in columns(by_score)]
    assert by_score.measures[0].title == "kl"
