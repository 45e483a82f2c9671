"""The rules for a diverged curve: its loss left for good, it fell back to chance, or its network is dead."""

from __future__ import annotations

import numpy as np

from mnist_tune.regimes.curve import Curve
from mnist_tune.regimes.noise import SIGMAS, calm_floor, calm_limit, difference_noise
from mnist_tune.regimes.tuned import BLOWN_UP, CLEARLY, ENOUGH_EPOCHS, LEARNED, PATIENCE, TREND_EPOCHS


def diverged(curve: Curve) -> str:
    """Return the evidence that a curve diverged; empty if there is none."""
    return _left(curve) or _collapsed(curve) or _dead(curve)


def _left(curve: Curve) -> str:
    """Return the evidence that the training loss is not finite, or above the untrained loss by more than noise."""
    loss = curve.train_loss
    if loss is None:
        return ""
    said = f"training loss {loss[-1]:.3g}, {curve.untrained:.3g} untrained"
    said += f", above since step {curve.above_since}" if curve.above_since else ""
    if not np.isfinite(loss[-1]):
        return said
    limit = calm_limit(curve.untrained, curve.evaluated)
    lost = (curve.accuracy <= curve.ceiling) & (loss > limit)
    flagged = _last(lost) * curve.windows >= PATIENCE or (curve.diverged is not None and curve.diverged[-1])
    flagged = flagged or (_last(lost) >= ENOUGH_EPOCHS and loss[-1] > BLOWN_UP / 2 * curve.untrained)
    for_good = curve.diverged is None or curve.above_since is not None  # rows without flags don't say since when
    ended = curve.complete and for_good and curve.accuracy[-1] <= curve.ceiling
    return said if loss[-1] > limit and (flagged or ended) else ""


def _collapsed(curve: Curve) -> str:
    """Return the evidence that the network had learned, then fell to chance (or lost four fifths of what it had
    learned, for two epochs) and stayed there. A single epoch at chance counts only if it is the last one asked for."""
    accuracy = curve.accuracy
    best = int(accuracy.argmax())
    at_chance = accuracy <= curve.ceiling
    lost = curve.learned(accuracy) < LEARNED * curve.learned(accuracy[best])
    stays = at_chance[-1] and (curve.complete or at_chance[-2:].all())
    if curve.learned(accuracy[best]) < LEARNED or not (stays or lost[-2:].all()):
        return ""
    fell = curve.epochs - _last(lost | at_chance) + 1
    since = f", a guess since step {curve.guessing_since}" if curve.guessing_since else ""
    return f"late: accuracy {accuracy[fell - 2]:.4f}, then {accuracy[fell - 1]:.4f} in epoch {fell}{since}"


def _last(holds: np.ndarray) -> int:
    """Return how many epochs, counted back from the last one, are all true."""
    others = np.flatnonzero(~holds)
    return len(holds) - (int(others[-1]) + 1 if len(others) else 0)


def _at_chance(curve: Curve) -> np.ndarray:
    """Return the accuracies of the epochs since which the curve is at chance; none if the last epoch is not."""
    return curve.accuracy[curve.epochs - _last(curve.accuracy <= curve.ceiling) :]


def stuck(curve: Curve) -> bool:
    """Return whether a curve is at chance without progress: its accuracy does not rise, and its loss is no better than
    a guess's and does not fall."""
    accuracy, loss = _at_chance(curve), curve.train_loss
    if len(accuracy) < TREND_EPOCHS:
        return False
    rise = accuracy[-1] - accuracy[0]
    if rise > SIGMAS * difference_noise(accuracy[0], accuracy[-1], curve.images) and (np.diff(accuracy) >= 0).all():
        return False
    if loss is None:
        return True
    above = loss[-1] > calm_limit(curve.untrained, curve.evaluated)
    if above and not curve.complete and len(accuracy) * curve.windows < PATIENCE:  # it may come back
        return False
    worse = bool((loss[-TREND_EPOCHS:] >= calm_floor(curve.guess, curve.evaluated)).all())
    recent = loss[-TREND_EPOCHS - 2 :]  # the loss of a dead network goes to and fro with its steps
    return worse and not ((recent[1:] < recent[:-1]).all() and recent[0] > calm_limit(recent[-1], curve.evaluated))


def _dead(curve: Curve) -> str:
    """Return the evidence that a stuck network is dead: its loss was far from a constant guess's and is near it now."""
    if not stuck(curve):
        return ""
    accuracy, loss = _at_chance(curve), curve.train_loss
    said = f"accuracy never above {accuracy.max():.4f}"
    if len(accuracy) < curve.epochs:
        said += f" after {curve.accuracy.max():.4f} in epoch {int(curve.accuracy.argmax()) + 1}"
    if loss is None:
        return said
    far = curve.spikes(CLEARLY).any() or curve.untrained > CLEARLY * curve.data.uniform_loss(curve.loss)
    return f"dead{since(curve)}: {said}, loss that of a guess" if far and loss[-1] < CLEARLY**0.5 * curve.guess else ""


def since(curve: Curve) -> str:
    """Return the step, or else the epoch, since which a curve is at chance, as text."""
    if curve.guessing_since:
        return f" since step {curve.guessing_since}"
    return f" since epoch {curve.epochs - len(_at_chance(curve)) + 1}"
