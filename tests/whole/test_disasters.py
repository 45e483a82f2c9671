"""Sweeps in folders that are damaged or hostile, or on a full disk."""

import json
import os
import pickle
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest
from text_tables import barred_rows
from trap import Trap
from waiting import LONG_S

from mnist_tune import SweepOptions, TrialConfig, UserError, load_sweep, storage
from mnist_tune.commands.lr_regimes import LearningRateRegimes
from mnist_tune.execution.pool import LanePool
from mnist_tune.results.writer import SweepWriter
from mnist_tune.tuning.opening import open_sweep

SCRIPT = Path(__file__).parents[2] / "sweeps" / "lr_regimes.py"
SHARED = {"architecture": "mlp-8-tanh", "epochs": 3, "holdout": 0}
TRIALS = {
    "00000": TrialConfig(learning_rate=0.1, **SHARED),
    "00001": TrialConfig(learning_rate=0.3, **SHARED),
}
SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "s3cr3t-aws",
    "AWS_SESSION_TOKEN": "s3cr3t-session",
    "HF_TOKEN": "s3cr3t-hf",
}


@pytest.fixture
def half_done(tmp_path, mnist_5k):
    """A sweep killed after one epoch of each trial, and the training losses that each
    trial has without the kill."""
    options = LearningRateRegimes(
        dataset="mnist-5k",
        output=tmp_path / "sweep",
        scheduler="fifo",
        cpus_per_trial=1,
        architecture=("mlp-8-tanh",),
        learning_rates=(0.1, 0.3),
        epochs=3,
    )
    writer = open_sweep("lr_regimes", options, lambda *_: TRIALS).writer
    pool = LanePool(mnist_5k)
    losses = {}
    for trial_id, config in TRIALS.items():
        pool.attach(trial_id, config)
        first = pool.run([trial_id])[trial_id]
        pool.checkpoint(trial_id).save(writer.states / f"{trial_id}.npz")
        writer.epoch(trial_id, first, repeated=False)
        second = pool.run([trial_id])[trial_id]
        third = pool.run([trial_id])[trial_id]
        losses[trial_id] = [row.train_loss for row in (first, second, third)]
        pool.detach(trial_id)
    writer.release()
    return writer.path, losses


PICKLES = (
    "tuner.pkl",
    "trainable.pkl",
    "searcher-state-9999.pkl",
    "00000/.metadata.pkl",
)
STATES = ("experiment_state-9999-12-31_23-59-59.json", "search_gen_state-9999.json")


def bury_traps(folder, sprung):
    """Put pickles where Tune looks for its own files."""
    bomb = pickle.dumps(Trap(sprung))
    (folder / "00000").mkdir(parents=True)
    for name in PICKLES:
        (folder / name).write_bytes(bomb)
    fallback = {"_type": "CLOUDPICKLE_FALLBACK", "value": bomb.hex()}
    for name in STATES:
        (folder / name).write_text(json.dumps(fallback))


@pytest.fixture
def run(monkeypatch, capfd, caplog):
    """A function that runs the script, in this process and on the Ray that tests
    share."""

    def run(*flags):
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, flags)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        code = ended.value.code
        printed = capfd.readouterr()
        errors = printed.err + caplog.text
        return subprocess.CompletedProcess(sys.argv, code, printed.out, errors)

    return run


