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
    train = curve.train_score
    held_out = curve.held_out
    if train is None or curve.epochs < TREND:
        return None
    if np.isnan(train).any() or np.isnan(held_out).any():
        return None
    highest = held_out.max()
    guesses = highest <= chance_ceiling(curve.data.chance)
    if guesses and curve.data.learned(train[-1]) >= LEARNED:
        reason = Reason.HELD_OUT_AT_CHANCE
        return Label.of("overfit", reason, train=train[-1], best=highest)

    best = int(held_out.argmax())
    now = max(curve.held_out_settled, held_out[-1])
    fall = held_out[best] - now
    # before, the rise bends it
    level = held_out[min(best, curve.epochs // 2) :]
    jumps = math.sqrt(2) * jitter(level)
    # else cross-entropy rises on a network that is too confident
    if fall <= min(VISIBLE / FAR, SIGMAS * jumps):
        return None
    if len(level) < 2 * PLATEAU:
        jumps = 0.0  # too few to count on
    noise = max(curve.noise(held_out[best], now, images=curve.held_out_count), jumps)
    units = fall / (sigmas(curve.epochs) * noise)
    loss = curve.held_out_loss
    late_loss = _risen_loss(curve)
    losses = None
    if loss is not None and late_loss is not None:
        least = loss.min()
        units += math.log(late_loss / least) / math.log(CLEARLY)
        losses = least, loss[-1]
    if units <= 1 or not _fits_as_in(curve, train, best):
        return None
    # Over many epochs, the single best one is luck.
    if rises_late(held_out):
        return None
    return Label.of(
        "overfit",
        Reason.HELD_OUT_FELL,
        best=held_out[best],
        epoch=best + 1,
        last=held_out[-1],
        losses=losses,
    )


def _risen_loss(curve: Curve) -> float | None:
    """Return the late held-out loss; None if it is not above the least one by more than
    noise."""
    loss = curve.held_out_loss
    if loss is None or not np.isfinite(loss).all():
        return None
    least = loss.min()
    if least <= 0:
        return None
    # one that still falls is at its least now
    late = min(median(loss[-TREND:]), float(loss[-1]))
    if late > calm_limit(least, curve.held_out_count, risk=0.05):
        return late
    return None


def _fits_as_in(curve: Curve, train: np.ndarray, epoch: int) -> bool:
    """Return whether training ended no worse than it was in an epoch, counted from
    0."""
    last, before = train[-1], train[epoch]
    noise = curve.noise(last, before, images=curve.evaluated)
    if last - before < -noise:
        return False
    loss = curve.train_loss
    if loss is None:
        return True
    return bool(median(loss[-TREND:]) <= loss[epoch])


def jitter(values: np.ndarray) -> float:
    """Return the standard deviation with which values go to and fro in their late half:
    from their second differences, so that a trend is none. Of fewer than five values,
    none is known."""
    late = values[-max(PLATEAU, len(values) // 2) :]
    bends = np.diff(late[np.isfinite(late)], 2)
    if len(bends) < TREND:
        return 0.0
    # the variance of a second difference is 1 + 4 + 1 times that of a value
    return float(np.sqrt(np.mean(bends**2) / 6))


def rises_late(values: np.ndarray) -> bool:
    """Return whether values rise through their late half: the slope of least squares
    exceeds `SIGMAS` of its standard errors, which follow from the residuals. Fewer than
    `TREND` values show none."""
    if len(values) < TREND:
        return False
    count = max(round(HALF * len(values)), TREND)
    x = np.arange(count) - (count - 1) / 2
    slope, residuals = line_through(x, values[-count:])
    variance = float(residuals @ residuals) / (count - 2)
    return slope > SIGMAS * math.sqrt(variance / float(x @ x))


def line_through(x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the slope of least squares and the residuals, given x of mean 0."""
    slope = float(x @ y / (x @ x))
    return slope, y - y.mean() - slope * x


def drop(curve: Curve, limit: float = VISIBLE) -> bool:
    """Return whether a curve ended below its best by more than a limit and noise."""
    best = curve.score.max()
    last = curve.score[-1]
    noise = SIGMAS * curve.noise(best, last)
    return bool(best - last > max(limit, noise))


def above_for_good(curve: Curve) -> bool:
    """Return whether the training loss is above the untrained one for good. The losses
    of steps decide that: evaluated ones also rise on a healthy network whose running
    statistics, such as those of batch norm, lag behind its weights.
    """
    loss = curve.train_loss
    if loss is None:
        return False
    limit = curve.calm_limit
    lasts = bool(np.median(loss[-TREND:]) > limit)
    # no step is known: it must have been lower before, or be far above any such lag
    if curve.diverged is None:
        fell_before = bool((loss <= limit).any())
        is_far_above = bool(loss[-1] >= BLOWN_UP * curve.untrained)
        return lasts and (fell_before or is_far_above)
    if curve.data.own_steps:
        return lasts
    return curve.above_since is not None and (lasts or curve.data.by_accuracy)


def at_chance(curve: Curve) -> int:
    """Return for how many epochs, counted back from the last, the score has been at
    chance."""
    better = np.flatnonzero(curve.score > curve.ceiling)
    if not len(better):
        return curve.epochs
    return curve.epochs - int(better[-1]) - 1


def lasts(curve: Curve) -> bool:
    """Return whether it will stay at chance: it ran all its epochs, was there for
    `PATIENCE` steps, or is still."""
    steps = at_chance(curve) * curve.steps
    return curve.complete or steps >= PATIENCE or still(curve)


def still(curve: Curve) -> bool:
    """Return whether nothing moved at chance for `PLATEAU` epochs after a spike: the
    loss stayed within its noise, or each epoch had the same score, to the image.
    Such epochs are evidence even if they have few steps."""
    loss = curve.train_loss
    epochs = min(at_chance(curve), curve.epochs - 1)
    if loss is None or epochs < PLATEAU or not curve.spikes().any():
        return False
    if np.ptp(curve.score[-PLATEAU:]) == 0:
        return True
    late = loss[-PLATEAU:]
    return bool(late.max() <= calm_limit(late.min(), curve.evaluated))


def stuck(curve: Curve) -> bool:
    """Return whether it guesses and learns nothing: at chance, its loss no better than
    a guess's, and not falling."""
    if at_chance(curve) < TREND or not lasts(curve) or hardly_begun(curve):
        return False
    loss = curve.train_loss
    if loss is None:
        return True
    return bool((loss[-TREND:] >= curve.calm_floor).all())


def since_when(curve: Curve) -> Since:
    """Return since when a curve is at chance."""
    before = curve.epochs - at_chance(curve)
    step = curve.guessing_since
    if step and step > before * curve.steps:
        return Since("step", step)
    return Since("epoch", before + 1)


def unmoved(curve: Curve) -> bool:
    """Return whether the training loss never left that of guessing. Of two classes,
    accuracies may still jump."""
    loss = curve.train_loss
    if loss is None or not curve.data.by_accuracy:
        return False
    floor = calm_floor(min(curve.guess, curve.untrained), curve.evaluated)
    guesses = (floor <= loss) & (loss <= curve.calm_limit)
    return bool(guesses.all())


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
    if loss[0] > curve.calm_limit:
        return False
    last = loss[-1]
    pace = (curve.untrained - last) / curve.epochs
    return bool(last - curve.guess > pace)


def late_in_few(curve: Curve, goal: float) -> bool:
    """Return whether a calm curve of too few epochs for a law will be late even in a
    straight line: at its largest gain in an epoch, and noise, it needs over `FAR` times
    its epochs to a goal. It must have begun to learn."""
    is_short = TREND <= curve.epochs < PLATEAU
    if not is_short or math.isinf(goal):
        return False
    if flat(curve) or shaken(curve):
        return False
    gain = float((curve.falls_noise - curve.falls).max())
    missing = goal - curve.score[-1]
    return bool(missing > gain * (FAR - 1) * curve.epochs)


def flat(curve: Curve) -> bool:
    """Return whether the score gained nothing beyond noise, and the loss did not
    fall in each epoch or clearly."""
    loss = curve.train_loss
    if loss is not None and curve.data.by_accuracy:
        fell_clearly = not loss[0] < CLEARLY * loss[-1]
        if fell_clearly or falling(curve):
            return False
    first = curve.score[0]
    last = curve.score[-1]
    return bool(last - first <= SIGMAS * curve.noise(first, last))


def late_pace(curve: Curve) -> tuple[float, float]:
    """Return the pace of the late half of a curve as a share of its mean pace, in loss
    or, if that is unknown, in score, and the noise of that share."""
    loss = curve.train_loss
    course = curve.score
    by_loss = False
    if loss is not None and curve.data.by_accuracy:
        by_loss = bool(loss[-1] < loss[0] < np.inf)
        if by_loss:
            course = -loss
    late = round(HALF * curve.epochs)
    middle = course[-1 - late]
    last = course[-1]
    mean = (last - course[0]) * late / (curve.epochs - 1)
    if not mean > 0:
        return 0.0, 0.0
    noise = 0.0
    if not by_loss:
        noise = SIGMAS * curve.noise(middle, last)
    return (last - middle) / mean, noise / mean


def slips(curve: Curve) -> np.ndarray:
    """Return, for each epoch but the first, whether the score fell in it by more
    than noise and a third of what is visible."""
    limit = np.maximum(VISIBLE / FAR, curve.falls_noise)
    return np.asarray(curve.falls > limit)


def shaken(curve: Curve) -> bool:
    """Return whether a curve has a spike or a fall; at small learning rates curves have
    neither."""
    # the first epoch begins at the untrained loss itself
    starts_high = curve.spikes(CLEARLY)[:1].any()
    return bool(starts_high or curve.spikes()[1:].any() or slips(curve).any())


def higher(other: Curve, curve: Curve, target: float | None) -> bool:
    """Return whether another curve ended above this one by more than noise, at the
    target or by `VISIBLE`, and was above it after as many epochs."""
    epochs = min(other.epochs, curve.epochs)
    if not epochs or other.score[epochs - 1] <= curve.score[epochs - 1]:
        return False
    theirs, ours = other.settled, curve.settled
    limit = SIGMAS * float(curve.noise(theirs, ours))
    is_there = target is not None and theirs >= target
    if not is_there:
        limit = max(VISIBLE, limit)
    return theirs - ours > limit
