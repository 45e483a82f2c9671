"""What a sweep prints when it has ended."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mnist_tune.reports.notebook import Comparison
from mnist_tune.results.regimes import COLOURS, edge, regime_counts
from mnist_tune.results.replicates import summarise_replicates
from mnist_tune.results.tables import Sweep

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended, as shells have it."""

PLAIN_WIDTH = 160
"""Columns of the table where standard output is no terminal."""


def print_report(sweep: Sweep) -> int:
    """Prints the table of a sweep, its best and largest converged learning rate, where the results are and what next.

    Returns:
        The command's exit code: 1 where a trial ended in an error, 130 after Ctrl-C, else 0.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    trials = sweep.trials.sort_values(["architecture", "learning_rate", "seed"])
    console.print(_table(trials), soft_wrap=False)
    for line in conclusions(trials):
        console.print(line, soft_wrap=True, highlight=False)
    if sweep.meta["dataset"]["note"]:
        console.print(f"Note: {sweep.meta['dataset']['note']}", style="bold yellow", soft_wrap=True)
    console.print(f"Results: {_short(sweep.path)}", soft_wrap=True, highlight=False)
    left = trials["stop_reason"].isin(["interrupted", "time_budget"]).sum()
    if left:
        command = f"python sweeps/{sweep.meta['name']}.py --resume {_short(sweep.path)}"
        console.print(f"{left} trials had not ended; go on with: {command}", soft_wrap=True, highlight=False)
    else:
        command = f"python analysis/summarize.py {_short(sweep.path)}"
        console.print(f"Next: {command}", soft_wrap=True, highlight=False)
    errors = trials[trials["stop_reason"] == "error"]
    for row in errors.itertuples():
        console.print(f"trial {row.trial_id} (learning rate {row.learning_rate:.4g}) failed: {row.error}", markup=False)
    if len(errors):
        return 1
    return INTERRUPTED if (trials["stop_reason"] == "interrupted").any() else 0


def _table(trials: pd.DataFrame) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, expand=True)
    many = [name for name in ("architecture", "seed") if trials[name].nunique() > 1]
    for name in (*many, "learning rate"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("regime", no_wrap=True)
    for name in ("epochs", "train acc", "test acc"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("stopped", no_wrap=True)
    table.add_column("evidence", overflow="ellipsis", no_wrap=True, ratio=1)
    for row in trials.itertuples():
        cells = [str(getattr(row, name)) for name in many] + [f"{row.learning_rate:.4g}"]
        cells += [f"[{COLOURS[row.regime]}]{row.regime}[/]", f"{row.epochs_run}/{row.epochs_asked}"]
        cells += [_accuracy(row.train_accuracy), _accuracy(row.test_accuracy)]
        table.add_row(*cells, row.stop_reason, escape(row.error or row.regime_evidence))
    return table


def conclusions(trials: pd.DataFrame) -> list[str]:
    """The counts of the regimes and, for each architecture, the best and the largest converged learning rate."""
    lines = [f"Regimes: {regime_counts(trials['regime'])}"]
    for architecture, family in trials.groupby("architecture"):
        found = edge(family)
        if found["best"] is None:
            lines.append(f"{architecture}: no learning rate finished an epoch")
            continue
        largest = found["largest_converged"]
        said = "none converged" if largest is None else f"largest that converged {largest:.4g}"
        lines.append(f"{architecture}: best learning rate {found['best']:.4g} (lowest training loss), {said}")
    return lines


def print_replicates(trials: pd.DataFrame) -> None:
    """Mean, standard deviation and 95% interval over the seeds of each configuration that has several."""
    summary = summarise_replicates(trials)
    summary = summary[summary["replicates"] > 1]
    if summary.empty:
        return
    parts = [f"{split}_accuracy_{part}" for split in ("train", "test") for part in ("mean", "std", "ci95")]
    shown = summary[["label", "architecture", "learning_rate", "replicates", "regimes", *parts]]
    shown = shown.rename(columns=lambda name: name.replace("_accuracy", "").replace("_", " "))
    print("\nReplicates: accuracy over seeds, mean, standard deviation and half-width of the 95% interval")
    print(shown.to_string(index=False, float_format=lambda x: f"{x:.4g}", line_width=PLAIN_WIDTH))


def print_comparisons(comparisons: Sequence[Comparison]) -> None:
    """The notebook's figures beside ours, epoch by epoch, and each experiment's verdict."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in (
        "experiment",
        "epoch",
        "train: notebook",
        "ours",
        "difference",
        "test: notebook",
        "ours",
        "difference",
    ):
        table.add_column(name, justify="left" if name == "experiment" else "right", no_wrap=True)
    for comparison in comparisons:
        for epoch, row in comparison.rows.iterrows():
            cells = [comparison.experiment.name, str(epoch)]
            for split in ("train", "test"):
                cells += [_accuracy(row[f"{split}_accuracy_{side}"]) for side in ("notebook", "ours")]
                difference = row[f"{split}_accuracy_difference"]
                cells.append("-" if pd.isna(difference) else f"{difference:+.5f}")
            table.add_row(*cells)
    console = Console(width=PLAIN_WIDTH)
    console.print(table)
    for comparison in comparisons:
        console.print(f"{comparison.experiment.name}: {comparison.verdict}; {comparison.reason}", highlight=False)


def _accuracy(value: object) -> str:
    return "-" if value is None or pd.isna(value) else f"{value:.4f}"


def _short(path: Path) -> str:
    """Relative where that is shorter to read."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
