"""Loops under Ray: swept, labelled, decided, killed and resumed, exported."""

import signal
import subprocess
import sys

import pandas as pd
import pytest
from waiting import wait_until

from mnist_tune import (
    DecideOptions,
    EdgeOptions,
    Loop,
    SweepOptions,
    TrialConfig,
    UserError,
    decide,
    find_edge,
    load_sweep,
    resume_sweep,
    run_search,
    run_sweep,
)
from mnist_tune.exports import mirror
from mnist_tune.reports.findings import facts, notes
from mnist_tune.results.journal import read_journal

pytestmark = pytest.mark.ray


@pytest.fixture
def sweep(one_core, levels, tmp_path):
    """A sweep of that loop at three rates."""
    trials = {"learning_rate": [9.0, 8.0, 0.01], "epochs": 8}
    options = SweepOptions(output=tmp_path / "sweep", quiet=True)
    return run_sweep("levels", trials, options, loop=levels)


def test_a_loop_is_swept_labelled_decided_and_exported(sweep, levels, tmp_path, log):
    trials = sweep.trials.set_index("learning_rate")
    assert trials.loc[0.01, "regime"] == "slow"
    assert trials.loc[0.01, "stop_reason"] == "slow"
    assert trials.loc[0.01, "epochs_run"] < 8
    assert trials.loc[9.0, "regime"] == "converged"
    assert trials.loc[9.0, "score_level"] == 72.0
    assert {*trials["holdout"]} == {500}
    assert {*trials["architecture"]} == {levels}
    assert facts(sweep).keys().isdisjoint({"data", "last batch"})
    best = sweep.best()
    assert best["learning_rate"].iloc[0] == 9.0
    # each generator was closed, those of trials that were stopped, too
    assert len([line for line in log() if line.startswith("closed")]) == 3

    options = DecideOptions(
        sweep=sweep.path, output=tmp_path / "decision", trials=8, quiet=True
    )
    decision = decide(options)
    assert decision.decision.decision.leader == 0
    assert {*decision.trials["architecture"]} == {levels}

    csv = tmp_path / "csv"
    mirror("csv", str(csv)).update(sweep)
    rows = pd.read_csv(csv / "epochs.csv")
    assert "score_level" in rows

    with pytest.raises(UserError, match="only its own code knows what it saved"):
        sweep.load()
    safetensors = mirror("safetensors", None)
    with pytest.raises(UserError, match="what a loop saves is of its own code"):
        safetensors.update(sweep)


def test_more_epochs_go_on_from_what_was_saved(sweep, log):
    longer = resume_sweep(sweep.path, epochs=10, quiet=True)
    trials = longer.trials.set_index("learning_rate")
    assert trials.loc[9.0, "epochs_run"] == 10
    assert trials.loc[9.0, "score_level"] == 90.0
    assert "begin 00000 at 8" in log()


def test_a_search_proposes_its_trials(one_core, levels, tmp_path):
    from ray import tune

    options = SweepOptions(loop=levels, output=tmp_path / "sweep", quiet=True)
    space = {"learning_rate": tune.loguniform(1.0, 9.0), "epochs": 2}
    sweep = run_search("levels", space, 3, options)
    assert [*sweep.trials["stop_reason"]] == ["completed"] * 3
    assert sweep.trials["learning_rate"].nunique() == 3


def test_a_loop_of_python_goes_on_if_it_is_given_again(one_core, tmp_path):
    def train(run):
        for epoch in range(run.epochs):
            yield {"train_loss": 1 / (epoch + 2), "test_loss": 1 / (epoch + 2)}

    loop = Loop(train, guess=1.0)
    options = SweepOptions(output=tmp_path / "sweep", quiet=True)
    sweep = run_sweep("losses", {"learning_rate": 0.1, "epochs": 2}, options, loop=loop)
    assert [*sweep.epochs["test_loss"]] == [1 / 2, 1 / 3]
    longer = resume_sweep(sweep.path, epochs=4, loop=loop, quiet=True)
    assert [*longer.epochs["test_loss"]] == [1 / 2, 1 / 3, 1 / 4, 1 / 5]


