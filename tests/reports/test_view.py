"""What pictures and pages show of sweeps: rows, measures and their axes."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from changed_sweeps import by_rate, with_columns, with_epochs, with_meta, with_trials
from recorded_data import OF_A_TASK

from mnist_tune.reports.measures import Axis
from mnist_tune.reports.page import _recorded, page
from mnist_tune.reports.table import columns
from mnist_tune.reports.view import View, range_of


def train_loss_of(view):
    """The measure that shows the training loss."""
    (loss,) = (measure for measure in view.measures if measure.column == "train_loss")
    return loss


def test_what_the_head_says_is_where_the_mark_is(made_up_sweep):
    sweep = made_up_sweep([0.01, 0.1, 1], seeds=3)
    accuracy = sweep.trials["test_accuracy"] - 0.001 * sweep.trials["seed"]
    view = View([with_trials(sweep, test_accuracy=accuracy)])
    best = view.settings.index[view.settings["role"] == "best"]
    intervals = view.means[view.measures[0].column]
    [low, middle, high] = intervals[best][0]
    assert f"{middle:.4f}" in view.answers[0].headline
    assert low < middle < high


def test_rows_are_settings_by_rate_with_the_regime_that_the_sentence_names(
    made_up_sweep,
):
    sweep = by_rate(made_up_sweep([1, 0.1], seeds=2))
    regimes = ["converged", "converged", "converged", "oscillating"]
    view = View([with_trials(sweep, regime=regimes)])
    assert view.settings["learning_rate"].tolist() == [0.1, 1]
    assert view.settings["regime"].tolist() == ["converged", "oscillating"]
    assert "oscillates 1 (1 of 2 seeds)" in view.answers[0].lines[1]


def shown(sweep):
    """The names of curves, and the first two columns of the table."""
    view = View([sweep])
    first, second, *_ = columns(view)
    titles = {first.title: first.cells, second.title: second.cells}
    return view.settings["name"].tolist(), titles


def test_networks_that_differ_in_an_argument_are_named_by_it(made_up_sweep):
    names = [f"/home/anna/net.py:cnn(width={width})" for width in (128, 1, 16)]
    curves, table = shown(made_up_sweep([0.1], architectures=names))
    assert curves == ["width=1 0.1", "width=16 0.1", "width=128 0.1"]
    assert table["width"] == ["1", "16", "128"]


def test_a_network_with_its_default_is_told_from_one_with_an_argument(made_up_sweep):
    names = ["net.py:cnn", "net.py:cnn(width=16)"]
    curves, table = shown(made_up_sweep([0.1], architectures=names))
    assert curves == ["width=16 0.1", "default 0.1"]
    assert table["width"] == ["16", "–"]


def test_networks_are_named_by_what_differs_alone(made_up_sweep):
    names = ["mlp-4-tanh", "net.py:cnn(width=8, depth=2)"]
    names.append("net.py:cnn(width=16, depth=2)")
    curves, table = shown(made_up_sweep([0.1], architectures=names))
    assert curves == [
        "mlp-4-tanh 0.1",
        "net.py:cnn width=8 0.1",
        "net.py:cnn width=16 0.1",
    ]
    assert table["architecture"] == ["mlp-4-tanh", "net.py:cnn", "net.py:cnn"]
    assert table["width"] == ["–", "8", "16"]


def test_texts_that_their_arguments_do_not_tell_apart_are_shown_as_they_are(
    made_up_sweep,
):
    names = ["net.py:cnn(16)", "net.py:cnn(32)", "net.py:cnn(8, width='8')"]
    names.append("net.py:cnn(8, width=8)")
    curves, table = shown(made_up_sweep([0.1], architectures=names))
    assert set(table["architecture"]) == set(names)
    assert len(set(curves)) == 4


def test_an_argument_may_have_the_name_of_a_column_of_the_view(made_up_sweep):
    names = [f"net.py:lora(rank={rank}, key={-rank})" for rank in (4, 8)]
    sweep = made_up_sweep([0.1, 0.2], architectures=names)
    table = _recorded(View([sweep]))
    assert sorted(table["rank"]) == [4, 4, 8, 8]
    assert sorted(table["key"]) == [-8, -8, -4, -4]
    assert "setting" not in table


def test_two_seeds_have_no_interval_and_one_has_that_of_its_images(made_up_sweep):
    sweep = made_up_sweep([0.1, 1], seeds=2)
    two_seeds = View([sweep])
    intervals = two_seeds.means[two_seeds.measures[0].column]
    assert np.isnan(intervals[:, [0, 2]]).all()

    first_seed = sweep.trials[sweep.trials["seed"] == 0]
    one_seed = View([replace(sweep, trials=first_seed)])
    test_accuracy, train_accuracy, *_ = one_seed.measures
    _, middle, high = one_seed.means[test_accuracy.column][0]
    deviation = math.sqrt(middle * (1 - middle) / 1000)
    assert (high - middle) == pytest.approx(1.96 * deviation, rel=1e-3)
    low = one_seed.means[train_accuracy.column][0, 0]
    assert np.isnan(low), "settings do not compete by their training accuracy"


def test_losses_of_seeds_that_all_blew_up_have_no_interval_and_give_no_warning(
    made_up_sweep,
):
    sweep = made_up_sweep([0.1, 4], seeds=3)
    lost = sweep.trials["learning_rate"] > 2
    losses = sweep.trials["train_loss"].mask(lost, math.inf)
    means = View([with_trials(sweep, train_loss=losses)]).means["train_loss"]
    assert np.isfinite(means[0]).all()
    assert not np.isfinite(means[1]).any()


def test_losses_that_are_not_finite_or_far_above_the_untrained_one_are_at_the_top(
    made_up_sweep,
):
    view = View([made_up_sweep([0.1, 1, 3, 4, 5])])
    loss = train_loss_of(view)
    heights = loss.place(loss.of(view.trials))
    assert heights[-3:].tolist() == [loss.axis.high] * 3
    assert heights[:2].max() < loss.axis.high
    [mark] = loss.axis.marked.values()
    assert mark[:2] == "> "


def test_a_loss_that_is_not_above_0_has_a_linear_axis(made_up_sweep):
    sweep = made_up_sweep([0.1, 1])
    lower = with_trials(sweep, train_loss=sweep.trials["train_loss"] - 1)
    lower = with_epochs(lower, train_loss=sweep.epochs["train_loss"] - 1)
    loss = train_loss_of(View([lower]))
    assert not loss.axis.log
    assert loss.axis.low < lower.trials["train_loss"].min() < 0


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e3])
def test_losses_below_0_fill_their_axis_whatever_their_size(made_up_sweep, scale):
    sweep = with_columns(made_up_sweep([0.1, 1]), untrained_loss=scale * 2.4)
    lower = with_trials(sweep, train_loss=scale * (sweep.trials["train_loss"] - 0.3))
    lower = with_epochs(lower, train_loss=scale * (sweep.epochs["train_loss"] - 0.3))
    loss = train_loss_of(View([lower]))
    heights = loss.axis.share(lower.epochs["train_loss"].to_numpy())
    assert heights.min() == pytest.approx(0.054, abs=0.01)
    assert heights.max() == pytest.approx(0.946, abs=0.01)


def test_settings_that_are_small_numbers_fill_their_axis():
    axis = Axis.of([0.001, 0.002, 0.004], log=False)
    ends = axis.share(np.array([0.001, 0.004]))
    assert ends == pytest.approx([0.054, 0.946], abs=0.01)


@pytest.mark.parametrize("number", [0.0, -5.0])
def test_settings_that_are_equal_are_in_the_middle_of_their_axis(number):
    axis = Axis.of([number, number], log=False)
    assert axis.share(number) == pytest.approx(0.5)


def test_a_page_shows_the_own_scores_of_a_task_whatever_they_are_called(made_up_sweep):
    scores = {"score_kl": 0.5, "score_top5_accuracy": 93.0, "score_kl_loss": 99.0}
    sweep = made_up_sweep([0.1, 1], seeds=3)
    view = View([with_columns(sweep, **scores)])
    last_measures = view.measures[-3:]
    places = [measure.place(measure.of(view.trials))[0] for measure in last_measures]
    assert places == list(scores.values())
    accuracies = {measure.title for measure in view.accuracies}
    assert accuracies == {"test accuracy", "training accuracy"}
    assert ">kl<" in page(view.sweeps)


def test_of_a_task_whose_labels_follow_the_loss_losses_are_shown_and_accuracies_are_in_the_menu(
    made_up_sweep,
):
    sweep = made_up_sweep([0.1, 1], architectures=("with", "without"))

    def lacking(table):
        """The accuracies of a table, but for those of the second network."""
        return table["test_accuracy"].mask(table["trial_id"] > "00001")

    by_loss = with_meta(sweep, dataset=OF_A_TASK)
    by_loss = with_trials(by_loss, test_accuracy=lacking(sweep.trials))
    by_loss = with_epochs(by_loss, test_accuracy=lacking(sweep.epochs))
    view = View([by_loss])
    table = columns(view)
    titles = [column.title for column in table]
    assert titles[2:5] == ["regime", "test loss", "train loss"]
    cells = {column.title: column.cells for column in table}
    assert "–" not in cells["test loss"]
    names = " ".join(measure.column for measure in view.measures)
    assert names == "test_loss train_loss test_accuracy train_accuracy"
    accuracy = view.measures[2]
    assert accuracy.axis.accuracy
    assert accuracy.axis.marked is None, "nobody knows the chance"

    both = View([sweep, by_loss])
    titles = {column.title for column in columns(both)}
    assert {"test acc", "test loss"} < titles
    accuracy = next(measure for measure in both.measures if measure.axis.accuracy)
    assert list(accuracy.axis.marked.values()) == ["guess"]


def test_an_accuracy_of_1_has_a_place_and_guessing_does_not_fill_the_axis(
    made_up_sweep,
):
    sweep = made_up_sweep([0.1, 1])
    (accuracy, *_) = View([with_columns(sweep, test_accuracy=1.0)]).measures
    assert accuracy.place(np.ones(2)).tolist() == [accuracy.axis.low] * 2
    assert accuracy.axis.low == pytest.approx(0.6 * 0.5 / 1000)

    (accuracy, *_) = View([with_epochs(sweep, test_accuracy=0.1)]).measures
    axis = accuracy.axis
    assert axis.low < axis.high / 15
    assert axis.share(0.02) > axis.share(0.9), "the smaller the error, the higher"
    assert list(axis.marked.values()) == ["guess"]


def test_axes_hold_their_values_with_room():
    assert np.log10(Axis.of([0.01, 1])[:2]) == pytest.approx([-2.12, 0.12])
    assert Axis.of([2, 4], False)[:2] == pytest.approx((1.88, 4.12))
    low, high, *_ = Axis.of([0.1])
    assert low < 0.1 < high


def test_what_was_held_out_is_judged_first_and_a_search_shows_nothing_of_the_test_set(
    made_up_sweep,
):
    sweep = made_up_sweep([0.1, 1, 0.5])
    accuracies = [0.9, 0.99, 0.8]
    held_out = with_columns(sweep, validation_accuracy=0.9, validation_loss=0.3)
    held_out = with_trials(held_out, validation_accuracy=accuracies, holdout=100)

    def titles(view):
        return ", ".join(measure.title for measure in view.measures)

    every_title = "held-out accuracy, test accuracy, training accuracy, training loss"
    assert titles(View([held_out])) == every_title
    search = View([with_meta(held_out, search=True)])
    assert titles(search) == "held-out accuracy, training accuracy, training loss"
    best_first = search.trials["validation_accuracy"].tolist()
    assert best_first == [0.99, 0.9, 0.8]
    assert not any("test" in name for name in search.trials)


def test_of_a_large_sweep_fewer_measures_are_held_and_then_fewer_epochs(
    made_up_sweep, monkeypatch
):
    sweep = made_up_sweep([0.1, 1])
    monkeypatch.setattr("mnist_tune.reports.view.LARGE", 1)
    monkeypatch.setattr("mnist_tune.reports.view.MOST_CELLS", 4)
    view = View([sweep])
    accuracy, loss = view.measures
    assert accuracy.column == "test_accuracy"
    assert loss.column == "train_loss"
    assert view.kept_epochs.tolist() == [2, 4]


IN_TWO_BUCKETS = [
    "s3://bucket/x/s?region=a",
    "s3://bucket/y/s?region=b/c",
    "s3://bucket/x/t",
]


@pytest.mark.parametrize(
    ("places", "titles"),
    [(IN_TWO_BUCKETS, ["x/s", "y/s", "x/t"]), (["s", "s"], ["s (1)", "s (2)"])],
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
    view = View([with_trials(sweep, warmup_steps=list(values))])
    [*_, last_map] = view.maps(0)
    assert last_map.name == "warmup_steps"
    assert len(last_map.axis.ticks or ()) == groups
    assert last_map.axis.log == log


def test_ranges_hold_equally_many_different_rates():
    rates = pd.Series([3.0, 0.1, 0.1, 0.1, 0.2, 1.0, 2.0])
    assert range_of(rates, 2).tolist() == [2, 1, 1, 1, 1, 1, 2]
    assert range_of(rates, 9).tolist() == [5, 1, 1, 1, 2, 3, 4]


def test_the_rows_of_an_edge_are_ranges_of_rates(edge_sweep):
    settings = View([edge_sweep]).settings
    assert 5 < len(settings) <= 12
    assert settings["rate"].iloc[0].startswith("0.2–")
    numbers = [number for numbers in settings["trials"] for number in numbers]
    assert sorted(numbers) == list(range(len(edge_sweep.trials)))
