"""Where there is no accuracy: the share of the loss that was learned, from 0 of one
that has learned nothing to 1 of the best trial. With it as the score, all rules
of labels hold for any loss, of either sign and in any unit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from mnist_tune.regimes.curve import Curve, Score, curves_of
from mnist_tune.regimes.data_facts import DataFacts
from mnist_tune.regimes.families import groups_of_siblings
from mnist_tune.regimes.limits import TREND, VISIBLE
from mnist_tune.regimes.noise import SIGMAS, standard_error
from mnist_tune.regimes.statistics import jitter, rises_late

LEAST_NOISE = VISIBLE / SIGMAS / math.sqrt(2)
"""The least standard error of a share: a difference that nobody sees in a curve is
none."""

MOST_NOISE = 1 / 10 / SIGMAS / math.sqrt(2)
"""The largest one: a difference of a tenth of what can be learned is not noise, even if
most trials jump by more."""

FEWEST = 8
"""Parts of the examples from which on the differences of their losses say how certain
the mean is."""

FAR_LESS = 10
"""A loss that falls to less than one in so many, above 0, is compared by its
logarithm."""


@dataclass(frozen=True)
class Loss:
    """The losses between which the trials of a task lie."""

    untrained: float
    """The loss before anything is learned: the untrained one, or that of the best
    constant answer if it is less."""
    train: float
    """The settled training loss of the best trial."""
    held_out: float
    """Its settled held-out loss, which is the least."""
    noise: float
    """The standard error of a held-out loss, beside others of the same examples."""
    gain_noise: float
    """The standard error of the difference between `untrained` and the least loss."""
    fall_noise: float
    """That of how far the loss fell since the beginning: larger where a guess lies far
    below the untrained loss."""
    logarithmic: bool
    """Whether shares are those of logarithms."""
    first: float = math.inf
    """The largest training loss after the first epoch. Of losses that begin at 181 and
    are at most 53 after an epoch, 32 is far from 28, though both are below the
    untrained one by nearly as much."""

    @property
    def is_known(self) -> bool:
        """Whether more than noise can be learned."""
        return self.untrained - self.held_out > SIGMAS * self.gain_noise

    @property
    def share_noise(self) -> float:
        """The standard error of a share."""
        learned = self.untrained - self.held_out
        if self.logarithmic:
            learned = self.held_out * math.log(self.untrained / self.held_out)
        noise = max(self.noise / learned, LEAST_NOISE)
        return min(noise, MOST_NOISE)

    def share(self, loss: np.ndarray, held_out: bool = False) -> np.ndarray:
        """Return the share that was learned at each loss, from 0 to almost 1: the less
        the loss, the more. A loss that is not finite has none."""
        best = self.train
        if held_out:
            best = self.held_out
        untrained = self.untrained
        finite = np.where(np.isfinite(loss), loss, untrained)
        if self.logarithmic and best > 0:
            limited = np.maximum(finite, best / FAR_LESS)
            fall = np.log(limited / untrained)
            share = fall / math.log(best / untrained)
        else:
            learnable = max(untrained - best, 1e-300)
            share = (untrained - finite) / learnable
        share = np.maximum(share, 0)
        # the best epoch of a trial must be known there, too
        beyond = np.maximum(share - 1 + LEAST_NOISE, 0)
        most = 1 - LEAST_NOISE**2 / (LEAST_NOISE + beyond)
        return np.minimum(share, most)


def as_shares(curves: Sequence[Curve]) -> list[Curve]:
    """Return the curves of all trials of one task and its arguments with the shares
    that were learned as scores; those of trials that have an accuracy as they are.

    Args:
        curves: with training and held-out losses, in the order in which the trials
            ended. The target of their data is a held-out loss.
    """
    loss = None
    if curves and not curves[0].data.by_accuracy:
        loss = least_loss(curves)
    return [as_share(curve, loss) for curve in curves]


def noise_alone(
    trials: pd.DataFrame, epochs: pd.DataFrame, data: DataFacts
) -> np.ndarray:
    """Return for each row of `trials` whether some of its siblings ran all their
    epochs, and none of these learned more than noise. It is known of tasks without an
    accuracy only."""
    is_noise = np.zeros(len(trials), bool)
    if data.by_accuracy:
        return is_noise
    curves = [*curves_of(trials, epochs, data)]
    for rows in groups_of_siblings(trials):
        loss = least_loss([curves[row] for row in rows])
        is_noise[rows] = loss is not None and not loss.is_known
    return is_noise


def as_share(curve: Curve, loss: Loss | None) -> Curve:
    """Return one of these curves, given the `least_loss` of all. Where more than noise
    is not known to be learnable, shares are 0 with an infinite noise."""
    if curve.data.by_accuracy:
        return curve
    train = np.zeros(curve.epochs)
    held_out = np.zeros(curve.epochs)
    share_noise = math.inf
    loss_noise = 0.0
    begun = 0.0
    target = None
    if loss is not None:
        loss_noise = loss.fall_noise
    if loss is not None and loss.is_known:
        train_loss, held_out_loss = _losses(curve)
        train = loss.share(train_loss)
        held_out = loss.share(held_out_loss, held_out=True)
        share_noise = loss.share_noise
        begun = float(loss.share(np.array(loss.first)))
        if curve.data.target is not None:
            goal = np.array(curve.data.target)
            target = float(loss.share(goal, held_out=True)) - LEAST_NOISE
    # What rules read of the losses of single steps, in nats, and beside a held-out
    # accuracy, is left out.
    return replace(
        curve,
        held_out=held_out,
        train_score=train,
        measure=Score.LEARNED_SHARE,
        share_noise=share_noise,
        loss_noise=loss_noise,
        data=replace(curve.data, target=target),
        begun=begun,
        held_out_loss=None,
        step_loss_max=None,
        window_loss_max=None,
        guessing_since=None,
    )


def _losses(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """Return the training and the held-out losses; if one of them is unknown, the other
    one."""
    train, held_out = curve.train_loss, curve.held_out_loss
    unknown = np.full(curve.epochs, math.nan)
    if train is None:
        train = unknown
    if held_out is None:
        held_out = unknown
    if np.isnan(train).all():
        train = held_out
    if np.isnan(held_out).all():
        held_out = train
    # as where only some epochs are evaluated
    gaps = np.isnan(held_out) & np.isfinite(train)
    if gaps.any():
        filled = pd.Series(held_out).ffill().bfill()
        held_out = np.where(gaps, filled, held_out)
    return train, held_out


class Course(NamedTuple):
    """The losses of a trial that ran all its epochs without diverging."""

    curve: Curve
    train: np.ndarray
    held_out: np.ndarray

    @property
    def settled(self) -> float:
        """The settled held-out loss."""
        return _settled(self.held_out)


def least_loss(curves: Sequence[Curve]) -> Loss | None:
    """Return the losses between which these trials lie; None if no trial has run all
    its epochs without diverging, or if neither an untrained loss nor a guess's is
    known.

    The best trial is the one with the least settled held-out loss, of those that ran
    all their epochs. One that memorised is measured before it did. A held-out loss that
    was asked for counts if it is less.
    """
    courses = [*_courses(curves)]
    if not courses:
        return None
    guess = curves[0].guess
    beginnings = [course.curve.untrained for course in courses]
    beginning = float(np.median(beginnings))
    untrained = min(beginning, guess)
    if not math.isfinite(untrained):
        return None
    measures = [_before_it_memorised(course, untrained) for course in courses]
    lowest = min(measures, key=lambda course: course.settled)
    least = lowest.settled

    # The best one may have been lucky at a rate that is restless. All are measured on
    # the same examples.
    jitters = [jitter(course.held_out) for course in courses]
    noise = min(jitter(lowest.held_out), float(np.median(jitters)))
    epochs = len(lowest.held_out)
    paired = _settled_error(lowest.curve.gain_noise, epochs)
    error = _settled_error(lowest.curve.loss_error, epochs)
    examples = noise_of_gain(paired, error, from_guess=guess < beginning)
    loss = Loss(
        untrained=untrained,
        train=_settled(lowest.train),
        held_out=least,
        noise=noise,
        gain_noise=float(np.fmax(noise, examples)),
        fall_noise=float(np.fmax(noise, paired)),
        logarithmic=0 < least < untrained / FAR_LESS,
        first=max(float(course.train[0]) for course in courses),
    )
    target = curves[0].data.target
    if target is None or target >= least or not loss.is_known:
        return loss
    return _down_to(target, loss)


def _courses(curves: Sequence[Curve]) -> Iterator[Course]:
    """Yield the losses of each trial that can be a measure for others."""
    for curve in curves:
        if not curve.complete or curve.has_diverged:
            continue
        train, held_out = _losses(curve)
        late = np.concatenate([train[-TREND:], held_out[-TREND:]])
        if np.isfinite(late).all():
            yield Course(curve, train, held_out)


def _before_it_memorised(course: Course, untrained: float) -> Course:
    """Return the losses of a trial. Those of one that memorised end with the epoch after
    the least held-out one, about which they are settled."""
    if not _memorised(course, untrained):
        return course
    end = int(np.nanargmin(course.held_out)) + 2
    return Course(course.curve, course.train[:end], course.held_out[:end])


def _down_to(target: float, loss: Loss) -> Loss:
    """Return the losses if they can be learned down to a held-out one that was asked
    for."""
    best = loss.held_out
    if loss.logarithmic and target > 0:
        # then ratios are what stays the same
        train = loss.train * target / best
        noise = loss.noise * target / best
        return replace(loss, held_out=target, train=train, noise=noise)
    train = loss.train + target - best
    return replace(loss, held_out=target, train=train, logarithmic=False)


def _settled(losses: np.ndarray) -> float:
    return float(np.median(losses[-TREND:]))


def _settled_error(errors: np.ndarray | None, epochs: int) -> float:
    """Return the settled standard error after so many epochs; NaN if it is not
    known."""
    if errors is None:
        return math.nan
    return _settled(errors[:epochs])


def _memorised(course: Course, untrained: float) -> bool:
    """Return whether the held-out loss rose from its least one by more than noise, and
    visibly, while the training loss did not."""
    train, held_out = course.train, course.held_out
    epoch = int(np.nanargmin(held_out))
    least = held_out[epoch]
    rise = course.settled - least
    noise = SIGMAS * math.sqrt(2) * jitter(held_out)
    visible = VISIBLE * (untrained - least)
    if not rise > max(noise, visible):
        return False
    fits = _settled(train) <= train[epoch]
    return bool(fits and not rises_late(-held_out))


def paired_noise(losses: Sequence[float], base: Sequence[float]) -> float:
    """Return the standard error of the difference of two losses, given those of the
    same parts of the examples; NaN if there are fewer than `FEWEST`."""
    if len(losses) != len(base) or len(losses) < FEWEST:
        return math.nan
    return standard_error(np.subtract(losses, base), math.nan)


def noise_of_gain(fall: float, error: float, from_guess: bool) -> float:
    """Return the standard error of how far a held-out loss is below the loss before
    anything was learned; NaN if it is not known.

    Args:
        fall: that of how far it fell since the beginning (`paired_noise`).
        error: that of the loss itself.
        from_guess: whether the loss before is that of a guess, a number that does not
            depend on the examples. Then the error of the loss is all there is, however
            much the fall from a larger untrained loss differs.
    """
    if from_guess:
        return float(np.fmin(fall, error))
    return fall


def loss_noises(epochs: pd.DataFrame, own_score: str | None = None) -> pd.Series:
    """Return the standard error of each trial's held-out loss (else that on the test
    set), by its id; or that of its own score. It follows from what the curve still does
    at its end, or from the examples if that is more."""
    trial_id = epochs["trial_id"]
    if own_score:
        return epochs[own_score].groupby(trial_id).agg(_jitter)
    test = epochs["test_loss"].astype(float)
    loss = epochs["validation_loss"].astype(float).fillna(test)
    still = loss.groupby(trial_id).agg(_jitter)
    errors = epochs["loss_error"].astype(float)
    return np.fmax(still, errors.groupby(trial_id).last())


def _jitter(losses: pd.Series) -> float:
    return jitter(losses.to_numpy(float))