def test_a_retry_goes_on_with_the_state_of_the_first_epoch(one_core, tmp_path, levels):
    """The row of that state is no new beginning."""
    options = SweepOptions(output=tmp_path / "sweep", quiet=True)
    trials = {"learning_rate": 9.0, "epochs": 3}
    failing = levels + "(fails_at=1)"
    sweep = run_sweep("fails", trials, options, loop=failing)
    assert [*sweep.trials["stop_reason"]] == ["error"]
    again = resume_sweep(sweep.path, retry_errored=True, quiet=True)
    assert [*again.epochs["epoch"]] == [1]
    assert not [line for line in notes(again) if "began again" in line]


def test_each_trial_with_a_gpu_has_a_process_of_its_own(tmp_path):
    """Ray hands them out, whether there are any or not."""
    import ray

    def train(run):
        import os

        gpu = float(os.environ["CUDA_VISIBLE_DEVICES"])
        yield {"train_loss": 1.0, "test_loss": 1.0, "gpu": gpu, "process": os.getpid()}

    ray.shutdown()
    ray.init(address="local", num_cpus=2, num_gpus=2, include_dashboard=False)
    loop = Loop(train, guess=2.3, scores=("gpu", "process"))
    options = SweepOptions(
        gpus_per_trial=1, cpus_per_trial=1, output=tmp_path / "sweep", quiet=True
    )
    trials = {"learning_rate": [0.1, 0.2, 0.3, 0.4], "epochs": 1}
    sweep = run_sweep("gpus", trials, options, loop=loop)
    assert {*sweep.trials["score_gpu"]} <= {0.0, 1.0}
    assert sweep.trials["score_process"].nunique() == 4
    assert {*sweep.trials["device"]} == {"gpu"}
    options = SweepOptions(gpus_per_trial=3, quiet=True, output=tmp_path / "three")
    with pytest.raises(UserError, match="no node has that many"):
        run_sweep("gpus", trials, options, loop=loop)


def test_its_edge_is_measured(one_core, levels, tmp_path):
    options = EdgeOptions(
        loop=levels,
        expected=0.5,
        learned=0.7,
        epochs=2,
        trials=6,
        output=tmp_path / "edge",
        quiet=True,
    )
    sweep = find_edge(options)
    assert len(sweep.trials) == 6
    assert {*sweep.trials["stop_reason"]} == {"completed"}


@pytest.mark.promise("What a loop raises ends its trial with the line of your code")
def test_what_it_raises_ends_its_trial_with_the_line(one_core, levels, tmp_path):
    options = SweepOptions(output=tmp_path / "sweep", quiet=True)
    loop = f"{levels}(fails_at=2)"
    sweep = run_sweep("levels", TrialConfig(epochs=4), options, loop=loop)
    [trial] = sweep.trials.to_dict("records")
    assert trial["stop_reason"] == "error"
    assert trial["epochs_run"] == 2
    assert trial["error_kind"] == "program"
    file = levels.partition(":")[0]
    assert trial["error"].startswith(f"ValueError: out of ideas ({file}:")


@pytest.mark.promise(
    "A trial of a loop goes on from what the loop saved; without that it begins again, and the answer says so"
)
@pytest.mark.slow
@pytest.mark.parametrize("saves", [True, False])
def test_a_killed_sweep_goes_on(saves, levels, tmp_path, log, one_core):
    """With its state, or without one from the beginning, which its answer says."""
    loop = f"{levels}(saves={saves}, pauses_at=3)"
    place = tmp_path / "sweep"
    command = [sys.executable, "-m", "mnist_tune", "regimes", "--loop", loop]
    flags = ["--learning-rates", "3", "--epochs", "6", "--output", str(place)]
    with subprocess.Popen([*command, *flags, "--quiet"]) as process:
        wait_until(lambda: (tmp_path / "waited").exists())
        wait_until(lambda: len(read_journal(place).epochs) == 3)
        process.send_signal(signal.SIGKILL)
    before = load_sweep(place)
    assert [*before.trials["stop_reason"]] == ["interrupted"]
    after = resume_sweep(place, quiet=True)
    [trial] = after.trials.to_dict("records")
    assert trial["stop_reason"] == "completed"
    assert trial["score_level"] == 18.0
    assert [*after.epochs["epoch"]] == [1, 2, 3, 4, 5, 6]
    begins = [line for line in log() if line.startswith("begin")]
    began_again = (
        "a resumed trial whose state had not been saved began again with epoch 1"
    )
    if saves:
        assert begins[-1] == "begin 00000 at 3"
        assert began_again not in notes(after)
    else:
        assert begins[-1] == "begin 00000 at 0"
        assert began_again in notes(after)