@pytest.mark.promise("Nothing in a folder is unpickled")
@pytest.mark.promise("A trial whose state is damaged starts again, and a line says so")
@pytest.mark.ray
def test_a_damaged_folder_with_hostile_pickles_is_resumed(
    half_done, tmp_path, run, one_core, monkeypatch
):
    path, losses = half_done
    sprung = tmp_path / "sprung"
    bury_traps(path / ".ray" / "tune", sprung)
    state = path / "states" / "00001.npz"
    state.write_bytes(pickle.dumps(Trap(sprung)))
    journal = path / "journal.jsonl"
    damage = b'\n{"kind": "epoch", "trial_id": "../x"}\n{"kind": "ep'
    journal.write_bytes(journal.read_bytes()[:-1] + damage)
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    done = run("--resume", path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("skipped 1 damaged line (line 3)") == 1
    assert done.stderr.count("00001.npz is not a trial's state") == 1
    assert "trial 00001 starts from its first epoch" in done.stderr
    assert "Traceback" not in done.stderr
    curves = load_sweep(path).curves("train_loss")
    assert {trial_id: list(curves[trial_id]) for trial_id in curves} == losses
    assert not sprung.exists()
    assert "s3cr3t" not in done.stdout
    assert "s3cr3t" not in done.stderr
    for file in files(path):
        assert b"s3cr3t" not in file.read_bytes()


def files(path):
    return [file for file in path.rglob("*") if file.is_file()]


@pytest.mark.promise(
    "A full disk or a folder that becomes read-only ends the sweep with one line, and loses no row"
)
@pytest.mark.ray
def test_a_sweep_resumes_after_a_full_disk(tmp_path, run, one_core, monkeypatch):
    path = tmp_path / "sweep"
    write_epoch = SweepWriter.epoch
    fills = iter([False] * 5 + [True])

    def epoch_on_a_disk_that_fills(self, *arguments, **fields):
        if next(fills, False):
            with open("/dev/full", "w") as full:
                os.dup2(full.fileno(), self._journal.fileno())
        return write_epoch(self, *arguments, **fields)

    with monkeypatch.context() as patch:
        patch.setattr(SweepWriter, "epoch", epoch_on_a_disk_that_fills)
        # which would fail otherwise: that device can't be synced
        patch.setattr(storage, "SYNC_S", 1000.0)
        flags = "--dataset mnist-5k --architecture mlp-8-tanh --learning-rates 0.1 0.3 --epochs 6 --scheduler fifo"
        done = run(*flags.split(), "--output", path)
    assert done.returncode == 2, done.stderr
    full = f"can't write to {path}: No space left on device"
    assert f"error: {full}; fix that, then --resume {path}" in done.stderr
    assert "Traceback" not in done.stderr
    before = load_sweep(path).epochs
    assert len(before) == 5
    done = run("--resume", path)
    assert done.returncode == 0, done.stderr
    after = load_sweep(path)
    assert set(after.trials["stop_reason"]) == {"completed"}
    assert len(after.epochs) == 12
    values = ["trial_id", "epoch", "train_loss", "test_loss", "ended_at"]
    same_rows = before.merge(after.epochs, on=values)
    assert len(same_rows) == len(before)


@pytest.mark.promise("Passwords and keys in URIs are not recorded")
def test_secrets_in_the_command_are_not_recorded(tmp_path, monkeypatch):
    secrets = [
        "s3://AKIA:s3cr3t/a+b@bucket/x",
        "https://host/x?X-Amz-Signature=s3cr3t&region=r",
        "--token=s3cr3t",
    ]
    monkeypatch.setattr(sys, "argv", ["lr_regimes.py", "--data-dir", *secrets])
    options = SweepOptions(dataset="mnist-5k", output=tmp_path / "sweep")
    writer = open_sweep("secrets", options, lambda *_: TRIALS).writer
    writer.update_options(cpus_per_trial=1)
    writer.end("00000", "error", f"no {secrets[0]}")
    writer.finish()
    recorded = b"".join(file.read_bytes() for file in files(tmp_path / "sweep"))
    assert b"s3cr3t" not in recorded
    assert b"s3://***@bucket/x" in recorded
    assert b"region=r" in recorded


@pytest.mark.parametrize("repeated", ["a" * 10, "key", "://", "key=", "://a@"])
def test_redacting_a_long_text_is_fast(repeated):
    start = time.process_time()
    UserError(repeated * 30_000)
    assert time.process_time() - start < 2


SECRETS_IN_TEXTS = """
    no cluster at redis://me:s3cr3t@host:1; start one | no cluster at redis://***@host:1; start one
    AWS_SECRET_ACCESS_KEY=s3cr3t sweep                | AWS_SECRET_ACCESS_KEY=*** sweep
    's3://b/x?session_token=s3cr3t&region=r'          | 's3://b/x?session_token=***&region=r'
    's3://b/x?password=s3cr3t' is no folder           | 's3://b/x?password=***' is no folder
"""


@pytest.mark.parametrize(("text", "shown"), barred_rows(SECRETS_IN_TEXTS))
def test_no_secret_is_in_an_error(text, shown):
    assert str(UserError(text)) == shown


def run_python(script, *words):
    """Run a script in another Python, and return how that ended."""
    command = [sys.executable, "-c", script, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=LONG_S)


CACHE = """
import shutil, sys, warnings
from pathlib import Path
from mnist_tune import TrialConfig
from mnist_tune.data.dataset import load_dataset
from mnist_tune.execution.process_setup import WorkerSettings, make_pool

warnings.simplefilter("error")
folder = Path(sys.argv[1])
pool = make_pool(load_dataset("mnist-5k"), WorkerSettings(str(folder), cache_dir=str(folder / "cache")))
pool.attach("a", TrialConfig(architecture="mlp-3-tanh", epochs=2))
assert list((folder / "cache").rglob("*-cache")), "nothing was kept"
shutil.rmtree(folder / "cache")
assert pool.run(["a"])["a"].epoch == 1
"""


@pytest.mark.slow
def test_the_cache_folder_may_disappear_during_a_run(tmp_path):
    done = run_python(CACHE, str(tmp_path))
    assert done.returncode == 0, done.stderr


SLOW = """
import runpy, sys, time
import ray
from ray._private import worker
from mnist_tune.results import tables
from mnist_tune.tuning import tuner

def with_a_reference(*arguments):
    sys.reference = ray.put("read at the end")
    return fit(*arguments)

def read(*arguments, **named):
    time.sleep(1)
    assert ray.get(sys.reference) == "read at the end"
    return made(*arguments, **named)

def slow(*arguments):
    disconnect(*arguments)  # from here on, what touches Ray ends the process
    worker.disconnect = disconnect
    time.sleep(3)
    raise RuntimeError("a node did not answer")

fit, made, disconnect = tuner.fit, tables.journal_tables, worker.disconnect
tuner.fit, tables.journal_tables, worker.disconnect = with_a_reference, read, slow
sys.argv = ["lr_regimes.py", *sys.argv[2:]]
runpy.run_path({script!r}, run_name="__main__")
"""


@pytest.mark.ray
def test_a_shutdown_that_is_slow_and_fails_takes_nothing_from_the_sweep(tmp_path):
    """The driver reads from Ray while it writes its tables."""
    path = tmp_path / "sweep"
    flags = "--dataset mnist-5k --architecture mlp-2-tanh --learning-rates 0.1 --epochs 1 --train-images 500"
    script = SLOW.format(script=str(SCRIPT))
    done = run_python(script, "--", *flags.split(), "--output", str(path))
    assert done.returncode == 0, done.stderr
    assert "undecided 0.1" in done.stdout
    shutdown = "Ray did not shut down properly (a node did not answer)"
    assert f"{shutdown}; the sweep is complete" in done.stderr
    ours = (path / "journal.jsonl").stat().st_mode
    rays = (path / "states" / "00000.npz").stat().st_mode
    assert rays == ours, "Ray's umask is not the user's, whose files these are"
    assert "Traceback" not in done.stderr
