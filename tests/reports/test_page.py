"""The page's HTML, and what it holds."""

import base64
import json
import math
import re
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from bokeh.models import BoxSelectTool
from recorded_data import recorded_data

from mnist_tune import UserError
from mnist_tune.regimes.data_facts import data_facts
from mnist_tune.reports.findings import Kind, findings, of
from mnist_tune.reports.importances import importances
from mnist_tune.reports.metrics import MISSING, Axis, Metric, matrix, metrics, quantised
from mnist_tune.reports.page import page
from mnist_tune.reports.page_data import PageData, RateMark, Setting
from mnist_tune.reports.page_figures import curve_figure, mean_figure, ranges_of, setting_map, share_figure
from mnist_tune.reports.prepared import bands, mean_curves, replicated

DONE, DIVERGED, CUT = ("completed",), ("diverged",), ("interrupted",)


def part(html, name):
    """What a script element of the page holds, as JSON."""
    return json.loads(re.search(rf'<script type="application/json" id="page-{name}">(.*?)</script>', html, re.S)[1])


def test_the_same_results_give_the_same_bytes(made_up_sweep):
    sweep = made_up_sweep([0.01, 0.1, 1, 3], seeds=3)
    assert page([sweep]) == page([sweep])


def test_a_finished_sweep_has_no_time_of_writing_and_is_not_loaded_again(made_up_sweep):
    held = part(page([made_up_sweep([0.01, 0.1])]), "data")
    assert not held["running"]
    assert held["written"] == 0


def test_a_running_sweep_says_how_far_it_is(made_up_sweep):
    sweep = made_up_sweep([0.01, 0.1, 1])
    trials = sweep.trials.assign(stop_reason=["completed", "running", "waiting"])
    html = page([replace(sweep, trials=trials)])
    assert "1 of 3 trials ended, 1 running, 1 waiting: this sweep is still running" in html
    assert part(html, "data")["running"]


def test_the_headline_says_what_the_table_says(made_up_sweep):
    sweep = made_up_sweep([0.1, 1, 3])
    html = page([sweep])
    [said] = of(findings(sweep), Kind.FAMILY)
    assert f"<b>mlp-4-tanh</b>: {said.text}<" in html
    assert f"<code>{said.command}</code>" in html
    assert "<dt>none converges from</dt><dd>3 on</dd>" in html


def test_a_sweep_without_any_epoch(new_writer, tmp_path):
    html = page([new_writer(tmp_path / "sweep").finish(ended="now")])
    assert "No trial has finished an epoch" in html
    assert len(part(html, "data")["ids"]) == 2


def test_what_is_not_finite_is_above_all_others_and_a_trial_without_epochs_is_nowhere(sweep):
    data = PageData([sweep(DONE, DIVERGED, DIVERGED, CUT)])
    axis = data.axes["train_loss"]
    places = dict(zip(data.trials["trial_id"], axis.places, strict=True))
    assert places["00001"] == places["00002"] == axis.top
    assert places["00000"] < axis.top < axis.end
    assert np.isnan(places["00003"])
    assert data.axes["test_error"].top is None


def test_an_error_of_0_is_drawn_as_half_an_image(made_up_sweep):
    sweep = made_up_sweep([0.01, 0.1])
    data = PageData([replace(sweep, trials=sweep.trials.assign(test_accuracy=[1.0, 0.9]))])
    images = data_facts(sweep.meta).test_images
    np.testing.assert_allclose(sorted(data.axes["test_error"].places), np.log10([0.5 / images, 0.1]))


def test_the_best_trial_on_held_out_images_comes_first(made_up_sweep):
    sweep = made_up_sweep([0.01, 0.1, 1])
    assert PageData([sweep]).trials["learning_rate"].tolist() == [1, 0.1, 0.01]
    held_out = replace(sweep, trials=sweep.trials.assign(validation_accuracy=[0.9, 0.99, 0.8]))
    assert PageData([held_out]).trials["learning_rate"].tolist() == [0.1, 0.01, 1]


def test_quantised_places_are_within_a_hundred_thousandth():
    places = np.random.default_rng(0).uniform(-4, 2, (50, 7))
    places[3, 4] = np.nan
    codes, low, step = quantised(places)
    assert codes[3, 4] == MISSING
    known = np.isfinite(places)
    assert (codes[known] < MISSING).all()
    np.testing.assert_allclose((low + step * codes)[known], places[known], atol=1e-5 * 6)


