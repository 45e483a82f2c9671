"""The evidence for a label in words: a text for each reason, made from its numbers.

No other module words evidence, and nothing is decided by these texts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from mnist_tune.numbers import counted, rate, told_apart
from mnist_tune.regimes.curve import Score
from mnist_tune.regimes.divergence import PATIENCE
from mnist_tune.regimes.families import setting
from mnist_tune.regimes.forecast import Forecast
from mnist_tune.regimes.reasons import Label, Peak, Reason, Sibling, Since


def evidence(label: Label, score: Score = Score.ACCURACY) -> str:
    """Return the evidence for a label as text.

    Args:
        score: what the scores among its numbers are.
    """
    text = TEXTS[label.reason](score, **label.numbers)
    if label.stopped:
        return f"{text}; stopped as {label.stopped}"
    return text


def beside_accuracy(text: str, accuracy: float) -> str:
    """Return the evidence as it is written beside this training accuracy: without it,
    if it comes first."""
    return text.removeprefix(f"accuracy {accuracy:.4f}").lstrip(" ,;:")


MIDDLES = {2: "mean of two epochs", 3: "median of three epochs"}
"""What the score is at which a curve has settled, by the epochs that it is over."""


# --- parts of several texts


def best_and_last(score: Score, best: float, epoch: int, last: float) -> str:
    return f"{score} {best:.4f} in epoch {epoch}, {last:.4f} at the end"


def when(forecast: Forecast) -> str:
    """Return when a curve reaches its target, in words."""
    if forecast.is_past:
        return f"in epoch {forecast.likely:.0f}"
    if math.isinf(forecast.latest):
        return f"later than epoch {rounded(forecast.earliest)}"
    interval = f"{rounded(forecast.earliest)} to {rounded(forecast.latest)}"
    return f"at epoch {rounded(forecast.likely)} (80%: {interval})"


def rounded(epoch: float) -> str:
    """Return an epoch in four digits: with fewer, one that is to come may look as if it
    had been."""
    digits = f"{epoch:.4g}"
    return f"{float(digits):.0f}"


def peaked(peak: Peak) -> str:
    """Return how large a loss of training was: with small batches, it is no batch's."""
    if peak.images is None:
        return f"batch loss up to {peak.loss:.3g}"
    return f"loss over {peak.images} images up to {peak.loss:.3g}"


def named(sibling: Sibling) -> str:
    """Return what a sibling is called; with the settings in which it differs."""
    name = f"rate {rate(sibling.rate)}"
    settings = []
    for differing, (theirs, ours) in sibling.differing.items():
        value = theirs
        if isinstance(theirs, float):
            value = told_apart((theirs, ours))[theirs]
        settings.append(setting(differing, value) or f"no {differing}")
    if settings:
        return f"{name} with {' and '.join(settings)}"
    return name


# --- a text for each reason


def no_epoch(score: Score) -> str:
    return "no epoch finished"


def nothing_known(score: Score) -> str:
    learned = "no trial ran all its epochs and learned more than noise"
    return f"{learned}, so what can be learned is not known yet"


def loss_above_untrained(
    score: Score,
    loss: float,
    untrained: float | None,
    above_since: int | None,
    goes_on: bool,
) -> str:
    if untrained is None:
        text = f"training loss {loss:.3g}"
    else:
        losses = told_apart((loss, untrained), 3)
        # NaN is equal to no key of another object
        last, before = map(losses.get, (loss, untrained))
        text = f"training loss {last} (untrained {before})"
    if above_since:
        text += f", above it since step {above_since}"
    if goes_on:
        text += f"; not stopped, as that takes {PATIENCE:,} steps"
    return text


def fell_to_chance(score: Score, best: float, epoch: int, last: float) -> str:
    return f"fell back to chance: {best_and_last(score, best, epoch, last)}"


def collapsed(score: Score, best: float, epoch: int, last: float) -> str:
    return f"collapsed: {best_and_last(score, best, epoch, last)}"


def dead(score: Score, since: Since, last: float) -> str:
    begun = f"dead since {since.unit} {since.number}"
    return f"{begun}: {score} {last:.4f} is that of guessing"


def beside_others(
    score: Score, own: Label | None, best: float, sibling: Sibling
) -> str:
    shown = "at chance" if own is None else evidence(own, score)
    return f"{shown}; {named(sibling)} reached {best:.4f}"


def dead_beside_others(
    score: Score, since: Since, own: Label | None, best: float, sibling: Sibling
) -> str:
    begun = f"dead since {since.unit} {since.number}"
    return f"{begun}: {beside_others(score, own, best, sibling)}"


def plateau_beside_others(
    score: Score, loss: float, stays: bool, **numbers: Any
) -> str:
    course = "stays at" if stays else "learned nothing after epoch 1:"
    return f"{course} loss {loss:.4g}; {behind(score, **numbers)}"


def held_out_fell(
    score: Score,
    best: float,
    epoch: int,
    last: float,
    losses: tuple[float, float] | None,
) -> str:
    text = f"held out {best:.4f} in epoch {epoch}, then {last:.4f}"
    if losses is not None:
        least, now = losses
        text += f"; loss {least:.3g} to {now:.3g}"
    return text


def held_out_at_chance(score: Score, train: float, best: float) -> str:
    return f"training {score} {train:.4f}, held out at chance (best {best:.4f})"


def unstable(
    score: Score, events: int, epochs: int, fall: float, peak: Peak | None
) -> str:
    largest = f"falls of {fall:.3f}" if peak is None else peaked(peak)
    return f"{events} of {epochs} epochs unstable ({largest})"


