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
    loss = curve.train_loss
    if loss is None or loss[-1] <= curve.calm_limit:
        return None
    flagged = curve.diverged is not None and bool(curve.diverged[-1])
    guesses = curve.score[-1] <= curve.ceiling
    ended_there = curve.complete and guesses and above_for_good(curve)
    if not (flagged or ended_there or not np.isfinite(loss[-1])):
        return None
    goes_on = False
    if curve.above_since and not flagged:
        goes_on = curve.steps * curve.epochs - curve.above_since < PATIENCE
    return Label.of(
        "diverged",
        Reason.LOSS_ABOVE_UNTRAINED,
        loss=loss[-1],
        untrained=curve.untrained_loss,
        above_since=curve.above_since,
        goes_on=goes_on,
    )


def fell_back(curve: Curve) -> Label | None:
    """Is what was learned lost: is it back at chance, or has it kept less than
    `LEARNED` of it for `TREND` epochs?"""
    best = curve.data.learned(curve.score.max())
    if best < LEARNED or unmoved(curve) or not drop(curve, 0):
        return None
    if curve.score[-1] <= curve.ceiling and lasts(curve):
        return Label("diverged", Reason.FELL_TO_CHANCE, best_and_last(curve))
    late = curve.score[-TREND:]
    kept_little = curve.data.learned(late.max()) < LEARNED * best
    if kept_little and (curve.complete or TREND * curve.steps >= PATIENCE):
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
    since, last = since_when(curve), curve.score[-1]
    return Label.of("diverged", Reason.DEAD, since=since, last=last)


def restless(curve: Curve, goal: float) -> Label | None:
    """Are spikes or drops frequent in the last half of the epochs, or, below the
    target, smaller falls twice as frequent? Or did it end with a drop that it has not
    recovered from?"""
    falls, spikes, loss = curve.falls, curve.spikes()[1:], curve.train_loss
    falling = (
        loss is not None
        and (np.diff(loss, prepend=curve.untrained) < 0).all()
        and not spikes.any()
    )
    if falling or unmoved(curve):
        # the score may still jump, as where the running statistics of batch norm lag
        return None
    if curve.score.max() <= curve.ceiling or (
        curve.score[-1] <= curve.ceiling and not curve.complete
    ):
        return None  # it may come back
    drops, small = falls > np.maximum(VISIBLE, curve.falls_noise), slips(curve)
    if loss is not None:  # it confirms what the noise of few images hides
        small |= (falls > VISIBLE) & (loss[1:] > loss[:-1])
    events = spikes | drops
    late = events[-max(PLATEAU, int(HALF * len(events))) :]
    if late.sum() >= 2 and late.mean() > OFTEN:
        peak = None
        if spikes.any():
            peak = curve.peak_of(curve.peak[1:][spikes].max())
        return Label.of(
            "oscillating",
            Reason.UNSTABLE,
            events=events.sum(),
            epochs=len(falls),
            fall=falls.max(),
            peak=peak,
        )
    if (
        FAR * small.sum() >= max(2 * FAR, len(small))
        and not (curve.score[-TREND:] >= goal).all()
    ):
        return Label.of(
            "oscillating",
            Reason.FALLS_OFTEN,
            falls=small.sum(),
            epochs=len(small),
            low=curve.score.min(),
            high=curve.score.max(),
        )
    lost = (
        curve.complete
        and curve.epochs >= PLATEAU
        and drop(curve)
        and drops[curve.score.argmax() :].any()
    )
    if lost and goal - curve.score[-1] > VISIBLE:
        return Label("oscillating", Reason.ENDED_LOW, best_and_last(curve))
    return None


