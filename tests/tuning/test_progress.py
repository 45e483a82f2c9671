"""The progress view."""

import time

import pytest
from rich.console import Console

from mnist_tune.tuning.progress import ProgressView


def test_the_view_counts_regimes_and_stop_reasons():
    view = ProgressView(4, 40, 0, quiet=True)
    for trial_id, reason, regime in (("a", "completed", "slow"), ("b", "diverged", "diverged"), ("c", "asha", "slow")):
        view.end(trial_id, reason, 0, regime)
    view.end("c", "asha", 0, "slow")
    said = view._text.plain
    assert "3 done (1 asha, 1 completed, 1 diverged)" in said
    assert "curves: 1 diverged, 2 slow" in said


def test_the_view_says_what_runs_what_waits_and_which_is_best(epoch_row):
    view = ProgressView(4, 40, 0, quiet=True)
    for trial_id, accuracy, train in (("a", 0.8, 0.9), ("b", 0.95, 0.9), ("c", 0.9, 0.99)):
        view.epoch(trial_id, f"trial {trial_id}", epoch_row(1, train_accuracy=train, test_accuracy=accuracy))
    view.end("a", "diverged", 9, "diverged")
    assert view._text.plain == (
        "trials: 1 done (1 diverged), 2 running, 1 waiting; curves: 1 diverged; best test accuracy 0.9500 (trial b)"
    )
    assert view._left() == "3/31 epochs"


def test_the_time_left_is_said_once_each_trial_that_runs_has_trained_two_epochs(epoch_row, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    view, said = ProgressView(2, 20, 0, quiet=True), []
    for epoch in (1, 2, 3):
        for trial in "ab":
            now[0] += 10.0
            view.epoch(trial, "mlp-4-tanh", epoch_row(epoch))
            said.append(view._left())
    assert said[3:] == ["4/20 epochs", "5/20 epochs, at most 150 s left", "6/20 epochs, at most 140 s left"]


def test_the_time_left_follows_from_the_epochs_since_the_resume(epoch_row, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    view = ProgressView(2, 20, 10, quiet=True)
    now[0] += 300.0  # starting and compiling
    view.epoch("a", "mlp-4-tanh", epoch_row(6))
    assert view._left() == "11/20 epochs"
    for epoch in (7, 8):
        now[0] += 30.0
        view.epoch("a", "mlp-4-tanh", epoch_row(epoch))
    assert view._left() == "13/20 epochs, at most 210 s left"


@pytest.mark.parametrize("quiet", [False, True])
def test_a_terminal_has_a_bar_unless_it_is_to_be_quiet(monkeypatch, quiet):
    monkeypatch.setattr(Console, "is_terminal", True)
    with ProgressView(1, 4, 0, quiet) as view:
        assert view._live.is_started is not quiet
    assert not view._live.is_started


def test_without_a_terminal_a_line_is_printed_every_quarter_of_a_minute(epoch_row, monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    view = ProgressView(1, 20, 0, quiet=False)
    for epoch in range(1, 10):
        view.epoch("a", "mlp-4-tanh", epoch_row(epoch))
        now[0] += 5.0
    said = capsys.readouterr().err.splitlines()
    assert [line.partition("; ")[2].split("; ")[-1].split(" epochs")[0] for line in said] == ["1/20", "5/20", "9/20"]
