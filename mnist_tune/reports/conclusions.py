"""The conclusions from a sweep's table: its best and largest learning rates, and what to try next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd

from mnist_tune.data_spec import ARRAYS
from mnist_tune.invocation import command
from mnist_tune.numbers import told_apart
from mnist_tune.regimes.conclusions import FAMILY, Edge, edge
from mnist_tune.regimes.families import families
from mnist_tune.regimes.labels import regime_counts
from mnist_tune.regimes.measured_edge import MeasuredEdge
from mnist_tune.reports.edge_lines import edge_lines
from mnist_tune.reports.spans import spans
from mnist_tune.trial import TrialConfig

DEFAULTS = {name: getattr(TrialConfig, name) for name in FAMILY if name != "architecture"}
DEFAULTS |= {"seeds": [TrialConfig.seed], "epochs": TrialConfig.epochs, "dataset": "mnist", "scheduler": "regimes"}
DEFAULTS |= {"grace_period": 5, "target": None, "data_dir": None, "train_evaluation": None}
DEFAULTS |= {"train_images": None, "standardize": False}
DEFAULTS |= {"sharpness": False, "sharpness_every": None, "sharpness_images": None}
"""The flags that a proposed command repeats unless they have these defaults."""


REFINED = 1.2
"""Learning rates whose ratio is below this are too close to try others between them."""

CLEAR = 0.02
"""A difference of accuracies that is not chance, also with few test images."""

RESTLESS = {"oscillating", "diverged"}

MOST_SEEDS = 5
"""The most seeds that a proposed command repeats: a search draws one for each trial."""


class Conclusion(NamedTuple):
    """What follows from the trials of one family."""

    family: str
    sentence: str
    """Where each regime is found, and the best learning rate."""
    question: str
    """The next question; empty if there is none."""
    command: str
    """The command that answers it."""
    edge: Edge | None
    """None if no trial has finished an epoch."""


def conclusions(
    trials: pd.DataFrame,
    options: Mapping[str, Any] = MappingProxyType({}),
    edges: Sequence[MeasuredEdge] = (),
    most: int | None = None,
) -> list[str]:
    """Return the counts of the regimes and, for each family, where each regime is found, its best learning rate, and
    the command that answers the next question. What was measured of an edge replaces what its regimes say.

    The arguments are those of `family_conclusions`, the edges that the sweep measured, and of how many families
    something is said; None says it of all.
    """
    lines, measured = [f"Regimes: {regime_counts(trials['regime'])}"], {edge.title: edge for edge in edges}
    found_of_all = list(family_conclusions(trials, options))
    for found in found_of_all[:most]:
        if found.family in measured:
            lines += edge_lines(measured[found.family])
            continue
        lines.append(f"{found.family}: {found.sentence}")
        lines += [f"  {found.question} {found.command}"] * bool(found.question)
    left = len(found_of_all[most:]) if most else 0
    return lines + [f"... and {left} more families"] * bool(left)


def family_conclusions(trials: pd.DataFrame, options: Mapping[str, Any] = MappingProxyType({})) -> Iterator[Conclusion]:
    """Yield what follows from each family of trials.

    Args:
        trials: the trials table.
        options: the options of the sweep, from `sweep.json`. Proposed commands repeat some of them.
    """
    for title, family in families(trials):
        if not family["epochs_run"].any():
            yield Conclusion(title, "no learning rate finished an epoch", "", "", None)
            continue
        found = edge(family)
        best = "none converged"
        if found.best is not None:
            best = f"best learning rate {found.best:.4g} ({found.split} accuracy {found.accuracy:.4f})"
        yield Conclusion(title, "; ".join([*spans(family), best]), *_next(family, options, found), found)


def _next(family: pd.DataFrame, options: Mapping[str, Any], found: Edge) -> tuple[str, str]:
    """Return the next question and the command that answers it; empty if the edge is known."""
    trained = family[family["epochs_run"] > 0]
    rates = sorted(trained["learning_rate"].unique())
    if found.sometimes is None:
        direction, tried = _where_none_converged(trained, rates)
        return (f"try {direction}:", proposed(family, options, tried)) if tried else ("", "")
    if found.sometimes == rates[-1]:
        return "no edge yet, try larger rates:", proposed(family, options, _between(rates[-1], 10 * rates[-1]))
    above = min(rate for rate in rates if rate > found.sometimes)
    if above / found.sometimes > REFINED:
        return "try rates between:", proposed(family, options, _between(found.sometimes, above, 6)[1:-1])
    if family["seed"].nunique() < 3:
        return "is it the seed?", proposed(family, options, [found.sometimes, above], range(5))
    return "", ""


def _where_none_converged(trials: pd.DataFrame, rates: Sequence[float]) -> tuple[str, list[float]]:
    """Return in which direction a rate may converge, and the rates to try; none if nothing points anywhere."""
    regimes = trials.groupby("learning_rate")["regime"].agg(set)
    calm = [rate for rate in rates if not regimes[rate] & RESTLESS]
    if not calm:
        return "smaller rates", _between(rates[0], rates[0] / 10)
    top, slow = calm[-1], "slow" in regimes[calm[-1]]
    above = [rate for rate in rates if rate > top]
    if slow and above:
        return "rates between", _between(top, above[0], 6)[1:-1] if above[0] / top > REFINED else []
    accuracy = trials.groupby("learning_rate")["test_accuracy"].mean().loc[calm].dropna()
    if accuracy.empty:
        return "", []
    best = accuracy.idxmax()
    if best == rates[0] < top and accuracy.max() - accuracy.get(top, -1.0) > CLEAR:
        return "smaller rates", _between(best, best / 10)
    if top == rates[-1] and (slow or best == top > rates[0]):
        return "larger rates", _between(top, 10 * top)
    return "", []


def _between(first: float, last: float, count: int = 4) -> list[float]:
    return [first * (last / first) ** (i / (count - 1)) for i in range(count)]


def proposed(
    family: pd.DataFrame, options: Mapping[str, Any], rates: Sequence[float], seeds: Sequence[int] | None = None
) -> str:
    """Return the command that tries other learning rates, with all other flags as those of the nearest trial. Data that
    was given as arrays has no command: then return the rates alone."""
    row = family.loc[(family["learning_rate"] - rates[0]).abs().idxmin()]
    repeated = list(seeds or sorted(family["seed"].unique())[:MOST_SEEDS])
    used = {**options, **row, "seeds": repeated, "epochs": row["epochs_asked"]}
    used |= {name: options.get(name, DEFAULTS[name]) for name in ("dataset", "target")}
    said = told_apart(rates, 3)
    tried = " ".join(said[rate] for rate in rates)
    if used["dataset"] == ARRAYS:
        return f"{tried}, from Python as before"
    line = f"{command('regimes')} --architecture {shlex.quote(row['architecture'])} --learning-rates {tried}"
    for name, default in DEFAULTS.items():
        value = used.get(name, default)
        if value != default:
            words = [] if isinstance(default, bool) else value if isinstance(value, list) else [value]
            line += " ".join([f" --{name.replace('_', '-')}", *(shlex.quote(str(word)) for word in words)])
    return line