def test_epochs_that_are_not_kept_leave_no_value():
    trials = pd.DataFrame({"trial_id": ["a", "b"]})
    epochs = pd.DataFrame({"trial_id": ["a", "a", "a", "b", "other"], "epoch": [1, 2, 3, 2, 1]})
    table = matrix(trials, epochs, np.array([0.1, 0.2, 0.3, 0.4, 0.5]), kept=np.array([1, 3]))
    np.testing.assert_array_equal(table, [[0.1, 0.3], [np.nan, np.nan]])


@pytest.mark.parametrize("log", [True, False])
def test_the_ticks_of_a_setting_are_logarithms_only_where_its_axis_is(log):
    plot = setting_map("momentum", Setting("momentum", np.array([0.0, 0.9]), [], log), 10, 1)
    assert plot.x_range.tags == ["log"] * log


def test_an_axis_holds_curves_and_last_values_with_room_at_both_ends():
    error = Metric("test_error", "test error", "test_accuracy", error=True)
    trials = pd.DataFrame({"test_accuracy": [0.9, 1.0, np.nan, np.nan], "epochs_run": [3, 3, 2, 0]})
    axis = Axis.of(error, trials, np.array([[0.0, -1], [np.nan, -3]]), 0.001)
    np.testing.assert_allclose(axis.places, [-1, -3, 0.3, np.nan])
    assert (axis.start, axis.end, axis.top) == pytest.approx((-3.15, 0.45, 0.3))
    one = Axis.of(error, trials[:1], np.empty((1, 0)), 0.001)
    assert (one.start, one.end, one.top) == (pytest.approx(-1.0275), pytest.approx(-0.9725), None)
    loss = Metric("train_loss", "training loss", "train_loss")
    np.testing.assert_allclose(loss.places(np.array([100.0, 0.0, -1.0])), [2, np.nan, np.nan])


def test_held_out_images_have_metrics_where_there_are_any():
    trials = pd.DataFrame({"validation_accuracy": [np.nan, 0.9]})
    keys = [f"{split}_{what}" for split in ("test", "train", "validation") for what in ("error", "accuracy", "loss")]
    assert [one.key for one in metrics(trials)] == keys
    assert [one.key for one in metrics(trials[:1])] == keys[:6]
    assert {one.key: one.curve for one in metrics(trials[:1])} == {
        "test_error": "test_error", "test_accuracy": "test_error", "test_loss": "test_loss",
        "train_error": "train_error", "train_accuracy": "train_error", "train_loss": "train_loss",
    }  # fmt: skip


@pytest.mark.parametrize("places", [[[0.5, 0.5]], [[np.nan, np.nan]]])
def test_places_that_are_all_alike_come_back_as_they_were(places):
    codes, low, step = quantised(np.array(places))
    np.testing.assert_array_equal(np.where(codes == MISSING, np.nan, low + step * codes), places)


def test_the_largest_place_is_not_taken_for_a_missing_one():
    codes, low, step = quantised(np.array([0.0, 1.0]))
    assert codes.tolist() == [0, MISSING - 1]
    assert low + step * codes[1] == pytest.approx(1)


def test_the_page_holds_the_shares_and_the_means_of_replicates(made_up_sweep):
    sweep = made_up_sweep([0.1234, 3], seeds=2, architectures=("mlp-4-tanh", "mlp-8-tanh"), label="</script><b>")
    html = page([sweep])
    assert "</script><b>" not in html
    held = part(html, "data")
    assert [(row["family"], row["rate"], row["share"], row["said"]) for row in held["shares"]] == [
        (f"</script><b> {name}", rate, share, said)
        for name in ("mlp-4-tanh", "mlp-8-tanh")
        for rate, share, said in (("0.1234", 1.0, "2 of 2 (16% to 100%)"), ("3", 0.0, "0 of 2 (0% to 84%)"))
    ]
    beside = [np.log10(rate) + side * np.log10(1.05) / 2 for side in (-1, 1) for rate in (0.1234, 3)]
    assert [row["x"] for row in held["shares"]] == pytest.approx(beside)
    assert [(row["rate"], row["trials"], row["epochs"]) for row in held["means"]] == [
        ("0.1234", 2, [1, 2, 3, 4]), ("0.1234", 2, [1, 2, 3, 4]), ("3", 2, [1]), ("3", 2, [1]),
    ]  # fmt: skip
    errors = 1 - sweep.curves("test_accuracy")["00000"]
    assert held["means"][0]["middle"] == pytest.approx(np.log10(errors).tolist(), abs=1e-5)
    assert (held["epochs"], held["reload"]) == ([1, 2, 3, 4], 30_000)
    names = {root["attributes"].get("name") for root in part(html, "document")["roots"]}
    assert names == {"map-0", "curves-0", "setting-architecture", "shares", "means", "table"}
    assert 'id="means"' in html


