"""What the pictures of a measured edge show, for matplotlib and for the page."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from mnist_tune.regimes.edge_outcomes import LEARNED
from mnist_tune.regimes.measured_edge import Interval, MeasuredEdge

POINTS = 200
"""Points of a curve."""

NEAR = 20
"""Predictors that are further away than by this factor don't widen the axis."""


@dataclass(frozen=True)
class PreparedEdge:
    """A measured edge as it is drawn."""

    edge: MeasuredEdge

    @property
    def title(self) -> str:
        return self.edge.title

    @cached_property
    def found(self) -> Interval:
        """The rate at which half of the seeds learn."""
        return self.edge.rate(0.5)

    @cached_property
    def learned(self) -> pd.Series:
        """Whether each trial learned, by learning rate."""
        return self.edge.outcomes.set_index("learning_rate")[LEARNED].astype(bool)

    @cached_property
    def predicted(self) -> dict[str, float]:
        """The median over seeds of what each predictor says, the largest first."""
        medians = {name: float(np.median(rates)) for name, rates in self.edge.predicted.items()}
        return dict(sorted(medians.items(), key=lambda item: -item[1]))

    @cached_property
    def limits(self) -> tuple[float, float]:
        """The ends of the axis."""
        middle = self.found.median
        near = [rate for rate in self.predicted.values() if middle / NEAR < rate < middle * NEAR]
        seen = [*self.learned.index, *near] + [middle / 3, middle * 3] * (0 < middle < np.inf)
        return min(seen) / 1.1, max(seen) * 1.1

    def band(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return learning rates, and the share of seeds that learn there: its 95% interval's lower end, median and
        upper end."""
        rates = np.geomspace(*self.limits, POINTS)
        low, middle, high = self.edge.posterior.band(np.log(rates))
        return rates, low, middle, high
