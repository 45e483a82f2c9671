"""The page's HTML, and what it holds."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mnist_tune import UserError
from mnist_tune.regimes.data_facts import data_facts
from mnist_tune.reports.conclusions import conclusions
from mnist_tune.reports.importances import importances
from mnist_tune.reports.metrics import MISSING, matrix, quantised
from mnist_tune.reports.page import page
from mnist_tune.reports.page_data import PageData, RateMark, Setting
from mnist_tune.reports.page_figures import setting_map
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
    assert "running: 1 of 3 trials ended, 1 running, 1 waiting" in html
    assert part(html, "data")["running"]


def test_the_headline_says_what_the_table_says(made_up_sweep):
    sweep = made_up_sweep([0.1, 1, 3])
    html = page([sweep])
    said, proposal = conclusions(sweep.trials)[1:]
    assert f"<b>mlp-4-tanh</b>: {said.removeprefix('mlp-4-tanh: ')}<" in html
    assert f"<code>{proposal.split(': ', 1)[1]}</code>" in html
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


def test_bands_are_those_of_the_picture(made_up_sweep, rates):
    sweep = made_up_sweep(np.linspace(0.2, 2, 30))
    (band,) = PageData([sweep]).bands[0]["test_accuracy"]
    curves = sweep.curves("test_accuracy")
    np.testing.assert_allclose(band.middle, curves.median(axis=1), rtol=1e-12)
    np.testing.assert_allclose(band.low, curves.quantile(0.1, axis=1), rtol=1e-12)


def test_a_band_ends_where_half_of_its_regimes_trials_do():
    """However few of all trials they are."""
    lengths = {"converged": [4] * 8, "slow": [4, 2, 2]}
    trials = pd.DataFrame([{"regime": regime} for regime, each in lengths.items() for _ in each])
    trials = trials.assign(trial_id=[f"{i:05d}" for i in range(len(trials))])
    ends = dict(zip(trials["trial_id"], [n for each in lengths.values() for n in each], strict=True))
    rows = [{"trial_id": trial, "epoch": epoch, "value": 0.5} for trial, n in ends.items() for epoch in range(1, n + 1)]
    found = {band.regime: band for band in bands(pd.DataFrame(rows).merge(trials, on="trial_id"), trials)}
    assert {name: band.epochs.tolist() for name, band in found.items()} == {"converged": [1, 2, 3, 4], "slow": [1, 2]}
    assert {name: band.trials for name, band in found.items()} == {"converged": 8, "slow": 3}


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


def test_marked_rates_are_named_and_drawn(made_up_sweep, monkeypatch):
    marks = [RateMark("edge 1.4 (1.2 to 1.6)", 1.2, 1.6), RateMark("2/λ0", 0.5, 0.5)]
    monkeypatch.setattr("mnist_tune.reports.page.rate_marks", lambda sweeps: marks)
    html = page([made_up_sweep([0.1, 1, 3])])
    assert "Marked: edge 1.4 (1.2 to 1.6); 2/λ0." in html
    document = json.dumps(part(html, "document"))
    assert f'"left": {math.log10(1.2)!r}' in document
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
    some = [0.0, 1e-4] * 13
    many = np.geomspace(1e-5, 1e-2, 26)
    names = [f"mlp-{i}-tanh" for i in range(26)]
    trials = sweep.trials.assign(weight_decay=some, clip_norm=many, architecture=names)
    found = {one.name: one for one in PageData([replace(sweep, trials=trials)]).settings}
    assert found["weight_decay"].groups == ["0", "0.0001"]
    assert not found["weight_decay"].log
    assert found["clip_norm"].groups == []
    assert found["clip_norm"].log
    np.testing.assert_allclose(sorted(found["clip_norm"].places), np.log10(many))
    assert found["architecture"].groups == sorted(names)
