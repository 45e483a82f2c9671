"""What follows from a sweep's table: its best and largest learning rates, and what to try next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pandas as pd

from mnist_tune.regimes.conclusions import Edge, edge
from mnist_tune.regimes.labels import regime_counts
from mnist_tune.trial import TrialConfig

REPEATED_OPTIONS = {"scheduler": "asha", "grace_period": 5, "target": None, "data_dir": None, "train_evaluation": None}
"""Options that a proposed command takes up where they are not what they are by default."""


def conclusions(trials: pd.DataFrame, options: Mapping[str, Any] = MappingProxyType({})) -> list[str]:
    """The counts of the regimes and, for each architecture, the best and the largest converged learning rate.

    Args:
        trials: the trials table.
        options: how the sweep was run, from `sweep.json`; the commands that are proposed take some of them up.
    """
    lines = [f"Regimes: {regime_counts(trials['regime'])}"]
    for architecture, family in trials.groupby("architecture"):
        found, rates = edge(family), family["learning_rate"]
        if not family["epochs_run"].any():
            lines.append(f"{architecture}: no learning rate finished an epoch")
        elif (family["regime"] == "diverged").all():
            said = f"every learning rate diverged, the smallest is {rates.min():.4g}"
            lines.append(f"{architecture}: {said}; try smaller ones: {wider(family, options, rates.min(), 0.1)}")
        elif found.best is not None:
            said = f"best learning rate {found.best:.4g} (lowest training loss), {_largest(found)}"
            lines.append(f"{architecture}: {said}{_beyond(family, options, found.best)}")
        else:
            lines.append(f"{architecture}: no trial that did not diverge has a training loss")
    return lines


def _largest(found: Edge) -> str:
    if found.sometimes is None:
        return "none converged"
    if found.sometimes == found.always:
        return f"largest that converged {found.always:.4g}"
    always = "no learning rate converged in every trial"
    if found.always is not None:
        always = f"largest that converged in every trial {found.always:.4g}"
    return f"{always}, {found.sometimes:.4g} in {found.share[0]} of {found.share[1]}"


def _beyond(family: pd.DataFrame, options: Mapping[str, Any], best: float) -> str:
    """What to try where the best learning rate is at an end of the range, empty where it is inside."""
    rates = family["learning_rate"]
    if rates.nunique() < 2 or rates.min() < best < rates.max():
        return ""
    end, factor = ("smallest", 0.1) if best == rates.min() else ("largest", 10)
    return f"; it is the {end} tried, widen the range: {wider(family, options, best, factor)}"


def wider(family: pd.DataFrame, options: Mapping[str, Any], rate: float, factor: float) -> str:
    """The command that tries four learning rates from `rate` to `factor` times it, all else as in these trials."""
    row, default = family.loc[(family["learning_rate"] - rate).abs().idxmin()], TrialConfig()
    rates = " ".join(f"{rate * factor ** (i / 3):.2g}" for i in range(4))
    said = f"python sweeps/lr_regimes.py --architecture {row['architecture']} --learning-rates {rates}"
    for column in ("batch_size", "momentum", "label_noise", "holdout"):
        if row[column] != getattr(default, column):
            said += f" --{column.replace('_', '-')} {row[column]}"
    said += " --nesterov" * bool(row["nesterov"])
    seeds = sorted(family["seed"].unique())
    if seeds != [default.seed]:
        said += f" --seeds {' '.join(map(str, seeds))}"
    if row["epochs_asked"] != default.epochs:
        said += f" --epochs {row['epochs_asked']}"
    if row["dataset"] != "mnist":
        said += f" --dataset {row['dataset']}"
    for name, usual in REPEATED_OPTIONS.items():
        if options.get(name, usual) != usual:
            said += f" --{name.replace('_', '-')} {shlex.quote(str(options[name]))}"
    return said
