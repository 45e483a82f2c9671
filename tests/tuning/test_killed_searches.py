"""A search that is killed or interrupted at any moment, and resumed, trains what it
would have trained."""

import numpy as np
import pytest
from loop import loop  # noqa: F401
from ray import tune

from mnist_tune import DecideOptions, EdgeOptions, SweepOptions, decide, find_edge
from mnist_tune.regimes.decision import CONFIRMED
from mnist_tune.reports.answer import answer
from mnist_tune.reports.terminal import exit_code
from mnist_tune.tuning.sweep import run_search

SHARED = {"dataset": "mnist-5k", "quiet": True}
SMALL = SHARED | {"architecture": ("mlp-4-tanh",), "epochs": 2}
SPACE = {
    "learning_rate": tune.loguniform(0.1, 1),
    "batch_size": tune.choice([32, 64]),
    "epochs": 2,
}


def draws(folder, resume):
    np.random.seed(3)
    given = {"resume": folder} if resume else {}
    return run_search(
        "mine",
        SPACE,
        7,
        SweepOptions(**SHARED, **({} if resume else {"output": folder})),
        **given,
    )


def edges(folder, resume):
    if resume:
        return find_edge(EdgeOptions(resume=folder, quiet=True))
    return find_edge(
        EdgeOptions(output=folder, trials=8, expected=1.0, seed=5, **SMALL)
    )


def decision(folder, resume):
    if resume:
        return decide(DecideOptions(resume=folder, quiet=True))
    rates = {"learning_rates": (0.2, 0.4, 8.0), "holdout": 500, "tolerance": 0.001}
    return decide(DecideOptions(output=folder, trials=9, at_a_time=2, **rates, **SMALL))


@pytest.fixture
def fails(loop, epoch_row):  # noqa: F811
    """Trials learn, or fail the more often the larger their rate; one in eleven raises
    an error in its last epoch."""

    def row(config, epoch):
        luck = np.random.default_rng([config.seed, round(10 * config.learning_rate)])
        lost = luck.random() > 1 / (1 + config.learning_rate**8)
        if epoch == 2 and luck.random() < 0.09:
            return "ValueError: no shape"
        accuracy = 0.1 if lost else 0.9 + 0.01 * luck.normal()
        values = {
            "validation_accuracy": accuracy,
            "validation_loss": 1.0,
            "learning_rate": config.learning_rate,
        }
        return epoch_row(epoch, 2.5 if lost else 0.1, accuracy, diverged=lost, **values)

    loop.row = row
    return loop


def told(sweep):
    """Return what a sweep trained and how each trial ended, in the order of the
    trials."""
    trials = sweep.trials.sort_values("trial_id")
    return trials[
        ["trial_id", "learning_rate", "seed", "epochs_run", "stop_reason", "error"]
    ].values.tolist()


@pytest.mark.parametrize("run", [draws, edges, decision])
def test_killed_after_any_number_of_lines(run, fails, tmp_path):
    whole = told(run(tmp_path / "whole", False))
    for after in (3, 11):
        folder = tmp_path / str(after)
        with fails.killed_after(after):
            run(folder, False)
        with fails.killed_after(4):
            run(folder, True)
        assert told(run(folder, True)) == whole, f"killed after {after} lines"


@pytest.mark.parametrize(
    ("run", "in_flight"),
    [(draws, True), (draws, False), (edges, True), (decision, False)],
)
def test_interrupted_before_the_first_results_and_later(
    run, in_flight, fails, tmp_path
):
    """Between two trials, or while some run. Each time a line says how to go on."""
    fails.slots = 2 if in_flight else 1
    whole = told(run(tmp_path / "whole", False))
    for resume, trials in ((False, 1), (True, 3)):
        fails.interrupts = lambda proposed, running, trials=trials: (
            proposed >= trials and bool(running) == in_flight
        )
        found = run(tmp_path / "sweep", resume)
        assert "interrupted" in set(found.trials["stop_reason"])
        [said] = answer(found).questions
        assert run is draws or said.command == f"mnist-tune resume {tmp_path / 'sweep'}"
        assert exit_code(found.trials[found.trials["stop_reason"] != "error"]) == 130
    fails.interrupts = lambda proposed, running: False
    assert told(run(tmp_path / "sweep", True)) == whole


def test_more_trials_go_on_with_the_same_ones(fails, tmp_path):
    few = told(edges(tmp_path / "sweep", False))
    more = told(
        find_edge(
            EdgeOptions(
                resume=tmp_path / "sweep", trials=11, precision=0.06, quiet=True
            )
        )
    )
    assert more[:8] == few
    assert len(more) == 11


def test_the_best_is_confirmed_beyond_the_most_trials(loop, epoch_row, tmp_path):  # noqa: F811
    def row(config, epoch):
        values = {
            "validation_accuracy": 0.9 if config.learning_rate == 0.2 else 0.1,
            "validation_loss": 1.0,
        }
        return epoch_row(epoch, 0.5, 0.95, learning_rate=config.learning_rate, **values)

    loop.row, where = row, tmp_path / "sweep"
    asked = {
        "learning_rates": (0.2, 8.0),
        "holdout": 500,
        "at_a_time": 2,
        "trials": 6,
        "confirm": True,
    }
    found = decide(DecideOptions(output=where, **asked, **SMALL))
    assert found.decision.over
    assert (
        int(found.decision.decision.seeds[0]) + len(found.decision.confirming)
        == CONFIRMED
    )
    assert (
        len(decide(DecideOptions(resume=where, quiet=True)).trials)
        == len(found.trials)
        > 6
    )
