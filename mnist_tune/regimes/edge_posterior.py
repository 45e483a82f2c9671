"""What trials that did or did not learn say about the edge: the learning rates at which 90, 50 and 10% of seeds learn.

A trial's outcome is a coin whose bias falls with the learning rate η. With x = ln η and the logistic function σ,

    P(learns | x) = γ + (1 - γ - δ) σ((μ - x) / s).

s is the edge's width, δ the share of seeds that fail far below the edge (lapses), γ the share that learn far above it
(luck). The posterior of the four is kept on a grid, for a batch of independent searches at once: a real search is a
batch of one, and the benchmark of the method runs thousands. The axis of the grid is not μ but the *half*, the x at
which P = ½. So the posterior of the edge itself is a plain marginal.
"""

from __future__ import annotations

from typing import Any

import numpy as np

HALVES = 80
"""Points on the grid's axis of halves, which is moved and rescaled as the posterior narrows."""

WIDTHS = np.geomspace(0.006, 1.4, 11).astype(np.float32)
"""The values of s. The smallest is a step, at any precision that a search asks for. With the largest, three quarters of
the seeds learn at a quarter of the edge's rate: where the share of seeds that learn falls more than once, only such a
width makes intervals wide enough."""

WIDTH_PRIOR = WIDTHS ** np.float32(0.4)
"""A prior that leans to wide edges. With equal weights, intervals at s = 0.05 to 0.1 hold the edge too seldom: searches
see an edge as a step as long as they have few outcomes on its slope, and stop."""

LAPSES = {0.0: 0.5, 0.05: 0.3, 0.12: 0.2}
"""The values of δ, and their prior probabilities."""

LUCK = {0.0: 0.7, 0.1: 0.3}
"""The values of γ, and their prior probabilities."""

FLAT = np.log(8)
"""The prior of the half is flat up to this distance from where the search expects it, and falls as exp(-distance)
beyond."""

REACH = FLAT + 5
"""The largest distance: beyond are 0.2% of the prior."""

ENDS = (0.025, 0.5, 0.975)
"""The lower end, the median and the upper end of an interval that holds with a probability of 95%."""

LEAST_OUTCOMES = 32
"""Outcomes from which on a search may end. With fewer, the searches that end are those that have underestimated s, and
their intervals are too narrow."""

SETTLED = 0.15
"""The share of a search's outcomes, the last ones, through which the interval must have been narrow enough for it to
end. If it ended with the first such interval, a search of a wide edge might end because chance made it look sharp."""

_PAIRS = [(lapse, luck) for lapse in LAPSES for luck in LUCK]
_LAPSE, _LUCK = (np.array(values, np.float32)[:, None, None] for values in zip(*_PAIRS, strict=True))
_PRIOR = np.array([LAPSES[lapse] * LUCK[luck] for lapse, luck in _PAIRS], np.float32)[:, None, None]
_ONES = np.ones(HALVES * len(WIDTHS) * len(_PAIRS), np.float32)
"""Products with ones are the fastest sums."""


