"""Whole sweeps under Ray Tune. Those that are killed run in their own process."""

import itertools
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import psutil
import pytest
from journals import recorded
from ray.tune import Callback
from seaweed import KEYS, seaweed
from waiting import LONG_S, wait_until

from mnist_tune import (
    SweepOptions,
    TrialConfig,
    UserError,
    load_sweep,
    resume_sweep,
    run_sweep,
)
from mnist_tune.data.dataset import load_dataset
from mnist_tune.epoch_row import EpochRow
from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.execution.pool import LanePool
from mnist_tune.results.folder import working_folder
from mnist_tune.results.journal import read_journal
from mnist_tune.tuning.recorder import Recorder

pytestmark = pytest.mark.ray

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "sweeps" / "lr_regimes.py"
NUMBERS = [
    "train_loss",
    "train_accuracy",
    "test_loss",
    "test_accuracy",
    "step_loss_max",
    "step",
    "above_since",
    "fill",
]


def command(*flags):
    data = ["--dataset", "mnist-5k"]
    network = ["--architecture", "mlp-8-tanh"]
    return [sys.executable, str(SCRIPT), *data, *network, *map(str, flags)]


@pytest.fixture
def finish(one_core, monkeypatch, capfd):
    """A function that runs the script to its end in this process, on the Ray that tests
    share."""

    def run(*flags, arguments=None):
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", arguments or command(*flags)[1:])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        return subprocess.CompletedProcess(
            sys.argv, ended.value.code, *capfd.readouterr()
        )

    return run


def kill(process):
    os.killpg(process.pid, signal.SIGKILL)


def kill_raylet(process):
    (raylet,) = (
        child
        for child in psutil.Process(process.pid).children()
        if child.name() == "raylet"
    )
    raylet.kill()


