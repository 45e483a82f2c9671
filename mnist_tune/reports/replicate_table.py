"""Print what the seeds of each configuration agree on."""

from __future__ import annotations

import pandas as pd
from rich.markup import escape
from rich.table import Table

from mnist_tune.regimes.conclusions import varied
from mnist_tune.regimes.replicates import summarise_replicates
from mnist_tune.reports.console import table_console
from mnist_tune.reports.large_sweeps import MANY, bins, span
from mnist_tune.reports.prepared import replicated, with_epochs

ACCURACIES = "accuracies as mean ± half-width of its 95% interval"


def print_replicates(trials: pd.DataFrame, every_line: bool = False) -> None:
    """Print how many seeds of each configuration that has several converged, and their accuracies.

    More than `MANY` configurations are condensed unless `every_line` is set.
    """
    several = replicated(with_epochs(trials))
    if several.empty:
        return
    summary = summarise_replicates(several)
    condensed = len(summary) > MANY and not every_line
    shown = _condensed(summary) if condensed else _one_by_one(summary)
    heading = "how many converged, with the 95% interval of that share; " + ACCURACIES
    if condensed:
        heading = f"the share that converged; {ACCURACIES}; medians over configurations"
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in shown:
        table.add_column(name, justify="right", no_wrap=name not in ("family", "label"), overflow="fold")
    for row in shown.itertuples(index=False):
        table.add_row(*(escape(format(cell, ".4g") if isinstance(cell, float) else str(cell)) for cell in row))
    console = table_console()
    console.print(f"\nReplicates over seeds: {heading}", highlight=False)
    console.print(table)


def _one_by_one(summary: pd.DataFrame) -> pd.DataFrame:
    names = varied(summary) + ["label"] * bool(summary["label"].any())
    low, high = summary["converged_low"], summary["converged_high"]
    spans = [f"{k} ({a:.0%} to {b:.0%})" for k, a, b in zip(summary["converged"], low, high, strict=True)]
    shown = summary[[*names, "learning_rate"]].assign(converged=spans, **_accuracies(summary))
    return shown.rename(columns=lambda name: name.removeprefix("learning_").replace("_", " "))


def _condensed(summary: pd.DataFrame) -> pd.DataFrame:
    """Return one row per range of learning rates, with medians."""
    rows = []
    for title, part in bins(summary):
        medians = part.filter(like="_accuracy_").median().to_frame().T
        row = {"family": title, "rates": span(part["learning_rate"], " – "), "configurations": len(part)}
        row |= {"seeds": span(part["replicates"]), "converged": f"{part['converged_share'].median():.0%}"}
        rows.append(row | {name: cells[0] for name, cells in _accuracies(medians).items()})
    return pd.DataFrame(rows)


def _accuracies(summary: pd.DataFrame) -> dict[str, list[str]]:
    def cells(split: str) -> list[str]:
        pairs = zip(summary[f"{split}_accuracy_mean"], summary[f"{split}_accuracy_ci95"], strict=True)
        return ["-" if pd.isna(mean) else f"{mean:.4f} ± {width:.4f}" for mean, width in pairs]

    return {split: cells(split) for split in ("train", "test")}