def there(curve: Curve, goal: float) -> Label | None:
    """Is the median of the last three epochs at the target? Fewer epochs must be beyond
    it by more than noise."""
    noise = 0 if curve.epochs >= TREND else SIGMAS * curve.noise(curve.settled)
    steady = (
        curve.ended
        or not slips(curve)[-TREND + 1 :].any()
        or (curve.score[-PLATEAU:] < goal).sum() <= 1
    )
    settled, last = curve.settled, curve.score[-1]
    if not steady or settled - noise < goal or goal - last > VISIBLE:
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
    if curve.train_loss is not None and hardly_begun(curve):
        loss, untrained = curve.train_loss[-1], curve.untrained_loss
        return Label.of("slow", Reason.HARDLY_BEGUN, loss=loss, untrained=untrained)
    if curve.complete and late_in_few(curve, goal):
        far = FAR * curve.epochs
        return Label.of("slow", Reason.LATE_AT_BEST, last=last, goal=goal, epochs=far)
    if curve.ended and math.isinf(goal):
        reason = Reason.SCHEDULE_ENDED_WITHOUT_TARGET
        return Label.of("undecided", reason, last=last)
    if curve.ended:
        return Label.of("underfit", Reason.SCHEDULE_ENDED, last=last)
    if curve.epochs < PLATEAU:
        reason, epochs = Reason.TOO_FEW_EPOCHS, curve.epochs
        return Label.of("undecided", reason, epochs=epochs, last=last)
    if curve.score.max() >= goal:
        if last >= goal:
            return Label.of("undecided", Reason.NOT_STEADY, last=last, goal=goal)
        return Label("undecided", Reason.LEFT_TARGET, best_and_last(curve))
    ahead, level = forecast(curve, goal), flat(curve)
    pace, noise = late_pace(curve)
    if math.isinf(goal) and not level and rises(curve):
        numbers = {"last": last, "goal": goal, "forecast": None}
        return Label("undecided", Reason.ON_ITS_WAY, numbers)
    if curve.complete and (level or (ahead.fastest < LEVEL and pace < HALF)):
        if not drop(curve, 0):
            return Label.of("underfit", Reason.LEVELLED_OFF, last=last)
        is_early = curve.score.argmax() < HALF * curve.epochs
        regime = "underfit" if is_early else "undecided"
        return Label(regime, Reason.DECLINING, best_and_last(curve))
    if level or (ahead.slowest < LEVEL and (pace - noise < HALF or not curve.complete)):
        reason, epochs = Reason.LEVEL_OR_SLOW, curve.epochs
        return Label.of("undecided", reason, last=last, epochs=epochs)
    if shaken(curve):
        return Label.of("undecided", Reason.JUMPS_RARELY, last=last)
    if math.isinf(goal):
        return Label.of("undecided", Reason.NO_TARGET, last=last)
    numbers = {"last": last, "goal": goal, "forecast": ahead}
    if curve.complete and ahead.likely > FAR * curve.epochs:
        return Label("slow", Reason.LATE, numbers)
    return Label("undecided", Reason.ON_ITS_WAY, numbers)


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
        self._speed, self._settled, self._held_out = (array("d") for _ in range(3))
        self._learned, self._no_measure = bytearray(), bytearray()
        self._target: float | None = None
        self._loss: Loss | None = None
        self._leading, self._ended, self._is_stale = list[int](), set[int](), True
        """The trials that the target follows from, and those that have ended since it
        was asked for; whether it is to be asked of all, as are the shares."""
        self._ends, self._shared = 0, 0
        """How many trials have ended, and how many had when the shares were made."""

    def put(self, name: Hashable, one: Trial) -> None:
        """Take up a trial as it is so far."""
        row, curve = self._rows.setdefault(name, len(self._rows)), one.curve
        self._is_stale |= self._running or any(
            of.complete for of in self._curves[row : row + 1]
        )
        if curve.complete:
            self._ended.add(row)
            self._ends += 1
            self._is_stale |= (
                not curve.data.by_accuracy
                and FEW_ENDS * (self._ends - self._shared) >= self._ends
            )
        self._curves[row : row + 1] = [curve]
        self._set(row, replace(one, curve=as_share(curve, self._loss)))

    def _set(self, row: int, one: Trial) -> None:
        curve = one.curve
        learned = bool(
            curve.epochs
            and curve.data.learned(curve.score.max()) >= LEARNED
            and not unmoved(curve)
        )
        values = one, one.speed, curve.settled, curve.held_out_settled, learned, False
        columns: Any = (
            self._trials,
            self._speed,
            self._settled,
            self._held_out,
            self._learned,
            self._no_measure,
        )
        for column, value in zip(columns, values, strict=True):
            if row == len(column):
                column.append(value)
            column[row] = value

    def trial(self, name: Hashable) -> Trial:
        """Return a trial with what its family says of its target."""
        if self._is_stale:
            self._ended, self._shared = set(self._rows.values()), self._ends
            if not self._curves[0].data.by_accuracy:
                self._loss = least_loss(self._curves)
                for row, one in enumerate(self._trials):
                    self._set(
                        row, replace(one, curve=as_share(self._curves[row], self._loss))
                    )
        if self._ended:
            asked = {
                row: self._trials[row].curve
                for row in sorted({*self._leading, *self._ended})
            }
            self._target, leading = target_of([*asked.values()], self._running)
            self._leading = [
                row
                for row, curve in asked.items()
                if any(curve is one for one in leading)
            ]
            self._ended, self._is_stale = set(), False
        return self._at(self._rows[name])

    def _at(self, row: int) -> Trial:
        """Return a trial with the target that is known now."""
        if self._trials[row].target != self._target:
            self._trials[row] = replace(self._trials[row], target=self._target)
        return self._trials[row]

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
        best = self._best(np.frombuffer(self._speed) < trial.speed, self._settled)
        if best is None or not curve.complete or curve.epochs < PLATEAU:
            return None
        late = curve.score[-1 - round(HALF * curve.epochs) :]
        noise = SIGMAS * curve.noise(late[0], late[-1])
        if np.ptp(late) > noise or not higher(best.curve, curve, trial.target):
            return None
        return Label("undecided", Reason.BEHIND, behind(trial, best))

    def _compared(self, one: Trial) -> Label:
        label, curve = one.own.regime, one.curve
        if any(self._learned) and (label == "diverged" or stuck(curve)):
            return self._lost(one)
        there = (
            one.target is not None
            and bool(curve.epochs)
            and curve.score[-1] >= one.target
        )
        if (
            not curve.data.by_accuracy
            and label != "diverged"
            and (lost := self._plateau(one))
        ):
            return lost
        if (
            label not in ("slow", "underfit", "undecided")
            or curve.epochs < TREND
            or there
        ):
            return one.own
        return self._late(one) or self._outdone(one) or one.own

    def may_end(self, name: Hashable) -> bool:
        """Return whether a trial that runs may be slow or diverged: it is at chance, or
        its loss is above that of a guess, or it will be late. To ask costs little
        beside `label`; most are none of that."""
        one = self.trial(name)
        curve, loss = one.curve, one.curve.train_loss
        begun = loss is None or loss[-1] <= min(curve.untrained, curve.guess)
        return bool(not begun or curve.score[-1] <= curve.ceiling or self._late(one))

    def _lost(self, one: Trial) -> Label:
        """A trial at chance, while others learned: dead, but slow if its rate is not
        above the least that learned."""
        learned = np.frombuffer(self._learned, bool)
        best, slowest = (
            self._at(self._first(learned, self._settled)),
            np.frombuffer(self._speed)[learned].min(),
        )
        curve = one.curve
        finite = curve.train_loss is None or np.isfinite(curve.train_loss[-1])
        if one.own.regime == "diverged" and (one.speed >= slowest or not finite):
            return one.own
        is_at_chance = curve.score[-1] <= curve.ceiling
        numbers = {
            "own": None if is_at_chance else one.own,
            "best": best.curve.score.max(),
            "sibling": sibling(best, one),
        }
        if one.speed <= slowest:
            return Label("slow", Reason.AT_CHANCE_BESIDE_OTHERS, numbers)
        numbers["since"] = since_when(curve)
        return Label("diverged", Reason.DEAD_BESIDE_OTHERS, numbers)

    def _plateau(self, one: Trial) -> Label | None:
        """A trial of a task at a rate above the best one's that stays far below that:
        there a loss says no more than that of a guess, which only a slower rate
        left."""
        curve = one.curve
        best = self._best(np.frombuffer(self._speed) < one.speed, self._settled)
        if best is None or not curve.complete or curve.epochs < PLATEAU:
            return None
        late = curve.score[-1 - round(HALF * curve.epochs) :]
        stays = np.ptp(late) <= FAR * VISIBLE
        if not stays or best.curve.settled - late.max() < LEARNED:
            return None
        loss = curve.train_loss[-1] if curve.train_loss is not None else math.nan
        numbers = {"loss": loss, **behind(one, best)}
        return Label("diverged", Reason.PLATEAU_BESIDE_OTHERS, numbers)

    def _late(self, one: Trial) -> Label | None:
        """A calm trial will be late beside a faster one: it takes `FAR` times the
        epochs to the target or, while it runs, will at its end neither be at the target
        nor as good as the other is on held-out images by now."""
        curve, faster = one.curve, np.frombuffer(self._speed) > one.speed
        if not curve.complete:
            if curve.epochs * SOONEST <= curve.epochs_asked:
                return None
            best = self._best(faster, self._held_out)
            if not best or not higher(best.curve, curve, one.target):
                return None
            known = best.curve.held_out_settled
            known -= SIGMAS * float(curve.noise(known, images=curve.held_out_count))
            goal = min(known, math.inf if one.target is None else one.target)
            late = forecast(curve, goal).earliest > curve.epochs_asked and not shaken(
                curve
            )
            return Label("slow", Reason.BEHIND, behind(one, best)) if late else None
        if shaken(curve):
            return None
        others = map(self._at, np.flatnonzero(faster).tolist())
        first = min(others, key=lambda other: (other.since, -other.speed), default=None)
        if (
            first is None
            or one.reaches is None
            or one.reaches.likely <= FAR * first.since
        ):
            return None
        return Label.of(
            "slow",
            Reason.LATE_BESIDE_FASTER,
            goal=one.target,
            forecast=one.reaches,
            sibling=sibling(first, one),
            did=first.reaches,
        )

    def _outdone(self, one: Trial) -> Label | None:
        """A trial that ended lower than the best: slow if that is faster and, if it is
        slower, oscillating where the score goes to and fro. A network of which a
        slower trial got there is not too small: its rate is too high."""
        curve, label = one.curve, one.own.regime
        best = self._best(np.frombuffer(self._speed) != one.speed, self._settled)
        undecided = label == "undecided" and not curve.complete
        if undecided or not best:
            return None
        # Without a target, that of a trial on its way is what the best one has now.
        in_time = (
            one.target is not None
            or forecast(curve, best.curve.settled).likely <= FAR * curve.epochs
        )
        if one.own.reason is Reason.ON_ITS_WAY and in_time:
            return None
        is_slower = best.speed < one.speed
        got_there = is_slower and label == "underfit" and best.own.regime == "converged"
        if not (got_there or higher(best.curve, curve, one.target)):
            return None
        if not is_slower:
            return Label("slow", Reason.BEHIND, behind(one, best))
        visible = curve.falls > VISIBLE / FAR
        often = (
            FAR * visible.sum() >= max(2 * FAR, len(visible)) or slips(curve).sum() >= 2
        )
        if often and curve.score.max() > curve.ceiling:
            return Label("oscillating", Reason.RISES_AND_FALLS, behind(one, best))
        return Label("undecided", Reason.BEHIND, behind(one, best))

    def _best(self, rows: np.ndarray, scores: array[float]) -> Trial | None:
        """Return which of these rows has the highest score. What diverged or
        memorised is no measure."""
        while (
            row := self._first(rows & ~np.frombuffer(self._no_measure, bool), scores)
        ) >= 0:
            if self._at(row).own.regime not in ("diverged", "overfit"):
                return self._at(row)
            self._no_measure[row] = True
        return None

    def _first(self, rows: np.ndarray, scores: array[float]) -> int:
        """Return which of these rows has the highest score: of equal ones, the
        fastest; -1 if there is none."""
        known = np.where(rows, np.frombuffer(scores), -np.inf)
        best = np.flatnonzero(rows & (known == np.fmax.reduce(known)))
        return int(best[np.frombuffer(self._speed)[best].argmax()]) if len(best) else -1


