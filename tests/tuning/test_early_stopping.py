"""Which configurations early stopping lets go on."""

import math
from dataclasses import dataclass, replace
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
SHAKEN = np.where(EPOCHS == 3, LEVEL - 0.1, LEVEL)
CHANCE = np.full(10, 0.1)
WILD = np.array([0.8, 0.6, 0.82, 0.55, 0.85, 0.6, 0.8, 0.5, 0.8, 0.7])


class Sweep:
    """A made-up sweep: trials report their epochs, and are told whether they go on."""

    def __init__(self, epoch_row, data=MNIST, past=None):
        self.proposed = False
        self.epoch_row = epoch_row
        self.configs = {}
        self.fates = RegimeStopping(5, Run(past or Past()), data)
        self.fates.propose = lambda *row: self.proposed

    def row(self, epoch, accuracy, held_out=None):
        accuracy = float(accuracy)
        held_out = accuracy if held_out is None else float(held_out)
        return self.epoch_row(
            epoch,
            train_loss=4 * (1 - accuracy),
            train_accuracy=accuracy,
            test_accuracy=held_out,
            untrained_loss=2.4,
            step_loss_max=2.0,  # no spike, and no less than the loss before
        )

    def rows(self, curve, epochs):
        """Return the rows of the first epochs of a curve."""
        return [self.row(epoch, curve[epoch - 1]) for epoch in range(1, epochs + 1)]

    def report(self, trial, curve, epoch, rate=0.1, seed=0, proposed=False, **fields):
        seeds = {"seed": seed, "data_seed": seed}
        config = TrialConfig(learning_rate=rate, epochs=len(curve), **seeds, **fields)
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
            proposed = epoch == rung
            if self.report(trial, curve, epoch, rate, seed, proposed, **fields):
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
        (CHANCE, 0.01, (5, "slow")),
        (CHANCE, 2.0, (5, "dead")),
        (ON_ITS_WAY, 0.01, (None, "")),
        (WILD, 0.01, (None, "")),
        (FAST, 0.01, (None, "")),
        (SHAKEN, 0.03, (None, "")),
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
    epochs = np.arange(1, 1001)
    fast = 1 - 0.02 * epochs**-0.1
    slow = 0.97 - 0.3 * (1 - epochs / 1100) ** 0.2
    stopped = []
    for verdicts in (100, 10_000):  # as it is, and after each epoch
        monkeypatch.setattr(stopping, "VERDICTS", verdicts)
        sweep = Sweep(epoch_row)
        sweep.run("fast", fast, rate=0.2, rung=250)
        stopped.append(sweep.run("slow", slow, rate=0.1, rung=250))
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
    second = {"rate": 0.01, "seed": 1}
    for epoch in range(1, 7):
        proposed = epoch == 5
        assert sweep.report("second", SLOW, epoch, proposed=proposed, **second) == ""
    assert sweep.report("second", SLOW, 7, **second) == "slow"
    assert sweep.report("first", SLOW, 7, rate=0.01, seed=0) == "slow"


def test_a_seed_that_oscillates_keeps_its_configuration_going(sweep):
    sweep.run("fast", FAST, rate=1.0, rung=None)
    for epoch in range(1, 5):
        sweep.report("wild", WILD, epoch, rate=0.01, seed=1)
    assert sweep.run("slow", SLOW, rate=0.01, seed=0) is None


def test_a_seed_that_overfits_after_three_epochs_keeps_its_configuration_going(sweep):
    config = TrialConfig(learning_rate=0.01, seed=1, data_seed=1)
    for row in (
        sweep.row(1, 0.9, held_out=0.9),
        sweep.row(2, 0.93, held_out=0.7),
        sweep.row(3, 0.95, held_out=0.6),
    ):
        sweep.fates.take_up("overfit", config, row)
    assert sweep.run("slow", SLOW, rate=0.01, seed=0) is None


