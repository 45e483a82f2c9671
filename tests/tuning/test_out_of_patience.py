"""Which trials `--patience` ends, by which numbers of their rows, and where it is
refused."""

from dataclasses import replace

import pytest

from mnist_tune import (
    EdgeOptions,
    SweepOptions,
    TrialConfig,
    UserError,
    find_edge,
    run_sweep,
)
from mnist_tune.regimes.data_facts import MNIST
from mnist_tune.tuning.patience import Patience
from mnist_tune.tuning.run import Run

CONFIG = TrialConfig(epochs=50)
TASK = replace(MNIST, by_accuracy=False, flag="task")


def ends_after(patience, rows):
    """Return the report with which a trial ends, and what it says then; None if it goes
    on."""
    for step, row in enumerate(rows, start=1):
        result = {"own_id": "00000", "step": step, "stop_reason": "", "answers": None}
        if step == 1:
            result["trial_config"] = CONFIG
        result |= row
        if patience("tunes", result):
            return step, result["stop_reason"]
    return None


def rows_of(column, values):
    return [{column: value} for value in values]


LEVEL = [0.5, 0.9, 0.9005, 0.9, 0.9008, 0.9]


def test_a_trial_ends_with_the_report_that_is_one_too_many():
    rows = rows_of("test_accuracy", LEVEL)
    assert ends_after(Patience(3, Run(), MNIST), rows) == (5, "patience")
    assert ends_after(Patience(5, Run(), MNIST), rows) is None


def test_examples_that_are_held_out_decide_and_tokens_count():
    rows = rows_of("validation_accuracy", [0.5, 0.7, 0.75, 0.8, 0.85])
    few = replace(CONFIG, holdout=50)
    rows[0]["trial_config"] = few
    assert ends_after(Patience(3, Run(), MNIST), rows) == (5, "patience")
    of_tokens = [row | {"answers": 1000.0} for row in rows]
    assert ends_after(Patience(3, Run(), MNIST), of_tokens) is None


@pytest.mark.parametrize(
    ("rank_by", "column"),
    [(None, "test_loss"), ("score_kl:min", "score_kl"), ("score_f1:max", "score_f1")],
)
def test_what_trials_are_ranked_by_decides(rank_by, column):
    facts = replace(TASK, rank_by=rank_by)
    values = [1.0, 0.5, 0.4, 0.4, 0.4, 0.4]
    if column == "score_f1":
        values = [-value for value in values]
    rows = rows_of(column, values)
    assert ends_after(Patience(3, Run(), facts), rows) == (6, "patience")


@pytest.mark.parametrize("reason", ["completed", "diverged", "error"])
def test_a_trial_that_ends_by_itself_keeps_its_reason(reason):
    rows = rows_of("test_accuracy", LEVEL)
    patience = Patience(3, Run(), MNIST)
    assert ends_after(patience, rows[:4]) is None
    assert not patience("tunes", {"stop_reason": reason})


def test_what_is_trained_again_takes_the_place_of_what_was_reported():
    patience = Patience(3, Run(), MNIST)
    assert ends_after(patience, rows_of("test_accuracy", LEVEL[:4])) is None
    assert ends_after(patience, rows_of("test_accuracy", LEVEL)) == (5, "patience")


@pytest.mark.parametrize("count", [0, -1])
def test_patience_is_a_count_from_1_on(count):
    with pytest.raises(UserError, match=f"--patience must be .*, got {count}"):
        SweepOptions(patience=count)


def test_it_is_refused_beside_a_schedule_that_ends_at_0_and_by_an_edge(
    few_images, tmp_path
):
    folder = tmp_path / "sweep"
    arrays = (few_images.train_images, few_images.train_labels) * 2
    options = SweepOptions(dataset=arrays, output=folder, patience=3)
    trial = {"schedule": "cosine", "architecture": "mlp-4-tanh"}
    with pytest.raises(UserError, match="--patience would end trials before the end"):
        run_sweep("cosine", trial, options)
    assert not folder.exists()
    with pytest.raises(UserError, match=r"--patience .* an edge is where trials blow"):
        find_edge(EdgeOptions(patience=3))
