"""What a curve shows, as statistics that the labels ask for."""

from __future__ import annotations

import math

import numpy as np

from mnist_tune.regimes.curve import Curve, median
from mnist_tune.regimes.divergence import BLOWN_UP, PATIENCE, chance_ceiling
from mnist_tune.regimes.limits import (
    CLEARLY,
    FAR,
    HALF,
    LEARNED,
    PLATEAU,
    TREND,
    VISIBLE,
)
from mnist_tune.regimes.noise import SIGMAS, calm_floor, calm_limit, sigmas
from mnist_tune.regimes.reasons import Label, Reason, Since


def memorising(curve: Curve, goal: float = math.inf) -> Label | None:
    """Did the held-out score fall while training did not get worse? The fall, in units
    of its limit, and the rise of the held-out loss, in units of `log(CLEARLY)`, add up
    to over 1."""
    train, held_out, loss = curve.train_score, curve.held_out, curve.held_out_loss
    if (
        train is None
        or np.isnan(train).any()
        or np.isnan(held_out).any()
        or curve.epochs < TREND
    ):
        return None
    if (
        held_out.max() <= chance_ceiling(curve.data.chance)
        and curve.data.learned(train[-1]) >= LEARNED
    ):
        return Label.of(
            "overfit", Reason.HELD_OUT_AT_CHANCE, train=train[-1], best=held_out.max()
        )
    best = int(held_out.argmax())
    now = max(curve.held_out_settled, held_out[-1])
    fall = held_out[best] - now
    level = held_out[min(best, curve.epochs // 2) :]  # before, the rise bends it
    jumps = math.sqrt(2) * jitter(level) if len(level) >= 2 * PLATEAU else 0.0
    noise = max(curve.noise(held_out[best], now, images=curve.held_out_count), jumps)
    units = fall / (sigmas(curve.epochs) * noise)
    # else cross-entropy rises on a network that is too confident
    fell = fall > min(VISIBLE / FAR, SIGMAS * jumps)
    losses = None
    if loss is not None and np.isfinite(loss).all() and min(loss) > 0:
        late = median(loss[-TREND:])
        if late > calm_limit(min(loss), curve.held_out_count, risk=0.05):
            units += math.log(late / min(loss)) / math.log(CLEARLY)
            losses = min(loss), loss[-1]
    fits = train[-1] - train[best] >= -curve.noise(
        train[-1], train[best], images=curve.evaluated
    )
    if curve.train_loss is not None:
        fits = fits and bool(
            median(curve.train_loss[-TREND:]) <= curve.train_loss[best]
        )
    # Over many epochs, the single best one is luck.
    if not (fell and units > 1 and fits) or rises_late(held_out):
        return None
    return Label.of(
        "overfit",
        Reason.HELD_OUT_FELL,
        best=held_out[best],
        epoch=best + 1,
        last=held_out[-1],
        losses=losses,
    )


def jitter(values: np.ndarray) -> float:
    """Return the standard deviation with which values go to and fro in their late half:
    from their second differences, so that a trend is none. Of fewer than five values,
    none is known."""
    late = values[-max(PLATEAU, len(values) // 2) :]
    bends = np.diff(late[np.isfinite(late)], 2)
    return float(np.sqrt(np.mean(bends**2) / 6)) if len(bends) >= TREND else 0.0


def rises_late(values: np.ndarray) -> bool:
    """Return whether values rise through their late half: the slope of least squares
    exceeds `SIGMAS` of its standard errors, which follow from the residuals. Fewer than
    `TREND` values show none."""
    if len(values) < TREND:
        return False
    late = values[-max(round(HALF * len(values)), TREND) :]
    x = np.arange(len(late)) - (len(late) - 1) / 2
    slope = float(x @ late / (x @ x))
    residuals = late - late.mean() - slope * x
    error = math.sqrt(float(residuals @ residuals) / (len(late) - 2) / float(x @ x))
    return slope > SIGMAS * error


def drop(curve: Curve, limit: float = VISIBLE) -> bool:
    """Return whether a curve ended below its best by more than a limit and noise."""
    best, last = curve.score.max(), curve.score[-1]
    return bool(best - last > max(limit, SIGMAS * curve.noise(best, last)))


def above_for_good(curve: Curve) -> bool:
    """Return whether the training loss is above the untrained one for good. The losses
    of steps decide that: evaluated ones also rise on a healthy network whose running
    statistics, such as those of batch norm, lag behind its weights.
    """
    loss, limit = curve.train_loss, curve.calm_limit
    if loss is None:
        return False
    lasts = bool(np.median(loss[-TREND:]) > limit)
    # no step is known: it must have been lower before, or be far above any such lag
    if curve.diverged is None:
        fell_before = bool((loss <= limit).any())
        return lasts and (fell_before or bool(loss[-1] >= BLOWN_UP * curve.untrained))
    if curve.data.own_steps:
        return lasts
    return curve.above_since is not None and (lasts or curve.data.by_accuracy)


def at_chance(curve: Curve) -> int:
    """Return for how many epochs, counted back from the last, the score has been at
    chance."""
    others = np.flatnonzero(curve.score > curve.ceiling)
    return curve.epochs - (int(others[-1]) + 1 if len(others) else 0)


def lasts(curve: Curve) -> bool:
    """Return whether it will stay at chance: it ran all its epochs, was there for
    `PATIENCE` steps, or is still."""
    return curve.complete or at_chance(curve) * curve.steps >= PATIENCE or still(curve)


def still(curve: Curve) -> bool:
    """Return whether nothing moved at chance for `PLATEAU` epochs after a spike: the
    loss stayed within its noise, or each epoch had the same score, to the image.
    Such epochs are evidence even if they have few steps."""
    loss, same = curve.train_loss, np.ptp(curve.score[-PLATEAU:]) == 0
    if (
        loss is None
        or min(at_chance(curve), curve.epochs - 1) < PLATEAU
        or not curve.spikes().any()
    ):
        return False
    least, most = loss[-PLATEAU:].min(), loss[-PLATEAU:].max()
    return bool(same or most <= calm_limit(least, curve.evaluated))


def stuck(curve: Curve) -> bool:
    """Return whether it guesses and learns nothing: at chance, its loss no better than
    a guess's, and not falling."""
    if at_chance(curve) < TREND or not lasts(curve) or hardly_begun(curve):
        return False
    loss = curve.train_loss
    return loss is None or bool((loss[-TREND:] >= curve.calm_floor).all())


def since_when(curve: Curve) -> Since:
    """Return since when a curve is at chance."""
    before = curve.epochs - at_chance(curve)
    if curve.guessing_since and curve.guessing_since > before * curve.steps:
        return Since("step", curve.guessing_since)
    return Since("epoch", before + 1)


def unmoved(curve: Curve) -> bool:
    """Return whether the training loss never left that of guessing. Of two classes,
    accuracies may still jump."""
    loss = curve.train_loss
    if loss is None or not curve.data.by_accuracy:
        return False
    floor = calm_floor(min(curve.guess, curve.untrained), curve.evaluated)
    return bool(((floor <= loss) & (loss <= curve.calm_limit)).all())


def falling(curve: Curve) -> bool:
    """Return whether the training loss fell in every epoch."""
    loss = curve.train_loss
    return loss is not None and bool((loss[1:] < loss[:-1]).all())


def hardly_begun(curve: Curve) -> bool:
    """Return whether the training loss fell in every epoch, and at its mean pace needs
    over an epoch to a guess's."""
    loss = curve.train_loss
    if loss is None or curve.epochs < TREND or not falling(curve):
        return False
    return bool(
        loss[0] <= curve.calm_limit
        and loss[-1] - curve.guess > (curve.untrained - loss[-1]) / curve.epochs
    )


def late_in_few(curve: Curve, goal: float) -> bool:
    """Return whether a calm curve of too few epochs for a law will be late even in a
    straight line: at its largest gain in an epoch, and noise, it needs over `FAR` times
    its epochs to a goal. It must have begun to learn."""
    if (
        not TREND <= curve.epochs < PLATEAU
        or math.isinf(goal)
        or flat(curve)
        or shaken(curve)
    ):
        return False
    gain = float((curve.falls_noise - curve.falls).max())
    return bool(goal - curve.score[-1] > gain * (FAR - 1) * curve.epochs)


def flat(curve: Curve) -> bool:
    """Return whether the score gained nothing beyond noise, and the loss did not
    fall in each epoch or clearly."""
    first, last, loss = curve.score[0], curve.score[-1], curve.train_loss
    still = (
        loss is None
        or not curve.data.by_accuracy
        or (loss[0] < CLEARLY * loss[-1] and not falling(curve))
    )
    return bool(still and last - first <= SIGMAS * curve.noise(first, last))


def late_pace(curve: Curve) -> tuple[float, float]:
    """Return the pace of the late half of a curve as a share of its mean pace, in loss
    or, if that is unknown, in score, and the noise of that share."""
    late = round(HALF * curve.epochs)
    loss = curve.train_loss
    by_loss = (
        loss is not None and curve.data.by_accuracy and loss[-1] < loss[0] < np.inf
    )
    course = -loss if by_loss and loss is not None else curve.score
    first, middle, last = course[0], course[-1 - late], course[-1]
    mean = (last - first) * late / (curve.epochs - 1)
    noise = 0.0 if by_loss else SIGMAS * curve.noise(middle, last)
    return ((last - middle) / mean, noise / mean) if mean > 0 else (0.0, 0.0)


def slips(curve: Curve) -> np.ndarray:
    """Return, for each epoch but the first, whether the score fell in it by more
    than noise and a third of what is visible."""
    return np.asarray(curve.falls > np.maximum(VISIBLE / FAR, curve.falls_noise))


def shaken(curve: Curve) -> bool:
    """Return whether a curve has a spike or a fall; at small learning rates curves have
    neither."""
    return bool(
        curve.spikes()[1:].any()
        or curve.spikes(CLEARLY)[:1].any()
        or slips(curve).any()
    )


def higher(other: Curve, one: Curve, target: float | None) -> bool:
    """Return whether another curve ended above this one by more than noise, at the
    target or by `VISIBLE`, and was above it after as many epochs."""
    epochs = min(other.epochs, one.epochs)
    if not epochs or other.score[epochs - 1] <= one.score[epochs - 1]:
        return False
    theirs, ours = other.settled, one.settled
    noise = SIGMAS * float(one.noise(theirs, ours))
    return theirs - ours > (
        noise if target is not None and theirs >= target else max(VISIBLE, noise)
    )
