"""Sweeps on lanes under Ray Tune: the same numbers, early stopping, kills."""

import os
import signal
import threading
import time
from contextlib import suppress

import numpy as np
import psutil
import pytest
import ray
from journals import recorded
from ray._private import worker
from ray._private.ray_constants import PROCESS_TYPE_RAYLET
from waiting import LONG_S

from mnist_tune import TrialConfig
from mnist_tune.execution import lane_server
from mnist_tune.execution.pool import LanePool
from mnist_tune.execution.process_setup import WorkerSettings
from mnist_tune.runtime import lane_directory
from mnist_tune.runtime.lane_directory import start_directory
from mnist_tune.tuning.sweep import SweepOptions, run_sweep

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("one_core")]


def options(path, **fields):
    fields = {"execution": "lanes", "scheduler": "fifo"} | fields
    return SweepOptions(dataset="mnist-5k", output=path, quiet=True, **fields)


def trials(rates, **fields):
    fields = {"architecture": "mlp-8-tanh", "epochs": 3} | fields
    return [TrialConfig(learning_rate=rate, **fields) for rate in rates]


def assert_complete(sweep, epochs):
    assert set(sweep.trials["stop_reason"]) == {"completed"}
    assert not sweep.epochs.duplicated(["trial_id", "epoch"]).any()
    assert (sweep.epochs.groupby("trial_id").size() == epochs).all()


def test_lanes_and_processes_give_the_same_sweep(tmp_path, capfd):
    """The same to rounding, at rates from a slow one to one that diverges at once. Ray
    warns of no arguments that its actors might lose."""
    rates = [*np.geomspace(0.001, 0.5, 11).tolist(), 1e6]

    def swept(execution):
        folder = tmp_path / execution
        how = options(folder, execution=execution, lanes=2)
        return run_sweep(execution, trials(rates, epochs=6), how)

    lanes = swept("lanes")
    assert "constructor" not in capfd.readouterr().err
    process = swept("process")
    assert lanes.epochs["lanes"].max() > 1
    assert set(process.epochs["lanes"]) == {1}
    assert process.trials["regime"].nunique() >= 3
    for name in ("regime", "stop_reason"):
        assert list(lanes.trials[name]) == list(process.trials[name])
    for name in ("train_loss", "test_loss"):
        on_lanes = calm_rows(lanes)[name].to_numpy()
        in_processes = calm_rows(process)[name].to_numpy()
        np.testing.assert_allclose(on_lanes, in_processes, rtol=1e-4)
    first_epochs = process.epochs[process.epochs["epoch"] == 1]
    in_time = first_epochs.sort_values("ended_at")["trial_id"]
    started = in_time.astype(int).to_numpy()
    reused = started[started > 0]  # the first trial waited for the process to start
    # in the given order, except for the 4 that Tune keeps ready
    assert max(abs(reused - np.sort(reused))) <= 4


def calm_rows(sweep):
    """The epochs of the trials that don't diverge."""
    rows = sweep.epochs[sweep.epochs["learning_rate"] < 1]
    return rows.sort_values(["learning_rate", "epoch"])


def test_asha_stops_single_lanes_and_other_trials_take_them(tmp_path):
    rates = [0.3 / 1.15**i for i in range(24)]
    how = options(tmp_path, scheduler="asha", grace_period=2, lanes=2)
    sweep = run_sweep("asha", trials(rates, epochs=12), how)
    reasons = sweep.trials["stop_reason"].value_counts()
    assert set(reasons.index) == {"asha", "completed"}
    assert reasons["asha"] >= 6
    assert (sweep.trials["epochs_run"] > 0).all()


def is_worker_of(process, raylet_pid, title):
    """Whether a process is a worker of this raylet and has this title."""
    with suppress(psutil.Error):  # it ended meanwhile
        if title in " ".join(process.cmdline()):
            return process.environ().get("RAY_RAYLET_PID") == raylet_pid
    return False


def processes(title):
    """Return the workers of this process's Ray with this title."""
    [raylet] = worker._global_node.all_processes[PROCESS_TYPE_RAYLET]
    raylet_pid = str(raylet.process.pid)
    running = psutil.process_iter()
    return [process for process in running if is_worker_of(process, raylet_pid, title)]


def kill_when_running(folder, *rounds):
    """In the background, for each round: wait for some epochs, then kill one process of
    each title in the round."""
    killed = []

    def wait_and_kill():
        for names in rounds:
            before = recorded(folder)
            while recorded(folder) < before + 6:
                time.sleep(0.05)
            for name in names:
                while not (workers := processes(name)):
                    time.sleep(0.05)
                os.kill(workers[0].pid, signal.SIGKILL)
            killed.append(names)

    thread = threading.Thread(target=wait_and_kill, daemon=True)
    thread.start()
    return thread, killed


CLIENT = "ray::ResourceTrainable"
SERVER = "ray::LaneServer"
KILLED_EPOCHS = 60


@pytest.mark.promise(
    "The trials of a lane server that died go on from their last saved states"
)
def test_neither_kills_nor_a_failed_server_lose_or_repeat_an_epoch(
    tmp_path, mnist_5k, monkeypatch
):
    failed = tmp_path / "failed"

    class LaneServer(lane_server.LaneServer):  # under the name that its process has
        """Its compute thread fails once, after the first epoch."""

        def _answer_calls(self):
            has_trained = any(turn.last_s for turn in self._turns.values())
            if has_trained and not failed.exists():
                failed.touch()
                raise KeyError("unexpected")
            super()._answer_calls()

    monkeypatch.setattr(lane_directory, "LaneServer", LaneServer)
    folder = tmp_path / "sweep"
    rounds = [(CLIENT,), (SERVER,), (CLIENT, SERVER)]
    thread, killed = kill_when_running(folder, *rounds)
    four = trials([0.01, 0.05, 0.1, 0.2], epochs=KILLED_EPOCHS)
    sweep = run_sweep("kill", four, options(folder, lanes=2))
    thread.join(timeout=1)
    assert failed.exists()
    assert killed == rounds
    assert_complete(sweep, KILLED_EPOCHS)
    first = sweep.epochs[sweep.epochs["trial_id"] == "00000"].sort_values("epoch")
    alone = LanePool(mnist_5k)
    alone.attach("00000", *trials([0.01], holdout=416))  # as by default
    undisturbed = [alone.run(["00000"])["00000"] for _ in range(KILLED_EPOCHS)]
    for name in ("train_loss", "test_loss"):  # a lane equals a single trial to rounding
        expected = [getattr(row, name) for row in undisturbed]
        np.testing.assert_allclose(first[name].to_numpy(), expected, rtol=1e-3)


def test_servers_have_the_keys_of_storage_with_which_a_cluster_was_not_started(
    monkeypatch,
):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of the driver")
    directory = start_directory(WorkerSettings("states"), 1, "CPU")
    server = ray.get(directory.assign.remote("lane", "token"), timeout=LONG_S)
    call = server.__ray_call__.remote(lambda _: os.environ["AWS_SESSION_TOKEN"])
    assert ray.get(call) == "of the driver"
    ray.kill(server)
    ray.kill(directory)
