"""The trainable of a trial, with a made-up pool: resume, lost lanes, reuse for another
trial, what it tells Tune."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest

from mnist_tune.epoch_row import EpochRow
from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.execution.lane_client import LaneLostError
from mnist_tune.execution.process_setup import WorkerSettings
from mnist_tune.execution.program_error import DeviceError, ProgramError
from mnist_tune.regimes.divergence import LOSS_CEILING
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning import trainable

EPOCHS = 4


class Pool:
    """Counts epochs instead of training. `calls` holds what was asked; `failures` is
    raised first."""

    repeats = True

    def __init__(self, row):
        self.row = row
        self.calls = []
        self.failures = []
        self.epochs = {}
        self.rates = {}
        self.rows = {}

    def attach(self, lane_id, config, checkpoint=None):
        epoch = checkpoint.row.epoch if checkpoint else 0
        self.calls.append(("attach", lane_id, config.learning_rate, epoch))
        self.epochs[lane_id] = epoch
        self.rates[lane_id] = config.learning_rate

    def detach(self, lane_id):
        self.calls.append(("detach", lane_id))

    def epoch(self, lane_id, state):
        if self.failures:
            raise self.failures.pop()
        self.epochs[lane_id] += 1
        rate = {"learning_rate": self.rates[lane_id]}
        self.rows[lane_id] = EpochRow.of(self.row(self.epochs[lane_id]) | rate)
        self.save(lane_id, state)
        return self.rows[lane_id]

    def save(self, lane_id, state):
        row = self.rows[lane_id]
        Checkpoint({}, row).save(state)


@pytest.fixture
def pool(epoch_row):
    return Pool(lambda epoch: epoch_row(epoch, train_loss=1 / epoch))


@pytest.fixture
def clock(monkeypatch):
    """The seconds that have passed, which only the test and `sleep` let pass."""
    clock = SimpleNamespace(now=100.0)

    def sleep(seconds):
        clock.now += seconds

    def now():
        return clock.now

    time = SimpleNamespace(monotonic=now, perf_counter=now, sleep=sleep)
    monkeypatch.setattr(trainable, "time", time)
    return clock


@pytest.fixture
def start(pool, clock, tmp_path, monkeypatch):
    """A function that starts the process of a trial, as Tune does."""
    monkeypatch.setattr(trainable, "make_pool", lambda dataset, settings: "a pool")
    monkeypatch.setattr(trainable, "OwnLane", lambda pool_, save_every: pool)
    monkeypatch.setattr(trainable, "blindness", lambda states, token: "")

    def run(trial_id="00000", **values):
        trial = object.__new__(trainable.TrialTrainable)
        trial._trial_info = SimpleNamespace(trial_id="tunes")
        settings = WorkerSettings(tmp_path, "token")
        trial.setup(config(trial_id, **values), None, settings)
        return trial

    return run


def config(trial_id="00000", **values):
    values = {"learning_rate": 0.1, "epochs": EPOCHS} | values
    return {"trial": {"trial_id": trial_id, **values}}


def test_a_trial_trains_to_its_last_epoch_and_frees_its_lane(start, pool):
    trial = start()
    rows = [trial.step() for _ in range(EPOCHS)]
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert [row["done"] for row in rows] == [False, False, False, True]
    assert [row["stop_reason"] for row in rows] == ["", "", "", "completed"]
    assert [row["scheduler_loss"] for row in rows] == [1, 1 / 2, 1 / 3, 1 / 4]
    # recorded only where they were lost
    assert all(row["repeated"] for row in rows)
    assert not any("warning" in row for row in rows)
    config = TrialConfig(learning_rate=0.1, epochs=EPOCHS)
    assert rows[0]["trial_config"] == config
    assert [row.get("trial_config") for row in rows[1:]] == [None, None, None]
    assert pool.calls == [("attach", "00000", 0.1, 0), ("detach", "00000")]


def test_a_tasks_own_scores_are_told_as_the_columns_that_schedulers_and_searchers_look_at(
    start, pool, epoch_row
):
    pool.row = lambda epoch: epoch_row(epoch, scores={"kl": 0.25})
    assert start().step()["score_kl"] == 0.25


def test_a_lost_lane_is_had_again_with_the_saved_state_and_repeats_no_epoch(
    start, pool, clock
):
    trial = start()
    trial.step()
    pool.failures = [LaneLostError("its server died")]
    before = clock.now
    row = trial.step()
    assert row["epoch"] == 2
    assert pool.calls == [("attach", "00000", 0.1, 0), ("attach", "00000", 0.1, 1)]
    assert clock.now == before + 1
    assert [trial.step()["epoch"] for _ in range(2)] == [3, 4]
    assert len([call for call in pool.calls if call[0] == "attach"]) == 2


def test_a_lane_that_stays_lost_is_tried_for_two_minutes(start, pool, clock):
    trial = start()
    trial.step()
    pool.failures = [LaneLostError("its server died")] * 200
    before = clock.now
    with pytest.raises(LaneLostError):
        trial.step()
    assert clock.now - before == pytest.approx(120, abs=2)


def test_a_node_that_does_not_see_the_folder_ends_its_trial_before_it_trains(
    start, pool, tmp_path, monkeypatch
):
    blindness = "{} with {} is not seen".format
    monkeypatch.setattr(trainable, "blindness", blindness)
    row = start().step()
    assert (row["done"], row["stop_reason"]) == (True, "error")
    assert row["error"] == f"{tmp_path} with token is not seen"
    assert pool.calls == []


def test_epochs_that_no_server_saved_are_trained_again_and_not_reported_again(
    start, pool
):
    pool.save = lambda *_: None
    trial = start()
    assert [trial.step()["epoch"] for _ in range(2)] == [1, 2]
    pool.failures = [LaneLostError("its server died")]
    assert trial.step()["epoch"] == 3
    assert [call[-1] for call in pool.calls] == [0, 0]  # attached from the start again


def test_an_epoch_that_was_saved_but_not_told_before_the_lane_was_lost_is_reported(
    start, pool, epoch_row, tmp_path
):
    trial = start()
    trial.step()
    pool.failures = [LaneLostError("its server died")]
    # by a population; then more epochs were asked for
    changed = TrialConfig(learning_rate=0.4, momentum=0.9, epochs=3)
    row = EpochRow.of(epoch_row(2, train_loss=0.5))
    Checkpoint({}, row, changed).save(tmp_path / "00000.npz")
    result = trial.step()
    assert result["epoch"] == 2
    assert result["repeated"] is True
    assert result["trial_config"] == replace(changed, epochs=EPOCHS)
    assert trial.step()["epoch"] == 3
    assert pool.calls[-1] == ("attach", "00000", 0.4, 2)  # and trains on with it


def test_a_process_that_tune_uses_again_starts_anew(start, pool):
    first = config("00000")
    second = config("00001", learning_rate=0.2)
    start("00001", learning_rate=0.2).step()  # it has a saved epoch from before
    pool.calls.clear()
    trial = start()
    assert [trial.step()["epoch"] for _ in range(2)] == [1, 2]
    assert trial.reset_config(second)
    row = trial.step()
    assert row["epoch"] == 1
    assert row["repeated"] is True
    assert row["trial_config"].learning_rate == 0.2
    trial.cleanup()
    attached, *calls = pool.calls
    assert attached == ("attach", "00000", 0.1, 0)
    assert calls == [
        ("detach", "00000"),
        ("attach", "00001", 0.2, 1),
        ("detach", "00001"),
    ]
    assert trial.reset_config(first)
    assert trial.step()["epoch"] == 2  # its own state again
    trial.cleanup()


def test_a_trial_goes_on_from_another_ones_checkpoint_with_its_own_id(
    start, pool, tmp_path
):
    """As population based training does it."""
    folder = tmp_path / "tune"
    folder.mkdir()
    donor = start("00001", learning_rate=0.3)
    for _ in range(3):
        donor.step()
    donor.save_checkpoint(folder)
    trial = start()
    trial.step()
    trial.reset_config(config(learning_rate=0.3))
    trial.load_checkpoint(folder)
    pool.calls.clear()
    # before it has trained, its state is the donor's
    trial.save_checkpoint(folder)
    assert Checkpoint.load(folder / "state.npz").row.epoch == 3
    row = trial.step()
    assert row["epoch"] == 4
    assert row["repeated"] is False
    assert row["done"] is True
    assert pool.calls[0] == ("attach", "00000", 0.3, 3)
    trial.save_checkpoint(folder)
    assert Checkpoint.load(folder / "state.npz").row.epoch == 4


@pytest.mark.parametrize(("stops", "reason"), [(True, "diverged"), (False, "")])
def test_a_diverged_trial_stops_if_it_is_asked_to(
    start, pool, epoch_row, stops, reason
):
    pool.row = lambda epoch: epoch_row(epoch, train_loss=math.nan, diverged=True)
    row = start(stop_when_diverged=stops).step()
    assert (row["done"], row["stop_reason"]) == (stops, reason)
    assert row["scheduler_loss"] == LOSS_CEILING
    assert math.isnan(row["train_loss"])


def test_an_error_of_the_program_ends_the_trial_at_once_and_others_are_left_to_tune(
    start, pool
):
    pool.failures = [
        DeviceError("INTERNAL"),
        ProgramError("ValueError: no shape (net.py:5)"),
    ]
    trial = start()
    row = trial.step()
    assert row["done"] is True
    assert row["stop_reason"] == "error"
    assert row["error"] == "ValueError: no shape (net.py:5)"
    assert row["error_kind"] == "program"
    with pytest.raises(DeviceError, match="INTERNAL"):
        trial.step()
