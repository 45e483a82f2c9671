"""Which predictor of the largest learning rate may be trusted, for which networks, and within what factor?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from mnist_tune import EdgeOptions, TrialConfig
from mnist_tune.edge.search import search_edge
from mnist_tune.regimes.measured_edge import MeasuredEdge
from mnist_tune.reports.figures import plot_edges
from mnist_tune.reports.terminal import print_report
from mnist_tune.tuning.wanted import asked

NETWORKS = (
    "mlp-16-tanh",
    "mlp-256-tanh",
    "mlp-64-relu",
    "mlp-64-relu-glorot",
    "mlp-64-64-64-relu-glorot",
    "mlp-256-256-gelu-glorot",
    "convnet",
)

ALSO = ({"momentum": 0.9}, {"optimizer": "adam"})
"""What the first of `ALSO_OF` is trained with, too."""
ALSO_OF = "mlp-64-relu-glorot"

WIDTH = 160
NETWORK = ["network", "predictor"]
FACTORS = [*NETWORK, "seed", "predicted", "measured", "low", "high", "log2"]


@dataclass(frozen=True, kw_only=True)
class Predictors(EdgeOptions):
    """Measure the edges of networks, and print how far off predictors are."""

    architecture: tuple[str, ...] = NETWORKS
    train_images: int | None = 12_000
    """Train on so many images, so that the command ends soon; an edge is found from few epochs."""
    precision: float = 0.1
    trials: int = 32
    predictor_seeds: int = 3

    def templates(self) -> list[TrialConfig]:
        """Return a trial of each edge: those asked for, and one of plain SGD with momentum and with Adam, too."""
        asked = super().templates()
        plain = [one for one in asked if one.optimizer == "sgd" and not one.momentum]
        of = [one for one in plain if one.architecture == ALSO_OF] or plain
        return list(dict.fromkeys([*asked, *(replace(one, **changed) for one in of[:1] for changed in ALSO)]))


ASKED = Predictors


def main() -> int:
    sweep = search_edge(asked(ASKED), "predictors")
    code, edges = print_report(sweep, picture=True), sweep.edges()
    if edges:
        plot_edges(edges, sweep.picture("edge.png"))
        print(f"Picture: {sweep.picture('edge.png')}")
    if len(table := factors(edges)):
        print_factors(edges)
        table.to_csv(sweep.picture("predictors.csv"), index=False)
        print(f"Table: {sweep.picture('predictors.csv')}")
    else:
        print("No edge was measured, so there is no table of predictors.")
    return code


def factors(edges: Iterable[MeasuredEdge]) -> pd.DataFrame:
    """Return a row for each network, predictor and seed, with the columns of `FACTORS`.

    `low` and `high` are the ends of the measured edge's 95% interval. `log2` is log2(predicted / measured): 1 is twice
    too high, -1 twice too low.
    """
    rows = []
    for edge in edges:
        low, measured, high = edge.rate(0.5)
        if not 0 < measured < np.inf:
            continue
        for name, rates in edge.predicted.items():
            for seed, rate in enumerate(rates):
                if rate is not None:
                    rows.append((edge.title, name, seed, rate, measured, low, high, np.log2(rate / measured)))
    return pd.DataFrame(rows, columns=FACTORS)


def by_network(table: pd.DataFrame) -> pd.DataFrame:
    """Return predicted / measured of each network (columns) by predictor (rows): the median over seeds."""
    medians = table.groupby(NETWORK)["log2"].median()
    found: pd.DataFrame = (2**medians).unstack("network")
    return found[list(dict.fromkeys(table["network"]))]


def by_predictor(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each predictor, the best first.

    Returns:
        `networks`: how many it says something about.
        `off`: the median over networks of |log2(predicted / measured)|, of each network's median over seeds.
        `least`, `median`, `most`: predicted / measured over networks, likewise.
        `seeds`: the median over networks of the standard deviation of log2 over seeds.
    """
    each = table.groupby(NETWORK)["log2"].agg(["median", "std"]).assign(off=lambda one: one["median"].abs())
    groups = each.groupby("predictor")
    found = groups["off"].agg(networks="size", off="median")
    found = found.join(2 ** groups["median"].agg(least="min", median="median", most="max"))
    return found.assign(seeds=groups["std"].median()).sort_values("off")


def print_factors(edges: Sequence[MeasuredEdge]) -> None:
    """Print the measured edge of each network, and predicted / measured for each predictor and network."""
    table = factors(edges)
    numbers = {edge.title: f"{i}" for i, edge in enumerate(edges, start=1)}
    for edge in edges:
        print(f"{numbers[edge.title]:>2} {edge.title}: {edge.rate(0.5)}, {len(edge.outcomes)} trials")
    print("\npredicted / measured by network (median over seeds):")
    by_number = by_network(table).rename(columns=numbers)
    print(by_number.to_string(float_format=_factor, na_rep="–", line_width=WIDTH))
    summary = by_predictor(table)
    summary["networks"] = [f"{count} of {len(edges)}" for count in summary["networks"]]
    for name in ("least", "median", "most"):
        summary[name] = [_factor(value) for value in summary[name]]
    print("\nover networks: |log2(predicted / measured)|, the factor's range, and the spread of log2 over seeds:")
    with pd.option_context("display.precision", 2):
        print(summary.to_string())


def _factor(value: float) -> str:
    return f"{value:.2g}"
