"""The learning rates at which each network converges, and how they move with what varies."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

from mnist_tune.regimes.conclusions import edge

AXES = ("width", "depth", "batch_size", "momentum", "warmup_steps")
"""What the range may move with."""


def with_sizes(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials with the `width` of the widest hidden layer and the `depth`, the number of layers with weights,
    of an MLP's name; NaN for other networks."""
    sizes = {
        name: [int(size) for size in re.findall(r"(?<=-)\d+(?=-)", name)]
        for name in trials["architecture"].unique()
        if name.startswith("mlp-")
    }
    return trials.assign(
        width=trials["architecture"].map({name: max(widths, default=np.nan) for name, widths in sizes.items()}),
        depth=trials["architecture"].map({name: len(widths) + 1 for name, widths in sizes.items()}),
    )


def ranges(families: Iterable[tuple[str, pd.DataFrame]]) -> pd.DataFrame:
    """Return the range of learning rates at which each family of trials converges.

    Args:
        families: the trials of each family, with its title.

    Returns:
        A row a family: `title`, `AXES`, `lowest` (the smallest rate at which every seed converged), `highest` (the
        largest such rate), `sometimes` (the largest at which any did), `next` (the smallest rate tried above that; NaN
        if there is none), `best` (the rate with the best accuracy on held-out images) and `accuracy` (that one). NaN
        where no rate converged.
    """
    rows = []
    for title, trials in families:
        family = with_sizes(trials)
        found = edge(family)
        converged = family["regime"].eq("converged").groupby(family["learning_rate"]).all()
        above = [rate for rate in family["learning_rate"] if found.sometimes is not None and rate > found.sometimes]
        values = {
            "lowest": min(converged.index[converged], default=None),
            "highest": found.always,
            "sometimes": found.sometimes,
            "next": min(above, default=None),
            "best": found.best,
        }
        numbers = {name: np.nan if value is None else value for name, value in values.items()}
        rows.append({"title": title, **family.iloc[0][list(AXES)], **numbers, "accuracy": found.accuracy})
    return pd.DataFrame(rows)


def along(found: pd.DataFrame, axis: str, base: dict[str, float]) -> pd.DataFrame:
    """Return the rows of `ranges` that differ from the base in this axis only, in its order."""
    same = np.logical_and.reduce([found[name] == value for name, value in base.items() if name != axis])
    return found[same].sort_values(axis)
