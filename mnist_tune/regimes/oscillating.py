"""The rules for an oscillating curve: its loss has spikes, or its accuracy drops or goes to and fro."""

from __future__ import annotations

import numpy as np

from mnist_tune.regimes.curve import Curve
from mnist_tune.regimes.noise import SIGMAS, calm_limit, difference_noise
from mnist_tune.regimes.tuned import CLEARLY, ENOUGH_EPOCHS, OFTEN, TREND_EPOCHS, VISIBLE


def landed(curve: Curve) -> bool:
    """Return whether accuracy has left chance. Until then, fluctuations are not oscillation."""
    return bool(curve.accuracy.max() > curve.ceiling)


def unstable(curve: Curve) -> np.ndarray:
    """Return, for each epoch but the first, whether its loss had a spike, or the epoch ended above the untrained loss
    by more than noise though the network does not guess."""
    spikes = curve.spikes()
    if curve.train_loss is not None:
        with np.errstate(invalid="ignore"):
            above = curve.train_loss > calm_limit(curve.untrained, curve.evaluated)
        spikes = spikes | (above & (curve.accuracy > curve.ceiling))
    return np.asarray(spikes[1:])


def oscillating(curve: Curve, target: float) -> str:
    """Return the evidence that a curve oscillates; empty if there is none."""
    if not landed(curve):
        return ""
    drops, slips = falls_beyond(curve, VISIBLE), falls_beyond(curve, VISIBLE / 3)
    if curve.train_loss is not None:
        slips = slips | ((curve.falls > VISIBLE) & (curve.train_loss[1:] > curve.train_loss[:-1]))
    return (
        _often(curve, drops, unstable(curve), target)
        or _to_and_fro(curve, slips, target)
        or _not_recovered(curve, drops, target)
    )


def falls_beyond(curve: Curve, limit: float) -> np.ndarray:
    """Return, for each epoch but the first, whether the accuracy fell in it by more than a limit and noise."""
    return np.asarray(curve.falls > np.maximum(limit, curve.falls_noise))


def _often(curve: Curve, drops: np.ndarray, spikes: np.ndarray, target: float) -> str:
    """Return the evidence for spikes or drops in more than a sixth of the epochs, the last ones in the second half, or
    for drops in more than a sixth of the last third. What then was calm at the target for five epochs, and for a third
    of all, oscillates no more."""
    shaken, late = drops | spikes, drops[-(len(drops) // 3) :] if len(drops) >= 9 else drops[:0]
    events, third = int(shaken.sum()), max(ENOUGH_EPOCHS, curve.epochs // 3)
    if (curve.accuracy[-third:] >= target).all() and not shaken[-third:].any():
        return ""
    often = events >= 2 and events > OFTEN * len(drops) and bool(shaken[len(drops) // 2 :].any())
    if not often and (late.sum() < 2 or late.sum() <= OFTEN * len(late)):
        return ""
    said = [f"loss up to {np.nanmax(curve.peak[1:]):.3g}"] if curve.spikes()[1:].any() else []
    said += [f"falls of {curve.falls.max():.3f}"] if drops.any() else []
    return ": ".join(filter(None, (f"unstable in {events} of {len(drops)} epochs", ", ".join(said))))


def _to_and_fro(curve: Curve, slips: np.ndarray, target: float) -> str:
    """Return the evidence for slips in a third of the epochs, unless the curve is at the target."""
    count, epochs, accuracy = int(slips.sum()), len(slips), curve.accuracy
    often = count >= max(2 * OFTEN * epochs, 2 if curve.complete else 3) and epochs >= TREND_EPOCHS
    if not often or (accuracy[-TREND_EPOCHS:] >= target).all():
        return ""
    return f"accuracy fell in {count} of {epochs} epochs, {accuracy.min():.4f} to {accuracy.max():.4f}"


def _not_recovered(curve: Curve, drops: np.ndarray, target: float) -> str:
    """Return the evidence for a drop below the target that the curve has not recovered from."""
    best, last = int(curve.accuracy.argmax()), curve.accuracy[-1]
    noise = SIGMAS * difference_noise(curve.accuracy[best], last, curve.images)
    lost = curve.accuracy[best] - last > max(VISIBLE, noise)
    if not curve.complete:  # the next epoch may make up for the last
        drops = drops[:-1]
    if curve.epochs < ENOUGH_EPOCHS or not lost or not drops[best:].any() or last >= target:
        return ""
    return f"accuracy {curve.accuracy[best]:.4f} in epoch {best + 1}, {last:.4f} at the end"


def early_spike(curve: Curve) -> str:
    """Return what the evidence says of a spike in the first epoch; empty if there is none."""
    return f", loss up to {curve.peak[0]:.3g} in epoch 1" if curve.spikes(CLEARLY)[0] else ""
