"""The regime of each trial: one ordered list of questions about its own curve, then one
pass over its family, which changes what the curve left open (`docs/regimes.md`)."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from mnist_tune.regimes.curve import Curve, curves_of, median
from mnist_tune.regimes.data_facts import DataFacts
from mnist_tune.regimes.divergence import PATIENCE
from mnist_tune.regimes.evidence import evidence
from mnist_tune.regimes.families import groups_of_siblings, varied
from mnist_tune.regimes.forecast import (
    SOONEST,
    Forecast,
    epochs_to,
    forecast,
    reached,
    rises,
    target_from,
    target_of,
)
from mnist_tune.regimes.learned_share import Loss, as_share, least_loss
from mnist_tune.regimes.limits import (
    CLEARLY,
    FAR,
    HALF,
    LEARNED,
    LEVEL,
    OFTEN,
    PLATEAU,
    TREND,
    VISIBLE,
)
from mnist_tune.regimes.noise import SIGMAS
from mnist_tune.regimes.reasons import Label, Reason, Sibling
from mnist_tune.regimes.statistics import (
    above_for_good,
    drop,
    flat,
    hardly_begun,
    higher,
    lasts,
    late_in_few,
    late_pace,
    memorising,
    shaken,
    since_when,
    slips,
    stuck,
    unmoved,
)

REGIMES = (
    "converged",
    "slow",
    "oscillating",
    "diverged",
    "underfit",
    "overfit",
    "undecided",
)

LABELLED = (
    "curve_regime",
    "regime",
    "reason",
    "regime_evidence",
    "target",
    "reaches",
    "reaches_from",
    "reaches_to",
)
"""The columns that `label_trials` adds."""

STOPPED = {"slow": "slow", "dead": "diverged"}
"""The label of a trial that early stopping has stopped, by the reason, where its curve
alone can't tell."""

FEW_ENDS = 16
"""Shares that were learned are made anew each time that one in so many trials has ended
since."""

# --- what a curve shows


def curve_regime(curve: Curve, target: float | None = 0.95) -> Label:
    """Return the label that a trial's own curve shows, given the score of a network
    that has learned the data set. If that is None, no curve is converged."""
    if not curve.epochs:
        return Label.of("undecided", Reason.NO_EPOCH)
    goal = math.inf if target is None else target
    for _, ask in QUESTIONS:
        label = ask(curve, goal)
        if label is not None:
            return label
    if curve.share_noise == math.inf:
        return Label.of("undecided", Reason.NOTHING_KNOWN)
    label = below(curve, goal)
    is_best_known = not curve.data.by_accuracy and curve.data.target is None
    if label.regime == "underfit" and is_best_known:
        # the best trial may have learned all there is
        return replace(label, regime="undecided")
    return label


def gone(curve: Curve, goal: float) -> Label | None:
    """Is the loss gone for good, or what was learned, or the network dead?"""
    return is_blown_up(curve) or fell_back(curve) or dead(curve)


def is_blown_up(curve: Curve) -> Label | None:
    """Is the training loss not finite, or above that of the untrained network for
    good?"""
    losses = curve.train_loss
    if losses is None:
        return None
    loss = losses[-1]
    if loss <= curve.calm_limit:
        return None
    if np.isfinite(loss) and not curve.has_diverged and not _ended_above(curve):
        return None
    goes_on = False
    since = curve.above_since
    if since and not curve.has_diverged:
        goes_on = curve.steps * curve.epochs - since < PATIENCE
    return Label.of(
        "diverged",
        Reason.LOSS_ABOVE_UNTRAINED,
        loss=loss,
        untrained=curve.untrained_loss,
        above_since=since,
        goes_on=goes_on,
    )


def _ended_above(curve: Curve) -> bool:
    """Return whether a trial ended guessing, with its loss above the untrained one."""
    guesses = curve.score[-1] <= curve.ceiling
    return bool(curve.complete and guesses and above_for_good(curve))


def fell_back(curve: Curve) -> Label | None:
    """Is what was learned lost: is it back at chance, or has it kept less than
    `LEARNED` of it for `TREND` epochs?"""
    score = curve.score
    best = curve.data.learned(score.max())
    if best < LEARNED or unmoved(curve) or not drop(curve, 0):
        return None
    if score[-1] <= curve.ceiling and lasts(curve):
        return Label("diverged", Reason.FELL_TO_CHANCE, best_and_last(curve))
    late = curve.data.learned(score[-TREND:].max())
    is_for_good = curve.complete or TREND * curve.steps >= PATIENCE
    if late < LEARNED * best and is_for_good:
        return Label("diverged", Reason.COLLAPSED, best_and_last(curve))
    return None


