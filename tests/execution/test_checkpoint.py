"""A trial's state on disk: exact, whole after any failure, and never executed."""

import json
import math
import pickle
import threading
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from trap import Trap

from mnist_tune import UserError, storage
from mnist_tune.epoch_row import EpochRow
from mnist_tune.execution.checkpoint import SCHEMA, Checkpoint, DamagedStateError
from mnist_tune.execution.memory import Memory

ROW = {
    "epoch": 3,
    "step": 30,
    "learning_rate": 1,
    "train_loss": 0.1 + 0.2,
    "train_accuracy": 0.9,
    "test_loss": 0.5,
    "test_accuracy": 0.9,
    "step_loss_max": math.inf,
    "finite": False,
    "diverged": True,
    "above_since": None,
    "untrained_loss": 2.302585092994046,
    "batch_s": 1.0,
}


def state(value=1.0):
    weights = np.full((3, 2), value, np.float32)
    weights[0] = [math.nan, -0.0]
    empty = np.empty((0, 4), np.float32)
    arrays = {
        ".params[0][0]": weights,
        ".params[0][1]": np.float32(value / 3),
        ".optimizer": empty,
    }
    return Checkpoint(arrays, EpochRow.of(ROW))


def check_equal(loaded, expected):
    assert loaded.row == expected.row
    assert list(loaded.arrays) == list(expected.arrays)
    for name, array in expected.arrays.items():
        assert loaded.arrays[name].dtype == array.dtype
        assert loaded.arrays[name].shape == array.shape
        assert loaded.arrays[name].tobytes() == array.tobytes()


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_round_trip_is_exact(tmp_path):
    assert Checkpoint.load(tmp_path / "00000.npz") is None
    state().save(tmp_path / "00000.npz")
    check_equal(Checkpoint.load(tmp_path / "00000.npz"), state())
    assert files(tmp_path) == ["00000.npz"]


def test_a_folder_that_is_not_there_is_not_made(tmp_path):
    """It would be one that the other nodes of a cluster don't see."""
    line = r"can't save the state of a trial to .*No such file or directory"
    with pytest.raises(UserError, match=line):
        state().save(tmp_path / "other" / "00000.npz")
    assert files(tmp_path) == []


def test_a_state_that_cannot_be_read_is_not_taken_for_a_damaged_or_a_missing_one(
    tmp_path,
):
    """The trial would start from its beginning."""
    line = f"^can't read the state of a trial from {tmp_path}: Is a directory$"
    with pytest.raises(UserError, match=line) as error:
        Checkpoint.load(tmp_path)
    assert not isinstance(error.value, DamagedStateError)


SHAPES = arrays.array_shapes(min_dims=0, min_side=0, max_side=4)
ARRAYS = st.lists(arrays.arrays(np.float32, SHAPES), max_size=4)


@given(ARRAYS, st.floats(allow_nan=False))
def test_round_trip_of_any_arrays(tmp_path_factory, values, loss):
    path = tmp_path_factory.getbasetemp() / "any.npz"
    by_name = {f"[{i}]/é": value for i, value in enumerate(values)}
    saved = Checkpoint(by_name, EpochRow.of(ROW | {"untrained_loss": loss}))
    saved.save(path)
    check_equal(Checkpoint.load(path), saved)


REMEMBERED = {
    "least_loss": 0.25,
    "untrained_deviation": 0.5,
    "untrained_parts": [2.25, 2.5],
}


def test_what_a_trial_remembers_is_saved_with_its_state(tmp_path):
    memory = Memory.after(EpochRow.of(ROW), REMEMBERED)
    assert (memory.epoch, memory.least_loss) == (3, 0.25)
    replace(state(), memory=memory).save(tmp_path / "00000.npz")
    assert Checkpoint.load(tmp_path / "00000.npz").memory == memory


