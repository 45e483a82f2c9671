"""The progress view."""

import time

import pytest
from rich.console import Console

from mnist_tune.tuning.progress import ProgressView


def test_the_time_left_is_said_once_each_trial_that_runs_has_trained_two_epochs(
    monkeypatch,
):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    view = ProgressView(2, 20, 0, quiet=True)
    times = []
    for _ in range(3):
        for trial in "ab":
            now[0] += 10.0
            view.epoch(trial)
            times.append(view._left())
    assert times[3:] == [
        "4/20 epochs",
        "5/20 epochs, at most 2 min 30 s left",
        "6/20 epochs, at most 2 min 20 s left",
    ]


@pytest.mark.parametrize("quiet", [False, True])
def test_a_terminal_has_a_bar_unless_it_is_to_be_quiet(monkeypatch, quiet):
    monkeypatch.setattr(Console, "is_terminal", True)
    with ProgressView(1, 4, 0, quiet) as view:
        assert view._live.is_started is not quiet
    assert not view._live.is_started