def dead(curve: Curve) -> Label | None:
    """Does the network guess, and learn nothing, after a spike?"""
    if not stuck(curve):
        return None
    spiked = curve.complete
    if curve.train_loss is not None:
        spiked = bool(curve.spikes().any())
    if not spiked:
        return None
    since = since_when(curve)
    return Label.of("diverged", Reason.DEAD, since=since, last=curve.score[-1])


def restless(curve: Curve, goal: float) -> Label | None:
    """Are spikes or drops frequent in the last half of the epochs, or, below the
    target, smaller falls twice as frequent? Or did it end with a drop that it has not
    recovered from?"""
    spikes = curve.spikes()[1:]
    loss = curve.train_loss
    if loss is not None and not spikes.any():
        gains = np.diff(loss, prepend=curve.untrained)
        if (gains < 0).all():
            # the score may still jump, as where the running statistics of batch norm
            # lag
            return None
    if unmoved(curve):
        return None
    if curve.score.max() <= curve.ceiling:
        return None
    if curve.score[-1] <= curve.ceiling and not curve.complete:
        return None  # it may come back
    drops = curve.falls > np.maximum(VISIBLE, curve.falls_noise)
    label = _unstable(curve, spikes, drops) or _falling_often(curve, goal)
    return label or _ended_low(curve, goal, drops)


def _unstable(curve: Curve, spikes: np.ndarray, drops: np.ndarray) -> Label | None:
    """Are spikes or drops frequent in the last half of the epochs?"""
    events = spikes | drops
    half = int(HALF * len(events))
    late = events[-max(PLATEAU, half) :]
    if late.sum() < 2 or late.mean() <= OFTEN:
        return None
    peak = None
    if spikes.any():
        losses = curve.peak[1:]
        peak = curve.peak_of(losses[spikes].max())
    return Label.of(
        "oscillating",
        Reason.UNSTABLE,
        events=events.sum(),
        epochs=len(events),
        fall=curve.falls.max(),
        peak=peak,
    )


def _falling_often(curve: Curve, goal: float) -> Label | None:
    """Are falls, of which some are small, frequent below the target?"""
    falls = slips(curve)
    loss = curve.train_loss
    if loss is not None:  # it confirms what the noise of few images hides
        rises = loss[1:] > loss[:-1]
        falls |= (curve.falls > VISIBLE) & rises
    epochs = len(falls)
    count = falls.sum()
    if FAR * count < max(2 * FAR, epochs):
        return None
    if (curve.score[-TREND:] >= goal).all():
        return None
    return Label.of(
        "oscillating",
        Reason.FALLS_OFTEN,
        falls=count,
        epochs=epochs,
        low=curve.score.min(),
        high=curve.score.max(),
    )


def _ended_low(curve: Curve, goal: float, drops: np.ndarray) -> Label | None:
    """Did it end below the target with a drop that it has not recovered from?"""
    if not curve.complete or curve.epochs < PLATEAU or not drop(curve):
        return None
    since_best = drops[curve.score.argmax() :]
    if not since_best.any() or goal - curve.score[-1] <= VISIBLE:
        return None
    return Label("oscillating", Reason.ENDED_LOW, best_and_last(curve))


def there(curve: Curve, goal: float) -> Label | None:
    """Is the median of the last three epochs at the target? Fewer epochs must be beyond
    it by more than noise."""
    settled, last = curve.settled, curve.score[-1]
    sure = settled
    if curve.epochs < TREND:
        sure = settled - SIGMAS * curve.noise(settled)
    if sure < goal or goal - last > VISIBLE or not _is_steady(curve, goal):
        return None
    over = 1
    if settled > last:
        over = min(curve.epochs, TREND)
    early = None
    if curve.spikes(CLEARLY)[0]:
        early = curve.peak_of(curve.peak[0])
    return Label.of(
        "converged",
        Reason.AT_TARGET,
        reached=max(settled, last),
        goal=goal,
        over=over,
        early=early,
    )


def _is_steady(curve: Curve, goal: float) -> bool:
    """Return whether a curve has not slipped of late, or hardly left its target."""
    if curve.ended or not slips(curve)[-TREND + 1 :].any():
        return True
    below = curve.score[-PLATEAU:] < goal
    return bool(below.sum() <= 1)