def test_the_shares_of_many_configurations_are_pooled(made_up_sweep, monkeypatch):
    sweep = made_up_sweep(np.geomspace(0.2, 5, 25), seeds=2, epochs=1)
    sweep = replace(sweep, trials=sweep.trials.assign(regime="converged"))
    monkeypatch.setattr("mnist_tune.reports.page_data.MANY", 25)
    assert PageData([sweep]).pooled.empty
    monkeypatch.setattr("mnist_tune.reports.page_data.MANY", 24)
    html = page([sweep])
    assert "all settings together, in 24 ranges of learning rates, since there are 25 configurations" in html
    held = part(html, "data")["shares"]
    assert "The first 25 of 50 trials, best first" in html
    assert not part(html, "data")["few"]
    first, *_, last = [(row["family"], row["rate"], row["said"]) for row in held]
    assert first == ("all", "0.2 to 0.2287", "4 of 4 (40% to 100%)")
    assert last == ("all", "5 to 5", "2 of 2 (16% to 100%)")
    assert len(held) == 24


def test_of_a_running_sweep_the_page_says_when_it_was_written_and_no_importances(made_up_sweep, monkeypatch):
    sweep = made_up_sweep([0.01, 0.1], momentum=0.5)
    trials = sweep.trials.assign(batch_size=[32, 64])
    monkeypatch.setattr("mnist_tune.reports.page.time.time", lambda: 1234.5)
    of = Mock(return_value="why none")
    monkeypatch.setattr("mnist_tune.reports.page.importances", of)
    running = page([replace(sweep, trials=trials.assign(stop_reason=["completed", "running"]))])
    assert part(running, "data")["written"] == 1_234_500
    assert "why none" not in running
    of.assert_not_called()
    assert "why none" in page([replace(sweep, trials=trials)])
    assert of.call_args.args[1] == ["learning_rate", "batch_size"]
    names = {root["attributes"].get("name") for root in part(running, "document")["roots"]}
    assert names == {"map-0", "curves-0", "setting-batch_size", "table"}, "there are no replicates"


def test_each_map_has_the_marks_of_its_own_sweep(made_up_sweep, monkeypatch):
    sweep = made_up_sweep([0.1, 1])
    other = replace(sweep, path=sweep.path.with_name("other"))
    marks = [RateMark("one \u202e", 0.5, 0.5, 0), RateMark("two", 0.25, 0.25, 1)]
    monkeypatch.setattr("mnist_tune.reports.page.rate_marks", lambda sweeps: marks)
    html = page([sweep, other])
    assert "\u202e" not in html
    maps = [
        json.dumps(root)
        for root in part(html, "document")["roots"]
        if (root["attributes"].get("name") or "").startswith("map-")
    ]
    assert set(part(html, "data")["columns"]["trial"]["names"]) == {"00000", "00001"}, "as each sweep calls them"
    locations = [f'"location": {math.log10(rate)!r}' for rate in (0.5, 0.25)]
    assert [[where in text for where in locations] for text in maps] == [[True, False], [False, True]]