def test_a_state_of_an_older_version_has_what_is_remembered_in_its_row(tmp_path):
    """And texts of JSON in it."""
    state().save(tmp_path / "00000.npz")
    texts = {"scores": '{"kl": 0.25}', "sharpness_steps": "[[30, 1.5, 1e-05, NaN]]"}
    rewrite(tmp_path / "00000.npz", row=ROW | REMEMBERED | texts, memory="gone")
    older = Checkpoint.load(tmp_path / "00000.npz")
    assert older.memory == Memory.after(EpochRow.of(ROW), REMEMBERED)
    assert older.row.scores == {"kl": 0.25}
    [measured] = older.row.sharpness_steps
    assert measured[:3] == (30, 1.5, 1e-05)
    assert math.isnan(measured[3])


@pytest.mark.promise("Saving a state is tried again if the storage fails")
@pytest.mark.parametrize("first", ["write", "read"])
def test_storage_that_fails_once_ends_no_trial(bucket, silent_s3, tmp_path, first):
    if first == "read":
        state().save(storage.join(bucket, "00000.npz"))
    # both servers have these files
    place = silent_s3.uri("mnist-tune", f"{tmp_path.name}/00000.npz")
    threading.Timer(0.5, silent_s3.start).start()
    if first == "write":
        state().save(place)
    check_equal(Checkpoint.load(place), state())


@pytest.mark.promise("Nothing in a folder is unpickled")
@pytest.mark.parametrize("place", ["array_000", "meta", "whole file"])
def test_a_pickle_is_never_executed(tmp_path, place):
    trap = Trap(tmp_path / "sprung")
    path = tmp_path / "00000.npz"
    state().save(path)
    with np.load(path) as file:
        members = dict(file)
    if place == "whole file":
        path.write_bytes(pickle.dumps(trap))
    else:
        np.savez(path, **(members | {place: np.array([trap, None], object)}))
    with pytest.raises(UserError, match=f"^{path} is not a trial's state"):
        Checkpoint.load(path)
    assert not trap.path.exists()
    if place == "whole file":
        pickle.loads(path.read_bytes())
    else:
        with np.load(path, allow_pickle=True) as file:
            file[place]
    assert trap.path.exists(), "the trap does not work"


CHANGES = (
    {"schema": SCHEMA + 1},
    {"schema": "gone"},
    {"names": "gone"},
    {"types": "gone"},
    {"types": {"a": "float16"}},
    {"types": {".params[0][0]": "float16"}},
    {"types": {".params[0][0]": "float"}},
    {"types": {".bits": "os_float8"}},
    {"row": None},
    {"row": "gone"},
    {"row": [1]},
    {"row": {"epoch": 3}},
    {"row": {name: value for name, value in ROW.items() if name != "untrained_loss"}},
    {"row": ROW | {"untrained_loss": None}},
)


def rewrite(path, **changes):
    """Change the facts in a file."""
    with np.load(path) as file:
        members = dict(file)
    meta = json.loads(members["meta"].tobytes()) | changes
    meta = {name: value for name, value in meta.items() if value != "gone"}
    members["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    np.savez(path, **members)


@pytest.mark.parametrize("changes", CHANGES)
def test_a_file_whose_facts_are_wrong_is_refused(changes, tmp_path):
    path = tmp_path / "00000.npz"
    bits = np.ones(3, ml_dtypes.bfloat16)
    saved = replace(state(), arrays=state().arrays | {".bits": bits})
    saved.save(path)
    assert Checkpoint.load(path).arrays[".bits"].dtype == ml_dtypes.bfloat16
    rewrite(path, **changes)
    with pytest.raises(DamagedStateError):
        Checkpoint.load(path)


def test_texts_of_a_row_have_no_effects(tmp_path):
    path = tmp_path / "00000.npz"
    state().save(path)
    rewrite(path, row=ROW | {"epoch": "\x1b[2J", "node": "a\n"})
    row = Checkpoint.load(path).row
    assert (row.epoch, row.node) == ("\\x1b[2J", "a\\n")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "00000.npz"
    state().save(path)
    return path.read_bytes()


def test_a_truncated_file_is_refused(tmp_path, whole):
    path = tmp_path / "00000.npz"
    for length in range(1, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=f"^{path} is not a trial's state"):
            Checkpoint.load(path)


def test_a_damaged_byte_is_refused_or_harmless(tmp_path, whole):
    path = tmp_path / "00000.npz"
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            loaded = Checkpoint.load(path)
        except UserError:
            continue
        check_equal(loaded, state())