QUESTIONS: tuple[tuple[str, Callable[[Curve, float], Label | None]], ...] = (
    ("diverged", gone),
    ("overfit", memorising),
    ("oscillating", restless),
    ("converged", there),
)
"""The regimes that a curve is asked for, in this order. The first question that has an
answer gives the label."""


def below(curve: Curve, goal: float) -> Label:
    """Where does the law of a curve lead that is below the target?"""
    last = curve.score[-1]
    loss = curve.train_loss
    if loss is not None and hardly_begun(curve):
        untrained = curve.untrained_loss
        return Label.of("slow", Reason.HARDLY_BEGUN, loss=loss[-1], untrained=untrained)
    if curve.complete and late_in_few(curve, goal):
        far = FAR * curve.epochs
        return Label.of("slow", Reason.LATE_AT_BEST, last=last, goal=goal, epochs=far)
    if curve.ended:
        if math.isfinite(goal):
            return Label.of("underfit", Reason.SCHEDULE_ENDED, last=last)
        reason = Reason.SCHEDULE_ENDED_WITHOUT_TARGET
        return Label.of("undecided", reason, last=last)
    if curve.epochs < PLATEAU:
        reason = Reason.TOO_FEW_EPOCHS
        return Label.of("undecided", reason, epochs=curve.epochs, last=last)
    if curve.score.max() < goal:
        return _by_law(curve, goal)
    if last >= goal:
        return Label.of("undecided", Reason.NOT_STEADY, last=last, goal=goal)
    return Label("undecided", Reason.LEFT_TARGET, best_and_last(curve))


def _by_law(curve: Curve, goal: float) -> Label:
    """Return the label of a curve with enough epochs for a law, which has never been at
    the target."""
    last = curve.score[-1]
    ahead = forecast(curve, goal)
    is_flat = flat(curve)
    pace, noise = late_pace(curve)
    numbers = {"last": last, "goal": goal, "forecast": None}
    if math.isinf(goal) and not is_flat and rises(curve):
        return Label("undecided", Reason.ON_ITS_WAY, numbers)
    levels_off = ahead.fastest < LEVEL and pace < HALF
    if curve.complete and (is_flat or levels_off):
        return _levelled_off(curve)
    may_slow_down = pace - noise < HALF or not curve.complete
    may_level_off = ahead.slowest < LEVEL and may_slow_down
    if is_flat or may_level_off:
        reason = Reason.LEVEL_OR_SLOW
        return Label.of("undecided", reason, last=last, epochs=curve.epochs)
    if shaken(curve):
        return Label.of("undecided", Reason.JUMPS_RARELY, last=last)
    if math.isinf(goal):
        return Label.of("undecided", Reason.NO_TARGET, last=last)
    numbers["forecast"] = ahead
    if curve.complete and ahead.likely > FAR * curve.epochs:
        return Label("slow", Reason.LATE, numbers)
    return Label("undecided", Reason.ON_ITS_WAY, numbers)


def _levelled_off(curve: Curve) -> Label:
    """Return the label of a complete curve that is level at its end."""
    if not drop(curve, 0):
        return Label.of("underfit", Reason.LEVELLED_OFF, last=curve.score[-1])
    regime = "undecided"
    if curve.score.argmax() < HALF * curve.epochs:
        regime = "underfit"
    return Label(regime, Reason.DECLINING, best_and_last(curve))


def best_and_last(curve: Curve) -> dict[str, Any]:
    """Return the best score, its epoch, and the last one."""
    best = int(curve.score.argmax())
    return {"best": curve.score[best], "epoch": best + 1, "last": curve.score[-1]}


# --- what siblings show


@dataclass(frozen=True)
class Trial:
    """A trial among its siblings. What its own curve shows is worked out when it is
    asked for."""

    rate: float
    momentum: float
    curve: Curve
    target: float | None = None
    # those in which siblings differ, but for the rate
    settings: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def speed(self) -> float:
        """Learning rate per image, `rate / batch_size / (1 - momentum)`: at equal
        speeds, trials go equally far in an epoch while steps are small (the linear
        scaling of Goyal et al. 2017)."""
        speed = self.rate / self.curve.batch_size / (1 - self.momentum)
        return float(f"{speed:.12g}")  # equal but for rounding is equal

    @cached_property
    def own(self) -> Label:
        return curve_regime(self.curve, self.target)

    @cached_property
    def reaches(self) -> Forecast | None:
        return reached(self.curve, self.target, self.own.regime)

    @property
    def since(self) -> float:
        """The epoch since which it has been at the target; infinite if it has not
        converged."""
        if self.own.regime != "converged" or self.reaches is None:
            return math.inf
        return self.reaches.likely