def sibling(best: Trial, one: Trial) -> Sibling:
    """Return a trial that another one is compared with."""
    differing = {
        name: (value, one.settings[name])
        for name, value in best.settings.items()
        if value != one.settings[name]
    }
    return Sibling(best.rate, differing)


def behind(one: Trial, best: Trial) -> dict[str, Any]:
    """Return the scores of two trials after as many epochs."""
    epochs = min(one.curve.epochs, best.curve.epochs)
    return {
        "last": one.curve.score[epochs - 1],
        "epochs": epochs,
        "sibling": sibling(best, one),
        "theirs": best.curve.score[epochs - 1],
    }


def label_trials(
    trials: pd.DataFrame, epochs: pd.DataFrame, data: DataFacts
) -> pd.DataFrame:
    """Return `trials` with `LABELLED`: the label that follows from a trial's own curve;
    the one that also uses its siblings, its reason and the evidence; the target, and when it is
    reached. Where the data set has no target, that follows from the siblings that ran
    all their epochs; before there are any, from those that run."""
    stopped = trials.get("stop_reason", pd.Series("", trials.index)).tolist()
    found: dict[int, tuple[Any, ...]] = {}
    for rows, family in _families(trials, epochs, data):
        for row in rows:
            one, label = family.trial(row), family.label(row)
            # a resume asks for more epochs
            if label.regime == "undecided" and stopped[row] in STOPPED:
                label = replace(
                    label, regime=STOPPED[stopped[row]], stopped=stopped[row]
                )
            ahead = one.reaches
            if label.regime != one.own.regime:
                ahead = reached(one.curve, one.target, label.regime)
            found[row] = (
                one.own.regime,
                label.regime,
                label.reason.value,
                evidence(label, one.curve.measure),
                math.nan if one.target is None else one.target,
                *epochs_to(ahead, label.regime),
            )
    return trials.assign(
        **{
            name: [found[row][i] for row in range(len(trials))]
            for i, name in enumerate(LABELLED)
        }
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
    rates, momenta = list(trials["learning_rate"]), list(trials["momentum"])
    # By "index", since pandas 2 makes no records of a table without columns: of a sweep
    # over rates alone.
    settings = trials[varied(trials)].reset_index(drop=True).to_dict("index")
    for rows in groups_of_siblings(trials):
        family = Family()
        for row in rows:
            family.put(
                row,
                Trial(rates[row], momenta[row], curves[row], settings=settings[row]),
            )
        yield rows, family