class EdgePosterior:
    """The posteriors of a batch of searches, each on a grid of its own.

    Args:
        expected: where each search expects its half, ln η, [searches].
    """

    def __init__(self, expected: Any) -> None:
        self._expected = np.atleast_1d(np.asarray(expected, np.float64))
        searches = len(self._expected)
        self._low = self._expected - REACH
        self._step = np.full(searches, 2 * REACH / HALVES)
        self.count = np.zeros(searches, int)
        """The outcomes that each search has, [searches]."""
        self._x = np.zeros((searches, 8))
        self._learned = np.zeros((searches, 8), bool)
        self._half_widths = np.zeros((searches, 8))  # after each outcome
        self._weights = self._prior(np.arange(searches))  # [searches, pairs of δ and γ, halves, widths]

    def add(self, rows: Any, x: Any, learned: Any) -> None:
        """Take up one more outcome of each of these searches.

        Args:
            rows: the searches, without repetition, [n].
            x: ln of the trials' learning rates, [n].
            learned: whether they learned, [n].
        """
        rows, x, learned = np.asarray(rows), np.asarray(x, np.float64), np.asarray(learned, bool)
        if self.count[rows].max(initial=0) == self._x.shape[1]:
            self._x, self._learned, self._half_widths = (
                np.concatenate([old, np.zeros_like(old)], 1) for old in (self._x, self._learned, self._half_widths)
            )
        self._x[rows, self.count[rows]], self._learned[rows, self.count[rows]] = x, learned
        self.count[rows] += 1
        self._weights[rows] = self._with(self._weights[rows], rows, x, learned)
        self._fit_grids(rows)
        low, _, high = self.interval(rows)
        self._half_widths[rows, self.count[rows] - 1] = (high - low) / 2

    def halves(self, rows: Any = slice(None)) -> np.ndarray:
        """Return the halves on each grid, [searches, halves]."""
        found: np.ndarray = self._low[rows, None] + self._step[rows, None] * (np.arange(HALVES) + 0.5)
        return found

    def halves_and_widths(self, rows: Any = slice(None)) -> np.ndarray:
        """Return the probability of each half and width, [searches, halves, widths]."""
        found: np.ndarray = self._weights[rows].sum(1)
        return found

    def lapse_and_luck(self, rows: Any = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Return the expected δ and γ of each search, [searches]."""
        weights = self._weights[rows]
        pairs = weights.reshape(len(weights), len(_PAIRS), -1) @ _ONES[: HALVES * len(WIDTHS)]
        return pairs @ _LAPSE[:, 0, 0], pairs @ _LUCK[:, 0, 0]

    def interval(self, rows: Any = slice(None)) -> np.ndarray:
        """Return the lower end, the median and the upper end of the half's central interval, ln η, [3, searches]."""
        return self._quantiles(ENDS, rows)

    def has_settled(self, precision: float, rows: Any = slice(None)) -> np.ndarray:
        """Return whether each search may end: its interval has had at most this half-width, as a share of the rate,
        through the last `SETTLED` of its outcomes."""
        counts, half_widths = self.count[rows, None], self._half_widths[rows]
        number = np.arange(half_widths.shape[1])
        last = (number < counts) & (number >= np.floor((1 - SETTLED) * counts))
        wide = last & (half_widths > np.log1p(precision))
        found: np.ndarray = ~wide.any(1) & (self.count[rows] >= LEAST_OUTCOMES)
        return found

    def interval_of(self, share: float) -> np.ndarray:
        """Return the interval, as `interval`, of the x at which this share of seeds learn, [3, searches].

        An end is -inf if it may be that fewer learn however small the rate, and inf if it may be that more learn
        however large it is.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            odds = (share - _LUCK) / (1 - _LAPSE - share)
            known = np.where(odds > 0, np.log(odds / _half_odds(_LAPSE, _LUCK)), np.inf)
            shift = np.where(share <= _LUCK, -np.inf, known)
        places = self.halves()[:, None, :, None] - WIDTHS * shift
        pairs = zip(places, self._weights, strict=True)
        return np.array([_weighted_quantiles(of, weights) for of, weights in pairs]).T

    def band(self, x: np.ndarray) -> np.ndarray:
        """Return the interval, as `interval`, of P(learns | x) in the first search, [3, x]."""
        first = np.array([0])
        chances = (learns((self.halves(first) - one)[:, None], _LAPSE, _LUCK) for one in x)
        return np.array([_weighted_quantiles(each, self._weights[0]) for each in chances]).T

    def _quantiles(self, shares: Any, rows: Any) -> np.ndarray:
        """Return quantiles of the half. Between the points of a grid, the cumulative probability is a straight line."""
        marginal = self.halves_and_widths(rows) @ _ONES[: len(WIDTHS)]
        below = np.cumsum(marginal, 1, dtype=np.float64)
        below = np.concatenate([np.zeros((len(below), 1)), below / below[:, -1:]], 1)
        index, found = np.arange(len(below)), []
        for share in shares:
            after = np.clip((below < share).sum(1), 1, HALVES)
            left, right = below[index, after - 1], below[index, after]
            part = np.clip((share - left) / np.maximum(right - left, 1e-12), 0, 1)
            found.append(self._low[rows] + self._step[rows] * (after - 1 + part))
        return np.array(found)

    def _prior(self, rows: np.ndarray) -> np.ndarray:
        distance = np.abs(self.halves(rows) - self._expected[rows, None])
        density = np.where(distance <= REACH, np.exp(-np.maximum(distance - FLAT, 0)), 0).astype(np.float32)
        return _normalised(_PRIOR * density[:, None, :, None] * WIDTH_PRIOR)

    def _with(self, weights: np.ndarray, rows: np.ndarray, x: np.ndarray, learned: np.ndarray) -> np.ndarray:
        """Return the weights after one more outcome of each search."""
        odds = _odds((self.halves(rows) - x[:, None])[:, None], _LAPSE, _LUCK)
        yes = learned[:, None, None, None]
        found = np.where(yes, 1 - _LAPSE, _LAPSE) * odds  # as `learns`, or 1 minus that, without another copy
        found += np.where(yes, _LUCK, 1 - _LUCK)
        odds += 1
        found /= odds
        found *= weights
        return _normalised(found)

    def _fit_grids(self, rows: np.ndarray) -> None:
        """Move and rescale the grids that the posterior fills too little of, or that it is about to leave."""
        low, high = self._quantiles((1e-4, 1 - 1e-4), rows)
        width, span = HALVES * self._step[rows], high - low
        ends = self.halves_and_widths(rows)[:, [0, -1]] @ _ONES[: len(WIDTHS)]
        leaves = (self._step[rows] < 2 * REACH / HALVES) & (ends > 3e-4).any(1)
        moved = leaves | (span < 0.3 * width)
        if not moved.any():
            return
        chosen, wide = rows[moved], (np.where(leaves, 2.0, 1.7) * span)[moved]
        self._low[chosen], self._step[chosen] = ((low + high)[moved] - wide) / 2, wide / HALVES
        self._weights[chosen] = self._recounted(chosen)

    def _recounted(self, rows: np.ndarray) -> np.ndarray:
        """Return the weights of some searches, computed again from all their outcomes."""
        weights = self._prior(rows)
        for i in range(self.count[rows].max(initial=0)):
            has = np.flatnonzero(self.count[rows] > i)
            some = rows[has]
            weights[has] = self._with(weights[has], some, self._x[some, i], self._learned[some, i])
        return weights


def learns(distance: np.ndarray, lapse: Any, luck: Any) -> np.ndarray:
    """Return P(learns) at each of `WIDTHS`, a new last axis, at this distance of the half above ln η."""
    found: np.ndarray = luck + (1 - luck - lapse) * steep_part(distance, lapse, luck)
    return found


def steep_part(distance: np.ndarray, lapse: Any, luck: Any) -> np.ndarray:
    """Return σ of that, without lapses and luck."""
    shift = np.log(_half_odds(lapse, luck)).astype(np.float32)
    found: np.ndarray = distance.astype(np.float32)[..., None] * (-1 / WIDTHS) - shift
    np.exp(np.minimum(found, 80, out=found), out=found)
    found += 1
    np.reciprocal(found, out=found)
    return found


def _odds(distance: np.ndarray, lapse: Any, luck: Any) -> np.ndarray:
    """Return σ's odds at this distance, for each of `WIDTHS`."""
    odds = np.exp(np.clip(distance.astype(np.float32)[..., None] / WIDTHS, -60, 60))
    found: np.ndarray = odds * _half_odds(lapse, luck)
    return found


def _half_odds(lapse: Any, luck: Any) -> Any:
    """Return σ's odds where P = ½."""
    return (0.5 - luck) / (0.5 - lapse)


def _weighted_quantiles(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    order = np.argsort(values, axis=None)
    below = np.cumsum(np.broadcast_to(weights, values.shape).ravel()[order], dtype=np.float64)
    found: np.ndarray = values.ravel()[order][np.searchsorted(below / below[-1], ENDS)]
    return found


def _normalised(weights: np.ndarray) -> np.ndarray:
    """Divide each search's weights by their sum, in place."""
    weights *= (1 / (weights.reshape(len(weights), -1) @ _ONES))[:, None, None, None]
    return weights