PACED = """
import os, runpy, sys, time
import forks
from mnist_tune.results.writer import SweepWriter

pause, *sys.argv[:] = sys.argv[1:]
append = SweepWriter._append

def append_and_wait(*event):
    append(*event)
    time.sleep(0.1)
    while os.path.exists(pause):
        time.sleep(0.05)

SweepWriter._append = append_and_wait
forks.workers().start()
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def start(pause, *flags):
    """Start a sweep in its own process group. It takes its time, and waits while there
    is a file `pause`."""
    python, *arguments = command(*flags)
    helpers = str(ROOT / "tests" / "helpers")
    path = os.pathsep.join([helpers, os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [python, "-c", PACED, str(pause), *arguments],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def rows(path):
    epochs = load_sweep(path).epochs
    assert not epochs.duplicated(["trial_id", "epoch"]).any()
    return numbers(epochs)


def numbers(epochs):
    by_rate_and_epoch = epochs.set_index(["learning_rate", "epoch"]).sort_index()
    return by_rate_and_epoch[NUMBERS].astype(float)


def trained_here(trials, train_images=None):
    """Train trials one after another in this process, and return the rows of their
    epochs."""
    pool = LanePool(load_dataset("mnist-5k", train_images=train_images))
    rows = []
    for trial in trials:
        pool.attach("it", trial)
        for _ in range(trial.epochs):
            rows.append(pool.run(["it"])["it"].report())
    return pd.DataFrame(rows)


RATES = (0.01, 0.1, 0.5)
EPOCHS = 40
IMAGES = 1024
FLAGS = (
    "--learning-rates",
    *RATES,
    "--epochs",
    EPOCHS,
    "--train-images",
    IMAGES,
    "--scheduler",
    "fifo",
)


@pytest.mark.promise(
    "Ctrl-C, a kill of the driver and one of Ray lose no recorded row; a line says how to go on"
)
def test_a_sweep_in_object_storage_that_is_killed_again_and_again_loses_nothing(
    tmp_path, finish, monkeypatch
):
    """Restart its storage and kill it. Then, on another machine, interrupt it and kill
    its raylet. (That a sweep is killed before its first row, or after any other line,
    is `test_killed_driver`'s.)"""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with seaweed(tmp_path / "storage") as server:
        place = server.uri("sweep")
        pause = tmp_path / "pause"
        again = ("--output", place, "--resume", "auto", *FLAGS)
        monkeypatch.setenv("MNIST_TUNE_CACHE", str(tmp_path / "machine"))
        with start(pause, *again) as driver:
            wait_for_rows(place, 10, driver)
            pause.touch()
            # until the driver waits, and the last states are saved: without them, no
            # trial goes on
            time.sleep(2)
            server.kill()
            before = recorded(working_folder(place))
            pause.unlink()
            wait_for_epochs(working_folder(place), before + 1, driver)
            # a fast machine would reach the last epoch before the storage is back
            pause.touch()
            assert server.start(), server.log()
            after = wait_for_rows(place, before + 1, driver)
            kill(driver)
            pause.unlink()
            driver.communicate(timeout=LONG_S)
        assert before < after <= len(rows(place)) < 3 * EPOCHS
        # without the local files of the first run
        monkeypatch.setenv("MNIST_TUNE_CACHE", str(tmp_path / "another machine"))
        with monkeypatch.context() as patch:
            patch.setattr(Recorder, "on_trial_result", interrupts_after(10))
            # auto would wait until the killed one is silent
            interrupted = finish("--resume", place, *FLAGS)
        assert interrupted.returncode == 143, interrupted.stderr
        assert f"{RESUME} '{place}'" in interrupted.stdout
        assert_partial(place)
        before = len(rows(place))
        with start(pause, "--resume", place) as driver:
            wait_for_epochs(working_folder(place), before + 10, driver)
            kill_raylet(driver)
            stdout, stderr = driver.communicate(timeout=LONG_S)
        assert driver.returncode == 2
        assert "raylet" not in stdout
        first, *lines = [
            line
            for line in stderr.splitlines()
            if not line.startswith(("trials: ", "page: "))
        ]
        assert first.startswith(f"resuming {place}: ")
        died = "error: Ray's raylet on this machine died; no finished epoch is lost"
        assert lines == [f"{died}, resume with: {RESUME} '{place}'"]
        assert_partial(place)
        done = finish(*again)
        assert done.returncode == 0, done.stderr
        assert set(load_sweep(place).trials["stop_reason"]) == {"completed"}
        # as by default
        shared = {"architecture": "mlp-8-tanh", "epochs": EPOCHS, "holdout": 128}
        uninterrupted = [TrialConfig(learning_rate=rate, **shared) for rate in RATES]
        assert rows(place).equals(numbers(trained_here(uninterrupted, IMAGES)))


def interrupts_after(count):
    """`Recorder.on_trial_result`, followed by a SIGTERM after so many results, which
    comes to Tune as Ctrl-C."""
    record = Recorder.on_trial_result
    results = itertools.count(1)

    def recorded(self, *arguments, **info):
        record(self, *arguments, **info)
        if next(results) == count:
            os.kill(os.getpid(), signal.SIGTERM)

    return recorded


def ends_at_second(call):
    """A call that works once, and then ends the program."""
    calls = itertools.count(1)

    def once(*arguments, **fields):
        if next(calls) > 1:
            sys.exit(9)
        return call(*arguments, **fields)

    return once


def assert_partial(path):
    partial = load_sweep(path)
    assert 0 < len(partial.epochs) < 3 * EPOCHS
    assert "interrupted" in set(partial.trials["stop_reason"])


def wait_for_rows(place, count, driver):
    def found():
        with suppress(UserError):
            rows = len(load_sweep(place).epochs)
            return rows if rows >= count else None

    # each look takes time from the driver
    return wait_until(found, "no rows are uploaded", driver, every=1)


def wait_for_epochs(folder, count, driver):
    wait_until(lambda: recorded(folder) >= count, "no epoch was recorded", driver)


RESUME = "mnist-tune resume"


def test_every_value_asked_for_is_the_value_used(tmp_path, one_core):
    """Training again with these values gives the same numbers as the sweep."""
    trials = [
        TrialConfig(
            architecture="mlp-8-tanh",
            learning_rate=0.03,
            seed=5,
            data_seed=9,
            epochs=3,
            holdout=0,
        ),
        TrialConfig(
            architecture="mlp-6-relu-glorot",
            learning_rate=0.2,
            momentum=0.5,
            nesterov=True,
            epochs=1,
            holdout=416,
        ),
        TrialConfig(
            architecture="mlp-8-tanh",
            learning_rate=0.0123456789,
            batch_size=50,
            holdout=100,
            label_noise=700,
            epochs=2,
        ),
    ]
    sweep = run_sweep(
        "values",
        trials,
        SweepOptions(dataset="mnist-5k", output=tmp_path, scheduler="fifo", quiet=True),
    )
    assert list(read_journal(sweep.path).known_trials(sweep.meta).values()) == trials
    records = sweep.trials.sort_values("trial_id").to_dict("records")
    for trial, row in zip(trials, records, strict=True):
        for name, value in trial.to_dict().items():
            if name in row:
                assert row[name] == value
        curve = sweep.epochs[sweep.epochs["trial_id"] == row["trial_id"]]
        assert list(curve["learning_rate"]) == [trial.learning_rate] * trial.epochs
        trained = trained_here([trial])
        assert list(trained["train_loss"]) == list(curve["train_loss"])


@pytest.mark.promise(
    "A sweep that was extended equals one that asked for everything at once"
)
def test_a_sweep_grows_by_epochs_and_rates_as_if_it_had_been_asked_for_them_at_once(
    tmp_path, finish, monkeypatch
):
    """Also one that was ended between its two tables."""
    with monkeypatch.context() as patch:
        patch.setattr(
            pd.DataFrame, "to_parquet", ends_at_second(pd.DataFrame.to_parquet)
        )
        flags = ("--scheduler", "fifo", "--output", tmp_path / "grown")
        assert finish("--learning-rates", 0.1, "--epochs", 2, *flags).returncode == 9
    assert len(load_sweep(tmp_path / "grown").epochs) == 2
    grown = finish(
        "--resume", tmp_path / "grown", "--learning-rates", 0.3, "--epochs", 4
    )
    assert "1 trials are added, 1 train for more epochs" in grown.stderr
    assert f"resuming {tmp_path / 'grown'}" in grown.stderr
    # as by default
    shared = {"architecture": "mlp-8-tanh", "epochs": 4, "holdout": 416}
    at_once = [TrialConfig(learning_rate=rate, **shared) for rate in (0.1, 0.3)]
    assert rows(tmp_path / "grown").equals(numbers(trained_here(at_once)))
    assert set(load_sweep(tmp_path / "grown").trials["stop_reason"]) == {"completed"}
    refused = finish("--resume", tmp_path / "grown", "--batch-size", 32)
    assert refused.returncode == 2
    assert "--batch-size can't change in a resume" in refused.stderr


def test_a_spent_time_budget_is_the_stop_reason(tmp_path, one_core):
    trials = [TrialConfig(architecture="mlp-8-tanh", epochs=100_000)]
    epochs = 0
    for budget in (6.0, 20.0, 60.0):  # a slow machine needs more to finish an epoch
        output = tmp_path / f"{budget}"
        options = SweepOptions(
            dataset="mnist-5k",
            output=output,
            scheduler="fifo",
            time_budget=budget,
            quiet=True,
        )
        sweep = run_sweep("budget", trials, options)
        assert list(sweep.trials["stop_reason"]) == ["time_budget"]
        if epochs := sweep.trials["epochs_run"][0]:
            break
    assert 0 < epochs < 100_000


def test_smoke(tmp_path, finish):
    done = finish(
        arguments=[
            str(SCRIPT),
            "--smoke",
            "--dataset",
            "mnist-5k",
            "--output",
            str(tmp_path / "smoke"),
        ]
    )
    assert done.returncode == 0, done.stderr
    assert "\nTrain with " in done.stdout
    assert " · " in done.stdout
    assert f"mnist-tune show {tmp_path / 'smoke'}" in done.stdout
    meta = json.loads((tmp_path / "smoke" / "sweep.json").read_text())
    assert meta["environment"]["versions"]["jax"]
    assert load_sweep(tmp_path / "smoke").trials["regime"].ne("").all()


class Damages(Callback):
    """Writes a state that fits no network before the first trial starts."""

    def __init__(self, path, row):
        self.path = path
        self.row = row

    def setup(self, **info):
        Checkpoint({}, EpochRow.of(self.row)).save(self.path)


@pytest.mark.promise("A state that can't be saved ends its trial alone")
def test_a_failed_trial_says_why_and_does_not_end_the_others(
    tmp_path, one_core, epoch_row
):
    trials = [
        TrialConfig(architecture="mlp-8-tanh", epochs=1, learning_rate=rate)
        for rate in (0.1, 0.2)
    ]
    options = SweepOptions(
        dataset="mnist-5k", output=tmp_path, scheduler="fifo", quiet=True
    )
    sweep = run_sweep(
        "failing",
        trials,
        options,
        callbacks=[Damages(tmp_path / "states" / "00001.npz", epoch_row(1))],
    )
    assert list(sweep.trials["stop_reason"]) == ["completed", "error"]
    assert (
        sweep.trials["error"][1] == "a saved state does not fit mlp-8-tanh: it holds {}"
    )  # a UserError, so it is not retried
    (tmp_path / "states" / "00001.npz").unlink()
    again = resume_sweep(tmp_path, quiet=True)
    assert list(again.trials["stop_reason"]) == ["completed", "error"]
    again = resume_sweep(tmp_path, quiet=True, retry_errored=True)
    assert list(again.trials["stop_reason"]) == ["completed", "completed"]
    assert list(again.trials["error"]) == ["", ""]


def test_asha_and_divergence_stop_hopeless_trials(tmp_path, every_core):
    rates = (0.3, 0.1, 0.03, 1e-4, 1e-5, 1e7)
    trials = [
        TrialConfig(architecture="mlp-8-tanh", learning_rate=rate, epochs=4)
        for rate in rates
    ]
    options = SweepOptions(
        dataset="mnist-5k",
        output=tmp_path,
        scheduler="asha",
        grace_period=1,
        quiet=True,
    )
    sweep = run_sweep("stopping", trials, options)
    by_rate = sweep.trials.set_index("learning_rate")
    assert by_rate.loc[1e7, "stop_reason"] == "diverged"
    assert by_rate.loc[1e7, "regime"] == "diverged"
    assert by_rate.loc[1e7, "diverged_at_step"] >= 1
    assert by_rate.loc[0.3, "stop_reason"] == "completed"
    reasons_of_small_rates = by_rate.loc[[1e-4, 1e-5], "stop_reason"]
    assert "asha" in set(reasons_of_small_rates)


class Count(Callback):
    results = 0

    def on_trial_result(self, iteration, trials, trial, result, **info):
        self.results += result["train_loss"] > 0


def test_all_seeds_of_a_rate_stop_after_the_same_epoch_or_run_to_the_end(
    tmp_path, every_core
):
    rates = (1.0, 0.3, 0.1, 0.01, 1e-3, 1e-4)
    network = {"architecture": "mlp-16-tanh", "epochs": 10}
    trials = []
    for seed, rate in itertools.product(range(3), rates):
        seeds = {"seed": seed, "data_seed": seed}
        trials.append(TrialConfig(learning_rate=rate, **network, **seeds))
    options = SweepOptions(dataset="mnist-5k", output=tmp_path, quiet=True)
    count = Count()
    sweep = run_sweep("seeds", trials, options, callbacks=[count])
    assert count.results == len(sweep.epochs)
    epochs = sweep.trials.groupby("learning_rate")["epochs_run"]
    assert (epochs.nunique() == 1).all(), sweep.trials[
        ["learning_rate", "seed", "epochs_run", "stop_reason"]
    ].to_string()
    assert epochs.first()[1e-4] < 10
    assert epochs.first()[1.0] == 10
    assert set(sweep.trials["stop_reason"]) == {"completed", "slow"}
    assert set(sweep.trials["regime"][sweep.trials["stop_reason"] == "slow"]) == {
        "slow"
    }