class Family:
    """The trials of one network on the same labels, by name, and what they say of each
    other. A verdict while they run costs no more than the curves that are new.

    Args:
        running: whether their target may follow from trials that run, before any has
            run all its epochs (`target_of`).
    """

    def __init__(self, running: bool = True) -> None:
        self._running = running
        self._rows: dict[Hashable, int] = {}
        self._curves: list[Curve] = []
        self._trials: list[Trial] = []
        """Where there is no accuracy, with shares that were learned."""
        # Of each trial, as arrays: a sweep asks while its trials run, at every row.
        self._speed = array("d")
        self._settled = array("d")
        self._held_out = array("d")
        self._learned = bytearray()
        self._no_measure = bytearray()
        self._target: float | None = None
        self._loss: Loss | None = None
        self._leading: list[int] = []
        """The trials that the target follows from."""
        self._ended: set[int] = set()
        """Those that have ended since it was asked for."""
        self._is_stale = True
        """Whether it is to be asked of all, as are the shares."""
        self._ends = 0
        """How many trials have ended."""
        self._shared = 0
        """How many had when the shares were made."""

    def put(self, name: Hashable, trial: Trial) -> None:
        """Take up a trial as it is so far."""
        curve = trial.curve
        row = self._rows.get(name)
        if row is None:
            row = self._add(name, trial)
        elif self._curves[row].complete:
            # the target may follow from what it was
            self._is_stale = True
        self._is_stale |= self._running
        if curve.complete:
            self._ended.add(row)
            self._ends += 1
            ends_since = self._ends - self._shared
            if not curve.data.by_accuracy and FEW_ENDS * ends_since >= self._ends:
                self._is_stale = True
        self._curves[row] = curve
        self._set(row, replace(trial, curve=as_share(curve, self._loss)))

    def _add(self, name: Hashable, trial: Trial) -> int:
        """Make room for a trial, and return its row."""
        row = self._rows[name] = len(self._rows)
        self._curves.append(trial.curve)
        self._trials.append(trial)
        for column in (self._speed, self._settled, self._held_out):
            column.append(0.0)
        self._learned.append(False)
        self._no_measure.append(False)
        return row

    def _set(self, row: int, trial: Trial) -> None:
        curve = trial.curve
        self._trials[row] = trial
        self._speed[row] = trial.speed
        self._settled[row] = curve.settled
        self._held_out[row] = curve.held_out_settled
        self._learned[row] = has_learned(curve)
        self._no_measure[row] = False

    def trial(self, name: Hashable) -> Trial:
        """Return a trial with what its family says of its target."""
        if self._is_stale:
            self._ended.update(self._rows.values())
            self._shared = self._ends
            if not self._curves[0].data.by_accuracy:
                self._make_shares()
        if self._ended:
            self._ask_for_target()
            self._ended.clear()
            self._is_stale = False
        return self._at(self._rows[name])

    def _make_shares(self) -> None:
        """Make the shares that were learned anew, by the losses so far."""
        self._loss = least_loss(self._curves)
        for row, curve in enumerate(self._curves):
            share = as_share(curve, self._loss)
            self._set(row, replace(self._trials[row], curve=share))

    def _ask_for_target(self) -> None:
        """Work out the target: it can only follow from what it followed from before, or
        from what has ended since."""
        rows = sorted({*self._leading, *self._ended})
        curves = [self._trials[row].curve for row in rows]
        self._target, leading = target_of(curves, self._running)
        leaders = {id(curve) for curve in leading}
        self._leading = []
        for row, curve in zip(rows, curves, strict=True):
            if id(curve) in leaders:
                self._leading.append(row)

    def _at(self, row: int) -> Trial:
        """Return a trial with the target that is known now."""
        trial = self._trials[row]
        if trial.target != self._target:
            trial = replace(trial, target=self._target)
            self._trials[row] = trial
        return trial

    def label(self, name: Hashable) -> Label:
        """Return the label of a trial."""
        trial = self.trial(name)
        label = self._compared(trial)
        if label.regime == "oscillating":
            return self._level(trial) or label
        return label

    def level_loss(self, name: Hashable) -> float:
        """Return the loss at which a trial stays, as a guess of unknown loss would; NaN
        if it does not."""
        trial = self.trial(name)
        loss = trial.curve.train_loss
        if loss is None or self._level(trial) is None:
            return math.nan
        return median(loss[-TREND:])

    def _level(self, trial: Trial) -> Label | None:
        """A trial of a task that is level within noise, and lower than one at a smaller
        rate: perhaps it guesses, but the loss of a guess is not known."""
        curve = trial.curve
        if curve.data.by_accuracy or math.isfinite(curve.guess):
            return None
        best = self._best_not_faster(trial)
        if best is None:
            return None
        late = late_half(curve)
        noise = SIGMAS * curve.noise(late[0], late[-1])
        if np.ptp(late) > noise or not higher(best.curve, curve, trial.target):
            return None
        return Label("undecided", Reason.BEHIND, behind(trial, best))

    def _best_not_faster(self, trial: Trial) -> Trial | None:
        """Return the best trial at a rate that is not larger than that of one with
        enough epochs for a plateau, all that it was to run or a late half of `PATIENCE`
        steps."""
        curve = trial.curve
        late_steps = HALF * curve.epochs * curve.steps
        lasts = curve.complete or late_steps >= PATIENCE
        if not lasts or curve.epochs < PLATEAU:
            return None
        return self._best(self._speeds <= trial.speed, self._settled)

    def _compared(self, trial: Trial) -> Label:
        """Return the label of a trial among its siblings."""
        own, curve = trial.own, trial.curve
        diverged = own.regime == "diverged"
        if any(self._learned) and (diverged or stuck(curve)):
            return self._lost(trial)
        if not diverged and not curve.data.by_accuracy:
            lost = self._plateau(trial)
            if lost is not None:
                return lost
        is_open = own.regime in ("slow", "underfit", "undecided")
        if not is_open or curve.epochs < TREND:
            return own
        if trial.target is not None and curve.score[-1] >= trial.target:
            return own
        return self._late(trial) or self._outdone(trial) or own

    def may_end(self, name: Hashable) -> bool:
        """Return whether a trial that runs may be slow or diverged for good: it is at
        chance, or its loss is above the untrained one, or it will be late. To ask costs
        little beside `label`; most are none of that."""
        trial = self.trial(name)
        curve = trial.curve
        loss = curve.train_loss
        has_begun = loss is None or loss[-1] <= curve.untrained
        if not has_begun or curve.score[-1] <= curve.ceiling:
            return True
        return self._late(trial) is not None

    def _lost(self, trial: Trial) -> Label:
        """A trial at chance, while others learned: dead, but slow if its rate is not
        above the least that learned."""
        curve, own = trial.curve, trial.own
        learned = np.frombuffer(self._learned, bool)
        slowest = self._speeds[learned].min()
        if own.regime == "diverged":
            loss = curve.train_loss
            is_finite = loss is None or np.isfinite(loss[-1])
            if trial.speed >= slowest or not is_finite:
                return own
        best = self._at(self._first(learned, self._settled))
        numbers = {
            "own": own,
            "best": best.curve.score.max(),
            "sibling": sibling(best, trial),
        }
        if curve.score[-1] <= curve.ceiling:
            numbers["own"] = None
        if trial.speed <= slowest:
            return Label("slow", Reason.AT_CHANCE_BESIDE_OTHERS, numbers)
        numbers["since"] = since_when(curve)
        return Label("diverged", Reason.DEAD_BESIDE_OTHERS, numbers)

    def _plateau(self, trial: Trial) -> Label | None:
        """A trial of a task, at no smaller rate than the best one's, that stays far
        below that, or gained nothing since its first epoch: there a loss says no more
        than that of a guess, which only a slower rate, or another seed, left."""
        best = self._best_not_faster(trial)
        if best is None:
            return None
        curve = trial.curve
        late = late_half(curve)
        stays = np.ptp(late) <= FAR * VISIBLE
        gained = curve.settled - curve.score[0] > VISIBLE
        is_lost = stays or not gained
        if not is_lost or best.curve.settled - late.max() < LEARNED:
            return None
        losses = curve.train_loss
        loss = math.nan
        if losses is not None:
            loss = losses[-1]
        numbers = {"loss": loss, "stays": bool(stays), **behind(trial, best)}
        return Label("diverged", Reason.PLATEAU_BESIDE_OTHERS, numbers)

    def _late(self, trial: Trial) -> Label | None:
        """A calm trial will be late beside a faster one: it takes `FAR` times the
        epochs to the target or, while it runs, will at its end neither be at the target
        nor as good as the other is on held-out images by now."""
        faster = self._speeds > trial.speed
        if trial.curve.complete:
            return self._late_beside(trial, faster)
        return self._will_be_late(trial, faster)

    def _will_be_late(self, trial: Trial, faster: np.ndarray) -> Label | None:
        """A trial that runs will, at its end, neither be at the target nor as good as
        the best faster one is by now."""
        curve = trial.curve
        if curve.epochs * SOONEST <= curve.epochs_asked:
            return None
        best = self._best(faster, self._held_out)
        if best is None or not higher(best.curve, curve, trial.target):
            return None
        goal = best.curve.held_out_settled
        goal -= SIGMAS * float(curve.noise(goal, images=curve.held_out_count))
        # without a target, that which the other would set
        target = trial.target
        if target is None:
            target = target_from(best.curve)
        ahead = forecast(curve, min(goal, target))
        if ahead.earliest <= curve.epochs_asked or shaken(curve):
            return None
        return Label("slow", Reason.BEHIND, behind(trial, best))

    def _late_beside(self, trial: Trial, faster: np.ndarray) -> Label | None:
        """A trial that ended takes far more epochs to the target than a faster one."""
        reaches = trial.reaches
        if reaches is None or shaken(trial.curve):
            return None
        rivals = [self._at(row) for row in np.flatnonzero(faster).tolist()]
        if not rivals:
            return None
        # of those that got there at once, the fastest
        first = min(rivals, key=lambda rival: (rival.since, -rival.speed))
        if reaches.likely <= FAR * first.since:
            return None
        return Label.of(
            "slow",
            Reason.LATE_BESIDE_FASTER,
            goal=trial.target,
            forecast=reaches,
            sibling=sibling(first, trial),
            did=first.reaches,
        )

    def _outdone(self, trial: Trial) -> Label | None:
        """A trial that ended lower than the best: slow if that is faster and, if it is
        slower, oscillating where the score goes to and fro. A network of which a
        slower trial got there is not too small: its rate is too high."""
        curve, own = trial.curve, trial.own
        if own.regime == "undecided" and not curve.complete:
            return None
        best = self._best(self._speeds != trial.speed, self._settled)
        if best is None:
            return None
        if own.reason is Reason.ON_ITS_WAY and self._is_in_time(trial, best):
            return None
        is_slower = best.speed < trial.speed
        is_underfit = own.regime == "underfit"
        got_there = is_slower and is_underfit and best.own.regime == "converged"
        if not got_there and not higher(best.curve, curve, trial.target):
            return None
        numbers = behind(trial, best)
        if not is_slower:
            return Label("slow", Reason.BEHIND, numbers)
        if goes_to_and_fro(curve) and curve.score.max() > curve.ceiling:
            return Label("oscillating", Reason.RISES_AND_FALLS, numbers)
        return Label("undecided", Reason.BEHIND, numbers)

    def _is_in_time(self, trial: Trial, best: Trial) -> bool:
        """Return whether a trial on its way gets there in time. Without a target, that is
        the one that would follow from what the best one has now."""
        if trial.target is not None:
            return True
        ahead = forecast(trial.curve, target_from(best.curve))
        return ahead.likely <= FAR * trial.curve.epochs

    def _best(self, rows: np.ndarray, scores: array[float]) -> Trial | None:
        """Return which of these rows has the highest score. What diverged or
        memorised is no measure."""
        while True:
            no_measure = np.frombuffer(self._no_measure, bool)
            row = self._first(rows & ~no_measure, scores)
            if row < 0:
                return None
            trial = self._at(row)
            if trial.own.regime not in ("diverged", "overfit"):
                return trial
            self._no_measure[row] = True

    def _first(self, rows: np.ndarray, scores: array[float]) -> int:
        """Return which of these rows has the highest score: of equal ones, the
        fastest; -1 if there is none."""
        score = np.where(rows, np.frombuffer(scores), -np.inf)
        is_best = rows & (score == np.fmax.reduce(score))
        best = np.flatnonzero(is_best)
        if not len(best):
            return -1
        return int(best[self._speeds[best].argmax()])

    @property
    def _speeds(self) -> np.ndarray:
        return np.frombuffer(self._speed)


