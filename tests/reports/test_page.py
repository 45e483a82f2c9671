"""The page's HTML, and what it holds."""

import base64
import gzip
import json
import math
import re
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from bokeh.document.models import DocumentModelManager
from recorded_data import recorded_data

from mnist_tune import UserError, load_sweep
from mnist_tune.regimes.data_facts import data_facts
from mnist_tune.reports.findings import _families
from mnist_tune.reports.importances import _numbers, importances
from mnist_tune.reports.page import _page_data, page
from mnist_tune.reports.page_data import Metric, PageData, bands, mean_curves, padded, replicated
from mnist_tune.reports.page_figures import (
    HEAD_HEIGHT,
    ROW_HEIGHT,
    ROWS,
    sections,
    ticks,
    trial_table,
)

DONE, DIVERGED, CUT = ("completed",), ("diverged",), ("interrupted",)


@pytest.fixture(autouse=True)
def without_bokeh(monkeypatch):
    """Its scripts have a megabyte."""
    monkeypatch.setattr("mnist_tune.reports.page.BOKEH", SimpleNamespace(js_raw=["Bokeh"]))


def held(*sweeps):
    """What the page's script works on."""
    return json.loads(json.dumps(_page_data(PageData(sweeps)), allow_nan=False))


def held_by(html):
    packed = re.search(r'<script type="text/plain" id="page-data">(.*?)</script>', html)[1]
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def charts(sweep):
    """The charts of a sweep's page, by name."""
    return {chart.name: chart for _, found in sections(PageData([sweep])) for chart in found}


def test_a_search_that_has_proposed_no_trial_has_a_page(new_writer, tmp_path):
    new_writer(tmp_path / "sweep", count=0).finish(ended=None)
    assert load_sweep(load_sweep(tmp_path / "sweep").report().parent).trials.empty


def test_the_same_results_give_the_same_bytes(made_up_sweep):
    sweep = made_up_sweep([0.01, 0.1, 1, 3], seeds=3)
    assert page([sweep]) == page([sweep])


def test_a_page_looks_at_its_models_once_and_works_out_once_what_it_says(made_up_sweep, monkeypatch):
    """Bokeh would look at all models again for each figure."""
    looks, families = Mock(side_effect=DocumentModelManager.recompute, autospec=True), Mock(side_effect=_families)
    monkeypatch.setattr(DocumentModelManager, "recompute", lambda models: looks(models))
    monkeypatch.setattr("mnist_tune.reports.findings._families", families)
    page([made_up_sweep([0.01, 0.1])])
    assert looks.call_count == families.call_count == 1


def test_a_finished_sweep_has_no_time_of_writing_and_is_not_loaded_again(made_up_sweep):
    sweep = made_up_sweep([0.01, 0.1])
    found = held(sweep)
    assert found == held_by(page([sweep]))
    assert not found["running"]
    assert found["written"] == 0


def test_a_running_sweep_says_how_far_it_is(made_up_sweep):
    sweep = made_up_sweep([0.01, 0.1, 1])
    trials = sweep.trials.assign(stop_reason=["completed", "running", "waiting"])
    html = page([replace(sweep, trials=trials)])
    assert "1 of 3 trials ended, 1 running, 1 waiting: this sweep is still running" in html
    assert held_by(html)["running"]


def test_a_sweep_without_any_epoch(new_writer, tmp_path):
    html = page([new_writer(tmp_path / "sweep").finish(ended="now")])
    assert "No trial has finished an epoch" in html
    assert len(held_by(html)["ids"]) == 2


def test_only_what_was_measured_and_is_not_finite_is_above_all_others(sweep):
    error, _, _, loss = PageData([sweep(DONE, DIVERGED, DIVERGED, CUT)]).metrics
    assert (error.key, loss.key) == ("test_error", "train_loss")
    assert loss.start < 0.1 / 4 < 0.1 < loss.top < loss.end
    assert error.top is None
    trials = pd.DataFrame({"train_loss": [1.0, np.nan], "train_accuracy": [0.9, np.nan]})
    assert loss.with_axis(trials, trials).top is None, "the second was not measured"


def test_an_error_or_a_loss_of_0_has_a_place(made_up_sweep):
    sweep = made_up_sweep([0.01, 0.1])
    epochs = sweep.epochs.assign(test_accuracy=1.0, test_loss=[0.0, 0.5, 0.25, 1] * 2)
    error, loss, *_ = PageData([replace(sweep, epochs=epochs)]).metrics
    half_an_image = 0.5 / data_facts(sweep.meta).test_images
    np.testing.assert_allclose(error.values(epochs), half_an_image)
    assert loss.values(epochs)[:4].tolist() == [0.25, 0.5, 0.25, 1]
    assert error.start < half_an_image < error.end


