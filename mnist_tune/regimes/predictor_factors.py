"""How far off predictors of the edge are: predicted over measured, by network and over all."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from mnist_tune.regimes.measured_edge import MeasuredEdge

NETWORK = ["network", "predictor"]


def factors(edges: Iterable[MeasuredEdge]) -> pd.DataFrame:
    """Return a row for each network, predictor and seed.

    Returns:
        `network`, `predictor`, `seed` (its number), `predicted` and `measured` (learning rates), `low` and `high` (the
        measured one's 95% interval), and `log2`, log2(predicted / measured): 1 is twice too high, -1 twice too low.
    """
    rows = []
    for edge in edges:
        low, measured, high = edge.rate(0.5)
        for name, rates in edge.predicted.items():
            rows += [
                {"network": edge.title, "predictor": name, "seed": seed, "predicted": rate, "measured": measured,
                 "low": low, "high": high, "log2": np.log2(rate / measured)}
                for seed, rate in enumerate(rates)
            ]  # fmt: skip
    return pd.DataFrame(rows, columns=[*NETWORK, "seed", "predicted", "measured", "low", "high", "log2"])


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
    each = table.groupby(["predictor", "network"])["log2"].agg(["median", "std"])
    groups = each.groupby("predictor")
    found = pd.DataFrame(
        {
            "networks": groups.size(),
            "off": each["median"].abs().groupby("predictor").median(),
            "least": 2 ** groups["median"].min(),
            "median": 2 ** groups["median"].median(),
            "most": 2 ** groups["median"].max(),
            "seeds": groups["std"].median(),
        }
    )
    return found.sort_values("off")
