"""Which of Tune's checkpoints stay."""

from types import SimpleNamespace

import pytest
from ray.tune import Checkpoint

from mnist_tune.tuning.tuner import OldCheckpoints


@pytest.fixture
def saved(tmp_path):
    """A function that saves a trial: as Tune does, it writes a checkpoint and tells the
    callback before the trial."""
    callback = OldCheckpoints()

    def save(trial, trials, name):
        (tmp_path / name).mkdir()
        (tmp_path / name / "state.npz").write_bytes(b"state")
        checkpoint = Checkpoint.from_directory(tmp_path / name)
        callback.on_checkpoint(0, trials, trial, checkpoint)
        trial.checkpoint = checkpoint
        return sorted(path.name for path in tmp_path.iterdir())

    save.end = callback.on_trial_complete  # type: ignore[attr-defined]
    return save


def test_what_no_trial_goes_on_from_is_deleted(saved):
    good, bad = trials = [
        SimpleNamespace(trial_id=name, checkpoint=None) for name in ("good", "bad")
    ]
    assert saved(good, trials, "1") == ["1"]
    bad.checkpoint = good.checkpoint  # it will go on from there
    assert saved(good, trials, "2") == ["1", "2"]
    assert saved(good, trials, "3") == ["1", "2", "3"]
    assert saved(good, trials, "4") == ["1", "3", "4"]
    assert saved(bad, trials, "5") == ["1", "4", "5"]
    assert saved(bad, trials, "6") == ["4", "5", "6"]


def test_the_checkpoint_of_a_trial_that_has_ended_stays_while_another_goes_on_from_it(
    saved,
):
    good, bad = (
        SimpleNamespace(trial_id=name, checkpoint=None) for name in ("good", "bad")
    )
    saved(good, [good, bad], "1")
    bad.checkpoint = good.checkpoint
    saved.end(0, [bad], good)
    assert saved(bad, [bad], "2") == ["1", "2"]
    assert saved(bad, [bad], "3") == ["2", "3"]
