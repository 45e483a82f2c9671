"""The progress view."""

from mnist_tune.tuning.progress import ProgressView


def test_the_view_counts_regimes_and_stop_reasons():
    view = ProgressView(4, 40, 0, quiet=True)
    for trial_id, reason, regime in (("a", "completed", "slow"), ("b", "diverged", "diverged"), ("c", "asha", "slow")):
        view.end(trial_id, reason, 0, regime)
    view.end("c", "asha", 0, "slow")
    said = view._text.plain
    assert "3 done (1 asha, 1 completed, 1 diverged)" in said
    assert "curves: 1 diverged, 2 slow" in said