def test_the_best_trial_on_held_out_images_comes_first(made_up_sweep):
    sweep = made_up_sweep([0.01, 0.1, 1])
    assert PageData([sweep]).trials["learning_rate"].tolist() == [1, 0.1, 0.01]
    held_out = replace(sweep, trials=sweep.trials.assign(validation_accuracy=[0.9, 0.99, 0.8]))
    assert PageData([held_out]).trials["learning_rate"].tolist() == [0.1, 0.01, 1]


def test_what_no_epoch_measured_can_not_be_chosen(made_up_sweep):
    """Held-out losses that are all NaN have no column in `epochs`."""
    sweep = made_up_sweep([0.1, 1])
    held_out = sweep.epochs.assign(validation_accuracy=0.9, train_loss=np.nan)
    trials = sweep.trials.assign(validation_accuracy=0.9, train_loss=np.nan)
    found = held(replace(sweep, trials=trials, epochs=held_out))
    keys = [one["key"] for one in found["metrics"]]
    assert "validation_error" in keys
    assert not {"validation_loss", "train_loss"} & set(keys)
    assert {one["column"] for one in found["metrics"]} <= set(found["columns"])


def test_an_axis_holds_curves_and_last_values_with_room_at_both_ends():
    error = Metric("test_error", "test error", "test_accuracy", "test_accuracy", True, 0.001)
    trials = pd.DataFrame({"test_accuracy": [0.9, 1.0, np.nan]})
    axis = error.with_axis(trials, pd.DataFrame({"test_accuracy": [0.0, 0.9]}))
    assert (np.log10(axis.start), np.log10(axis.end)) == pytest.approx((-3.15, 0.15))
    assert axis.top is None
    lost = replace(error, error=False).with_axis(trials.assign(test_accuracy=[0.001, 1, math.inf]), trials[:0])
    assert (lost.start, lost.top) == pytest.approx((axis.start, axis.end))
    assert lost.top < lost.end
    assert np.log10(padded([0.1])) == pytest.approx([-1.025, -0.975])
    assert padded([2, 4], log=False) == pytest.approx((1.9, 4.1))
    assert padded([], log=False) == pytest.approx((-0.05, 1.05))


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        (0.0008, 5, [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3]),
        (0.02, 0.9, [0.03, 0.1, 0.3]),
        (0.094, 0.12, [0.094, 0.096, 0.098, 0.1, 0.12]),
        (0.1, 1.1, [0.1, 0.2, 0.5, 1]),
        (1e-7, 1, [1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1]),
        (1e-12, 1, [1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 0.01, 1]),
    ],
)
def test_ticks_are_round_and_few(low, high, shown):
    assert ticks(low, high) == shown


@pytest.mark.parametrize("span", [1.13, 1.3, 2, 3, 6])
def test_a_short_axis_has_ticks_too(span):
    assert 3 <= len(ticks(0.021, 0.021 * span)) <= 8


def test_held_out_images_are_judged_first_where_all_held_some_out(made_up_sweep):
    sweep = made_up_sweep([0.1, 1])
    epochs = sweep.epochs.assign(validation_accuracy=0.9, validation_loss=0.3)
    keys = [f"{split}_{what}" for split in ("test", "validation", "train") for what in ("error", "loss")]
    some = replace(sweep, trials=sweep.trials.assign(validation_accuracy=[np.nan, 0.9]), epochs=epochs)
    assert [one.key for one in PageData([some]).metrics] == keys
    every = replace(sweep, trials=sweep.trials.assign(validation_accuracy=0.9), epochs=epochs)
    assert [one.key for one in PageData([every]).metrics] == [*keys[2:4], *keys[:2], *keys[4:]]
    assert [one.key for one in PageData([sweep]).metrics] == [*keys[:2], *keys[4:]]


def test_of_a_running_sweep_the_page_says_when_it_was_written_and_no_importances(made_up_sweep, monkeypatch):
    sweep = made_up_sweep([0.01, 0.1], momentum=0.5)
    trials = sweep.trials.assign(batch_size=[32, 64])
    monkeypatch.setattr("mnist_tune.reports.page.time.time", lambda: 1234.5)
    of = Mock(return_value="why none")
    monkeypatch.setattr("mnist_tune.reports.page_figures.importances", of)
    running = replace(sweep, trials=trials.assign(stop_reason=["completed", "running"]))
    assert held(running)["written"] == 1_234_500
    assert set(charts(running)) == {"map-0", "curves-0", "setting-batch_size"}, "there are no replicates"
    of.assert_not_called()
    assert charts(replace(sweep, trials=trials))["importances"].caption == "why none"
    assert of.call_args.args[1] == ["learning_rate", "batch_size"]


