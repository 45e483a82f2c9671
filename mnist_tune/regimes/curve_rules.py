"""The rules that give a trial's own curve a regime. `docs/regimes.md` says where each number comes from."""

from __future__ import annotations

import math

import numpy as np

from mnist_tune.regimes.curve import Curve
from mnist_tune.regimes.diverged import diverged
from mnist_tune.regimes.forecast import NEVER, Forecast, forecast, rounded
from mnist_tune.regimes.noise import SIGMAS, calm_limit, difference_noise, sigmas
from mnist_tune.regimes.oscillating import early_spike, falls_beyond, oscillating
from mnist_tune.regimes.tuned import (
    CLEARLY,
    ENOUGH_EPOCHS,
    FAR,
    LEARNED,
    LEVEL_EXPONENT,
    LEVEL_SHARE,
    TREND_EPOCHS,
    VISIBLE,
)


def curve_regime(curve: Curve, target: float | None = 0.95) -> tuple[str, str]:
    """Return the regime that a trial's own curve shows, and the numbers that decided it, given the accuracy of a
    network that has learned the data set. If that is None, no curve is converged."""
    if not curve.epochs:
        return "undecided", "no epoch finished"
    goal = math.inf if target is None else target
    for name, evidence in (
        ("diverged", diverged(curve)),
        ("overfit", _overfit(curve)),
        ("converged", _accident(curve, goal)),
        ("oscillating", oscillating(curve, goal)),
        ("converged", _converged(curve, goal)),
    ):
        if evidence:
            return name, evidence
    label, evidence = _below(curve, goal)
    return label, evidence if target is not None or "target" in evidence else f"{evidence}, no target known"


def reached(curve: Curve, target: float | None, label: str) -> Forecast | None:
    """Return when a curve reaches the target; None if it is not calm, or there are too few epochs to tell."""
    if target is None or not curve.epochs or label in ("oscillating", "diverged", "overfit"):
        return None
    if label == "converged" and _accident(curve, target):
        below = np.flatnonzero(curve.accuracy[:-TREND_EPOCHS] < target)
        since = float(below[-1] + 2 if len(below) else 1)
        return Forecast(since, since, since)
    ahead = forecast(curve, target)
    if label == "converged" or ahead.is_past:
        return ahead
    if curve.complete and curve.schedule != "constant":
        return None
    if curve.epochs < ENOUGH_EPOCHS or shaken(curve) or _hardly_begun(curve) or curve.accuracy.max() >= target:
        return None
    if label == "underfit":
        return NEVER
    return None if _flat(curve) or _dies_out(curve, ahead.slowest) else ahead


def _overfit(curve: Curve) -> str:
    """Return the evidence that held-out accuracy fell while training accuracy did not, and stayed so.

    The fall, in units of its limit, and the rise of the held-out loss, in units of `log(CLEARLY)`, add up to over 1.
    """
    train, held_out, loss = curve.train_accuracy, curve.held_out, curve.held_out_loss
    if train is None or np.isnan(train).any() or np.isnan(held_out).any() or curve.epochs < TREND_EPOCHS:
        return ""
    if held_out.max() <= curve.ceiling and curve.learned(train[-1]) >= LEARNED:
        return f"train {train[-1]:.4f}, held out at chance, {held_out.max():.4f} at best"
    best = int(held_out.argmax())
    now = max(float(np.median(held_out[-TREND_EPOCHS:])), held_out[-1])
    fall = held_out[best] - now
    grown, said = 0.0, f"held out {held_out[best]:.4f} in epoch {best + 1}, then {held_out[-1]:.4f}"
    if loss is not None and np.isfinite(loss).all() and min(loss) > 0:
        late = float(np.median(loss[-TREND_EPOCHS:]))
        if late > calm_limit(min(loss), curve.held_out_count, risk=0.05):
            grown = math.log(late / min(loss)) / math.log(CLEARLY)
            said += f"; loss {min(loss):.3g} to {loss[-1]:.3g}"
    limit = sigmas(curve.epochs) * difference_noise(held_out[best], now, curve.held_out_count)
    grew = train[-1] - train[best] >= -difference_noise(train[-1], train[best], curve.evaluated)
    if curve.train_loss is not None:  # where the training loss rises, too, it is not the network that memorises
        grew = grew and bool(np.median(curve.train_loss[-TREND_EPOCHS:]) <= curve.train_loss[best])
    return said if fall > 0 and fall / limit + grown > 1 and grew else ""