def test_the_page_holds_its_axes_and_what_is_drawn(sweep):
    found = sweep(DONE, DIVERGED, DIVERGED, CUT)
    html, axes = page([found]), PageData([found]).axes
    held = part(html, "data")
    assert [one["key"] for one in held["metrics"]] == list(axes)
    assert {one["key"]: one["log"] for one in held["metrics"]} == {key: "accuracy" not in key for key in axes}
    loss = next(one for one in held["metrics"] if one["key"] == "train_loss")
    assert loss["start"] < loss["top"] < loss["end"]
    assert (held["few"], held["most"], held["ids"][0]) == (True, 300, "00000")
    chips = re.findall(r'data-regime="(\w+)".*?<b>(\d+)</b>', html, re.S)
    assert chips == [("converged", "1"), ("diverged", "2"), ("undecided", "1")]
    assert "All 4 trials, best first" in html


def test_trials_of_a_group_are_spread_about_its_place(made_up_sweep):
    sweep = made_up_sweep(np.geomspace(0.01, 1, 20))
    trials = sweep.trials.assign(batch_size=[32, 64] * 10, momentum=np.linspace(0, 0.9, 20))
    settings = part(page([replace(sweep, trials=trials)]), "data")["settings"]
    groups, numbers = (
        np.frombuffer(base64.b64decode(settings[name]["f4"]), "<f4") for name in ("batch_size", "momentum")
    )
    found = PageData([replace(sweep, trials=trials)]).trials
    away = groups - (found["batch_size"] == 64)
    assert np.abs(away).max() <= 0.25
    assert away.min() < -0.2
    assert away.max() > 0.2
    assert len(set(away)) == 20
    np.testing.assert_allclose(numbers, found["momentum"], rtol=1e-6)


def test_a_column_of_one_value_is_held_once(made_up_sweep):
    sweep = made_up_sweep([0.1, 1])
    columns = part(page([replace(sweep, trials=sweep.trials.assign(train_loss=np.inf))]), "data")["columns"]
    assert columns["seed"] == {"all": 0.0}
    losses, accuracies = (
        np.frombuffer(base64.b64decode(columns[name]["f8"])).tolist() for name in ("train_loss", "train_accuracy")
    )
    assert losses == [math.inf] * 2, "which is no number in JSON"
    assert accuracies == sweep.trials["train_accuracy"].sort_values(ascending=False).tolist()


def test_a_setting_of_groups_has_a_tick_with_a_short_name_for_each():
    names = ["a", "b" * 24, "c" * 25, "d"]
    for groups, turned in ((names, "horizontal"), ([*names, "e"], 0.5)):
        setting = Setting("batch_size", np.zeros(1), groups, False)
        plot = setting_map("setting", setting, 10, 1)
        axis = plot.xaxis[0]
        ticks = range(len(groups))
        assert axis.ticker.ticks == [*ticks]
        assert [axis.major_label_overrides[tick].text for tick in ticks][:4] == ["a", "b" * 24, "c" * 23 + "…", "d"]
        assert (axis.axis_label.text, axis.major_label_orientation) == ("batch size", turned)
        assert isinstance(plot.toolbar.active_drag, BoxSelectTool)
        assert (plot.x_range.start, plot.x_range.end) == pytest.approx((-0.6, len(groups) - 1 + 0.6))


def test_shares_and_means_have_their_intervals_and_curves_their_own_opacity():
    share, mean, curves = share_figure("share"), mean_figure("mean"), curve_figure("curves", ranges_of("curves"))
    bars, dots = (part.glyph for part in share.renderers)
    assert (bars.x0, bars.y0, bars.x1, bars.y1, dots.y) == ("x", "low", "x", "high", "share")
    assert share.y_range.start < 0 < 1 < share.y_range.end  # whole dots also at none and at all
    band, middle = (part.glyph for part in mean.renderers)
    assert (band.xs, band.ys, middle.xs, middle.ys) == ("xs", "ys", "mx", "my")
    wide, median, lines, points = (part.glyph for part in curves.renderers)
    assert (wide.xs, wide.ys, median.xs, median.ys, lines.xs, lines.ys) == ("xs", "ys", "mx", "my", "xs", "ys")
    assert (lines.line_alpha, lines.line_width, points.fill_alpha, points.line_alpha) == ("alpha", "width") + (
        "alpha",
    ) * 2
    for figure in (share, mean, curves):
        for part in figure.renderers:
            fields = {value.field for value in part.glyph.properties_with_values().values() if hasattr(value, "field")}
            assert fields <= set(part.data_source.column_names)