def test_trials_of_a_group_are_spread_about_its_place(made_up_sweep):
    sweep = made_up_sweep(np.geomspace(0.01, 1, 20))
    trials = sweep.trials.assign(batch_size=[32, 64] * 10, momentum=np.linspace(0, 0.9, 20))
    settings = held(replace(sweep, trials=trials))["settings"]
    found = PageData([replace(sweep, trials=trials)]).trials
    away = np.array(settings["at_batch_size"]) - (found["batch_size"] == 64)
    assert np.abs(away).max() <= 0.25
    assert away.min() < -0.2
    assert away.max() > 0.2
    assert len(set(away)) == 20
    assert settings["at_momentum"] == found["momentum"].tolist()


def test_numbers_that_json_lacks_are_held_too(made_up_sweep):
    sweep = made_up_sweep([0.1, 1])
    trials = sweep.trials.assign(train_loss=[np.inf, np.nan], test_loss=[-np.inf, 0.1 + 0.2])
    found = held(replace(sweep, trials=trials))
    assert {"train_loss", "learning_rate", "reaches"} <= set(found["numbers"])
    assert found["columns"]["train_loss"] == [None, "Infinity"], "the best trial is first"
    assert found["columns"]["test_loss"] == [0.1 + 0.2, "-Infinity"]
    assert found["said"]["learning_rate"] == ["1", "0.1"]


def test_details_hold_what_a_sweep_has(made_up_sweep):
    sweep = made_up_sweep([0.1, 3])
    trials = sweep.trials.assign(error=["", "no memory"], label=["", "a\x1b"], nesterov=[True, False])
    other = replace(sweep, path=sweep.path.with_name("other"))
    found = held(replace(sweep, trials=trials), other)
    columns = found["columns"]
    assert columns["trial"] == ["00000", "00000", "00001", "00001"]
    assert columns["sweep_name"] == ["sweep", "other"] * 2
    assert columns["evidence"][2] == "no memory"
    assert columns["label"] == ["", "", "a\\x1b", ""]
    assert columns["nesterov"][:2] == ["True", "False"]
    assert found["said"]["reaches"] == ["epoch 3", "epoch 3", "–", "–"]
    called = {name: (title, about) for name, title, about in found["details"]}
    assert called["wait_s"] == ("waited for, in s", "Time spent waiting, over all epochs.")
    assert "validation_accuracy" not in called


def test_at_most_as_many_rows_are_seen_as_have_room(made_up_sweep, rates):
    trials = made_up_sweep(rates(ROWS + 1), epochs=1).trials
    heights = [trial_table(some).height for some in (trials[:2], trials)]
    assert heights == [HEAD_HEIGHT + 2 * ROW_HEIGHT, HEAD_HEIGHT + ROWS * ROW_HEIGHT]


@pytest.mark.parametrize(("held_out", "first"), [([0.9, 0.8, 0.7], 0), ([math.nan, 0.8, 0.7], 2), ([math.nan] * 3, 2)])
def test_the_best_trial_is_first_by_what_all_measured(made_up_sweep, held_out, first):
    """Else a trial that held nothing out would be last, however good it is."""
    sweep = made_up_sweep([0.1, 0.2, 0.4])
    trials = sweep.trials.sort_values("learning_rate").assign(
        validation_accuracy=held_out, test_accuracy=[0.5, 0.6, 0.7]
    )
    found = PageData([replace(sweep, trials=trials)]).trials
    assert found["learning_rate"].iloc[0] == [0.1, 0.2, 0.4][first]


def test_with_many_combinations_the_other_settings_are_taken_together(made_up_sweep, monkeypatch):
    monkeypatch.setattr("mnist_tune.reports.page_data.MOST_PANELS", 1)
    sweep = made_up_sweep([0.1, 1], seeds=4, architectures=("mlp-4-tanh", "mlp-8-tanh"))
    trials = sweep.trials.assign(batch_size=[32, 64] * 8)
    data = PageData([replace(sweep, trials=trials)])
    assert [(one.setting, one.others) for one in data.rate_lines] == [("architecture", ""), ("batch_size", "")]
    assert "and over all other settings" in charts(replace(sweep, trials=trials))["rates-0"].caption