def _accident(curve: Curve, target: float) -> str:
    """Return the evidence that a curve was at the target all along but for one fall, in its last epochs, to less than
    twice the target's error."""
    before = curve.accuracy[: -TREND_EPOCHS + 1]
    below = np.flatnonzero(curve.accuracy[-TREND_EPOCHS:] < target)
    if curve.epochs < 2 * TREND_EPOCHS or len(below) != 1 or not (before[-TREND_EPOCHS:] >= target).all():
        return ""
    fell = int(curve.epochs - TREND_EPOCHS + below[0])
    others = np.delete(falls_beyond(curve, VISIBLE / 3), [fell - 1])
    if others[curve.epochs // 2 :].any() or 1 - curve.accuracy[fell] > 2 * (1 - target):
        return ""
    return f"accuracy {curve.accuracy[fell - 1]:.4f}, but for {curve.accuracy[fell]:.4f} in epoch {fell + 1}"


def _converged(curve: Curve, target: float) -> str:
    """Return the evidence that the last three epochs are at the target or rise to it: one epoch may be luck."""
    last = curve.accuracy[-TREND_EPOCHS:]
    rising = bool((np.diff(last) >= 0).all()) and len(last) == TREND_EPOCHS
    beyond = last[-1] - target > SIGMAS * difference_noise(last[-1], target, curve.images) / math.sqrt(2)
    steady = rising or (curve.epochs > ENOUGH_EPOCHS and not falls_beyond(curve, VISIBLE / 3)[-ENOUGH_EPOCHS:].any())
    enough = len(last) == TREND_EPOCHS or beyond
    there = (enough and (last >= target).all()) or (steady and min(curve.settled, last[-1]) >= target)
    reached = there or (rising and beyond)
    if not reached:
        return ""
    events = [(int(curve.spikes()[1:].sum()), "spike"), (int(falls_beyond(curve, VISIBLE).sum()), "drop")]
    later = "".join(f", {count} {name}{'s' * (count > 1)} in {curve.epochs} epochs" for count, name in events if count)
    return f"accuracy {last[-1]:.4f} >= {target:.4g}{early_spike(curve)}{later}"


def _below(curve: Curve, target: float) -> tuple[str, str]:
    """Label a curve that is not clearly at the target."""
    accuracy, final = curve.accuracy, curve.accuracy[-1]
    if curve.epochs < TREND_EPOCHS:
        return "undecided", f"{curve.epochs} epoch{'s' * (curve.epochs > 1)}, accuracy {final:.4f}: too few to tell"
    if accuracy[-TREND_EPOCHS:].max() >= target:
        return "undecided", f"accuracy {final:.4f}, about the target {target:.4g}"
    if accuracy.max() >= target:
        best = int(accuracy.argmax())
        return "undecided", f"accuracy {accuracy[best]:.4f} in epoch {best + 1}, crept to {final:.4f}"
    ahead = forecast(curve, target)
    if _hardly_begun(curve):
        assert curve.train_loss is not None
        return "slow", f"hardly begun: loss {curve.train_loss[-1]:.4g}, {curve.untrained:.4g} untrained"
    limit = FAR * max(curve.epochs_asked, curve.epochs)
    if curve.epochs < ENOUGH_EPOCHS:
        if accuracy.max() <= curve.ceiling or _flat(curve) or shaken(curve) or ahead.earliest <= FAR * limit:
            return "undecided", f"{curve.epochs} epochs, accuracy {final:.4f}: too few to tell"
        return "slow", f"accuracy {final:.4f}; {target:.4g} not before epoch {rounded(min(ahead.earliest, 1000))}"
    if _flat(curve) or _dies_out(curve, ahead.slowest):
        return _levelled(curve, target, ahead)
    if shaken(curve):
        return "undecided", f"accuracy {final:.4f}: neither calm nor oscillating"
    if math.isinf(target):
        return "undecided", f"accuracy {final:.4f}, no target known"
    if curve.complete and curve.schedule != "constant":
        return "undecided", f"accuracy {final:.4f} when the learning rate was 0"
    if (ahead.likely if curve.complete else ahead.earliest) > limit:
        return "slow", f"accuracy {final:.4f}; {target:.4g} not before epoch {rounded(min(ahead.earliest, 1000))}"
    return "undecided", f"on its way: {target:.4g} {ahead}"


def _levelled(curve: Curve, target: float, ahead: Forecast) -> tuple[str, str]:
    """Label a curve whose error may have stopped to fall: underfit if it surely has, undecided if it was cut."""
    final, best = curve.accuracy[-1], int(curve.accuracy.argmax())
    if not curve.complete:
        return "undecided", f"accuracy {final:.4f} after {curve.epochs} epochs: may be levelling off"
    noise = SIGMAS * difference_noise(curve.accuracy[best], final, curve.images)
    if curve.accuracy[best] - final > noise:
        said = f"accuracy {curve.accuracy[best]:.4f} in epoch {best + 1}, {final:.4f} at the end"
        return ("underfit", f"declining: {said}") if best < curve.epochs // 2 else ("undecided", said)
    hidden = 1 - target < curve.wrong_labels  # behind wrong labels, the exponent is less well known
    if _flat(curve) or _dies_out(curve, ahead.exponent if hidden else ahead.fastest):
        return "underfit", f"levelled off at accuracy {final:.4f}"
    return "undecided", f"accuracy {final:.4f}: levelled off or slow, {curve.epochs} epochs can't tell"


def _flat(curve: Curve) -> bool:
    """Return whether the accuracy gained nothing beyond noise."""
    first, last = curve.accuracy[0], curve.accuracy[-1]
    return bool(last - first <= SIGMAS * difference_noise(first, last, curve.images))


def _dies_out(curve: Curve, exponent: float) -> bool:
    """Return whether `error ~ epoch**-exponent` falls slowly, and gains little in the last third of the epochs."""
    error, third = curve.avoidable_error, max(TREND_EPOCHS, curve.epochs // 3)
    late = error[-1] * exponent * math.log(curve.epochs / max(curve.epochs - third, 1))
    level = LEVEL_SHARE * third / (curve.epochs - 1) * (error[0] - error[-1])
    return bool(exponent < LEVEL_EXPONENT and late < (min(level, VISIBLE) if curve.complete else level))


def shaken(curve: Curve) -> bool:
    """Return whether a curve has a spike or a fall; at small learning rates curves have neither."""
    return bool(curve.spikes()[1:].any() or early_spike(curve) or falls_beyond(curve, VISIBLE / 3).any())


def _hardly_begun(curve: Curve) -> bool:
    """Return whether the training loss fell in every epoch, and at its mean pace needs over an epoch to a guess's."""
    loss = curve.train_loss
    if loss is None or not (loss[1:] < loss[:-1]).all() or loss[0] > calm_limit(curve.untrained, curve.evaluated):
        return False
    return bool(loss[-1] - curve.guess > (curve.untrained - loss[-1]) / curve.epochs)