@pytest.mark.parametrize("reason", ["slow", "dead"])
def test_a_resumed_sweep_keeps_its_decisions(sweep, epoch_row, reason):
    trials = {
        name: TrialConfig(learning_rate=0.01, seed=seed, epochs=10)
        for seed, name in enumerate("abc")
    }
    rows = sweep.rows(SLOW, 5)
    epochs_of_a = [{"trial_id": "a"} | row for row in rows]
    epochs_of_b = [{"trial_id": "b"} | row for row in rows[:2]]
    ended = {"a": {"stop_reason": reason}}
    past = Past(trials, ended=ended, rows=table(epochs_of_a + epochs_of_b))
    resumed = Sweep(epoch_row, past=past)
    resumed.fates.replay()
    reasons = [resumed.fates.take_up("b", trials["b"], row) for row in rows[1:]]
    assert reasons == ["", "", "", reason]


class Concurrent:
    """Trials that report epochs in turn, and are proposed for a stop as they are in a
    sweep."""

    def __init__(self, epoch_row, data=MNIST, past=None, epochs=10):
        self.epoch_row = epoch_row
        self.epochs = epochs
        self.fates = RegimeStopping(5, Run(past or Past()), data)

    def config(self, rate, seed=0):
        seeds = {"seed": seed, "data_seed": seed}
        return TrialConfig(learning_rate=rate, epochs=self.epochs, **seeds)

    def report(self, name, rate, curve, epochs, seed=0, losses=None, peak=1.0):
        """Report epochs of a curve of accuracies, and return the verdict after each."""
        config = self.config(rate, seed)
        verdicts = []
        for epoch in epochs:
            accuracy = float(curve[epoch - 1])
            loss = 4 * (1 - accuracy)
            if losses is not None:
                loss = float(losses[epoch - 1])
            row = self.epoch_row(
                epoch,
                train_loss=loss,
                train_accuracy=accuracy,
                test_accuracy=accuracy,
                untrained_loss=2.4,
                step_loss_max=peak,
            )
            verdicts.append(self.fates.take_up(name, config, row))
        return verdicts


def test_what_got_to_its_rung_first_is_judged_again_once_a_faster_trial_is_ahead(
    epoch_row,
):
    trials = Concurrent(epoch_row)
    assert trials.report("slow", 0.01, SLOW, range(1, 7)) == [""] * 6
    assert trials.report("its seed", 0.01, SLOW, range(1, 4), seed=1) == [""] * 3
    assert not any(trials.report("fast", 1.0, FAST, range(1, 11)))
    assert trials.report("slow", 0.01, SLOW, [7]) == ["slow"]
    again = trials.report("its seed", 0.01, SLOW, range(4, 8), seed=1)
    assert again == ["", "", "", "slow"]


def test_a_resumed_sweep_judges_again_what_got_to_its_rung_first(epoch_row, sweep):
    trials = Concurrent(epoch_row)
    configs = {"slow": trials.config(0.01), "fast": trials.config(1.0)}
    rows = [{"trial_id": "slow"} | row for row in sweep.rows(SLOW, 6)]
    rows += [{"trial_id": "fast"} | row for row in sweep.rows(FAST, 10)]
    past = Past(configs, rows=table(rows))
    resumed = Concurrent(epoch_row, past=past)
    resumed.fates.replay()
    assert resumed.report("slow", 0.01, SLOW, [7]) == ["slow"]


def test_without_a_target_what_will_be_as_near_to_the_best_as_a_target_goes_on(
    epoch_row,
):
    data = replace(MNIST, target=None)
    trials = Concurrent(epoch_row, data, epochs=15)
    epochs = np.arange(1, 16)
    near = 1 - 0.2 * epochs**-0.85
    far = 1 - 0.4 * epochs**-0.5
    best = np.full(15, 0.99)
    assert not any(trials.report("best", 1.0, best, range(1, 9)))
    assert not any(trials.report("near", 0.1, near, range(1, 16)))
    assert "slow" in trials.report("far", 0.01, far, range(1, 16))


def test_a_loss_above_a_guess_stops_no_trial_that_learns(epoch_row):
    trials = Concurrent(epoch_row, epochs=40)
    losses = np.linspace(2.39, 2.32, 5)
    assert not any(trials.report("fast", 1.0, np.full(10, 0.99), range(1, 11)))
    learns = np.linspace(0.2, 0.5, 5)
    verdicts = trials.report("learns", 0.1, learns, range(1, 6), losses=losses)
    assert verdicts == [""] * 5
    verdicts = trials.report("at chance", 0.01, CHANCE, range(1, 6), losses=losses)
    assert verdicts == ["", "", "", "", "slow"]


