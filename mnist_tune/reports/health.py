"""How well a sweep ran: where its time went, how full its devices were, what failed, which nodes took part."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from mnist_tune.reports.headline import spoken
from mnist_tune.results.tables import Tables

MOST_ERRORS = 10
"""The most errors that are listed. If more trials failed, theirs are mostly the same."""

WORK = {"train_s": "training", "eval_s": "evaluating", "compile_s": "compiling", "wait_s": "waiting"}


class Health(NamedTuple):
    """How well a sweep ran."""

    title: str
    lines: list[tuple[str, str]]
    errors: list[tuple[str, str]]
    """The trials that failed, each with why."""
    errors_left: int
    """How many more failed."""
    nodes: list[dict[str, str]]


def health(sweep: Tables, title: str) -> Health:
    """Return how well a sweep ran."""
    trials, epochs = sweep.trials, sweep.epochs
    failed = trials[trials["stop_reason"] == "error"]
    errors = [
        (f"trial {row.trial_id} (learning rate {row.learning_rate:.4g})", str(row.error))
        for row in failed.head(MOST_ERRORS).itertuples()
    ]
    lines = [("trials ended", _reasons(trials)), *_work(trials), *_fill(epochs)]
    resumed = sweep.meta.get("resumed", [])
    lines.append(("resumed", f"{len(resumed)} times, last {resumed[-1][:16]}" if resumed else "never"))
    driver = sweep.meta.get("driver", {})
    if driver.get("results"):
        lines.append(("driver", f"{1000 * driver['cpu_s'] / driver['results']:.1f} ms of CPU per result"))
    if driver.get("pages"):
        lines.append(("this page", f"written {driver['pages']} times meanwhile, {driver['pages_cpu_s']:.1f} s of CPU"))
    return Health(title, lines, errors, len(failed) - len(errors), _nodes(epochs))


def _reasons(trials: pd.DataFrame) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in trials["stop_reason"].value_counts().items())


def _work(trials: pd.DataFrame) -> list[tuple[str, str]]:
    spent = {said: float(np.nansum(trials[name].astype(float))) for name, said in WORK.items()}
    total = sum(spent.values())
    if not total:
        return []
    parts = [f"{said} {spoken(seconds)} ({seconds / total:.0%})" for said, seconds in spent.items()]
    return [("time of all trials", ", ".join(parts))]


def _fill(epochs: pd.DataFrame) -> list[tuple[str, str]]:
    """Return how full the lanes were, where trials trained as lanes."""
    lanes = epochs["lanes"].astype(float)
    if not (lanes > 1).any():
        return []
    lines = [("lanes that trained together", f"{lanes.mean():.1f} on average, at most {lanes.max():.0f}")]
    fill = epochs["fill"].astype(float)
    return lines + [("fill", f"{fill.mean():.0%} of a device's lanes asked for an epoch")] * bool(fill.notna().any())


def _nodes(epochs: pd.DataFrame) -> list[dict[str, str]]:
    known = epochs.dropna(subset=["node"])
    rows = []
    for (node, device), part in known.groupby(["node", "device"], dropna=False):
        times = part["ended_at"].astype(float).dropna()
        span = times.max() - times.min() if len(times) > 1 else np.nan
        rows.append(
            {
                "node": str(node),
                "device": "–" if pd.isna(device) else str(device),
                "trials": f"{part['trial_id'].nunique():,}",
                "epochs": f"{len(part):,}",
                "epochs a minute": f"{60 * (len(part) - 1) / span:.1f}" if span > 0 else "–",
                "waited": f"{part['wait_s'].astype(float).sum() / _total(part):.0%}" if _total(part) else "–",
            }
        )
    return rows


def _total(part: pd.DataFrame) -> float:
    return float(np.nansum(part[list(WORK)].astype(float).to_numpy()))