def falls_often(score: Score, falls: int, epochs: int, low: float, high: float) -> str:
    fell = f"{score} clearly fell in {falls} of {epochs} epochs"
    return f"{fell}, between {low:.4f} and {high:.4f}"


def rises_and_falls(score: Score, **numbers: Any) -> str:
    return f"rises and falls: {behind(score, **numbers)}"


def at_target(
    score: Score, reached: float, goal: float, over: int, early: Peak | None
) -> str:
    text = f"{score} {reached:.4f}"
    if over in MIDDLES:
        text += f" ({MIDDLES[over]})"
    text += f" >= {goal:.4g}"
    if early is not None:
        text += f", {peaked(early)} in epoch 1"
    return text


def hardly_begun(score: Score, loss: float, untrained: float | None) -> str:
    text = f"hardly begun: training loss {loss:.4g}"
    if untrained is not None:
        text += f" (untrained {untrained:.4g})"
    return text


def late_at_best(score: Score, last: float, goal: float, epochs: int) -> str:
    needed = f"{goal:.4g} would take over {epochs} epochs at best"
    return f"{score} {last:.4f}; {needed}"


def late(score: Score, last: float, goal: float, forecast: Forecast) -> str:
    return f"{score} {last:.4f}; would reach {goal:.4g} {when(forecast)}"


def late_beside_faster(
    score: Score, goal: float, forecast: Forecast, sibling: Sibling, did: Forecast
) -> str:
    ours = f"would reach {goal:.4g} {when(forecast)}"
    return f"{ours}; {named(sibling)} did {when(did)}"


def behind(
    score: Score, last: float, epochs: int, sibling: Sibling, theirs: float
) -> str:
    ours = f"{score} {last:.4f} after {counted(epochs, 'epoch')}"
    return f"{ours}; {named(sibling)} had {theirs:.4f}"


def schedule_ended(score: Score, last: float) -> str:
    return f"{score} {last:.4f} when the schedule ended at rate 0"


def schedule_ended_without_target(score: Score, last: float) -> str:
    return f"{schedule_ended(score, last)}, no target known"


def levelled_off(score: Score, last: float) -> str:
    return f"levelled off at {score} {last:.4f}"


def declining(score: Score, best: float, epoch: int, last: float) -> str:
    return f"declining: {best_and_last(score, best, epoch, last)}"


def too_few_epochs(score: Score, epochs: int, last: float) -> str:
    return f"{counted(epochs, 'epoch')}, {score} {last:.4f}: too few to tell"


def not_steady(score: Score, last: float, goal: float) -> str:
    return f"{score} {last:.4f} >= {goal:.4g}, but not steadily so far"


def left_target(score: Score, best: float, epoch: int, last: float) -> str:
    return f"left the target: {best_and_last(score, best, epoch, last)}"


def on_its_way(
    score: Score, last: float, goal: float, forecast: Forecast | None
) -> str:
    if forecast is None:
        level = f"{score} {last:.4f}, not levelled off"
        return f"on its way: {level}; no target before the best trial has"
    return f"on its way: would reach {goal:.4g} {when(forecast)}"


def level_or_slow(score: Score, last: float, epochs: int) -> str:
    return f"{score} {last:.4f}: levelled off or slow, {epochs} epochs can't tell"


def jumps_rarely(score: Score, last: float) -> str:
    return f"{score} {last:.4f}: jumps, but too rarely to be oscillating"


def no_target(score: Score, last: float) -> str:
    return f"{score} {last:.4f}, no target known"


TEXTS: dict[Reason, Callable[..., str]] = {
    Reason.NO_EPOCH: no_epoch,
    Reason.NOTHING_KNOWN: nothing_known,
    Reason.LOSS_ABOVE_UNTRAINED: loss_above_untrained,
    Reason.FELL_TO_CHANCE: fell_to_chance,
    Reason.COLLAPSED: collapsed,
    Reason.DEAD: dead,
    Reason.DEAD_BESIDE_OTHERS: dead_beside_others,
    Reason.PLATEAU_BESIDE_OTHERS: plateau_beside_others,
    Reason.HELD_OUT_FELL: held_out_fell,
    Reason.HELD_OUT_AT_CHANCE: held_out_at_chance,
    Reason.UNSTABLE: unstable,
    Reason.FALLS_OFTEN: falls_often,
    Reason.ENDED_LOW: best_and_last,
    Reason.RISES_AND_FALLS: rises_and_falls,
    Reason.AT_TARGET: at_target,
    Reason.HARDLY_BEGUN: hardly_begun,
    Reason.LATE_AT_BEST: late_at_best,
    Reason.LATE: late,
    Reason.LATE_BESIDE_FASTER: late_beside_faster,
    Reason.AT_CHANCE_BESIDE_OTHERS: beside_others,
    Reason.BEHIND: behind,
    Reason.SCHEDULE_ENDED: schedule_ended,
    Reason.LEVELLED_OFF: levelled_off,
    Reason.DECLINING: declining,
    Reason.SCHEDULE_ENDED_WITHOUT_TARGET: schedule_ended_without_target,
    Reason.TOO_FEW_EPOCHS: too_few_epochs,
    Reason.NOT_STEADY: not_steady,
    Reason.LEFT_TARGET: left_target,
    Reason.ON_ITS_WAY: on_its_way,
    Reason.LEVEL_OR_SLOW: level_or_slow,
    Reason.JUMPS_RARELY: jumps_rarely,
    Reason.NO_TARGET: no_target,
}
"""How each reason reads, given what the score is called and the label's numbers."""
