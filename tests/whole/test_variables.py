"""Environment variables: a sweep changes none for good, and a user's own Tuner is not
affected."""

import os
from contextlib import suppress
from pathlib import Path

import pytest
from ray import tune

from mnist_tune import SweepOptions, TrialConfig, run_sweep
from mnist_tune.runtime.ray_session import PENDING, QUIET, TRIALS, variables


def test_variables_are_set_and_restored(monkeypatch):
    monkeypatch.setenv("USERS", "theirs")
    monkeypatch.delenv("NOBODYS", raising=False)
    before = dict(os.environ)
    with suppress(ZeroDivisionError), variables({"USERS": "ours", "NOBODYS": "ours"}):
        assert os.environ["USERS"] == "theirs"
        assert os.environ["NOBODYS"] == "ours"
        with variables({"USERS": "ours"}, override=True):
            assert os.environ["USERS"] == "ours"
        raise ZeroDivisionError
    assert dict(os.environ) == before


@pytest.mark.ray
def test_a_sweep_does_not_affect_a_users_own_tuner(tmp_path, one_core, monkeypatch):
    """The user's Tuner runs in the same process, on a Ray that is started as a sweep
    does."""
    ours = {*QUIET, *TRIALS, PENDING}
    for name in ours:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TUNE_GLOBAL_CHECKPOINT_S", "7")
    options = SweepOptions(dataset="mnist-5k", output=tmp_path / "sweep", quiet=True)
    run_sweep("sweep", [TrialConfig(architecture="mlp-8-tanh", epochs=1)], options)
    assert ours & os.environ.keys() == {"TUNE_GLOBAL_CHECKPOINT_S"}
    assert os.environ["TUNE_GLOBAL_CHECKPOINT_S"] == "7"

    class Where(tune.Trainable):
        """Reports the folder that it runs in."""

        def step(self):
            return {"done": True, "folder": os.getcwd()}

        def save_checkpoint(self, checkpoint_dir):
            pass

    run = tune.RunConfig(storage_path=str(tmp_path), name="own", verbose=0)
    [result] = tune.Tuner(Where, run_config=run).fit()
    assert Path(result.metrics["folder"]).name == Path(result.path).name
    assert (Path(result.path) / "result.json").exists()
