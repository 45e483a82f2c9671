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
from kept_texts import assert_kept

import mnist_tune
from mnist_tune import Network, SweepOptions, TrialConfig, UserError
from mnist_tune.execution import hanging
from mnist_tune.execution.hanging import HungError, limit_s, watched
from mnist_tune.tuning.sweep import run_sweep


@pytest.fixture(autouse=True)
def ends(monkeypatch):
    """The seconds after which processes would have ended, and their exit codes."""
    codes = []
    later = lambda seconds, end, codes_: SimpleNamespace(start=lambda: codes.append((seconds, *codes_)))  # noqa: E731
    monkeypatch.setattr(hanging, "threading", SimpleNamespace(**vars(threading) | {"Timer": later}))
    return codes


EPOCHS = (
    (0, [], 600), (1, [3.0], 600), (2, [300.0, 3.0, 5.0], 600), (2, [300.0, 3.0, 50.0], 600), (2, [], 600),
    (5, [50.0], 600),  # a trial that another process had begun
    (5, [50.0, 20.0], 600), (5, [50.0], 0), (5, [1.0], 0.5),
)  # fmt: skip


@pytest.mark.promise("An epoch hangs from a trial's third epoch on, by its median and `--hang-minutes`")
def test_how_long_an_epoch_is_waited_for(monkeypatch, ends):
    """The limits by the epochs before, and the waits of limits that a call takes so many waits of to end."""
    waits, done = [], [0]
    monkeypatch.setattr(hanging, "answer", lambda result, call: result.set_result(call()))

    def wait(futures, seconds):
        waits.append(seconds)
        return SimpleNamespace(done=futures[0].result(60) and len(waits) == done[0])

    monkeypatch.setattr(hanging, "wait", wait)
    text = "".join(f"epoch {n + 1} after {s} s, {least} s at least: {limit_s(n, s, least)}\n" for n, s, least in EPOCHS)
    for limit in (0.05, 600, 1e300, math.inf):
        for done[0] in (1, 100, 101):
            waits.clear()
            try:
                found = watched(lambda: "an answer", limit)
            except HungError as error:
                found = error
            longest = threading.TIMEOUT_MAX
            each = ["the longest" if one == longest else f"{one:g} s" for one in set(waits)]
            text += f"{limit} s, done in wait {done[0]}: {len(waits)} of {each}, {found}, ends {ends}\n"
            ends.clear()
    assert_kept("hanging", text)


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
    assert ends == [(5.0, 1)]
    end.set()


@pytest.mark.promise("A machine that sleeps does not hang")
def test_a_machine_that_sleeps_does_not_hang(monkeypatch, ends):
    """Whatever a clock says: some go on meanwhile."""
    days = itertools.count(0, 86_400.0)
    for name in ("monotonic", "perf_counter", "time"):
        monkeypatch.setattr(time, name, lambda: next(days))
    assert watched(lambda: threading.Event().wait(0.1) or "awake", 60) == "awake"
    assert ends == []


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


@pytest.mark.promise("Its process or lane server is replaced, a line says so, and no row is lost")
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
