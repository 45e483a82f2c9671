"""The rules by which a trial's own curve has a regime. `docs/regimes.md` says where each number comes from."""

from __future__ import annotations

import math

import numpy as np

from mnist_tune.regimes.curve import ENOUGH_EPOCHS, TREND_EPOCHS, Curve
from mnist_tune.regimes.diverged import diverged
from mnist_tune.regimes.noise import SIGMAS, difference_noise, sigmas
from mnist_tune.regimes.oscillating import DROP, SLIP, early_spike, falls_beyond, oscillating

BOTH_FALL = 0.1
"""Of the fall of the held-out accuracy: where training accuracy fell by more, both fell, and nothing was overfitted."""

LEVEL_EXPONENT = 0.32
"""Errors of networks fall as a power of the epochs; one that falls more slowly than epochs**-0.32 has levelled off. Of
curves below the target, measured: 0.19 and 0.28 for networks of 4 and 16 units, 0.37 to 0.43 at small rates."""

LEVEL_SHARE = 0.15
"""A levelled curve made less than this share of its gain in its last third; one that has barely begun made a third."""

LEVEL_GAIN = 0.02
"""And less than this: whatever it gained before, two points in the last third are not level."""

HOPELESS = 3
"""Times its epochs, those asked, that a short curve must need at its pace before it is called slow."""


def curve_regime(curve: Curve, target: float | None = 0.95) -> tuple[str, str]:
    """The regime that a trial's own curve shows, and the numbers that decided it.

    Args:
        curve: of the trial.
        target: accuracy of a network that learned the data set; None where nobody knows it: nothing is converged then.
    """
    if not curve.epochs:
        return "undecided", "no epoch finished"
    goal = math.inf if target is None else target
    for name, evidence in (
        ("diverged", diverged(curve)),
        ("overfit", _overfit(curve)),
        ("oscillating", oscillating(curve, goal)),
        ("converged", _converged(curve, goal)),
    ):
        if evidence:
            return name, evidence
    return _below(curve, goal)


def _overfit(curve: Curve) -> str:
    """Held-out accuracy fell by more than noise, and stayed there, while the training accuracy did not fall."""
    train, held_out = curve.train_accuracy, curve.held_out
    if train is None or np.isnan(train).any() or np.isnan(held_out).any() or curve.epochs < TREND_EPOCHS:
        return ""
    if held_out.max() <= curve.ceiling and curve.learned(train[-1]) >= 0.5:
        return f"training accuracy {train[-1]:.4f} while held-out accuracy is at chance, {held_out.max():.4f} at best"
    best = int(held_out.argmax())
    now = max(float(np.median(held_out[-TREND_EPOCHS:])), held_out[-1])
    noise = sigmas(curve.epochs) * difference_noise(held_out[best], now, curve.held_out_count)
    rise, fall = train[-1] - train[best], held_out[best] - now
    if fall <= noise or rise < -BOTH_FALL * fall:
        return ""
    went = "rose" if rise >= 0 else "fell"
    return (
        f"held-out accuracy fell from {held_out[best]:.4f} in epoch {best + 1} to {held_out[-1]:.4f} "
        f"while training accuracy {went} by {abs(rise):.4f}; noise of {curve.held_out_count} images is {noise:.2g}"
    )


def _converged(curve: Curve, target: float) -> str:
    """At the target in each of the last three epochs, or risen to it: never by the luck of the last epoch."""
    last = curve.accuracy[-TREND_EPOCHS:]
    rising = bool((np.diff(last) >= 0).all()) and len(last) == TREND_EPOCHS
    beyond = last[-1] - target > SIGMAS * difference_noise(last[-1], target, curve.images) / math.sqrt(2)
    reached = (last >= target).all() or (rising and (np.median(last) >= target or beyond))
    if not reached:
        return ""
    spikes = int(curve.spikes()[1:].sum())
    later = (
        f", step loss above the untrained {curve.untrained:.3g} in {spikes} of {curve.epochs} epochs" if spikes else ""
    )
    drops = int(falls_beyond(curve, DROP).sum())
    if drops:
        later += f", accuracy fell by more than {DROP} in {drops} of {curve.epochs} epochs"
    return f"accuracy {last[-1]:.4f} >= {target:g}{early_spike(curve)}{later}"


