"""The conclusions from a sweep's table: its best and largest learning rates, and what to try next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pandas as pd

from mnist_tune.regimes.conclusions import FAMILY, Edge, edge, families
from mnist_tune.regimes.labels import regime_counts
from mnist_tune.trial import TrialConfig

DEFAULTS = {name: getattr(TrialConfig, name) for name in FAMILY if name != "architecture"}
DEFAULTS |= {"seeds": [TrialConfig.seed], "epochs": TrialConfig.epochs, "dataset": "mnist", "scheduler": "regimes"}
DEFAULTS |= {"grace_period": 5, "target": None, "data_dir": None, "train_evaluation": None}
DEFAULTS |= {"train_images": None, "standardize": False}
"""The flags that a proposed command repeats unless they have these defaults."""


def conclusions(trials: pd.DataFrame, options: Mapping[str, Any] = MappingProxyType({})) -> list[str]:
    """Return the counts of the regimes and, for each family, the best and the largest converged learning rate.

    Args:
        trials: the trials table.
        options: the options of the sweep, from `sweep.json`. Proposed commands repeat some of them.
    """
    lines = [f"Regimes: {regime_counts(trials['regime'])}"]
    for title, family in families(trials):
        found, rates = edge(family), family["learning_rate"]
        if not family["epochs_run"].any():
            lines.append(f"{title}: no learning rate finished an epoch")
        elif (family["regime"] == "diverged").all():
            smallest = f"every learning rate diverged, the smallest is {rates.min():.4g}"
            lines.append(f"{title}: {smallest}; try smaller ones: {wider(family, options, rates.min(), 0.1)}")
        elif found.best is not None:
            best = f"best learning rate {found.best:.4g} (lowest training loss)"
            lines.append(f"{title}: {best}, {_largest(found)}{_at_an_end(family, options, found.best)}")
        else:
            lines.append(f"{title}: no trial that did not diverge has a training loss")
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


def _at_an_end(family: pd.DataFrame, options: Mapping[str, Any], best: float) -> str:
    rates = family["learning_rate"]
    if rates.nunique() < 2 or rates.min() < best < rates.max():
        return ""
    end, factor = ("smallest", 0.1) if best == rates.min() else ("largest", 10)
    return f"; it is the {end} tried, widen the range: {wider(family, options, best, factor)}"


def wider(family: pd.DataFrame, options: Mapping[str, Any], rate: float, factor: float) -> str:
    """Return the command that tries four rates from `rate` to `factor * rate`, with all other flags as before."""
    row = family.loc[(family["learning_rate"] - rate).abs().idxmin()]
    used = {**options, **row, "seeds": sorted(family["seed"].unique()), "epochs": row["epochs_asked"]}
    used["dataset"] = options.get("dataset") or row["dataset"]  # a file has a path, of which the table has the name
    rates = " ".join(f"{rate * factor ** (i / 3):.2g}" for i in range(4))
    command = f"python sweeps/lr_regimes.py --architecture {shlex.quote(row['architecture'])} --learning-rates {rates}"
    for name, default in DEFAULTS.items():
        value = used.get(name, default)
        if value != default:
            words = [] if isinstance(default, bool) else value if isinstance(value, list) else [value]
            command += " ".join([f" --{name.replace('_', '-')}", *(shlex.quote(str(word)) for word in words)])
    return command
