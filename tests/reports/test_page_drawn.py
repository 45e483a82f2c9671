"""What the page's figures show, to the letter (`kept_texts`), for sweeps of every kind."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from kept_texts import assert_kept
from made_up_sweeps import decision
from page_drawn import described, table

from mnist_tune.reports import page, page_data, page_figures
from mnist_tune.reports.importances import Importances
from mnist_tune.reports.page_data import PageData


@pytest.fixture(autouse=True)
def known_importances(monkeypatch):
    """Those of a forest may be others with another version of scikit-learn."""
    of = Importances([("momentum", 0.5), ("learning_rate", 0.25)], 0.499, 24)
    monkeypatch.setattr(page_figures, "importances", lambda trials, names: of)


@pytest.fixture
def same(tmp_path):
    """A function that compares the figures of sweeps' page with those that are kept under a name."""

    def call(name, sweeps, *only):
        data = PageData(sweeps)
        text = "\n".join([*described(data, *only), *(table(data.trials) if name == "search" else ())])
        assert_kept(f"figures {name}", text.replace(str(tmp_path), "HERE") + "\n")

    return call


def test_two_networks_crossed_with_momenta(made_up_sweep, monkeypatch, same):
    """Few trials with NaN losses, each configuration with two seeds."""
    monkeypatch.setattr(page_data, "MANY", 12)
    sweep = made_up_sweep([0.1, 1, 3], seeds=4, architectures=("mlp-4-tanh", "mlp-8-tanh"))
    trials = sweep.trials.assign(momentum=[0, 0, 0.9, 0.9] * 6, seed=[0, 1] * 12)
    lucky = 0.02 * trials.set_index("trial_id")["seed"]
    trials["test_accuracy"] += lucky.to_numpy()
    epochs = sweep.epochs.assign(test_accuracy=sweep.epochs["test_accuracy"] + sweep.epochs["trial_id"].map(lucky))
    charts = ("curves-0", "rates-0", "rates-3", "setting-width", "importances", "shares", "means")
    same("crossed", [replace(sweep, trials=trials, epochs=epochs)], *charts)


def test_a_search(made_up_sweep, monkeypatch, same):
    """Many trials, held-out images, settings with many values, and long names."""
    number = np.arange(26)
    sweep = made_up_sweep(np.geomspace(0.01, 5, 26), epochs=2)
    monkeypatch.setattr(page_figures, "MOST_FOLLOWED", 26)
    names = np.array([f"net.py:{'d' * (i + 14)}({i})" for i in range(5)])[number % 5]  # of 24 letters, and more
    optimizers = np.array(["sgd", "adam", "lion", "rmsprop"])[number // 7]
    trials = sweep.trials.assign(
        architecture=names, optimizer=optimizers, momentum=number / 30, clip_norm=10.0 ** (number / 5)
    )
    trials = trials.assign(validation_accuracy=0.9 - abs(number - 17) / 100, validation_loss=0.3, holdout=100)
    trials["stop_reason"] = np.where(number % 4 == 1, "asha", "completed")
    epochs = sweep.epochs.merge(trials[["trial_id", "validation_accuracy", "validation_loss"]], on="trial_id")
    meta = sweep.meta | {"search": True, "options": {"by": "tpe"}}
    sweep = replace(sweep, trials=trials, epochs=epochs, meta=meta)
    same(
        "search",
        [sweep],
        "map-0",
        "progress",
        *(f"setting-{name}" for name in ("architecture", "optimizer", "momentum", "clip_norm")),
    )


@pytest.fixture
def decided(made_up_sweep):
    accuracy = {0: 0.9, 1: 0.92, 2: 0.85, 3: 0.918}
    return decision(
        made_up_sweep([0.1], epochs=1),
        [{"learning_rate": 0.1 * (1 + i)} for i in range(4)],
        lambda order, setting: accuracy[setting] + 0.004 * ((order * (3 + setting)) % 5 - 2),
    )


def test_an_edge_and_a_decision_side_by_side(edge_sweep, decided, monkeypatch, same):
    monkeypatch.setattr(page_figures, "MOST_FOLLOWED", len(edge_sweep.trials) + len(decided.trials) - 1)
    charts = ("map-0", "map-1", "curves-1", "decision-1", "edge-0", "setting-sweep")
    same("edge and decision", [edge_sweep, decided], *charts)


def test_the_page_itself(edge_sweep, decided, monkeypatch, tmp_path):
    """Without its scripts, and without its tags."""
    monkeypatch.setattr(page, "ROWS", 3)
    monkeypatch.setattr(page, "BOKEH", SimpleNamespace(js_raw=["'</script>'"]))
    failed = decided.trials.index % 9 == 4
    reasons, errors = np.where(failed, "error", "completed"), np.where(failed, "</script>\x1b is full", "")
    trials = decided.trials.assign(label="</script>", stop_reason=reasons, error=errors)
    html = page.page([edge_sweep, replace(decided, trials=trials[:20])]).replace(str(tmp_path), "HERE")
    text = re.sub(r"(?s)<(style|script)\b.*?</\1>|<[^>]*>", " ", html)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert_kept("page of an edge and a decision", "\n".join(filter(None, lines)))


def test_more_configurations_and_values_than_there_is_room_for(made_up_sweep, monkeypatch, same):
    monkeypatch.setattr(page_data, "MANY", 27)
    monkeypatch.setattr(page_figures, "LINES", page_figures.LINES[:3])
    sweep = made_up_sweep(np.geomspace(0.01, 3, 7), seeds=8, epochs=1)
    number = np.arange(56)
    trials = sweep.trials.assign(seed=number % 2, batch_size=32 * (1 + number % 8 // 2))
    same("many", [replace(sweep, trials=trials)], "curves-0", "rates-0", "shares", "means")
