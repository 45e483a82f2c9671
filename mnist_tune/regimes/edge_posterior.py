"""What trials that did or did not learn say about the edge: the learning rates at which
90, 50 and 10% of seeds learn.

A trial's outcome is a coin whose bias falls with the learning rate η. With x = ln η and
the logistic function σ,

    P(learns | x) = γ + (1 - γ - δ) σ((μ - x) / s).

s is the edge's width, δ the share of seeds that fail far below the edge (lapses), γ the
share that learn far above it (luck). The posterior of the four is kept on a grid. The
axis of the grid is not μ but the *half*, the x at which P = ½. So the posterior of the
edge itself is a plain marginal.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

HALVES = 80
"""Points on the grid's axis of halves, which is moved and rescaled as the posterior
narrows."""

WIDTHS = np.geomspace(0.006, 1.4, 11).astype(np.float32)
"""The values of s. The smallest is a step, at any precision that a search asks for.
With the largest, three quarters of the seeds learn at a quarter of the edge's rate:
where the share of seeds that learn falls more than once, only such a width makes
intervals wide enough."""

WIDTH_PRIOR = WIDTHS ** np.float32(0.4)
"""A prior that leans to wide edges. With equal weights, intervals at s = 0.05 to 0.1
hold the edge too seldom: searches see an edge as a step as long as they have few
outcomes on its slope, and stop."""

LAPSES = {0.0: 0.5, 0.05: 0.3, 0.12: 0.2}
"""The values of δ, and their prior probabilities."""

LUCK = {0.0: 0.7, 0.1: 0.3}
"""The values of γ, and their prior probabilities."""

FLAT = np.log(8)
"""The prior of the half is flat up to this distance from where the search expects it,
and falls as exp(-distance) beyond."""

REACH = FLAT + 5
"""The largest distance: beyond are 0.2% of the prior."""

ENDS = (0.025, 0.5, 0.975)
"""The lower end, the median and the upper end of an interval that holds with a
probability of 95%."""

LEAST_OUTCOMES = 32
"""Outcomes from which on a search may end. With fewer, the searches that end are those
that have underestimated s, and their intervals are too narrow."""

SETTLED = 0.15
"""The share of a search's outcomes, the last ones, through which the interval must have
been narrow enough for it to end. If it ended with the first such interval, a search of
a wide edge might end because chance made it look sharp."""


def _along_pairs(values: list[float]) -> np.ndarray:
    """Return a value of each pair of δ and γ for the grid, [pairs, 1, 1]."""
    return np.array(values, np.float32)[:, None, None]


_PAIRS = [(lapse, luck) for lapse in LAPSES for luck in LUCK]
_LAPSE = _along_pairs([lapse for lapse, _ in _PAIRS])
_LUCK = _along_pairs([luck for _, luck in _PAIRS])
_PRIOR = _along_pairs([LAPSES[lapse] * LUCK[luck] for lapse, luck in _PAIRS])


class EdgePosterior:
    """The posterior of a search, which expects its half at ln η = `expected`, on a
    grid."""

    def __init__(self, expected: float) -> None:
        self._expected = expected
        # the lower end of the grid, and the distance of its points
        self._low = expected - REACH
        self._step = 2 * REACH / HALVES
        self._outcomes: list[tuple[float, bool]] = []
        self._half_widths: list[float] = []  # after each outcome
        self._weights = self._prior()  # [pairs of δ and γ, halves, widths]

    @property
    def count(self) -> int:
        """The outcomes that the search has."""
        return len(self._outcomes)

    def add(self, x: float, learned: bool) -> None:
        """Take up one more outcome: whether the trial at ln η = x learned."""
        self._outcomes.append((x, learned))
        self._weights = self._with(self._weights, x, learned)
        self._fit_grid()
        low, _, high = self.interval()
        self._half_widths.append((high - low) / 2)

    @property
    def halves(self) -> np.ndarray:
        """The halves of the grid, [halves]."""
        steps = np.arange(HALVES) + 0.5
        return np.asarray(self._low + self._step * steps)

    @property
    def halves_and_widths(self) -> np.ndarray:
        """The probability of each half and width, [halves, widths]."""
        return np.asarray(self._weights.sum(0))

    @property
    def lapse_and_luck(self) -> tuple[Any, Any]:
        """The expected δ and γ."""
        pairs = self._weights.sum((1, 2))
        return pairs @ _LAPSE[:, 0, 0], pairs @ _LUCK[:, 0, 0]

    def interval(self) -> np.ndarray:
        """Return the lower end, the median and the upper end of the half's central 95%
        interval, ln η, [3]."""
        return self._quantiles(ENDS)

    def has_settled(self, precision: float) -> bool:
        """Return whether the search may end: some trials learned and others did not,
        and its interval has had at most this half-width, as a share of the rate,
        through the last `SETTLED` of its outcomes."""
        outcomes = {learned for _, learned in self._outcomes}
        if len(outcomes) < 2 or self.count < LEAST_OUTCOMES:
            return False
        first = int((1 - SETTLED) * self.count)
        return max(self._half_widths[first:]) <= math.log1p(precision)

    def interval_of(self, share: float) -> np.ndarray:
        """Return the interval, as `interval`, of the x at which this share of seeds
        learn, [3].

        An end is -inf if it may be that fewer learn however small the rate, and inf if
        it may be that more learn however large it is.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            odds = (share - _LUCK) / (1 - _LAPSE - share)
            half_odds = _half_odds(_LAPSE, _LUCK)
            shift = np.log(odds / half_odds)
        shift = np.where(odds > 0, shift, np.inf)
        shift = np.where(share <= _LUCK, -np.inf, shift)
        rates = self.halves[:, None] - WIDTHS * shift
        return _weighted_quantiles(rates, self._weights)

    def band(self, x: np.ndarray) -> np.ndarray:
        """Return the interval, as `interval`, of P(learns | x), [3, x]."""
        intervals = []
        for point in x:
            chances = learns(self.halves - point, _LAPSE, _LUCK)
            intervals.append(_weighted_quantiles(chances, self._weights))
        return np.transpose(intervals)

    def _quantiles(self, shares: Any) -> np.ndarray:
        """Return quantiles of the half. Between the points of a grid, the cumulative
        probability is a straight line."""
        chances = self.halves_and_widths.sum(1)
        below = np.cumsum(chances, dtype=np.float64)
        below = np.concatenate([[0], below])
        below = below / below[-1]
        edges = self._low + self._step * np.arange(HALVES + 1)
        return np.asarray(np.interp(shares, below, edges))

    def _prior(self) -> np.ndarray:
        distance = np.abs(self.halves - self._expected)
        beyond = np.maximum(distance - FLAT, 0)
        density = np.where(distance <= REACH, np.exp(-beyond), 0)
        density = density.astype(np.float32)
        return _normalised(_PRIOR * density[:, None] * WIDTH_PRIOR)

    def _with(self, weights: np.ndarray, x: float, learned: bool) -> np.ndarray:
        """Return the weights after one more outcome."""
        distance = (self.halves - x).astype(np.float32)
        steps = np.clip(distance[:, None] / WIDTHS, -60, 60)
        odds = np.exp(steps) * _half_odds(_LAPSE, _LUCK)
        # P(learns) where the odds are large and where they are 0, or 1 minus these
        large, small = 1 - _LAPSE, _LUCK
        if not learned:
            large, small = _LAPSE, 1 - _LUCK
        # as `learns`, also where tiny
        weights = weights * (large * odds + small)
        return _normalised(weights / (odds + 1))

    def _fit_grid(self) -> None:
        """Move and rescale the grid if the posterior fills too little of it, or is
        about to leave it."""
        low, high = self._quantiles((1e-4, 1 - 1e-4))
        ends = self.halves_and_widths[[0, -1]].sum(1)
        is_narrower = self._step < 2 * REACH / HALVES
        leaves = is_narrower and (ends > 3e-4).any()
        if not leaves and high - low >= 0.3 * HALVES * self._step:
            return
        room = 1.7
        if leaves:
            room = 2.0
        width = room * (high - low)
        self._low = (low + high - width) / 2
        self._step = width / HALVES
        self._weights = self._prior()
        for x, learned in self._outcomes:
            self._weights = self._with(self._weights, x, learned)


