"""What the first steps do at each learning rate: the thresholds of a phase diagram."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

LOST = 1e5
"""A batch loss above which training is lost."""

POINTS = 3
"""Values of c tried between two at which the sharpness falls and rises: they divide what is open by four."""
BELOW = 0.7
"""The search for `c_sharp` begins at so much of `c_loss`."""
ROUNDING = 1e-6
"""Relative error of a c that is computed back from its learning rate."""

THRESHOLDS = ("c_loss", "c_sharp", "c_max")


def first_steps(trials: pd.DataFrame, epochs: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """Return what the first epoch of each trial did.

    Args:
        trials: the trials table.
        epochs: the epochs table. For each network and seed, the first `untrained_sharpness` counts.
        measured: what `Sweep.sharpness` returns.

    Returns:
        A row a trial: `architecture`, `seed`, `sharpness` (before training), `c` (the learning rate times that),
        `loss_rises` (whether a batch loss, or the training loss after the last step, is above the first one),
        `sharpness_rises` (whether a later sharpness is above the trial's first, 0 or 1; NaN if none was measured) and
        `lost` (whether a batch loss is above `LOST`, or not finite).
    """
    first = epochs[epochs["epoch"] == 1].set_index("trial_id")
    found = trials[trials["trial_id"].isin(first.index)].set_index("trial_id")[
        ["architecture", "seed", "learning_rate"]
    ]
    first = first.loc[found.index]
    known = first["untrained_sharpness"].astype(float).groupby([found["architecture"], found["seed"]])
    found["sharpness"] = known.transform("first")
    found["c"] = found["learning_rate"] * found["sharpness"]
    # NaN compares as false: what is not finite counts as risen and as lost.
    calm = first["step_loss_max"] <= first["step_loss_first"]
    found["loss_rises"] = ~(calm & (first["train_loss"] <= first["untrained_loss"]))
    found["lost"] = ~(first["step_loss_max"] <= LOST)
    untrained = measured[measured["step"] == 0].set_index("trial_id")["sharpness"]
    later = measured[measured["step"] > 0]
    rose = ~(later["sharpness"].to_numpy() <= untrained.reindex(later["trial_id"]).to_numpy())
    risen = found.index.isin(later["trial_id"][rose]).astype(float)
    found["sharpness_rises"] = np.where(found.index.isin(later["trial_id"]), risen, np.nan)
    return found.reset_index()


def thresholds(steps: pd.DataFrame) -> pd.DataFrame:
    """Return the thresholds of each network and seed, from small to large networks.

    They are those of Kalra and Barkeshli 2023, arXiv 2302.12250:

    - `c_loss`: the smallest c at which the loss rises.
    - `c_sharp`: the smallest c at which the sharpness rises.
    - `c_max`: the largest c below the smallest at which training is lost.

    One that is outside the values of c that were tried is NaN.

    Args:
        steps: what `first_steps` returns; of several sweeps, they may be concatenated.
    """
    rows: list[dict[str, Any]] = []
    for (architecture, seed), part in steps.groupby(["architecture", "seed"]):
        lost = part["c"][part["lost"].astype(bool)].min()
        rows.append(
            {
                "architecture": architecture,
                "seed": seed,
                "sharpness": part["sharpness"].median(),
                "c_loss": part["c"][part["loss_rises"].astype(bool)].min(),
                "c_sharp": part["c"][part["sharpness_rises"] == 1].min(),
                "c_max": part["c"][part["c"] < lost].max() if np.isfinite(lost) else np.nan,
            }
        )
    rows.sort(key=lambda row: (_sizes(row["architecture"]), row["seed"]))
    return pd.DataFrame(rows)


def _sizes(architecture: str) -> tuple[int, list[int]]:
    """Return a key that sorts networks by their depth, then by their widths."""
    sizes = [int(size) for size in re.findall(r"\d+", architecture)]
    return len(sizes), sizes


def open_between(cell: pd.DataFrame, grid: Sequence[float]) -> list[float]:
    """Return the values of c at which the sharpness of a network and seed is to be measured next; none at the end.

    They lie between the smallest c at which it rises, or training is lost, and the largest one below that at which it
    falls.

    Args:
        cell: the rows of `first_steps` with the same network and seed.
        grid: the values of c that may be tried, in order.
    """
    c = cell["c"]
    rises = c[(cell["sharpness_rises"] == 1) | cell["lost"]].min()
    falls = c[(cell["sharpness_rises"] == 0) & ~(c >= rises)].max()
    start = BELOW * c[cell["loss_rises"]].min()
    low = falls if np.isfinite(falls) else start
    left = [one for one in grid if not (one <= low * (1 + ROUNDING) or one >= rises * (1 - ROUNDING))]
    if len(left) <= POINTS:
        return left
    return [left[round((i + 1) * (len(left) + 1) / (POINTS + 1)) - 1] for i in range(POINTS)]
