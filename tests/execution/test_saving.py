"""Saving while the next epoch trains: what is on disk at each moment, and what a kill
then leaves to go on from."""

import random
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from mnist_tune import TrialConfig, UserError, storage
from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.execution.pool import LanePool
from mnist_tune.execution.process_setup import WorkerSettings
from mnist_tune.execution.saving import OwnLane
from mnist_tune.regimes.ranking import Ranking
from mnist_tune.tuning import trainable
from mnist_tune.tuning.trainable import TrialTrainable

SMALL = TrialConfig(architecture="mlp-8-tanh", momentum=0.5, epochs=6)
TIMES = {"compile_s", "train_s", "eval_s", "batch_s", "wait_s", "ended_at"}


@pytest.fixture
def lane(few_images):
    lane = OwnLane(LanePool(few_images))
    lane.attach("a", SMALL)
    return lane


def saved(path):
    state = Checkpoint.load(path)
    return state.row.epoch if state else 0


def test_an_epoch_trains_while_the_last_state_is_written(lane, tmp_path, monkeypatch):
    go_on = threading.Event()
    path = tmp_path / "a.npz"
    save = Checkpoint.save

    def slow(state, where):
        assert go_on.wait(60)
        save(state, where)

    monkeypatch.setattr(Checkpoint, "save", slow)
    assert lane.epoch("a", path).epoch == 1
    second = threading.Thread(target=lane.epoch, args=("a", path))
    second.start()
    while lane._pool.lanes["a"].row.epoch < 2:  # it trains ...
        time.sleep(0.001)
    assert saved(path) == 0
    second.join(0.1)
    assert second.is_alive()  # ... but only one state is in flight at a time
    go_on.set()
    second.join(60)
    lane.save("a", path)
    assert saved(path) == 2


@pytest.mark.promise("A state that can't be saved ends its trial alone")
def test_a_failed_save_is_told_in_the_next_epoch_and_at_the_end(lane, tmp_path):
    gone = tmp_path / "gone" / "a.npz"
    lane.epoch("a", gone)
    for call in (lane.epoch, lane.save):
        with pytest.raises(UserError, match="can't save the state of a trial"):
            call("a", gone)
    lane.detach("a")
    lane.attach("a", SMALL)
    lane.epoch("a", tmp_path / "a.npz")
    lane.save("a", tmp_path / "a.npz")
    assert saved(tmp_path / "a.npz") == 1


class Sweep:
    """A trial that runs without Tune, and what a kill would leave of it after each
    change on disk."""

    def __init__(
        self, folder, dataset, save_every=1, rows=(), config=SMALL, best_by=None
    ):
        self.rows = list(rows)
        self.moments = []
        self._lock = threading.Lock()
        self.folder = folder
        self._trial = object.__new__(TrialTrainable)
        self._trial._trial_info = None
        (folder / "token").write_text("")
        settings = WorkerSettings(folder, save_every=save_every, best_by=best_by)
        values = {"trial": config.to_dict() | {"trial_id": "a"}}
        self._trial.setup(values, dataset, settings)

    def run(self):
        done = False
        while not done:
            result = self._trial.step()
            assert result["stop_reason"] != "error", result
            last = self.rows[-1]["epoch"] if self.rows else 0
            # as the sweep's writer decides
            if not result["repeated"] or result["epoch"] > last:
                row = {name: result[name] for name in result if name not in TIMES}
                self.rows.append(row)
            self.look()
            done = result["done"]
        self._trial.cleanup()
        return self

    def look(self):
        with self._lock:
            state = storage.read(self.folder / "a.npz")
            best = storage.read(self.folder / "a.best")
            self.moments.append((list(self.rows), state, best))

    def best(self):
        return Checkpoint.load(self.folder / "a.best")

    def numbers(self):
        return [{name: row[name] for name in NUMBERS} for row in self.rows]


NUMBERS = "epoch train_loss test_loss train_accuracy step_loss_last done".split()


@pytest.fixture
def new_sweep(few_images, tmp_path, monkeypatch):
    # one of each kind for all, which compiles once
    pools = {by: LanePool(few_images, best_by=by) for by in (None, Ranking())}

    def pool(dataset, settings):
        return pools[settings.best_by]

    monkeypatch.setattr(trainable, "make_pool", pool)
    monkeypatch.setattr(trainable, "blindness", lambda *where: "")

    def new(name, **fields):
        (tmp_path / name).mkdir()
        return Sweep(tmp_path / name, few_images, **fields)

    return new


