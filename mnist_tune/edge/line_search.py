"""How far one step may go before the loss rises: the critical learning rate along a direction, by forward passes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

DOUBLINGS = 40
"""The most doublings, and the most halvings, from the first rate."""

HALVINGS = 4
"""Bisections of ln η between the last rate that lowers the loss and the first that raises it: within 2.2%."""


def critical_rate(loss_after: Callable[[float], Any], loss: float, start: float) -> float:
    """Return the critical learning rate: the least η > 0 with L(θ + η Δ) > L(θ), where `loss_after(η)` is a forward
    pass and `loss` is L(θ). `2 / η` is the critical sharpness (Kalra et al. 2026, arXiv 2601.16979).

    From the first rate, `start`, η is doubled or halved until the loss after the step crosses the loss before it, then
    the crossing is bisected: nine passes, if the first rate is within a factor of 8. A loss that is not finite has
    risen. If no rate that was tried crosses it, the rate is infinity or 0.
    """

    def rises(rate: float) -> bool:
        return not float(loss_after(rate)) <= loss

    rate, above = start, rises(start)
    for _ in range(DOUBLINGS):
        following = rate / 2 if above else rate * 2
        if rises(following) != above:
            break
        rate = following
    else:
        return 0.0 if above else math.inf
    low, high = sorted((rate, following))
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if rises(middle) else (middle, high)
    return math.sqrt(low * high)
