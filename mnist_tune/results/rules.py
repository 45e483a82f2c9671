"""The rules by which a trial's own curve has a regime. `docs/regimes.md` says where each number comes from."""

from __future__ import annotations

import math

import numpy as np

from mnist_tune.results.curve import Curve
from mnist_tune.results.lost import diverged
from mnist_tune.training.noise import SIGMAS, difference_noise, sigmas

TREND_EPOCHS = 3
"""Fewer epochs show neither a trend nor a repeated spike."""

ENOUGH_EPOCHS = 5
"""Of which a trend may be called a plateau or a crawl: MNIST's networks reach the target within five at a third of
their best learning rate. With fewer, only a pace that is hopeless tells."""

DROP = 0.015
"""A fall of the accuracy from an epoch to the next that calm training does not show: at rate 1.6 the notebook fell by
0.016, 0.019 and 0.054, in its calm runs by less than 0.004."""

SLIP = 0.005
"""A fall that counts where accuracies go to and fro: calm runs show less from one epoch to the next."""

OSCILLATIONS = 2
"""Spikes or drops, from the second epoch on, that make a curve oscillating. One is an accident: at rate 1.0
all seeds spike in the first epoch and some once more, then stay calm."""

OFTEN = 1 / 6
"""Share of the epochs after the first with a spike or a drop above which a curve oscillates: measured at rate 1.0, a
ninth (converged); at 1.3 and 1.6, a third and more."""

TO_AND_FRO = 1 / 3
"""The same of slips: measured at rate 1.0, two ninths at most."""

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
        ("oscillating", _oscillating(curve, goal)),
        ("converged", _converged(curve, goal)),
    ):
        if evidence:
            return name, evidence
    return _below(curve, goal)


def _oscillating(curve: Curve, target: float) -> str:
    if curve.accuracy.max() <= curve.ceiling:  # the loss of a network that guesses goes to and fro with its steps
        return ""
    if curve.train_loss is not None and (curve.train_loss > curve.untrained).all():  # it may yet land
        return ""
    drops, slips = _falls(curve, DROP), _falls(curve, SLIP)
    return (
        _often(curve, drops, curve.spikes()[1:])
        or _to_and_fro(curve, slips, target)
        or _not_recovered(curve, drops, target)
    )


def _falls(curve: Curve, limit: float) -> np.ndarray:
    """After which epochs the accuracy fell by more than a limit and noise."""
    return np.asarray(curve.falls > np.maximum(limit, curve.falls_noise))


def _often(curve: Curve, drops: np.ndarray, spikes: np.ndarray) -> str:
    """Spikes or drops in more than a sixth of the epochs, the last in the second half; or drops alone, in the last
    third."""
    shaken, late = drops | spikes, drops[-(len(drops) // 3) :] if len(drops) >= 9 else drops[:0]
    events = int(shaken.sum())
    often = events >= OSCILLATIONS and events > OFTEN * len(drops) and bool(shaken[len(drops) // 2 :].any())
    if not often and (late.sum() < OSCILLATIONS or late.sum() <= OFTEN * len(late)):
        return ""
    said = []
    if spikes.any():
        said.append(
            f"step loss above the untrained {curve.untrained:.3g} in {spikes.sum()} epochs after the first "
            f"(up to {np.nanmax(curve.peak()[1:]):.3g}){early_spike(curve)}"
        )
    if drops.any():
        said.append(
            f"accuracy fell {drops.sum()} times by more than {np.maximum(DROP, curve.falls_noise).min():.3g} "
            f"(up to {curve.falls.max():.3f})"
        )
    return "; ".join(said) + f"; in {events} of {len(drops)} epochs, more than {OFTEN:.0%}" * often


def _to_and_fro(curve: Curve, slips: np.ndarray, target: float) -> str:
    """Slips in a third of the epochs, of all or of the last half; not those of a curve that stays at the target."""
    if (curve.accuracy[-TREND_EPOCHS:] >= target).all():
        return ""
    needed = OSCILLATIONS if curve.complete else OSCILLATIONS + 1
    half = slips[len(slips) // 2 :]
    for part, least in ((slips, needed), (half, needed + 1)):
        if part.sum() >= least and part.sum() >= TO_AND_FRO * len(part) and len(part) >= TREND_EPOCHS:
            top = curve.accuracy[-len(part) - 1 :]
            return (
                f"accuracy to and fro between {top.min():.4f} and {top.max():.4f}: it fell by more than {SLIP} in "
                f"{part.sum()} of {len(part)} epochs, a third or more"
            )
    return ""


def _not_recovered(curve: Curve, drops: np.ndarray, target: float) -> str:
    """A drop below the target from which the curve did not come back, though it had learned much before."""
    best, last = int(curve.accuracy.argmax()), curve.accuracy[-1]
    noise = SIGMAS * difference_noise(curve.accuracy[best], last, curve.images)
    lost = curve.accuracy[best] - last > max(DROP, noise)
    if not curve.complete:  # the next epoch may make up for the last
        drops = drops[:-1]
    if curve.epochs < ENOUGH_EPOCHS or not lost or not drops[best:].any() or last >= target:
        return ""
    return (
        f"accuracy fell from {curve.accuracy[best]:.4f} in epoch {best + 1} to {last:.4f} in the last, by more than "
        f"{max(DROP, noise):.3g}"
    )


def early_spike(curve: Curve) -> str:
    """What to say of a peak in the first epoch, empty where there is none."""
    if not curve.spikes(2)[0]:
        return ""
    return f", step loss peaked at {curve.peak()[0]:.3g} in epoch 1"


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
    return (
        f"held-out accuracy fell from {held_out[best]:.4f} in epoch {best + 1} to {held_out[-1]:.4f} "
        f"while training accuracy rose by {rise:.4f}; noise of {curve.held_out_count} images is {noise:.2g}"
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
    drops = int(_falls(curve, DROP).sum())
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
    law = f"as epochs**-{exponent:.2f}, by {late:.4f} in its last third (level below {LEVEL_EXPONENT} and {level:.2g})"
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
    return bool(curve.spikes()[1:].any() or early_spike(curve) or _falls(curve, SLIP).any())


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