@pytest.mark.promise(
    "A kill at any moment loses no recorded row, and changes no number"
)
@pytest.mark.promise("A trial whose process died goes on from its last saved state")
@pytest.mark.promise(
    "With `--save-every N`, a kill costs fewer than 2 N epochs of a trial"
)
@pytest.mark.parametrize("save_every", [1, 3])
def test_a_kill_at_any_moment_loses_no_row_and_changes_no_number(
    new_sweep, monkeypatch, save_every
):
    """The state is written while the next epoch trains, so it is written before or
    after that one's row."""
    undisturbed = new_sweep("calm").run().numbers()
    save = Checkpoint.save
    chance = random.Random(0)
    sweep = new_sweep("killed", save_every=save_every)

    def slow(state, where):
        """Save at once, or as late as the trial lets it, and after somebody has
        looked."""
        epoch = state.row.epoch
        late = epoch == save_every or chance.random() < 0.5
        rows = min(epoch + save_every, SMALL.epochs) - 1
        while late and (not sweep.moments or len(sweep.moments[-1][0]) < rows):
            time.sleep(0.001)
        save(state, where)
        sweep.look()

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", slow)
        sweep.run()
    assert sweep.numbers() == undisturbed
    moments = {(len(rows), state): rows for rows, state, _ in sweep.moments}
    behind = set()
    for i, ((count, state), rows) in enumerate(moments.items()):
        resumed = new_sweep(f"resumed {i}", rows=rows)
        if state:
            (resumed.folder / "a.npz").write_bytes(state)
        behind.add(count - saved(resumed.folder / "a.npz"))
        assert resumed.run().numbers() == undisturbed
    assert {0, 2 * save_every - 1} <= behind <= set(range(-1, 2 * save_every))


FAST = replace(SMALL, learning_rate=1.0)
"""Its best epoch is the fourth of six."""


def assert_same_parameters(best, state):
    """What is kept of the best epoch is what a state has, but for the optimiser's."""
    names = [name for name in state.arrays if not name.startswith(".optimizer")]
    assert len(names) < len(state.arrays)
    assert [*best.arrays] == names
    for name in names:
        np.testing.assert_array_equal(best.arrays[name], state.arrays[name])


@pytest.mark.parametrize("save_every", [1, 4, 5])
def test_the_best_epoch_is_kept_as_a_run_of_so_many_epochs_ends(new_sweep, save_every):
    settings = {"save_every": save_every, "best_by": Ranking()}
    sweep = new_sweep("whole", config=FAST, **settings).run()
    scores = [row["test_accuracy"] for row in sweep.rows]
    number = scores.index(max(scores)) + 1
    assert number == 4
    best = sweep.best()
    assert best.row.test_accuracy == max(scores)
    short = new_sweep("short", config=replace(FAST, epochs=number)).run()
    assert_same_parameters(best, Checkpoint.load(short.folder / "a.npz"))


@pytest.mark.parametrize("save_every", [1, 3])
def test_the_best_epoch_is_the_same_after_a_kill_at_any_moment(
    new_sweep, monkeypatch, save_every
):
    """Also between the best epoch's file, the state's and the row."""
    save = Checkpoint.save
    settings = {"config": FAST, "save_every": save_every, "best_by": Ranking()}
    sweep = new_sweep("killed", **settings)

    def seen(state, where):
        sweep.look()
        save(state, where)
        sweep.look()

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", seen)
        sweep.run()
    best = sweep.best()
    moments = {(state, kept): rows for rows, state, kept in sweep.moments}
    assert len(moments) > 6
    for i, ((state, kept), rows) in enumerate(moments.items()):
        resumed = new_sweep(f"resumed {i}", rows=rows, **settings)
        for name, content in (("a.npz", state), ("a.best", kept)):
            if content:
                (resumed.folder / name).write_bytes(content)
        resumed.run()
        assert resumed.best().row.epoch == best.row.epoch
        for name, array in best.arrays.items():
            np.testing.assert_array_equal(resumed.best().arrays[name], array)


def test_of_a_sweep_that_keeps_no_best_epoch_there_is_no_file(new_sweep):
    sweep = new_sweep("plain", config=replace(FAST, epochs=2)).run()
    assert {file.name for file in sweep.folder.iterdir()} == {"token", "a.npz"}


def test_tunes_checkpoint_is_the_state_of_the_last_epoch(
    new_sweep, tmp_path, monkeypatch
):
    """A paused trial, or a donor of population based training. Nobody waits for it to
    be due."""
    trial = new_sweep("donor", save_every=5)._trial
    trial.step()
    row = trial.step()
    folder = tmp_path / "tune"
    folder.mkdir()
    trial.save_checkpoint(str(folder))
    assert saved(folder / "state.npz") == 2
    monkeypatch.setattr(
        trainable, "make_pool", lambda dataset, settings: LanePool(dataset)
    )
    another = new_sweep("copies", save_every=5)._trial
    for _ in range(4):
        another.step()
    another.load_checkpoint(str(folder))
    copied = another.step()
    # it replaces the row of its own past
    assert copied["epoch"] == 3
    assert copied["repeated"] is False
    # so that no kill goes on with that past
    assert saved(tmp_path / "copies" / "a.npz") == 3
    next_row = trial.step()
    assert copied["train_loss"] == next_row["train_loss"]
    assert next_row["train_loss"] != row["train_loss"]
