"""An epoch that hangs: when it does, and what becomes of its process, its lane server and its trial."""

import itertools
import math
import re
import threading
import time
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

import mnist_tune
from mnist_tune import Network, SweepOptions, TrialConfig, UserError
from mnist_tune.execution import hanging
from mnist_tune.execution.group import LaneGroup
from mnist_tune.execution.hanging import FACTOR, HungError, limit_s, watched
from mnist_tune.execution.pool import LanePool
from mnist_tune.tuning.sweep import run_sweep

SMALL = TrialConfig(architecture="mlp-8-tanh", epochs=4)


@pytest.fixture(autouse=True)
def ends(monkeypatch):
    """The exit codes with which processes would have ended, `ANSWER_S` later."""
    codes = []
    later = lambda seconds, end, codes_: SimpleNamespace(start=lambda: codes.extend(codes_))  # noqa: E731
    monkeypatch.setattr(hanging, "threading", SimpleNamespace(**vars(threading) | {"Timer": later}))
    return codes


@pytest.mark.parametrize(
    ("epochs", "seconds", "least", "limit"),
    [
        (0, [], 600, math.inf),
        (1, [3.0], 600, math.inf),
        (2, [300.0, 3.0, 5.0], 600, 600),
        (2, [300.0, 3.0, 50.0], 600, 50 * FACTOR),
        (5, [50.0], 600, 50 * FACTOR),  # a trial that another process had begun
        (5, [], 600, math.inf),
        (5, [50.0], 0, math.inf),
    ],
)
def test_an_epoch_hangs_by_its_trials_median_from_the_third_on(epochs, seconds, least, limit):
    assert limit_s(epochs, seconds, least) == limit


def test_what_ends_in_time_is_answered(ends):
    assert watched(lambda: 5, math.inf) == watched(lambda: 5, 60) == 5
    assert watched(partial(time.sleep, 0.1), 1e300) is None
    with pytest.raises(KeyError, match="mine"):
        watched(partial({}.__getitem__, "mine"), 60)
    assert ends == []


def test_what_hangs_is_said_and_ends_the_process(ends):
    end = threading.Event()
    with pytest.raises(HungError, match=r"an epoch still ran after 0.001 minutes \(--hang-minutes"):
        watched(end.wait, 0.06)
    assert ends == [1]
    end.set()


def test_a_machine_that_sleeps_does_not_hang(monkeypatch, ends):
    """Whatever a clock says: some go on meanwhile."""
    days = itertools.count(0, 86_400.0)
    for name in ("monotonic", "perf_counter", "time"):
        monkeypatch.setattr(time, name, lambda: next(days))
    assert watched(lambda: threading.Event().wait(0.1) or "awake", 60) == "awake"
    assert ends == []


@pytest.fixture
def hangs(monkeypatch):
    """Epochs hang if this is set, until the test ends."""
    on, end, run = threading.Event(), threading.Event(), LaneGroup.run
    monkeypatch.setattr(LaneGroup, "run", lambda *given: end.wait(60) if on.is_set() else run(*given))
    yield on
    end.set()


def test_a_pool_knows_what_epochs_took_also_that_of_a_saved_state(few_images, hangs, ends):
    pool, another = (LanePool(few_images, hang_s=0.05) for _ in range(2))
    pool.attach("a", SMALL)
    pool.run(["a"])
    row = pool.run(["a"])["a"]
    assert pool.lanes["a"].seconds[-1] == row["batch_s"]
    assert len(pool.lanes["a"].seconds) == 2
    row["batch_s"] = 0.001
    another.attach("a", SMALL, pool.checkpoint("a"))
    hangs.set()
    with pytest.raises(HungError):
        another.run(["a"])
    assert ends == [1]


def test_minutes_below_none_are_refused():
    for wrong in (-1, math.nan, math.inf):
        with pytest.raises(UserError, match="--hang-minutes must be 0 or more"):
            SweepOptions(hang_minutes=wrong)


def sleeping(folder):
    """Return a factory of networks that sleep for ever, once, in an epoch after the third."""
    journal, asleep = folder / "sweep" / "journal.jsonl", folder / "asleep"

    def sleep():
        if not asleep.exists() and journal.exists() and '"epoch": 3,' in journal.read_text():
            asleep.touch()
            time.sleep(10_000)

    def factory(data):
        def init(key):
            return jnp.zeros((data.size, data.classes))

        def apply(params, images):
            jax.debug.callback(sleep)
            return images.reshape(len(images), -1) @ params

        return Network(init, apply)

    return factory


@pytest.mark.ray
@pytest.mark.parametrize("execution", ["process", "lanes"])
def test_a_network_that_hangs_once_gets_another_process_and_goes_on(execution, tmp_path, one_core, capfd):
    """It fails the third time, as after any three deaths. Compiling takes less than these 12 s on a busy machine."""
    mnist_tune.register("sleeping")(sleeping(tmp_path))
    options = SweepOptions(
        dataset="mnist-5k", train_images=500, output=tmp_path / "sweep", execution=execution, scheduler="fifo",
        hang_minutes=0.2, lanes=2 if execution == "lanes" else None,
    )  # fmt: skip
    sweep = run_sweep("hangs", [TrialConfig(architecture="sleeping", epochs=5)], options)
    assert (tmp_path / "asleep").exists()
    said = (
        r"trial 00000 died, pid .*HungError: an epoch still ran after .* minutes .*; it continues from its last epoch"
    )
    assert re.search(said, capfd.readouterr().err)
    assert list(sweep.trials["stop_reason"]) == ["completed"]
    assert sweep.epochs["epoch"].tolist() == [1, 2, 3, 4, 5]
