"""How close training is to the edge of stability: the table and the picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from mnist_tune.regimes.families import families
from mnist_tune.reports.figures import save


def trial_names(trials: pd.DataFrame) -> dict[str, str]:
    """Return a name for each trial by its id: what distinguishes its family, its rate, and its seed if there are more.
    Those that would have the same name, such as of two data sets, have their id, too.

    Args:
        trials: some rows of the trials table.
    """
    names = {}
    for title, family in families(trials):
        for row in family.itertuples():
            seed = f", seed {row.seed}" if trials["seed"].nunique() > 1 else ""
            names[row.trial_id] = f"{title}, rate {row.learning_rate:.4g}{seed}"
    counts = Counter(names.values())
    return {one: name + f" ({one})" * (counts[name] > 1) for one, name in names.items()}


def print_stability(names: Mapping[str, str], summary: pd.DataFrame) -> None:
    """Print a line for each trial of what `summarise_stability` returns."""
    shown = summary.drop(columns="trial_id").rename(columns=lambda name: name.replace("_", " "))
    shown.insert(0, "trial", summary["trial_id"].map(names))
    shown["arrived"] = ["never" if pd.isna(step) else f"step {step:.0f}" for step in summary["arrived"]]
    print(
        "Sharpness relative to the edge of stability, λη/2 without momentum: before training, and from when it arrived"
    )
    print("at 0.95 on (over the last quarter of the steps if it never did); and of the batch sharpness")
    print(shown.to_string(index=False, float_format=lambda x: f"{x:.3f}"))


def plot_stability(curves: Sequence[tuple[str, pd.DataFrame]], path: Path) -> None:
    """Write a figure with a line for each trial: its sharpness relative to the edge of stability, by step.

    The thin dashed lines are the batch sharpness.

    Args:
        curves: each trial's name, and what `relative_sharpness` returns for it.
        path: the file.

    Raises:
        UserError: the file can't be written, or its format is unknown.
    """
    figure = Figure(figsize=(7, 4.2), layout="constrained", dpi=100)
    axis = figure.subplots()
    axis.axhline(1, color="0.3", lw=1)
    for i, (name, curve) in enumerate(curves):
        axis.plot(curve["step"], curve["relative"], color=f"C{i % 10}", lw=1.4, label=name)
        axis.plot(curve["step"], curve["batch_relative"], color=f"C{i % 10}", lw=0.9, ls="--", alpha=0.7)
    axis.plot([], [], color="0.4", lw=0.9, ls="--", label="batch sharpness")
    axis.set_ylim(0, min(2.5, 1.15 * max(1.2, *(curve["relative"].max() for _, curve in curves))))
    axis.set_xlabel("step")
    axis.set_ylabel("sharpness, relative to the edge of stability")
    axis.grid(alpha=0.25)
    axis.legend(frameon=False, fontsize=9)
    save(figure, path)
