"""What a search for an edge found, as lines of text."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from mnist_tune.regimes.edge_outcomes import CALM, DIVERGED
from mnist_tune.regimes.measured_edge import Interval, MeasuredEdge

SHARES = (0.9, 0.5, 0.1)
"""The shares of seeds whose rates are reported."""


def edge_lines(edge: MeasuredEdge) -> Iterator[str]:
    """Yield what a search found, a line a subject: the edge, its neighbours, its cost."""
    shares = "; ".join(f"{share:.0%} at {edge.rate(share)}" for share in SHARES)
    yield f"{edge.title}: seeds that learn, by learning rate: {shares}"
    calm = _seen(edge.calm, edge.outcomes[CALM], "half stay calm up to", "stayed calm")
    diverged = _seen(edge.diverges, edge.outcomes[DIVERGED], "half diverge from", "diverged")
    yield f"  {calm}; {diverged}"
    half_width, trials = edge.rate(0.5).half_width, len(edge.outcomes)
    why = f"precise to {edge.precision:.0%}" if edge.is_precise else f"precision {edge.precision:.0%} not reached"
    grid = f"a grid as precise would take {edge.grid_trials}"
    yield f"  {trials} trials, half-width {math.expm1(half_width):.1%}: {why}; {grid}"


def _seen(interval: Interval, holds: pd.Series, half: str, did: str) -> str:
    """Return where half of the trials do something, or that all did, or none."""
    if not math.isnan(interval.median):
        return f"{half} {interval}"
    return f"{'all trials' if holds.all() else 'no trial'} {did}"
