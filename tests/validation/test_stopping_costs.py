"""What early stopping cost is found in the run that went on."""

from types import SimpleNamespace

import pandas as pd
import pytest

from validation.stopping import compared

CURVES = {
    "0": [0.3, 0.5, 0.7, 0.8, 0.9, 0.9],
    "1": [0.1, 0.1, 0.5, 0.6, 0.7, 0.7],
}


def run_of(last, reason):
    """Return a run of two trials, of which the second ended after an epoch."""
    rows = [
        {"trial_id": trial, "epoch": epoch, "train_accuracy": value, "test_accuracy": value - 0.1, "diverged": False}
        for trial, values in CURVES.items()
        for epoch, value in enumerate(values[: last if trial == "1" else 6], 1)
    ]
    trials = {"trial_id": [*CURVES], "learning_rate": [0.1, 0.01], "seed": 0, "target": 0.65}
    reasons = ["completed", reason]
    return SimpleNamespace(
        trials=pd.DataFrame(trials | {"stop_reason": reasons}),
        epochs=pd.DataFrame(rows),
        meta={"dataset": {"label_counts": [10] * 10}},
    )


@pytest.mark.parametrize("reason", ["dead", "slow"])
def test_a_stopped_trial_is_judged_by_what_it_did_later(reason):
    kept, stopped = compared(run_of(2, reason), run_of(6, "completed"))
    assert (kept.stopped, kept.ran, kept.fifo) == (False, 6, 6)
    assert (stopped.stopped, stopped.reason, stopped.ran, stopped.fifo) == (True, reason, 2, 6)
    assert stopped.recovers
    assert stopped.arrives == 5
    assert stopped.best == pytest.approx((0.6, 0.6))


def test_what_comes_back_for_two_epochs_only_has_not_recovered():
    assert not [*compared(run_of(4, "dead"), run_of(6, "completed"))][1].recovers
