"""Print how far off predictors of the edge are."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mnist_tune.regimes.measured_edge import MeasuredEdge
from mnist_tune.regimes.predictor_factors import by_network, by_predictor, factors

WIDTH = 160


def print_factors(edges: Sequence[MeasuredEdge]) -> None:
    """Print the measured edge of each network, and predicted / measured for each predictor and network."""
    table = factors(edges)
    numbers = {edge.title: f"{i}" for i, edge in enumerate(edges, start=1)}
    for edge in edges:
        print(f"{numbers[edge.title]:>2} {edge.title}: {edge.rate(0.5)}, {len(edge.outcomes)} trials")
    print("\npredicted / measured by network (median over seeds):")
    print(by_network(table).rename(columns=numbers).to_string(float_format=_factor, na_rep="–", line_width=WIDTH))
    summary = by_predictor(table)
    summary["networks"] = [f"{count} of {len(edges)}" for count in summary["networks"]]
    for name in ("least", "median", "most"):
        summary[name] = [_factor(value) for value in summary[name]]
    print("\nover networks: |log2(predicted / measured)|, the factor's range, and the spread of log2 over seeds:")
    with pd.option_context("display.precision", 2):
        print(summary.to_string(line_width=WIDTH))


def _factor(value: float) -> str:
    return f"{value:.2g}"