def test_bands_are_those_of_the_picture(made_up_sweep, rates):
    sweep = made_up_sweep(np.linspace(0.2, 2, 30))
    (band,) = PageData([sweep]).bands[0]["test_accuracy"]
    curves = sweep.curves("test_accuracy")
    np.testing.assert_allclose(band.middle, curves.median(axis=1), rtol=1e-12)
    np.testing.assert_allclose(band.low, curves.quantile(0.1, axis=1), rtol=1e-12)


def test_a_band_ends_where_half_of_its_regimes_trials_do():
    """However few of all trials they are."""
    lengths = {"converged": [4] * 8, "slow": [4, 2, 2], "overfit": [3, 3, 2, 2]}
    trials = pd.DataFrame([{"regime": regime} for regime, each in lengths.items() for _ in each])
    trials = trials.assign(trial_id=[f"{i:05d}" for i in range(len(trials))])
    ends = dict(zip(trials["trial_id"], [n for each in lengths.values() for n in each], strict=True))
    rows = [{"trial_id": trial, "epoch": epoch, "value": 0.5} for trial, n in ends.items() for epoch in range(1, n + 1)]
    found = {band.regime: band for band in bands(pd.DataFrame(rows).merge(trials, on="trial_id"), trials)}
    assert {name: band.epochs.tolist() for name, band in found.items()} == {
        "converged": [1, 2, 3, 4],
        "slow": [1, 2],
        "overfit": [1, 2, 3],
    }
    assert {name: band.trials for name, band in found.items()} == {"converged": 8, "slow": 3, "overfit": 4}


def test_mean_curves_have_students_interval(made_up_sweep):
    from scipy.stats import t

    sweep = made_up_sweep([0.1], seeds=4)
    values = np.random.default_rng(0).normal(0.3, 0.1, len(sweep.epochs))
    epochs = sweep.epochs[["trial_id", "epoch"]].assign(value=values)
    (curve,) = mean_curves(replicated(sweep.trials), epochs)
    first = values[sweep.epochs["epoch"] == 1]
    low, high = t.interval(0.95, 3, first.mean(), first.std(ddof=1) / 2)
    assert (curve.low[0], curve.high[0]) == pytest.approx((low, high), rel=1e-12)
    assert curve.trials == 4


def test_several_sweeps_keep_their_trials_apart(made_up_sweep):
    sweep = made_up_sweep([0.1, 1], seeds=2)
    other = replace(sweep, path=sweep.path.with_name("other"))
    data = PageData([sweep, other])
    assert data.titles == ["sweep", "other"]
    assert data.trials["trial_id"].is_unique
    assert len(data.trials) == 8
    assert data.varied == ["sweep"]
    assert len(data.shares) == 4
    assert "<h1>sweep · other</h1>" in page([sweep, other])


def test_sweeps_of_the_same_name_are_told_apart_by_their_folders(made_up_sweep):
    sweep = made_up_sweep([0.1])
    places = [sweep.path.parent / one / "sweep" for one in ("a", "b")]
    assert PageData([replace(sweep, path=place) for place in places]).titles == ["a/sweep", "b/sweep"]
    assert PageData([sweep, sweep]).titles[0].endswith("sweep (1)")


def test_several_sweeps_are_told_apart_by_as_many_folders_as_it_takes(made_up_sweep):
    sweep = made_up_sweep([0.1])
    places = ["s3://bucket/x/s?region=a", "s3://bucket/y/s?region=b/c", "s3://bucket/x/t"]
    assert PageData([replace(sweep, path=place) for place in places]).titles == ["x/s", "y/s", "x/t"]
    assert PageData([replace(sweep, path="s")] * 2).titles == ["s (1)", "s (2)"]