def has_learned(curve: Curve) -> bool:
    """Return whether a curve shows that the network has learned something."""
    if not curve.epochs:
        return False
    share = curve.data.learned(curve.score.max())
    return bool(share >= LEARNED) and not unmoved(curve)


def late_half(curve: Curve) -> np.ndarray:
    """Return the scores of the late half of a curve, and the one before."""
    return curve.score[-1 - round(HALF * curve.epochs) :]


def goes_to_and_fro(curve: Curve) -> bool:
    """Return whether a score falls visibly in a third of the epochs, or clearly in
    two."""
    visible = curve.falls > VISIBLE / FAR
    least = max(2 * FAR, len(visible))
    if FAR * visible.sum() >= least:
        return True
    return bool(slips(curve).sum() >= 2)


def sibling(best: Trial, trial: Trial) -> Sibling:
    """Return a trial that another one is compared with."""
    differing = {}
    for name, theirs in best.settings.items():
        ours = trial.settings[name]
        if theirs != ours:
            differing[name] = theirs, ours
    return Sibling(best.rate, differing)


def behind(trial: Trial, best: Trial) -> dict[str, Any]:
    """Return the scores of two trials after as many epochs."""
    epochs = min(trial.curve.epochs, best.curve.epochs)
    last = epochs - 1
    return {
        "last": trial.curve.score[last],
        "epochs": epochs,
        "sibling": sibling(best, trial),
        "theirs": best.curve.score[last],
    }


