"""Which configurations early stopping lets go on."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.tune.schedulers import ASHAScheduler

from mnist_tune import TrialConfig, columns
from mnist_tune.regimes import stopping
from mnist_tune.regimes.data_facts import MNIST
from mnist_tune.regimes.divergence import finite_loss
from mnist_tune.regimes.stopping import Configuration
from mnist_tune.tuning.early_stopping import Asha, RegimeStopping
from mnist_tune.tuning.past import Past
from mnist_tune.tuning.run import Run
from mnist_tune.tuning.trainable import _NO_ROW

EPOCHS = np.arange(1, 11)
FAST = 1 - 0.06 * EPOCHS**-1.2
SLOW = 1 - 0.45 * EPOCHS**-0.35
ON_ITS_WAY = 1 - 0.11 * EPOCHS**-0.4
LATE = 1 - 0.16 * EPOCHS**-0.4
LEVEL = 0.93 - 0.2 * EPOCHS**-0.8
WILD = np.array([0.8, 0.6, 0.82, 0.55, 0.85, 0.6, 0.8, 0.5, 0.8, 0.7])


class Sweep:
    """A made-up sweep: trials report their epochs, and are told whether they go on."""

    def __init__(self, epoch_row, data=MNIST, past=None):
        self.proposed, self.epoch_row, self.configs = False, epoch_row, {}
        self.fates = RegimeStopping(5, Run(past or Past()), data)
        self.fates.propose = lambda *row: self.proposed

    def row(self, epoch, accuracy, held_out=None):
        held_out = accuracy if held_out is None else held_out
        values = {
            "train_accuracy": float(accuracy),
            "test_accuracy": float(held_out),
            "untrained_loss": 2.4,
        }
        return self.epoch_row(
            epoch, 4 * (1 - float(accuracy)), **values, step_loss_max=1.0
        )

    def report(self, trial, curve, epoch, rate=0.1, seed=0, proposed=False, **fields):
        config = TrialConfig(
            learning_rate=rate, seed=seed, data_seed=seed, epochs=len(curve), **fields
        )
        self.proposed = proposed
        # as a trial's process tells it: once
        new = config if self.configs.get(trial) != config else None
        self.configs[trial] = config
        self.said = self.fates.take_up(trial, new, self.row(epoch, curve[epoch - 1]))
        return self.said

    def run(self, trial, curve, rate=0.1, seed=0, rung=5, **fields):
        """Return the epoch after which a trial that ASHA would stop at a rung was
        stopped; None if it was not."""
        for epoch in range(1, len(curve) + 1):
            if self.report(
                trial, curve, epoch, rate, seed, proposed=epoch == rung, **fields
            ):
                return epoch
        return None


def table(rows):
    """Return rows as `read_journal` does."""
    return pd.DataFrame(rows, columns=[column.name for column in columns.EPOCHS])


@pytest.fixture
def sweep(epoch_row):
    return Sweep(epoch_row)


@pytest.mark.parametrize(
    ("curve", "rate", "stopped"),
    [
        (SLOW, 0.01, (5, "slow")),
        (np.full(10, 0.1), 0.01, (5, "slow")),
        (np.full(10, 0.1), 2.0, (5, "dead")),
        (ON_ITS_WAY, 0.01, (None, "")),
        (WILD, 0.01, (None, "")),
        (FAST, 0.01, (None, "")),
        (LEVEL - 0.1 * (EPOCHS == 3), 0.03, (None, "")),  # it is shaken
    ],
)
def test_only_a_slow_or_dead_trial_is_stopped(sweep, curve, rate, stopped):
    sweep.run("fast", FAST, rate=1.0, rung=None)
    assert (sweep.run("trial", curve, rate), sweep.said) == stopped
    assert sweep.run("kept by ASHA", curve, rate / 2, rung=None) is None


def test_what_would_be_there_after_the_end_goes_on_until_a_larger_rate_is_better_than_it_can_be(
    sweep,
):
    assert sweep.run("alone", LATE, rate=0.01) is None
    sweep.run("a little better", LATE + 0.01, rate=0.1, rung=None)
    assert sweep.run("beside it", LATE, rate=0.02) is None
    sweep.run("fast", FAST, rate=1.0, rung=None)
    assert sweep.run("beside what was there at once", LATE, rate=0.03) in (5, 6, 7)


@pytest.mark.parametrize("rates", [(1.0, 0.001), (0.001, 1.0)])
def test_of_rates_that_were_fast_in_the_same_epoch_the_largest_counts(sweep, rates):
    for rate in rates:
        sweep.run(f"fast {rate}", FAST, rate=rate, rung=None)
    assert sweep.run("trial", LATE, rate=0.03) == 6


@pytest.mark.parametrize("curve", [LATE, LEVEL])
@pytest.mark.parametrize(
    ("fast", "stopped"),
    [
        ({"rate": 1.0}, True),
        ({"rate": 0.001}, False),
        ({"rate": 1.0, "architecture": "convnet"}, False),
    ],
)
def test_only_a_larger_rate_of_the_same_configuration_shows_that_a_trial_is_slow(
    sweep, curve, fast, stopped
):
    sweep.run("fast", FAST, rung=None, **fast)
    assert (sweep.run("trial", curve, rate=0.03) is not None) == stopped


def test_what_turns_out_slow_after_the_rung_is_stopped_then(sweep):
    stalled = np.concatenate([ON_ITS_WAY[:5], np.full(5, ON_ITS_WAY[4])])
    sweep.run("fast", FAST, rate=1.0, rung=None)
    assert sweep.run("trial", stalled, rate=0.01) in (6, 7, 8, 9)


def test_a_trial_of_many_epochs_stops_within_a_hundredth_of_when_it_turned_out_slow(
    epoch_row, monkeypatch
):
    epochs, stopped = np.arange(1, 1001), []
    for judged in (100, 10_000):  # as it is, and after each epoch
        monkeypatch.setattr(stopping, "VERDICTS", judged)
        sweep = Sweep(epoch_row)
        sweep.run("fast", 1 - 0.02 * epochs**-0.1, rate=0.2, rung=250)
        stopped.append(
            sweep.run(
                "slow", 0.97 - 0.3 * (1 - epochs / 1100) ** 0.2, rate=0.1, rung=250
            )
        )
    assert stopped[1] <= stopped[0] <= 1.01 * stopped[1] + 1


def test_all_seeds_of_a_configuration_stop_after_the_same_epoch(sweep):
    sweep.run("fast", FAST, rate=1.0, rung=None)
    assert sweep.run("first", SLOW, rate=0.01, seed=0) == 5
    assert sweep.run("second", SLOW, rate=0.01, seed=1, rung=None) == 5
    assert sweep.run("third", FAST, rate=0.01, seed=2, rung=None) == 5


def test_the_first_seed_to_get_there_decides_for_those_that_follow(sweep):
    sweep.run("fast", FAST, rate=1.0, rung=None)
    for epoch in range(1, 7):
        assert sweep.report("first", SLOW, epoch, rate=0.01, seed=0) == ""
    for epoch in range(1, 7):
        assert (
            sweep.report("second", SLOW, epoch, rate=0.01, seed=1, proposed=epoch == 5)
            == ""
        )
    assert sweep.report("second", SLOW, 7, rate=0.01, seed=1) == "slow"
    assert sweep.report("first", SLOW, 7, rate=0.01, seed=0) == "slow"


def test_a_seed_that_oscillates_keeps_its_configuration_going(sweep):
    sweep.run("fast", FAST, rate=1.0, rung=None)
    for epoch in range(1, 5):
        sweep.report("wild", WILD, epoch, rate=0.01, seed=1)
    assert sweep.run("slow", SLOW, rate=0.01, seed=0) is None


def test_a_seed_that_overfits_after_three_epochs_keeps_its_configuration_going(sweep):
    for epoch, (accuracy, held_out) in enumerate(
        [(0.9, 0.9), (0.93, 0.7), (0.95, 0.6)], start=1
    ):
        row = sweep.row(epoch, accuracy, held_out)
        sweep.fates.take_up(
            "overfit", TrialConfig(learning_rate=0.01, seed=1, data_seed=1), row
        )
    assert sweep.run("slow", SLOW, rate=0.01, seed=0) is None


@pytest.mark.parametrize("reason", ["slow", "dead"])
def test_a_resumed_sweep_keeps_its_decisions(sweep, epoch_row, reason):
    trials = {
        name: TrialConfig(learning_rate=0.01, seed=seed, epochs=10)
        for seed, name in enumerate("abc")
    }
    epochs = [
        {"trial_id": "a", **sweep.row(epoch, SLOW[epoch - 1])} for epoch in range(1, 6)
    ]
    epochs += [
        {"trial_id": "b", **sweep.row(epoch, SLOW[epoch - 1])} for epoch in range(1, 3)
    ]
    ended = {"a": {"stop_reason": reason}}
    resumed = Sweep(epoch_row, past=Past(trials, ended=ended, rows=table(epochs)))
    resumed.fates.replay()
    config = trials["b"]
    found = [
        resumed.fates.take_up("b", config, sweep.row(epoch, SLOW[epoch - 1]))
        for epoch in (2, 3, 4, 5)
    ]
    assert found == ["", "", "", reason]


@given(
    st.lists(
        st.sampled_from([0.1, 0.2, 0.3, 0.5, 2.0, math.nan]), min_size=2, max_size=12
    )
)
def test_rungs_propose_what_tunes_asha_stops(losses):
    rungs, asha = (
        Asha(2, Run()),
        ASHAScheduler(
            "epoch", "loss", "min", max_t=9, grace_period=2, reduction_factor=2
        ),
    )
    for i, loss in enumerate(losses):
        trial = SimpleNamespace(trial_id=str(i))
        asha.on_trial_add(None, trial)
        for epoch in range(1, 9):
            stops = (
                asha.on_trial_result(
                    None, trial, {"epoch": epoch, "loss": finite_loss(loss)}
                )
                == "STOP"
            )
            assert rungs.propose(str(i), epoch, loss) == stops


def test_a_trial_that_ends_itself_is_not_judged_but_its_peers_know_it(sweep):
    sweep.fates = RegimeStopping(5, Run(), MNIST)
    config = TrialConfig(learning_rate=0.01, epochs=5)
    rows = [sweep.row(epoch, SLOW[epoch - 1]) for epoch in range(1, 6)]
    assert [sweep.fates.take_up("slow", config, row) for row in rows] == [""] * 5
    config = replace(config, epochs=10)
    for epoch in range(1, 11):
        sweep.fates.take_up(
            "fast",
            replace(config, learning_rate=1.0),
            sweep.row(epoch, FAST[epoch - 1]),
        )
    assert [sweep.fates.take_up("longer", config, row) for row in rows] == [
        "",
        "",
        "",
        "",
        "slow",
    ]
    assert sweep.fates.take_up("longer", config, rows[4], repeated=True) == "slow"
    assert sweep.fates.take_up("longer", config, rows[3], repeated=True) == ""


def test_peers_are_those_by_which_labels_are_decided(sweep):
    """Also where batch sizes are crossed: in the end a label is decided by all trials
    of the network."""
    sweep.run("fast", FAST, rate=1.0, rung=None, batch_size=64)
    assert sweep.run("slow", SLOW, rate=0.01) == 5
    assert sweep.run("of another optimizer", SLOW, rate=0.01, optimizer="adam") is None


def test_without_a_target_the_best_so_far_is_the_measure(epoch_row):
    sweep = Sweep(epoch_row, replace(MNIST, target=None))
    assert sweep.run("alone", SLOW, rate=0.01) is None
    sweep.run("of another network", FAST, rate=1.0, rung=None, architecture="convnet")
    assert sweep.run("still alone", SLOW, rate=0.03) is None
    sweep.run("fast", FAST, rate=1.0, rung=None)
    assert sweep.run("another", SLOW, rate=0.02) == 5


def test_without_a_target_what_levels_off_below_the_best_is_stopped(epoch_row):
    sweep = Sweep(epoch_row, replace(MNIST, target=None))
    sweep.run("best", ON_ITS_WAY, rate=1.0, rung=None)
    assert sweep.run("level", LEVEL, rate=0.02) in (6, 7, 8)


def test_a_trial_that_cannot_train_is_no_peer():
    scheduler, trial = (
        Asha(1, Run()),
        SimpleNamespace(trial_id="tunes", config={"trial": {"trial_id": "a"}}),
    )
    # Tune does not ask about what ends the trial itself
    scheduler.on_trial_complete(None, trial, _NO_ROW)
    assert [
        scheduler.propose(name, 1, loss) for name, loss in (("b", 0.5), ("c", 0.6))
    ] == [False, True]


class Stopped:
    """Made-up trials under ASHA, after the rows of a sweep that is resumed."""

    def __init__(self, past=()):
        known = Past()
        known.rows = (
            pd.DataFrame(past, columns=["trial_id", "epoch", "train_loss"])
            if past
            else None
        )
        self.asha = Asha(2, Run(known))
        self.asha.replay()

    def decide(self, trial, epoch, loss):
        return self.asha.take_up(
            trial, TrialConfig(), {"epoch": epoch, "train_loss": loss}
        )


@pytest.mark.parametrize("loss", [math.nan, math.inf, 1e30, 5.0])
def test_asha_stops_a_diverged_trial(loss):
    trials = Stopped()
    assert trials.decide("a", 1, loss) == ""
    assert [trials.decide("b", epoch, 0.5) for epoch in (1, 2)] == [""] * 2
    assert trials.decide("a", 2, loss) == "asha"
    assert trials.decide("c", 2, 0.4) == ""


def run(trials, curves, stopped, epochs):
    """Run one epoch of every trial after the other. Return the decisions by (trial,
    epoch), and the rows."""
    decisions, rows = {}, []
    for epoch in epochs:
        for trial, losses in curves.items():
            if trial in stopped:
                continue
            decisions[trial, epoch] = trials.decide(trial, epoch, losses[epoch - 1])
            rows.append(
                {"trial_id": trial, "epoch": epoch, "train_loss": losses[epoch - 1]}
            )
            if decisions[trial, epoch]:
                stopped.add(trial)
    return decisions, rows


SOME_LOSSES = st.lists(
    st.sampled_from([0.1, 0.2, 0.3, 0.5, 2.0, math.nan]), min_size=7, max_size=7
)


@settings(max_examples=50)
@given(st.lists(SOME_LOSSES, min_size=2, max_size=6), st.integers(1, 6))
def test_asha_decides_the_same_after_a_resume(losses, cut):
    curves = {f"{i:05d}": values for i, values in enumerate(losses)}
    uninterrupted, stopped = Stopped(), set()
    _, rows = run(uninterrupted, curves, stopped, range(1, cut + 1))
    left = {trial: values for trial, values in curves.items() if trial not in stopped}
    expected, _ = run(uninterrupted, left, set(), range(cut + 1, 8))
    found, _ = run(Stopped(rows), left, set(), range(cut + 1, 8))
    assert found == expected


@pytest.mark.parametrize(
    "data", [MNIST, replace(MNIST, target=None)], ids=["with a target", "without"]
)
@given(st.randoms(use_true_random=False))
@settings(max_examples=5)
def test_a_verdict_is_that_of_all_rows_so_far_however_often_one_was_asked_before(
    epoch_row, data, random
):
    """What is known of peers is kept from verdict to verdict; here it is also worked
    out at once."""
    curves = [
        random.choice([FAST, SLOW, LATE, LEVEL, WILD, np.full(10, 0.1)])[
            : random.choice([6, 10])
        ]
        for _ in range(9)
    ]
    sweep, rows, epochs = Sweep(epoch_row, data), [], [0] * len(curves)
    while waiting := [i for i, curve in enumerate(curves) if epochs[i] < len(curve)]:
        i = random.choice(waiting)
        epochs[i] += 1
        # some at equal rates
        rows.append((str(i), curves[i], epochs[i], 10.0 ** -(i // 2)))
        told = sweep.report(*rows[-1], seed=i, proposed=random.random() < 0.5)
        anew = Sweep(epoch_row, data)
        for row in rows[:-1]:
            anew.report(*row, seed=int(row[0]))
        for alike, setting in sweep.fates._settings.items():
            known = anew.fates._settings.setdefault(
                alike, Configuration(setting.siblings)
            )
            known.is_proposed |= setting.is_proposed
        epoch = rows[-1][2], rows[-1][3]
        # else a seed decided before
        if sum((row[2], row[3]) == epoch for row in rows) == 1:
            assert anew.report(*rows[-1], seed=i) == told