def learns(distance: np.ndarray, lapse: Any, luck: Any) -> np.ndarray:
    """Return P(learns) at each of `WIDTHS`, a new last axis, at this distance of the
    half above ln η."""
    return np.asarray(luck + (1 - luck - lapse) * steep_part(distance, lapse, luck))


def steep_part(distance: np.ndarray, lapse: Any, luck: Any) -> np.ndarray:
    """Return σ of that, without lapses and luck."""
    distance = distance.astype(np.float32)
    steps = distance[..., None] / WIDTHS
    log_odds = steps + np.log(_half_odds(lapse, luck))
    # the limit keeps exp finite
    inverse = np.exp(np.minimum(-log_odds, 80))
    return np.asarray(1 / (1 + inverse))


def _half_odds(lapse: Any, luck: Any) -> Any:
    """Return σ's odds where P = ½."""
    return (0.5 - luck) / (0.5 - lapse)


def _weighted_quantiles(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    order = np.argsort(values, axis=None)
    values_in_order = values.ravel()[order]
    weights = np.broadcast_to(weights, values.shape)
    weights_in_order = weights.ravel()[order]
    below = np.cumsum(weights_in_order, dtype=np.float64)
    at_ends = np.searchsorted(below / below[-1], ENDS)
    return np.asarray(values_in_order[at_ends])


def _normalised(weights: np.ndarray) -> np.ndarray:
    return np.asarray(weights / weights.sum())