def test_a_search_is_not_crossed(made_up_sweep):
    sweep = made_up_sweep(np.geomspace(0.01, 1, 6))
    trials = sweep.trials.assign(batch_size=[32, 64] * 3)
    assert PageData([replace(sweep, trials=trials)]).rate_lines == []


def test_a_search_shows_its_winner_and_how_it_was_found(made_up_sweep):
    sweep = made_up_sweep([0.01, 0.1, 0.2, 1, 0.05])
    accuracy, ends = [0.5, 0.9, 0.95, 0.99, 0.95], ["completed", "completed", "completed", "asha", "completed"]
    trials = sweep.trials.assign(validation_accuracy=accuracy, stop_reason=ends, momentum=[0.1, 0.2, 0.3, 0.4, 0.5])
    trials["validation_loss"] = [1, 0.3, 0.2, 0.1, 0.1]
    epochs = sweep.epochs.assign(validation_accuracy=0.9, validation_loss=0.3)
    search = replace(sweep, trials=trials, epochs=epochs, meta=sweep.meta | {"search": True})
    data = PageData([search])
    assert data.best_so_far.index.tolist() == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(data.best_so_far, [0.5, 0.1, 0.05, 0.05, 0.05])
    said = charts(search)["progress"].caption
    assert "The winner is trial 00004: mlp-4-tanh, learning rate 0.05, momentum 0.5 (validation accuracy 0.95" in said
    html = page([search])
    assert "<b>the winner</b>: mlp-4-tanh, learning rate 0.05, momentum 0.5" in html
    assert "more families" not in html
    assert html.count('class="conclusion"') == 1
    assert [one.key for one in data.metrics] == [
        f"{split}_{what}" for split in ("validation", "train") for what in ("error", "loss")
    ]
    assert not any("test" in name for name in held(search)["columns"])
    assert "test_error" in [one.key for one in PageData([replace(search, meta=sweep.meta)]).metrics]
    assert "progress" not in charts(replace(search, meta=sweep.meta))
    assert "progress" not in charts(replace(search, trials=trials.assign(stop_reason="running")))


def test_bands_are_those_of_the_picture(made_up_sweep, rates):
    sweep = made_up_sweep(np.linspace(0.2, 2, 30))
    data = PageData([sweep])
    (band,) = [band for metric, band in data.bands(sweep) if metric.key == "test_error"]
    curves = 1 - sweep.curves("test_accuracy")
    np.testing.assert_allclose(band.middle, curves.median(axis=1), rtol=1e-12)
    np.testing.assert_allclose(band.low, curves.quantile(0.1, axis=1), rtol=1e-12)