def label_trials(
    trials: pd.DataFrame, epochs: pd.DataFrame, data: DataFacts
) -> pd.DataFrame:
    """Return `trials` with `LABELLED`: the label that follows from a trial's own curve;
    the one that also uses its siblings, its reason and the evidence; the target, and when it is
    reached. Where the data set has no target, that follows from the siblings that ran
    all their epochs; before there are any, from those that run."""
    running = pd.Series("", trials.index)
    stopped = trials.get("stop_reason", running).tolist()
    answers: list[tuple[Any, ...]] = [()] * len(trials)
    for rows, family in _families(trials, epochs, data):
        for row in rows:
            answers[row] = _answer(family, row, stopped[row])
    columns = {}
    for i, name in enumerate(LABELLED):
        columns[name] = [answer[i] for answer in answers]
    return trials.assign(**columns)


def _answer(family: Family, row: int, stopped: Any) -> tuple[Any, ...]:
    """Return the values of `LABELLED` for a trial, given why it stopped."""
    trial = family.trial(row)
    label = family.label(row)
    # a resume asks for more epochs
    if label.regime == "undecided" and stopped in STOPPED:
        label = replace(label, regime=STOPPED[stopped], stopped=stopped)
    own = trial.own.regime
    reaches = trial.reaches
    if label.regime != own:
        reaches = reached(trial.curve, trial.target, label.regime)
    target = trial.target
    if target is None:
        target = math.nan
    text = evidence(label, trial.curve.measure)
    likely, earliest, latest = epochs_to(reaches, label.regime)
    return (
        own,
        label.regime,
        label.reason.value,
        text,
        target,
        likely,
        earliest,
        latest,
    )


def level_losses(
    trials: pd.DataFrame, epochs: pd.DataFrame, data: DataFacts
) -> np.ndarray:
    """Return for each row of `trials` the loss at which it stays while smaller rates
    learn, where that may be a guess's of unknown loss; NaN for the others."""
    losses = np.full(len(trials), math.nan)
    if data.by_accuracy:
        return losses
    for rows, family in _families(trials, epochs, data):
        for row in rows:
            losses[row] = family.level_loss(row)
    return losses


def _families(
    trials: pd.DataFrame, epochs: pd.DataFrame, data: DataFacts
) -> Iterator[tuple[Any, Family]]:
    """Yield the rows of each family of `trials`, and the family with their curves."""
    curves = list(curves_of(trials, epochs, data))
    rates = list(trials["learning_rate"])
    momenta = list(trials["momentum"])
    # By "index", since pandas 2 makes no records of a table without columns: of a sweep
    # over rates alone.
    settings = trials[varied(trials)].reset_index(drop=True).to_dict("index")
    for rows in groups_of_siblings(trials):
        family = Family()
        for row in rows:
            trial = Trial(rates[row], momenta[row], curves[row], settings=settings[row])
            family.put(row, trial)
        yield rows, family
