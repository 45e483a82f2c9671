"""What pictures and pages show of sweeps: rows, measures and their axes."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from recorded_data import OF_A_TASK

from mnist_tune.reports.measures import Axis
from mnist_tune.reports.page import page
from mnist_tune.reports.table import columns
from mnist_tune.reports.view import View, range_of


def test_what_the_head_says_is_where_the_mark_is(made_up_sweep):
    sweep = made_up_sweep([0.01, 0.1, 1], seeds=3)
    accuracy = sweep.trials["test_accuracy"] - 0.001 * sweep.trials["seed"]
    view = View([replace(sweep, trials=sweep.trials.assign(test_accuracy=accuracy))])
    best = view.settings.index[view.settings["role"] == "best"]
    [low, middle, high] = view.means[view.measures[0].column][best][0]
    assert f"{middle:.4f}" in view.answers[0].headline
    assert low < middle < high


def test_rows_are_settings_by_rate_with_the_regime_that_the_sentence_names(
    made_up_sweep,
):
    sweep = made_up_sweep([1, 0.1], seeds=2)
    regimes = ["converged", "converged", "converged", "oscillating"]
    view = View(
        [
            replace(
                sweep,
                trials=sweep.trials.sort_values("learning_rate").assign(regime=regimes),
            )
        ]
    )
    assert view.settings[["learning_rate", "regime"]].to_numpy().tolist() == [
        [0.1, "converged"],
        [1, "oscillating"],
    ]
    assert "oscillates 1 (1 of 2 seeds)" in view.answers[0].lines[1]


def test_two_seeds_have_no_interval_and_one_has_that_of_its_images(made_up_sweep):
    sweep = made_up_sweep([0.1, 1], seeds=2)
    two, one = (
        View([sweep]),
        View([replace(sweep, trials=sweep.trials[sweep.trials["seed"] == 0])]),
    )
    assert np.isnan(two.means[two.measures[0].column][:, [0, 2]]).all()
    _, middle, high = one.means[one.measures[0].column][0]
    assert (high - middle) == pytest.approx(
        1.96 * math.sqrt(middle * (1 - middle) / 1000), rel=1e-3
    )
    assert np.isnan(one.means[one.measures[1].column][0, 0]), (
        "settings do not compete by their training accuracy"
    )


def test_losses_of_seeds_that_all_blew_up_have_no_interval_and_give_no_warning(
    made_up_sweep,
):
    sweep = made_up_sweep([0.1, 4], seeds=3)
    lost = sweep.trials["learning_rate"] > 2
    trials = sweep.trials.assign(
        train_loss=sweep.trials["train_loss"].mask(lost, math.inf)
    )
    means = View([replace(sweep, trials=trials)]).means["train_loss"]
    assert np.isfinite(means[0]).all()
    assert not np.isfinite(means[1]).any()


def test_losses_that_are_not_finite_or_far_above_the_untrained_one_are_at_the_top(
    made_up_sweep,
):
    view = View([made_up_sweep([0.1, 1, 3, 4, 5])])
    (loss,) = (one for one in view.measures if one.column == "train_loss")
    heights = loss.place(loss.of(view.trials))
    assert heights[-3:].tolist() == [loss.axis.high] * 3
    assert heights[:2].max() < loss.axis.high
    assert [text[:2] for text in loss.axis.marked.values()] == ["> "]


def test_a_loss_that_is_not_above_0_has_a_linear_axis(made_up_sweep):
    sweep = made_up_sweep([0.1, 1])
    lower = {
        name: table.assign(train_loss=table["train_loss"] - 1)
        for name, table in vars(sweep).items()
        if name in ("trials", "epochs")
    }
    (loss,) = (
        one
        for one in View([replace(sweep, **lower)]).measures
        if one.column == "train_loss"
    )
    assert not loss.axis.log
    assert loss.axis.low < (lower["trials"]["train_loss"]).min() < 0


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e3])
def test_losses_below_0_fill_their_axis_whatever_their_size(made_up_sweep, scale):
    sweep = made_up_sweep([0.1, 1])
    tables = {"trials": sweep.trials, "epochs": sweep.epochs}
    lower = {
        name: one.assign(
            train_loss=scale * (one["train_loss"] - 0.3), untrained_loss=scale * 2.4
        )
        for name, one in tables.items()
    }
    (loss,) = (
        one
        for one in View([replace(sweep, **lower)]).measures
        if one.column == "train_loss"
    )
    heights = loss.axis.share(lower["epochs"]["train_loss"].to_numpy())
    assert (heights.min(), heights.max()) == (
        pytest.approx(0.054, abs=0.01),
        pytest.approx(0.946, abs=0.01),
    )


def test_settings_that_are_small_numbers_fill_their_axis():
    axis = Axis.of([0.001, 0.002, 0.004], log=False)
    assert axis.share(np.array([0.001, 0.004])) == pytest.approx(
        [0.054, 0.946], abs=0.01
    )
    equal = [Axis.of(one, log=False) for one in ([0.0, 0.0], [-5.0, -5.0])]
    assert [
        axis.share(one) for axis, one in zip(equal, (0, -5), strict=True)
    ] == pytest.approx([0.5, 0.5])


def test_a_page_shows_the_own_scores_of_a_task_whatever_they_are_called(made_up_sweep):
    sweep, own = (
        made_up_sweep([0.1, 1], seeds=3),
        {"score_kl": 0.5, "score_top5_accuracy": 93.0, "score_kl_loss": 99.0},
    )
    view = View(
        [
            replace(
                sweep,
                trials=sweep.trials.assign(**own),
                epochs=sweep.epochs.assign(**own),
            )
        ]
    )
    assert [one.place(one.of(view.trials))[0] for one in view.measures[-3:]] == [
        *own.values()
    ]
    assert {one.title for one in view.accuracies} == {
        "test accuracy",
        "training accuracy",
    }
    assert ">kl<" in page(view.sweeps)


def test_of_a_task_whose_labels_follow_the_loss_losses_are_shown_and_accuracies_are_in_the_menu(
    made_up_sweep,
):
    sweep = made_up_sweep([0.1, 1], architectures=("with", "without"))
    lacks = {
        name: table.assign(
            test_accuracy=table["test_accuracy"].mask(table["trial_id"] > "00001")
        )
        for name, table in vars(sweep).items()
        if name in ("trials", "epochs")
    }
    by_loss = replace(sweep, meta=sweep.meta | {"dataset": OF_A_TASK}, **lacks)
    view = View([by_loss])
    assert [one.title for one in columns(view)][2:5] == [
        "regime",
        "test loss",
        "train loss",
    ]
    cells = {one.title: one.cells for one in columns(view)}
    assert "–" not in cells["test loss"]
    assert [one.column for one in view.measures] == [
        "test_loss",
        "train_loss",
        "test_accuracy",
        "train_accuracy",
    ]
    accuracy = view.measures[2]
    assert accuracy.axis.accuracy
    assert accuracy.axis.marked is None, "nobody knows the chance"
    both = View([sweep, by_loss])
    assert {"test acc", "test loss"} < {one.title for one in columns(both)}
    assert [
        *next(one for one in both.measures if one.axis.accuracy).axis.marked.values()
    ] == ["guess"]


def test_an_accuracy_of_1_has_a_place_and_guessing_does_not_fill_the_axis(
    made_up_sweep,
):
    sweep = made_up_sweep([0.1, 1])
    perfect = replace(
        sweep,
        trials=sweep.trials.assign(test_accuracy=1.0),
        epochs=sweep.epochs.assign(test_accuracy=1.0),
    )
    (accuracy, *_) = View([perfect]).measures
    assert accuracy.place(np.ones(2)).tolist() == [accuracy.axis.low] * 2
    assert accuracy.axis.low == pytest.approx(0.6 * 0.5 / 1000)
    (accuracy, *_) = View(
        [replace(sweep, epochs=sweep.epochs.assign(test_accuracy=0.1))]
    ).measures
    assert accuracy.axis.low < accuracy.axis.high / 15
    assert accuracy.axis.share(0.02) > accuracy.axis.share(0.9), (
        "the smaller the error, the higher"
    )
    assert [*accuracy.axis.marked.values()] == ["guess"]


def test_axes_hold_their_values_with_room():
    assert np.log10(Axis.of([0.01, 1])[:2]) == pytest.approx([-2.12, 0.12])
    assert Axis.of([2, 4], False)[:2] == pytest.approx((1.88, 4.12))
    low, high, *_ = Axis.of([0.1])
    assert low < 0.1 < high


def test_what_was_held_out_is_judged_first_and_a_search_shows_nothing_of_the_test_set(
    made_up_sweep,
):
    sweep = made_up_sweep([0.1, 1, 0.5])
    held = {
        "validation_accuracy": [0.9, 0.99, 0.8],
        "holdout": 100,
        "validation_loss": 0.3,
    }
    epochs = sweep.epochs.assign(validation_accuracy=0.9, validation_loss=0.3)
    found = replace(sweep, trials=sweep.trials.assign(**held), epochs=epochs)
    judged = "held-out accuracy, test accuracy, training accuracy, training loss"
    assert ", ".join(one.title for one in View([found]).measures) == judged
    search = View([replace(found, meta=sweep.meta | {"search": True})])
    assert [one.title for one in search.measures] == [
        "held-out accuracy",
        "training accuracy",
        "training loss",
    ]
    assert search.trials["validation_accuracy"].tolist() == [0.99, 0.9, 0.8], (
        "the best first"
    )
    assert not any("test" in name for name in search.trials)


def test_of_a_large_sweep_fewer_measures_are_held_and_then_fewer_epochs(
    made_up_sweep, monkeypatch
):
    sweep = made_up_sweep([0.1, 1])
    monkeypatch.setattr("mnist_tune.reports.view.LARGE", 1)
    monkeypatch.setattr("mnist_tune.reports.view.MOST_CELLS", 4)
    view = View([sweep])
    assert [one.column for one in view.measures] == ["test_accuracy", "train_loss"]
    assert view.kept_epochs.tolist() == [2, 4]


@pytest.mark.parametrize(
    ("places", "titles"),
    [
        (
            [
                "s3://bucket/x/s?region=a",
                "s3://bucket/y/s?region=b/c",
                "s3://bucket/x/t",
            ],
            ["x/s", "y/s", "x/t"],
        ),
        (["s", "s"], ["s (1)", "s (2)"]),
    ],
)
def test_several_sweeps_are_told_apart_by_as_many_folders_as_it_takes(
    made_up_sweep, places, titles
):
    sweep = made_up_sweep([0.1])
    view = View([replace(sweep, path=place) for place in places])
    assert view.titles == titles
    assert view.trials["trial_id"].is_unique
    assert len(view.settings) == len(places)


@pytest.mark.parametrize(
    ("values", "groups", "log"),
    [(range(12), 12, False), (range(1, 14), 0, True), (range(2, 20), 0, False)],
)
def test_how_a_setting_of_numbers_is_shown(made_up_sweep, values, groups, log):
    sweep = made_up_sweep(np.geomspace(0.01, 1, len(values)))
    view = View([replace(sweep, trials=sweep.trials.assign(warmup_steps=list(values)))])
    [*_, found] = view.maps(0)
    assert (found.name, len(found.axis.ticks or ()), found.axis.log) == (
        "warmup_steps",
        groups,
        log,
    )


def test_ranges_hold_equally_many_different_rates():
    rates = pd.Series([3.0, 0.1, 0.1, 0.1, 0.2, 1.0, 2.0])
    assert range_of(rates, 2).tolist() == [2, 1, 1, 1, 1, 1, 2]
    assert range_of(rates, 9).tolist() == [5, 1, 1, 1, 2, 3, 4]


def test_the_rows_of_an_edge_are_ranges_of_rates(edge_sweep):
    settings = View([edge_sweep]).settings
    assert 5 < len(settings) <= 12
    assert settings["rate"].iloc[0].startswith("0.2–")
    assert sorted(row for rows in settings["trials"] for row in rows) == [
        *range(len(edge_sweep.trials))
    ]