def test_what_had_learned_and_is_at_chance_is_stopped_once_nothing_moves(epoch_row):
    accuracies = np.array([0.5, 0.9, 0.95] + [0.1] * 8)
    wandering = np.array([0.5, 0.9, 0.95] + [0.1, 0.11, 0.09, 0.12] * 2)
    moving = np.array([1.0, 0.4, 0.3, 2.31, 2.6, 9.0, 2.5, 3.4, 2.9, 2.4, 2.7])
    dead = np.array([1.0, 0.4, 0.3] + [2.31] * 8)
    trials = Concurrent(epoch_row, epochs=12)
    assert not any(trials.report("fast", 0.1, np.full(10, 0.99), range(1, 11)))
    epochs = range(1, 12)
    verdicts = trials.report("moves", 2.0, wandering, epochs, losses=moving, peak=20)
    assert verdicts == [""] * 11
    verdicts = trials.report("dead", 3.0, accuracies, range(1, 9), losses=dead, peak=20)
    assert verdicts == [""] * 7 + ["dead"]


LOSSES = st.sampled_from([0.1, 0.2, 0.3, 0.5, 2.0, math.nan])


@given(st.lists(LOSSES, min_size=2, max_size=12))
def test_rungs_propose_what_tunes_asha_stops(losses):
    rungs = Asha(2, Run())
    asha = ASHAScheduler(
        "epoch", "loss", "min", max_t=9, grace_period=2, reduction_factor=2
    )
    for i, loss in enumerate(losses):
        trial = SimpleNamespace(trial_id=str(i))
        asha.on_trial_add(None, trial)
        for epoch in range(1, 9):
            result = {"epoch": epoch, "loss": finite_loss(loss)}
            decision = asha.on_trial_result(None, trial, result)
            assert rungs.propose(str(i), epoch, loss) == (decision == "STOP")


def test_a_trial_that_ends_itself_is_not_judged_but_its_peers_know_it(sweep):
    sweep.fates = RegimeStopping(5, Run(), MNIST)
    config = TrialConfig(learning_rate=0.01, epochs=5)
    longer = replace(config, epochs=10)
    fast = replace(longer, learning_rate=1.0)
    rows = sweep.rows(SLOW, 5)
    for row in rows:
        assert sweep.fates.take_up("slow", config, row) == ""
    for row in sweep.rows(FAST, 10):
        sweep.fates.take_up("fast", fast, row)
    reasons = [sweep.fates.take_up("longer", longer, row) for row in rows]
    assert reasons == ["", "", "", "", "slow"]
    assert sweep.fates.take_up("longer", longer, rows[4], repeated=True) == "slow"
    assert sweep.fates.take_up("longer", longer, rows[3], repeated=True) == ""


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
    scheduler = Asha(1, Run())
    config = {"trial": {"trial_id": "a"}}
    trial = SimpleNamespace(trial_id="tunes", config=config)
    # Tune does not ask about what ends the trial itself
    scheduler.on_trial_complete(None, trial, _NO_ROW)
    assert scheduler.propose("b", 1, 0.5) is False
    assert scheduler.propose("c", 1, 0.6) is True


class Stopped:
    """Made-up trials under ASHA, after the rows of a sweep that is resumed."""

    def __init__(self, rows=()):
        past = Past()
        past.rows = None
        if rows:
            past.rows = pd.DataFrame(rows, columns=["trial_id", "epoch", "train_loss"])
        self.asha = Asha(2, Run(past))
        self.asha.replay()

    def decide(self, trial, epoch, loss):
        row = {"epoch": epoch, "train_loss": loss}
        return self.asha.take_up(trial, TrialConfig(), row)


@pytest.mark.parametrize("loss", [math.nan, math.inf, 1e30, 5.0])
def test_asha_stops_a_diverged_trial(loss):
    trials = Stopped()
    assert trials.decide("a", 1, loss) == ""
    assert trials.decide("b", 1, 0.5) == ""
    assert trials.decide("b", 2, 0.5) == ""
    assert trials.decide("a", 2, loss) == "asha"
    assert trials.decide("c", 2, 0.4) == ""