def _below(curve: Curve, target: float) -> tuple[str, str]:
    """A curve that is not surely at the target: still falling, levelled off, or too short or too shaken to tell."""
    accuracy, final = curve.accuracy, curve.accuracy[-1]
    if curve.epochs < TREND_EPOCHS:
        return "undecided", f"{curve.epochs} epoch{'s' * (curve.epochs > 1)}, accuracy {final:.4f}: too few to tell"
    if accuracy[-TREND_EPOCHS:].max() >= target:
        return "undecided", f"accuracy {final:.4f}, about the target {target:g} in its last {TREND_EPOCHS} epochs"
    if accuracy.max() >= target:
        best = int(accuracy.argmax())
        return "undecided", f"accuracy {accuracy[best]:.4f} >= {target:g} in epoch {best + 1}, crept to {final:.4f}"
    error = curve.avoidable_error
    span = min(TREND_EPOCHS, curve.epochs - 1)
    below = f" < {target:g}" if target < math.inf else ", no target known"
    rate = 1 - (error[-1] / error[-1 - span]) ** (1 / span)
    now = f"accuracy {final:.4f}{below}, error falls {100 * rate:.1f}% an epoch"
    if not curve.complete or curve.epochs < ENOUGH_EPOCHS:
        return _short(curve, target, error, now)
    return _long(curve, error, now)


def _long(curve: Curve, error: np.ndarray, now: str) -> tuple[str, str]:
    """A curve that had time: slow where its error or its loss still falls, else underfit."""
    gain = error[0] - error[-1]
    flat = gain <= SIGMAS * difference_noise(curve.accuracy[0], curve.accuracy[-1], curve.images)
    if flat and _loss_still_falls(curve):
        return "slow", f"{now}; its loss fell in every epoch and is nearer to the untrained than to a guess's"
    exponent = _exponent(curve)
    late = error[-1 - max(TREND_EPOCHS, curve.epochs // 3)] - error[-1]
    level = min(LEVEL_SHARE * gain, LEVEL_GAIN)
    law = f"as epochs**{-exponent:.2f}, by {late:.4f} in its last third (level below {LEVEL_EXPONENT} and {level:.2g})"
    if flat or (exponent < LEVEL_EXPONENT and late < level):
        return "underfit", f"levelled off: {now}, {law}"
    if _shaken(curve):
        return "undecided", f"neither calm nor to and fro: {now}, {law}"
    return "slow", f"{now}, {law}"


def _exponent(curve: Curve) -> float:
    """a of the power law `error ~ epoch**-a` that fits the last half of a curve best (least squares of logarithms)."""
    error = curve.avoidable_error
    count = max(len(error) // 2 + 1, min(len(error), TREND_EPOCHS + 1))
    x = np.log(np.arange(len(error) - count + 1, len(error) + 1))
    x = x - x.mean()
    return -float(x @ np.log(error[-count:]) / (x @ x))


def _shaken(curve: Curve) -> bool:
    """Whether anything shook a curve: small learning rates are calm."""
    return bool(curve.spikes()[1:].any() or early_spike(curve) or falls_beyond(curve, SLIP).any())


def _short(curve: Curve, target: float, error: np.ndarray, now: str) -> tuple[str, str]:
    """A curve that was cut, or of few epochs: slow only where its pace is hopeless, and neither dies out nor was
    shaken."""
    short = f"stopped at epoch {curve.epochs} of {curve.epochs_asked}: {now}"
    if curve.complete:
        short = f"{curve.epochs} epochs are too few to tell: {now}"
    waits = curve.epochs < ENOUGH_EPOCHS and curve.accuracy.max() <= curve.ceiling  # as deep networks do
    if waits or math.isinf(target) or _shaken(curve) or _may_level(curve, error):
        return "undecided", short
    pace, limit = error[-1] / error[-2], HOPELESS * max(curve.epochs_asked, curve.epochs)
    needed = math.log((1 - target) / error[-1]) / math.log(pace) if target < 1 else math.inf
    if needed <= limit:
        return "undecided", short
    return "slow", f"{now}; at its last epoch's pace it would take {needed:.0f} epochs more (limit {limit})"


def _may_level(curve: Curve, error: np.ndarray) -> bool:
    """Whether what a short curve still gains dies out: where gains halve, all to come are no more than the last."""
    gains = -np.diff(error)
    late = error[-1 - TREND_EPOCHS] - error[-1] if curve.epochs >= ENOUGH_EPOCHS else math.inf
    dies_out = gains[-1] <= 0 or gains[-1] < gains[-2] / 2
    return bool(dies_out or (late < LEVEL_GAIN and _exponent(curve) < LEVEL_EXPONENT))


def _loss_still_falls(curve: Curve) -> bool:
    """Whether the training loss fell in every epoch and has most of its way to a constant guess before it."""
    loss = curve.train_loss
    if loss is None or not (np.diff(loss) < 0).all():
        return False
    way = curve.untrained - curve.data.label_entropy
    return bool(way > 0 and curve.untrained - loss[-1] < way / 2)
