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
    if resume:
        return run_search("mine", SPACE, 7, SweepOptions(**SHARED), resume=folder)
    return run_search("mine", SPACE, 7, SweepOptions(output=folder, **SHARED))


def edges(folder, resume):
    if resume:
        return find_edge(EdgeOptions(resume=folder, quiet=True))
    budget = {"trials": 8, "expected": 1.0, "seed": 5}
    return find_edge(EdgeOptions(output=folder, **budget, **SMALL))


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
        loss = 0.1
        accuracy = 0.9 + 0.01 * luck.normal()
        if lost:
            loss = 2.5
            accuracy = 0.1
        return epoch_row(
            epoch,
            loss,
            accuracy,
            diverged=lost,
            validation_accuracy=accuracy,
            validation_loss=1.0,
            learning_rate=config.learning_rate,
        )

    loop.row = row
    return loop


COLUMNS = ["trial_id", "learning_rate", "seed", "epochs_run", "stop_reason", "error"]


def told(sweep):
    """Return what a sweep trained and how each trial ended, in the order of the
    trials."""
    trials = sweep.trials.sort_values("trial_id")
    return trials[COLUMNS].values.tolist()


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
    folder = tmp_path / "sweep"
    for resume, trials in ((False, 1), (True, 3)):
        fails.interrupts = lambda proposed, running, trials=trials: (
            proposed >= trials and bool(running) == in_flight
        )
        sweep = run(folder, resume)
        reasons = sweep.trials["stop_reason"]
        assert "interrupted" in set(reasons)
        [question] = answer(sweep).questions
        assert run is draws or question.command == f"mnist-tune resume {folder}"
        assert exit_code(sweep.trials[reasons != "error"]) == 130
    fails.interrupts = lambda proposed, running: False
    assert told(run(folder, True)) == whole


def test_more_trials_go_on_with_the_same_ones(fails, tmp_path):
    folder = tmp_path / "sweep"
    first_trials = told(edges(folder, False))
    options = EdgeOptions(resume=folder, trials=11, precision=0.06, quiet=True)
    trials = told(find_edge(options))
    assert trials[:8] == first_trials
    assert len(trials) == 11


def test_the_best_is_confirmed_beyond_the_most_trials(loop, epoch_row, tmp_path):  # noqa: F811
    def row(config, epoch):
        accuracy = 0.9 if config.learning_rate == 0.2 else 0.1
        held_out = {"validation_accuracy": accuracy, "validation_loss": 1.0}
        rate = config.learning_rate
        return epoch_row(epoch, 0.5, 0.95, learning_rate=rate, **held_out)

    loop.row = row
    folder = tmp_path / "sweep"
    options = {"at_a_time": 2, "trials": 6, "confirm": True, "holdout": 500}
    sweep = decide(
        DecideOptions(output=folder, learning_rates=(0.2, 8.0), **options, **SMALL)
    )
    assert sweep.decision.over
    seeds = int(sweep.decision.decision.seeds[0])
    assert seeds + len(sweep.decision.confirming) == CONFIRMED
    resumed = decide(DecideOptions(resume=folder, quiet=True))
    assert len(resumed.trials) == len(sweep.trials) > 6
