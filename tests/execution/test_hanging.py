"""An epoch that hangs: when it does, and what becomes of its process, its lane server
and its trial."""

import itertools
import math
import os
import re
import threading
import time
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

import mnist_tune
from mnist_tune import Network, SweepOptions, TrialConfig
from mnist_tune.epoch_row import EpochRow
from mnist_tune.execution import hanging, pool
from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.execution.hanging import HungError, limit_s, watched
from mnist_tune.tuning.sweep import run_sweep


@pytest.fixture(autouse=True)
def ends(monkeypatch):
    """The seconds after which processes would have ended, and their exit codes."""
    codes = []

    def later(seconds, end, codes_):
        return SimpleNamespace(start=lambda: codes.append((seconds, *codes_)))

    monkeypatch.setattr(
        hanging, "threading", SimpleNamespace(**vars(threading) | {"Timer": later})
    )
    return codes


@pytest.mark.promise(
    "From the third epoch on, an epoch hangs after `--hang-minutes` and 20 times the trial's median"
)
@pytest.mark.parametrize(
    ("epochs", "seconds", "least", "limit"),
    [
        (0, [], 600, math.inf),
        (1, [3.0], 600, math.inf),
        (2, [], 600, math.inf),  # another process had begun it
        (2, [300.0, 3.0, 5.0], 600, 600),
        (2, [300.0, 3.0, 50.0], 600, 1000),
        (5, [50.0, 20.0], 600, 700),
        (5, [1.0], 0.5, 20),
        (5, [50.0], 0, math.inf),
    ],
)
def test_how_long_an_epoch_is_waited_for(epochs, seconds, least, limit):
    assert limit_s(epochs, seconds, least) == limit


def test_how_long_a_trial_is_waited_for_follows_from_its_own_epochs(
    few_images, monkeypatch
):
    limits = []

    def watched(call, limit, pauses):
        limits.append(limit)
        return call()

    monkeypatch.setattr(pool, "watched", watched)
    lanes = pool.LanePool(few_images, 1, hang_s=600)
    lanes.attach("a", TrialConfig(architecture="mlp-4-tanh"))
    for _ in range(3):
        lanes.run(["a"])
    assert limits == [math.inf, math.inf, 600]


@pytest.mark.slow
def test_a_resumed_trial_that_compiles_in_a_new_process_does_not_hang(
    few_images, epoch_row, ends, monkeypatch
):
    jit = jax.jit
    config = TrialConfig(architecture="mlp-4-tanh")

    def slow(*arguments, **options):
        time.sleep(0.8)
        return jit(*arguments, **options)

    monkeypatch.setattr(jax, "jit", slow)
    lanes = pool.LanePool(few_images, 1, hang_s=0.5)
    lanes.attach("a", config)
    lanes.run(["a"])
    row = EpochRow.of(epoch_row(5, batch_s=0.01))
    lanes.attach("a", config, Checkpoint(lanes.checkpoint("a").arrays, row))
    assert lanes.run(["a"])["a"].epoch == 6


def test_what_ends_in_time_is_answered(ends):
    assert watched(lambda: 5, math.inf) == watched(lambda: 5, 60) == 5
    assert watched(partial(time.sleep, 0.1), 1e300) is None
    with pytest.raises(KeyError, match="mine"):
        watched(partial({}.__getitem__, "mine"), 60)
    assert ends == []


def test_what_hangs_is_said_and_ends_the_process(ends):
    end = threading.Event()
    line = r"an epoch still ran after 0.001 minutes \(--hang-minutes"
    with pytest.raises(HungError, match=line):
        watched(end.wait, 0.06)
    assert ends == [(5.0, 1)]
    end.set()


@pytest.mark.promise("Time in which the machine sleeps does not count as hanging")
def test_a_machine_that_sleeps_does_not_hang(monkeypatch, ends):
    """Whatever a clock says: some go on meanwhile."""
    days = itertools.count(0, 86_400.0)
    for name in ("monotonic", "perf_counter", "time"):
        monkeypatch.setattr(time, name, lambda: next(days))
    assert watched(lambda: threading.Event().wait(0.1) or "awake", 60) == "awake"
    assert ends == []


def sleeping(folder):
    """Return a factory of networks that sleep for ever, once, in an epoch after the
    third."""
    journal = folder / "sweep" / "journal.jsonl"
    asleep = folder / "asleep"
    much = os.urandom(200_000)  # Ray does not keep so much for an actor's next start

    def sleep():
        if (
            not asleep.exists()
            and journal.exists()
            and '"epoch": 3,' in journal.read_text()
        ):
            asleep.touch()
            time.sleep(10_000)

    def factory(data):
        assert len(much) == 200_000

        def init(key):
            return jnp.zeros((data.size, data.classes))

        def apply(params, images):
            jax.debug.callback(sleep)
            return images.reshape(len(images), -1) @ params

        return Network(init, apply)

    return factory


@pytest.mark.promise(
    "The process or lane server of an epoch that hangs is replaced, a line says so, no row is lost"
)
@pytest.mark.promise("A trial whose process died goes on from its last saved state")
@pytest.mark.ray
@pytest.mark.parametrize("execution", ["process", "lanes"])
def test_a_network_that_hangs_once_gets_another_process_and_goes_on(
    execution, tmp_path, one_core, capfd
):
    """It fails the third time, as after any three deaths. Compiling takes less than
    these 12 s on a busy machine."""
    mnist_tune.register("sleeping")(sleeping(tmp_path))
    options = SweepOptions(
        dataset="mnist-5k",
        train_images=500,
        output=tmp_path / "sweep",
        execution=execution,
        scheduler="fifo",
        hang_minutes=0.2,
        lanes=2 if execution == "lanes" else None,
    )
    trials = [TrialConfig(architecture="sleeping", epochs=5)]
    sweep = run_sweep("hangs", trials, options)
    assert (tmp_path / "asleep").exists()
    line = r"trial 00000 died, pid .*HungError: an epoch still ran after .* minutes .*; it continues from its last epoch"
    assert re.search(line, capfd.readouterr().err)
    assert list(sweep.trials["stop_reason"]) == ["completed"]
    assert sweep.epochs["epoch"].tolist() == [1, 2, 3, 4, 5]