def test_what_the_page_holds_of_several_sweeps(made_up_sweep):
    """Few curves are drawn one by one, by sweep; an error of 0 is one that no sweep's images can show; what trials of
    one have been asked for is told apart."""
    sweep = made_up_sweep(np.geomspace(0.1, 1, 20), seeds=1)
    other = replace(
        sweep,
        path=sweep.path.with_name("other"),
        trials=sweep.trials.assign(epochs_asked=9, nesterov=True),
        meta=sweep.meta | {"dataset": recorded_data("mnist")},
    )
    data = PageData([sweep, other])
    assert data.few
    assert data.bands == [{}, {}]
    twice = pd.concat([sweep.trials] * 2, ignore_index=True)
    assert not PageData([replace(sweep, trials=twice)]).few
    without = twice["epochs_run"].mask(twice.index >= 24, 0)
    assert PageData([replace(sweep, trials=twice.assign(epochs_run=without))]).few, "the others have no curve"
    assert data.least == 0.5 / 10_000
    assert data.varied == ["sweep", "nesterov", "epochs_asked"]
    found = {one.name: (one.groups, sorted(set(one.places))) for one in data.settings}
    assert found == {
        "sweep": (["sweep", "other"], [0, 1]),
        "nesterov": (["False", "True"], [0, 1]),
        "epochs_asked": (["4", "9"], [0, 1]),
    }


def test_of_a_large_sweep_fewer_metrics_are_held_and_then_fewer_epochs(made_up_sweep, monkeypatch):
    sweep = made_up_sweep([0.1, 1])
    sweep = replace(sweep, trials=sweep.trials.assign(epochs_asked=9))
    for cells, metrics_held, epochs in ((16, 6, [1, 2, 3, 4]), (14, 3, [1, 2, 3, 4]), (4, 3, [2, 4]), (3, 3, [1, 4])):
        monkeypatch.setattr("mnist_tune.reports.page_data.MOST_CELLS", cells)
        monkeypatch.setattr("mnist_tune.reports.page_data.FULL_CELLS", cells // 2)
        data = PageData([sweep])
        assert (len(data.metrics), data.kept_epochs.tolist()) == (metrics_held, epochs)
    assert [one.key for one in data.metrics] == ["test_error", "test_accuracy", "train_loss"]
    assert part(page([sweep]), "data")["epochs"] == [1, 4]


def test_bands_of_a_large_sweep_are_places_on_the_axes(made_up_sweep):
    sweep = made_up_sweep(np.linspace(0.2, 2, 30))
    sweep.epochs.loc[sweep.epochs["epoch"] == 1, "test_accuracy"] = 0.0  # which has a place among accuracies
    bands = PageData([sweep]).bands[0]
    (error,), (accuracy,), (loss,) = (bands[name] for name in ("test_error", "test_accuracy", "train_loss"))
    errors = 1 - sweep.curves("test_accuracy")
    for places, share in ((error.low, 0.1), (error.middle, 0.5), (error.high, 0.9)):
        np.testing.assert_allclose(places, np.log10(errors.quantile(share, axis=1)), rtol=1e-9)
    np.testing.assert_allclose(accuracy.high, sweep.curves("test_accuracy").quantile(0.9, axis=1), rtol=1e-12)
    np.testing.assert_allclose(loss.high, np.log10(sweep.curves("train_loss").quantile(0.9, axis=1)), rtol=1e-9)


@pytest.mark.parametrize(
    ("values", "groups", "log"),
    [
        (range(12), 12, False),
        (range(13), 0, False),  # there is no logarithm of 0
        (range(1, 14), 0, True),
        (range(2, 20), 0, False),  # less than a decade
    ],
)
def test_how_a_setting_of_numbers_is_shown(made_up_sweep, values, groups, log):
    sweep = made_up_sweep(np.geomspace(0.01, 1, len(values)))
    trials = sweep.trials.assign(warmup_steps=list(values))
    [found] = PageData([replace(sweep, trials=trials)]).settings
    assert (found.name, len(found.groups), found.log) == ("warmup_steps", groups, log)


def test_replicates_of_different_labels_are_summarised_apart(made_up_sweep):
    sweep = made_up_sweep([0.1], seeds=2)
    other = replace(sweep, path=sweep.path.with_name("other"), trials=sweep.trials.assign(label=["a", "b"]))
    data = PageData([sweep, other])
    assert data.shares["label"].tolist() == ["sweep "]
    assert len(data.mean_curves) == 1
    assert len(PageData([sweep, replace(sweep, path=other.path)]).mean_curves) == 2


def test_marked_rates_are_named_and_drawn(made_up_sweep, monkeypatch):
    marks = [RateMark("edge 1.4 (1.2 to 1.6)", 1.2, 1.6), RateMark("2/λ0", 0.5, 0.5)]
    monkeypatch.setattr("mnist_tune.reports.page.rate_marks", lambda sweeps: marks)
    html = page([made_up_sweep([0.1, 1, 3])])
    assert "Marked: edge 1.4 (1.2 to 1.6); 2/λ0." in html
    document = json.dumps(part(html, "document"))
    assert f'"left": {math.log10(1.2)!r}' in document
    assert f'"right": {math.log10(1.6)!r}' in document
    assert document.count(f'"location": {math.log10(0.5)!r}') == 1


def test_importances_find_the_setting_that_matters():
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {"learning_rate": 10 ** random.uniform(-3, 0, 200), "batch_size": random.choice([32, 128], 200)}
    )
    table = table.assign(epochs_run=1, test_accuracy=0.9 + 0.03 * np.log10(table["learning_rate"]))
    found = importances(table, ["batch_size", "learning_rate"])
    (first, much), (second, little) = found.lost
    assert (first, second) == ("learning_rate", "batch_size")
    assert much > 1
    assert little < 0.05
    assert found.explained > 0.95
    assert importances(table.head(39), ["batch_size"]) == "Importances need 40 trials that finished an epoch."


