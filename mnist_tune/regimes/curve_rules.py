"""The rules that give a trial's own curve a regime. `docs/regimes.md` says where each number comes from."""

from __future__ import annotations

import math

import numpy as np

from mnist_tune.regimes.curve import ENOUGH_EPOCHS, TREND_EPOCHS, Curve
from mnist_tune.regimes.diverged import diverged
from mnist_tune.regimes.noise import SIGMAS, difference_noise, sigmas
from mnist_tune.regimes.oscillating import DROP, SLIP, early_spike, falls_beyond, oscillating

BOTH_FALL = 0.1
"""If training accuracy fell too, by more than this share of the fall of held-out accuracy, it is not overfitting."""

LEVEL_EXPONENT = 0.32
"""A network's error falls as a power of the epochs. If it falls more slowly than epochs**-0.32, it has levelled off.
Measured on curves below the target: 0.19 and 0.28 for networks of 4 and 16 units, 0.37 to 0.43 at small rates."""

LEVEL_SHARE = 0.15
"""A curve that has levelled off made less than this share of its gain in its last third; a straight line makes 1/3."""

LEVEL_GAIN = 0.02
"""A curve that gained this much accuracy in its last third has not levelled off, whatever it gained before."""

HOPELESS = 3
"""A short curve is slow only if its last pace would take this many times its epochs (those asked for) to the target."""


def curve_regime(curve: Curve, target: float | None = 0.95) -> tuple[str, str]:
    """Return the regime that a trial's own curve shows, and the numbers that decided it.

    Args:
        curve: the trial's curve.
        target: the accuracy of a network that has learned the data set. If it is None, no curve is converged.
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
    """Return the evidence that held-out accuracy fell beyond noise, and stayed low, while training accuracy did not."""
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
    """Return the evidence that the last three epochs are at the target or rise to it: one epoch may be luck."""
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
    return f"accuracy {last[-1]:.4f} >= {target:.4g}{early_spike(curve)}{later}"


def _below(curve: Curve, target: float) -> tuple[str, str]:
    """Label a curve that is not clearly at the target."""
    accuracy, final = curve.accuracy, curve.accuracy[-1]
    if curve.epochs < TREND_EPOCHS:
        return "undecided", f"{curve.epochs} epoch{'s' * (curve.epochs > 1)}, accuracy {final:.4f}: too few to tell"
    if accuracy[-TREND_EPOCHS:].max() >= target:
        return "undecided", f"accuracy {final:.4f}, about the target {target:.4g} in its last {TREND_EPOCHS} epochs"
    if accuracy.max() >= target:
        best = int(accuracy.argmax())
        return "undecided", f"accuracy {accuracy[best]:.4f} >= {target:.4g} in epoch {best + 1}, crept to {final:.4f}"
    error = curve.avoidable_error
    span = min(TREND_EPOCHS, curve.epochs - 1)
    below = f" < {target:.4g}" if target < math.inf else ", no target known"
    rate = 1 - (error[-1] / error[-1 - span]) ** (1 / span)
    now = f"accuracy {final:.4f}{below}, error falls {100 * rate:.1f}% an epoch"
    if not curve.complete or curve.epochs < ENOUGH_EPOCHS:
        return _short(curve, target, error, now)
    return _long(curve, error, now)


def _long(curve: Curve, error: np.ndarray, now: str) -> tuple[str, str]:
    """Label a curve that ran all its epochs: slow if its error or its loss still falls, else underfit."""
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
    """Return a of the power law `error ~ epoch**-a`, fitted to a curve's last half (least squares of logarithms)."""
    error = curve.avoidable_error
    count = max(len(error) // 2 + 1, min(len(error), TREND_EPOCHS + 1))
    x = np.log(np.arange(len(error) - count + 1, len(error) + 1))
    x = x - x.mean()
    return -float(x @ np.log(error[-count:]) / (x @ x))


def _shaken(curve: Curve) -> bool:
    """Return whether a curve has a spike or a fall; at small learning rates curves have neither."""
    return bool(curve.spikes()[1:].any() or early_spike(curve) or falls_beyond(curve, SLIP).any())


def _short(curve: Curve, target: float, error: np.ndarray, now: str) -> tuple[str, str]:
    """Label a curve that was cut or has few epochs: slow if its pace is hopeless, but not if it may level off."""
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
    """Return whether a short curve may be levelling off: gains that halve each epoch sum to no more than the last."""
    gains = -np.diff(error)
    late = error[-1 - TREND_EPOCHS] - error[-1] if curve.epochs >= ENOUGH_EPOCHS else math.inf
    dies_out = gains[-1] <= 0 or gains[-1] < gains[-2] / 2
    return bool(dies_out or (late < LEVEL_GAIN and _exponent(curve) < LEVEL_EXPONENT))


def _loss_still_falls(curve: Curve) -> bool:
    """Return whether the training loss fell in every epoch and is nearer to the untrained loss than to a guess's."""
    loss = curve.train_loss
    if loss is None or not (np.diff(loss) < 0).all():
        return False
    way = curve.untrained - curve.guess
    return bool(way > 0 and curve.untrained - loss[-1] < way / 2)