def test_a_band_ends_where_half_of_its_regimes_trials_do():
    """However few of all trials they are."""
    lengths = {"converged": [4] * 8, "slow": [4, 2, 2], "overfit": [3, 3, 2, 2]}
    trials = pd.DataFrame([{"regime": regime} for regime, each in lengths.items() for _ in each])
    trials = trials.assign(trial_id=[f"{i:05d}" for i in range(len(trials))])
    ends = dict(zip(trials["trial_id"], [n for each in lengths.values() for n in each], strict=True))
    rows = [{"trial_id": trial, "epoch": epoch, "value": 0.5} for trial, n in ends.items() for epoch in range(1, n + 1)]
    found = {band.name: band for band in bands(pd.DataFrame(rows).merge(trials, on="trial_id"), trials)}
    assert {name: band.x.tolist() for name, band in found.items()} == {
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
    assert list(data.bands(sweep)) == []
    twice = pd.concat([sweep.trials] * 2, ignore_index=True)
    assert not PageData([replace(sweep, trials=twice)]).few
    without = twice["epochs_run"].mask(twice.index >= 24, 0)
    assert PageData([replace(sweep, trials=twice.assign(epochs_run=without))]).few, "the others have no curve"
    assert data.metrics[0].least == 0.5 / 10_000
    assert data.varied == ["sweep", "nesterov", "epochs_asked"]
    found = {one.name: (one.groups, sorted(set(one.places.round()))) for one in data.settings}
    assert found == {
        "sweep": (["sweep", "other"], [0, 1]),
        "nesterov": (["False", "True"], [0, 1]),
        "epochs_asked": (["4", "9"], [0, 1]),
    }


def test_of_a_large_sweep_fewer_metrics_are_held_and_then_fewer_epochs(made_up_sweep, monkeypatch):
    sweep = made_up_sweep([0.1, 1])
    sweep = replace(sweep, trials=sweep.trials.assign(epochs_asked=9))
    for cells, metrics_held, epochs in ((16, 4, [1, 2, 3, 4]), (14, 2, [1, 2, 3, 4]), (4, 2, [2, 4]), (3, 2, [1, 4])):
        monkeypatch.setattr("mnist_tune.reports.page_data.MOST_CELLS", cells)
        monkeypatch.setattr("mnist_tune.reports.page_data.FULL_CELLS", cells // 2)
        data = PageData([sweep])
        assert (len(data.metrics), data.kept_epochs.tolist()) == (metrics_held, epochs)
    assert [one.key for one in data.metrics] == ["test_error", "train_loss"]
    assert held(sweep)["epochs"] == [1, 4]


def test_a_sweep_that_held_images_out_stands_beside_one_that_did_not(made_up_sweep):
    sweep = made_up_sweep(np.linspace(0.2, 2, 30))
    other = replace(
        sweep,
        path=sweep.path.with_name("other"),
        trials=sweep.trials.assign(validation_accuracy=0.9),
        epochs=sweep.epochs.assign(validation_accuracy=0.9, validation_loss=0.3),
    )
    assert "validation_loss" not in sweep.epochs
    keys = [one["key"] for one in held(sweep, other)["metrics"]]
    assert keys[-2:] == ["train_error", "train_loss"]
    assert "validation_loss" in keys


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


def test_names_count_in_their_own_order_not_in_that_of_the_trials():
    for names in (["b", "a", "c"], ["c", "b", "a"]):
        assert dict(zip(names, _numbers("optimizer", pd.Series(names)), strict=True)) == {"a": 0, "b": 1, "c": 2}


def test_of_noise_the_settings_explain_nothing():
    """On the trials that the forest has seen, it explains most of it."""
    random = np.random.default_rng(0)
    table = pd.DataFrame({"learning_rate": 10 ** random.uniform(-3, 0, 200), "momentum": random.uniform(0, 1, 200)})
    table = table.assign(epochs_run=1, test_accuracy=random.uniform(0.5, 0.95, 200))
    assert importances(table, ["learning_rate", "momentum"]).explained < 0.1


def test_without_scikit_learn_the_page_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.ensemble", None)
    table = pd.DataFrame({"learning_rate": np.linspace(0.1, 1, 50), "epochs_run": 1, "test_accuracy": 0.9})
    assert "pip install scikit-learn" in importances(table, ["learning_rate"])


def test_a_page_that_cannot_be_written(made_up_sweep, tmp_path):
    with pytest.raises(UserError, match=r"can't write the page .*/nowhere/x.html: No such file.*; name another file"):
        made_up_sweep([0.1]).report(tmp_path / "nowhere" / "x.html")


def test_a_setting_of_few_values_has_groups_and_one_of_many_has_an_axis(made_up_sweep):
    sweep = made_up_sweep(np.geomspace(0.01, 1, 26))
    some = [0.0, 0.1234] * 13
    many = np.geomspace(1e-5, 1e-2, 26)
    names = [f"net.py:mlp({i})" for i in range(26)]
    trials = sweep.trials.assign(weight_decay=some, clip_norm=many, architecture=names)
    found = {one.name: one for one in PageData([replace(sweep, trials=trials)]).settings}
    assert found["weight_decay"].groups == ["0", "0.1234"]
    assert not found["weight_decay"].log
    assert found["clip_norm"].groups == []
    assert found["clip_norm"].log
    np.testing.assert_allclose(sorted(found["clip_norm"].places), many)
    assert found["architecture"].groups == sorted(names)


def test_networks_that_differ_in_their_parts_alone_have_these_as_settings(made_up_sweep):
    sweep = made_up_sweep(np.geomspace(0.1, 1, 4))

    def settings(*names):
        trials = sweep.trials.assign(architecture=names, momentum=[0.1, 0.2, 0.3, 0.4])
        return {one.name: one.groups for one in PageData([replace(sweep, trials=trials)]).settings}

    found = settings("mlp-8-tanh", "mlp-8-8-tanh", "mlp-16-relu-glorot", "mlp-16-16-relu-glorot")
    assert found["width"] == ["8", "16"]
    assert found["hidden_layers"] == ["1", "2"]
    assert found["activation"] == ["relu-glorot", "tanh"]
    assert list(found) == ["width", "hidden_layers", "activation", "momentum"]
    assert list(settings("mlp-8-tanh", "mlp-8-8-tanh", "mlp-4-8-tanh", "convnet")) == ["architecture", "momentum"]
    assert list(settings("mlp-8-16-tanh", "mlp-16-8-tanh", *["mlp-8-tanh"] * 2)) == ["architecture", "momentum"]
