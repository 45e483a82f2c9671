"""What the page's figures show, to the letter (`kept_texts`), for sweeps of every kind."""

from dataclasses import replace

import numpy as np
import pytest
from page_drawn import described, table
from kept_texts import assert_kept
from made_up_sweeps import decision

from mnist_tune.reports import page_data, page_figures
from mnist_tune.reports.importances import Importances
from mnist_tune.reports.page_data import PageData


@pytest.fixture
def same(monkeypatch, tmp_path):
    """A function that compares the figures of sweeps' page with those that are kept under a name."""
    of = Importances([("momentum", 0.5), ("learning_rate", 0.25)], 0.499, 24)
    monkeypatch.setattr(page_figures, "importances", lambda trials, names: of)

    def call(name, sweeps, *only):
        data = PageData(sweeps)
        text = "\n".join([*described(data, *only), *(table(data.trials) if name == "search" else ())])
        assert_kept(f"figures {name}", text.replace(str(tmp_path), "HERE") + "\n")

    return call


def test_two_networks_crossed_with_momenta(made_up_sweep, same):
    """Few trials with NaN losses, each configuration with two seeds."""
    sweep = made_up_sweep([0.1, 1, 3], seeds=4, architectures=("mlp-4-tanh", "mlp-8-tanh"))
    trials = sweep.trials.assign(momentum=[0, 0, 0.9, 0.9] * 6, seed=[0, 1] * 12)
    charts = ("curves-0", "rates-0", "rates-3", "setting-width", "importances", "shares", "means")
    same("crossed", [replace(sweep, trials=trials)], *charts)


def test_a_search(made_up_sweep, same):
    """Many trials, held-out images, settings with many values, and long names."""
    number = np.arange(26)
    sweep = made_up_sweep(np.geomspace(0.01, 5, 26), epochs=2)
    names = np.array([f"net.py:{'deep' * (i + 3)}({i})" for i in range(5)])[number % 5]
    trials = sweep.trials.assign(architecture=names, momentum=number / 30, clip_norm=10.0 ** (number / 5))
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
        *(f"setting-{name}" for name in ("architecture", "momentum", "clip_norm")),
    )


def test_an_edge_and_a_decision_side_by_side(edge_sweep, made_up_sweep, same):
    accuracy = {0: 0.9, 1: 0.92, 2: 0.85, 3: 0.918}
    found = decision(
        made_up_sweep([0.1], epochs=1),
        [{"learning_rate": 0.1 * (1 + i)} for i in range(4)],
        lambda order, setting: accuracy[setting] + 0.004 * ((order * (3 + setting)) % 5 - 2),
    )
    charts = ("map-0", "map-1", "curves-1", "decision-1", "edge-0", "setting-sweep")
    same("edge and decision", [edge_sweep, found], *charts)


def test_more_configurations_than_there_is_room_for(made_up_sweep, monkeypatch, same):
    monkeypatch.setattr(page_data, "MANY", 24)
    sweep = made_up_sweep([0.01, 0.1, 3], seeds=18, epochs=1)
    number = np.arange(54)
    trials = sweep.trials.assign(seed=number % 2, batch_size=32 * (1 + number % 18 // 2))
    same("many", [replace(sweep, trials=trials)], "curves-0", "rates-0", "shares", "means")
