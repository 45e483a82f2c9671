"""Where there is no accuracy: the share of the loss that was learned, from 0 of one
that has learned nothing to 1 of the best trial. With it as the score, all rules
of labels hold for any loss, of either sign and in any unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

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
        return min(max(self.noise / learned, LEAST_NOISE), MOST_NOISE)

    def share(self, loss: np.ndarray, held_out: bool = False) -> np.ndarray:
        """Return the share that was learned at each loss, from 0 to almost 1: the less
        the loss, the more. A loss that is not finite has none."""
        best = self.held_out if held_out else self.train
        known = np.where(np.isfinite(loss), loss, self.untrained)
        if self.logarithmic and best > 0:
            share = np.log(
                np.maximum(known, best / FAR_LESS) / self.untrained
            ) / math.log(best / self.untrained)
        else:
            share = (self.untrained - known) / max(self.untrained - best, 1e-300)
        share = np.maximum(share, 0)
        # the best epoch of a trial must be known there, too
        beyond = np.maximum(share - 1 + LEAST_NOISE, 0)
        return np.minimum(share, 1 - LEAST_NOISE**2 / (LEAST_NOISE + beyond))


def as_shares(curves: Sequence[Curve]) -> list[Curve]:
    """Return the curves of all trials of one task and its arguments with the shares
    that were learned as scores; those of trials that have an accuracy as they are.

    Args:
        curves: with training and held-out losses, in the order in which the trials
            ended. The target of their data is a held-out loss.
    """
    loss = None if not curves or curves[0].data.by_accuracy else least_loss(curves)
    return [as_share(one, loss) for one in curves]


def noise_alone(
    trials: pd.DataFrame, epochs: pd.DataFrame, data: DataFacts
) -> np.ndarray:
    """Return for each row of `trials` whether some of its siblings ran all their
    epochs, and none of these learned more than noise. It is known of tasks without an
    accuracy only."""
    found = np.zeros(len(trials), bool)
    if data.by_accuracy:
        return found
    curves = [*curves_of(trials, epochs, data)]
    for rows in groups_of_siblings(trials):
        loss = least_loss([curves[row] for row in rows])
        found[rows] = loss is not None and not loss.is_known
    return found


def as_share(curve: Curve, loss: Loss | None) -> Curve:
    """Return one of these curves, given the `least_loss` of all. Where more than noise
    is not known to be learnable, shares are 0 with an infinite noise."""
    if curve.data.by_accuracy:
        return curve
    if loss is None or not loss.is_known:
        train, held_out, noise, target = (
            np.zeros(curve.epochs),
            np.zeros(curve.epochs),
            math.inf,
            None,
        )
        begun = 0.0
    else:
        begun = float(loss.share(np.array(loss.first)))
        asked, noise, (train, held_out) = (
            curve.data.target,
            loss.share_noise,
            _losses(curve),
        )
        target = (
            None
            if asked is None
            else float(loss.share(np.array(asked), held_out=True)) - LEAST_NOISE
        )
        train, held_out = loss.share(train), loss.share(held_out, held_out=True)
    # What rules read of the losses of single steps, in nats, and beside a held-out
    # accuracy, is left out.
    return replace(
        curve,
        held_out=held_out,
        train_score=train,
        measure=Score.LEARNED_SHARE,
        share_noise=noise,
        loss_noise=0.0 if loss is None else loss.fall_noise,
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
    unknown = np.full(curve.epochs, math.nan)
    train = unknown if curve.train_loss is None else curve.train_loss
    held_out = unknown if curve.held_out_loss is None else curve.held_out_loss
    if np.isnan(train).all():
        train = held_out
    if np.isnan(held_out).all():
        held_out = train
    # as where only some epochs are evaluated
    gaps = np.isnan(held_out) & np.isfinite(train)
    if gaps.any():
        held_out = np.where(gaps, pd.Series(held_out).ffill().bfill(), held_out)
    return train, held_out


def least_loss(curves: Sequence[Curve]) -> Loss | None:
    """Return the losses between which these trials lie; None if no trial has run all
    its epochs without diverging, or if neither an untrained loss nor a guess's is
    known.

    The best trial is the one with the least settled held-out loss, of those that ran
    all their epochs and did not memorise. If all memorised, they are measured before. A
    held-out loss that was asked for counts if it is less.
    """
    calm = [
        one
        for one in curves
        if one.complete and (one.diverged is None or not one.diverged[-1])
    ]
    ended = [(one, *_losses(one)) for one in calm]
    ended = [
        of
        for of in ended
        if np.isfinite(of[1][-TREND:]).all() and np.isfinite(of[2][-TREND:]).all()
    ]
    if not ended:
        return None
    beginning, guess = (
        float(np.median([one.untrained for one, *_ in ended])),
        curves[0].guess,
    )
    untrained = min(beginning, guess)
    if not math.isfinite(untrained):
        return None
    kept = [of for of in ended if not _memorised(of[1], of[2], untrained)]
    if not kept:
        ends = [int(np.nanargmin(held_out)) + 1 for *_, held_out in ended]
        kept = [
            (one, of[:end], held[:end])
            for (one, of, held), end in zip(ended, ends, strict=True)
        ]
    lowest, train, held_out = min(kept, key=lambda of: float(np.median(of[2][-TREND:])))
    best = float(np.median(held_out[-TREND:]))
    # The best one may have been lucky at a rate that is restless. All are measured on
    # the same examples.
    noise = min(jitter(held_out), float(np.median([jitter(of[2]) for of in ended])))
    paired, error = (
        _late(lowest.gain_noise, len(held_out)),
        _late(lowest.loss_error, len(held_out)),
    )
    fall_noise = float(np.fmax(noise, paired))
    gain_noise = float(
        np.fmax(noise, noise_of_gain(paired, error, from_guess=guess < beginning))
    )
    logarithmic = 0 < best < untrained / FAR_LESS
    train_loss = float(np.median(train[-TREND:]))
    first = max(float(of[1][0]) for of in ended)
    loss = Loss(
        untrained, train_loss, best, noise, gain_noise, fall_noise, logarithmic, first
    )
    asked = curves[0].data.target
    if asked is None or asked >= best or not loss.is_known:
        return loss
    least, logarithmic = loss.train + asked - best, logarithmic and asked > 0
    if logarithmic:  # then ratios are what stays the same
        least, noise = (one * asked / best for one in (loss.train, noise))
    return replace(
        loss, held_out=asked, train=least, noise=noise, logarithmic=logarithmic
    )


def _late(errors: np.ndarray | None, epochs: int) -> float:
    """Return the settled standard error after so many epochs; NaN if it is not
    known."""
    return math.nan if errors is None else float(np.median(errors[:epochs][-TREND:]))


def _memorised(train: np.ndarray, held_out: np.ndarray, untrained: float) -> bool:
    """Return whether the held-out loss rose from its least one by more than noise, and
    visibly, while the training loss did not."""
    least, now = int(np.nanargmin(held_out)), float(np.median(held_out[-TREND:]))
    rise, noise = now - held_out[least], SIGMAS * math.sqrt(2) * jitter(held_out)
    visible = VISIBLE * (untrained - held_out[least])
    fits = np.median(train[-TREND:]) <= train[least]
    return bool(rise > max(noise, visible) and fits and not rises_late(-held_out))


def paired_noise(losses: Sequence[float], others: Sequence[float]) -> float:
    """Return the standard error of the difference of two losses, given those of the
    same parts of the examples; NaN if there are fewer than `FEWEST`."""
    if len(losses) != len(others) or len(losses) < FEWEST:
        return math.nan
    return standard_error(np.subtract(losses, others), math.nan)


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
    return float(np.fmin(fall, error)) if from_guess else fall


def loss_noises(epochs: pd.DataFrame, own_score: str | None = None) -> pd.Series:
    """Return the standard error of each trial's held-out loss (else that on the test
    set), by its id; or that of its own score. It follows from what the curve still does
    at its end, or from the examples if that is more."""
    if own_score:
        return (
            epochs[own_score]
            .groupby(epochs["trial_id"])
            .agg(lambda of: jitter(of.to_numpy(float)))
        )
    loss = (
        epochs["validation_loss"]
        .astype(float)
        .fillna(epochs["test_loss"].astype(float))
    )
    still = loss.groupby(epochs["trial_id"]).agg(lambda of: jitter(of.to_numpy()))
    return np.fmax(
        still, epochs["loss_error"].astype(float).groupby(epochs["trial_id"]).last()
    )