def test_importances_are_those_of_names_too_and_of_evenly_chosen_trials(monkeypatch):
    monkeypatch.setattr("mnist_tune.reports.importances.MOST_TRIALS", 100)
    random = np.random.default_rng(0)
    names = random.choice(["a", "b", "c"], 201)
    good = pd.Series(names).map({"a": 0.9, "b": 0.5, "c": 0.7}).to_numpy()
    table = pd.DataFrame({"learning_rate": 0.1, "optimizer": names, "epochs_run": 1, "test_accuracy": good})
    table.loc[table.index % 3 == 1, "optimizer"] = "d"  # none of these is chosen
    table.loc[table.index % 3 == 2, "test_accuracy"] = 0.1  # nor of these
    found = importances(table, ["learning_rate", "optimizer"])
    assert found.trials == 67
    assert [name for name, _ in found.lost] == ["optimizer", "learning_rate"]
    assert found.explained > 0.95
    unknown = table.assign(test_accuracy=[0.9] * 39 + [np.nan] * 162)
    assert importances(unknown, ["optimizer"]) == "Importances need 40 trials that finished an epoch."
    assert importances(table.head(40), ["optimizer"]).trials == 40


def test_of_noise_the_settings_explain_nothing():
    """On the trials that the forest has seen, it explains most of it."""
    random = np.random.default_rng(0)
    table = pd.DataFrame({"learning_rate": 10 ** random.uniform(-3, 0, 200), "momentum": random.uniform(0, 1, 200)})
    table = table.assign(epochs_run=1, test_accuracy=random.uniform(0.5, 0.95, 200))
    assert importances(table, ["learning_rate", "momentum"]).explained < 0.1


def test_without_scikit_learn_the_page_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.ensemble", None)
    table = pd.DataFrame({"learning_rate": np.linspace(0.1, 1, 50), "epochs_run": 1, "test_accuracy": 0.9})
    assert "pip install 'mnist_tune[importances]'" in importances(table, ["learning_rate"])


def test_a_page_that_cannot_be_written(made_up_sweep, tmp_path):
    with pytest.raises(UserError, match=r"can't write the page .*/nowhere/x.html: No such file.*; name another file"):
        made_up_sweep([0.1]).report(tmp_path / "nowhere" / "x.html")


def test_a_setting_of_few_values_has_groups_and_one_of_many_has_an_axis(made_up_sweep):
    sweep = made_up_sweep(np.geomspace(0.01, 1, 26))
    some = [0.0, 0.1234] * 13
    many = np.geomspace(1e-5, 1e-2, 26)
    names = [f"mlp-{i}-tanh" for i in range(26)]
    trials = sweep.trials.assign(weight_decay=some, clip_norm=many, architecture=names)
    found = {one.name: one for one in PageData([replace(sweep, trials=trials)]).settings}
    assert found["weight_decay"].groups == ["0", "0.1234"]
    assert not found["weight_decay"].log
    assert found["clip_norm"].groups == []
    assert found["clip_norm"].log
    np.testing.assert_allclose(sorted(found["clip_norm"].places), np.log10(many))
    assert found["architecture"].groups == sorted(names)