def run(trials, curves, stopped, epochs):
    """Run one epoch of every trial after the other. Return the decisions by (trial,
    epoch), and the rows."""
    decisions = {}
    rows = []
    for epoch in epochs:
        for trial, losses in curves.items():
            if trial in stopped:
                continue
            loss = losses[epoch - 1]
            decision = trials.decide(trial, epoch, loss)
            decisions[trial, epoch] = decision
            rows.append({"trial_id": trial, "epoch": epoch, "train_loss": loss})
            if decision:
                stopped.add(trial)
    return decisions, rows


LOSSES_OF_A_TRIAL = st.lists(LOSSES, min_size=7, max_size=7)


@settings(max_examples=50)
@given(st.lists(LOSSES_OF_A_TRIAL, min_size=2, max_size=6), st.integers(1, 6))
def test_asha_decides_the_same_after_a_resume(losses, cut):
    curves = {f"{i:05d}": values for i, values in enumerate(losses)}
    uninterrupted = Stopped()
    stopped = set()
    _, rows = run(uninterrupted, curves, stopped, range(1, cut + 1))
    running = {trial: curves[trial] for trial in curves if trial not in stopped}
    rest = range(cut + 1, 8)
    expected, _ = run(uninterrupted, running, set(), rest)
    resumed, _ = run(Stopped(rows), running, set(), rest)
    assert resumed == expected


@dataclass
class Report:
    """What a trial of its own rate and seed reports."""

    number: int
    curve: np.ndarray
    epoch: int

    @property
    def rate(self):
        """Two trials have the same."""
        return 10.0 ** -(self.number // 2)

    def to(self, sweep, **options):
        """Tell a sweep, and return what it says."""
        return sweep.report(
            str(self.number),
            self.curve,
            self.epoch,
            self.rate,
            seed=self.number,
            **options,
        )


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
    curves = []
    for _ in range(9):
        curve = random.choice([FAST, SLOW, LATE, LEVEL, WILD, CHANCE])
        curves.append(curve[: random.choice([6, 10])])
    sweep = Sweep(epoch_row, data)
    reports = []
    epochs = [0] * len(curves)
    while waiting := [i for i, curve in enumerate(curves) if epochs[i] < len(curve)]:
        i = random.choice(waiting)
        epochs[i] += 1
        report = Report(i, curves[i], epochs[i])
        verdict = report.to(sweep, proposed=random.random() < 0.5)
        anew = Sweep(epoch_row, data)
        for earlier in reports:
            earlier.to(anew)
        for alike, setting in sweep.fates._settings.items():
            same_setting = anew.fates._settings.setdefault(
                alike, Configuration(setting.siblings)
            )
            same_setting.is_proposed |= setting.is_proposed
        # else a seed decided before
        if not any(has_the_same_epoch(earlier, report) for earlier in reports):
            assert report.to(anew) == verdict
        reports.append(report)


def has_the_same_epoch(report, other):
    """Whether another seed of the rate has reported the epoch."""
    return (report.epoch, report.rate) == (other.epoch, other.rate)


@pytest.mark.parametrize("reports", [1, 4])
def test_a_trial_that_runs_its_course_stops_no_seed_of_its_setting(sweep, reports):
    """As `--patience` ends it, perhaps within an epoch: nothing is decided then."""
    sweep.fates._verdict = lambda trial_id, setting: "slow"
    for epoch in (1, 2, 3, 4):
        sweep.report("over", CHANCE, epoch, rate=0.01, reports=reports)
        sweep.report("seed", CHANCE, epoch, rate=0.01, seed=1, reports=reports)
    sweep.proposed = True
    row = sweep.row(5, CHANCE[4]) | {"stop_reason": "patience"}
    assert sweep.fates.take_up("over", None, row) == ""
    more = {"rate": 0.01, "seed": 1, "reports": reports}
    assert sweep.report("seed", CHANCE, 5, **more) == ""
    assert sweep.report("seed", CHANCE, 6, proposed=True, **more) == "slow"
