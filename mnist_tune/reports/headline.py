"""The head of the page: what came out of a sweep, what it was, and how to go on."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import pandas as pd

from mnist_tune.numbers import counted
from mnist_tune.regimes.conclusions import FAMILY, beyond_the_edge
from mnist_tune.regimes.data_facts import data_facts
from mnist_tune.regimes.last_batch import small_last_batch
from mnist_tune.regimes.measured_edge import MeasuredEdge
from mnist_tune.reports.conclusions import Conclusion, family_conclusions
from mnist_tune.reports.edge_lines import SHARES, edge_lines
from mnist_tune.reports.prepared import listed, so_far
from mnist_tune.results.journal import OPEN_REASONS, resume_command
from mnist_tune.results.tables import Tables
from mnist_tune.trial import TrialConfig


def title(sweeps: Sequence[Tables], titles: Sequence[str]) -> str:
    """Return the title of the page: what one sweep trained on which data, or the names of several."""
    if len(sweeps) > 1:
        return " · ".join(titles)
    return f"{_networks(sweeps[0].trials)} on {sweeps[0].meta['dataset']['name']}"


class Headline(NamedTuple):
    """What the page says of one sweep before it draws anything."""

    title: str
    state: str
    """How far a sweep is that has not ended; else empty."""
    figures: list[tuple[str, str]]
    """The few numbers that matter, each with its name; empty if there are several families."""
    conclusions: list[Conclusion]
    notes: list[str]
    facts: list[tuple[str, str]]
    commands: list[tuple[str, str]]
    """Commands to copy, each with what it does."""


def headline(sweep: Tables, title: str) -> Headline:
    """Return the head of the page for one sweep."""
    measured = {edge.title: edge for edge in sweep.edges()}
    families = family_conclusions(sweep.trials, sweep.meta.get("options", {}))
    found = [_with_edge(one, measured.get(one.family)) for one in families]
    commands = [("repeats this sweep", _again(sweep.meta.get("command", "")))]
    left = int(sweep.trials["stop_reason"].isin(OPEN_REASONS).sum())
    if left:
        commands.insert(
            0, (f"goes on with the {counted(left)} that had not ended", resume_command(sweep.meta, sweep.path))
        )
    notes = [sweep.meta["dataset"]["note"]]
    if (sweep.trials["epochs_run"] > 0).any() and data_facts(sweep.meta).target is None:
        notes.append("No target is known for this data, so each network's best trial is its measure; see --target.")
    return Headline(
        title=title,
        state=f"running: {said}" if (said := so_far(sweep.trials)) else "",
        figures=_figures(found[0], sweep.trials, measured.get(found[0].family)) if len(found) == 1 else [],
        conclusions=found,
        notes=[note for note in notes if note],
        facts=[(name, value) for name, value in _facts(sweep) if value],
        commands=[(about, command) for about, command in commands if command],
    )


def _again(command: str) -> str:
    """Return the command as typed: `sys.argv` lacks the interpreter."""
    words = shlex.split(command) if command else []
    return f"python {command}" if words and words[0].endswith(".py") else command


def _with_edge(found: Conclusion, edge: MeasuredEdge | None) -> Conclusion:
    """Return what was measured of an edge in place of what its regimes say."""
    if edge is None:
        return found
    said = "; ".join(line.strip().removeprefix(f"{edge.title}: ") for line in edge_lines(edge))
    return found._replace(sentence=said, question="", command="")


def _figures(found: Conclusion, trials: pd.DataFrame, measured: MeasuredEdge | None) -> list[tuple[str, str]]:
    if measured is not None:
        return [(f"{share:.0%} of seeds learn up to", str(measured.rate(share))) for share in SHARES]
    if found.edge is None:
        return []
    edge, figures = found.edge, []
    if edge.best is not None:
        figures += [("best learning rate", f"{edge.best:.4g}"), (f"its {edge.split} accuracy", f"{edge.accuracy:.4f}")]
    if edge.always is not None:
        which = "at which every seed converges" if edge.always != edge.sometimes else "that converges"
        figures.append((f"largest rate {which}", f"{edge.always:.4g}"))
    if edge.sometimes is not None:
        beyond = beyond_the_edge(trials, edge)
        figures.append(("none converges from", "– (no edge yet)" if beyond is None else f"{beyond:.4g} on"))
    return figures


def _facts(sweep: Tables) -> list[tuple[str, str]]:
    meta, trials = sweep.meta, sweep.trials
    environment, data = meta.get("environment", {}), meta["dataset"]
    images = f"{sum(data['label_counts']):,} training and {data['test_images']:,} test images"
    versions = environment.get("versions", {})
    processor = environment.get("processor", "")
    cores = f", {environment['cpus']} cores" if environment.get("cpus") else ""
    devices = ", ".join(sorted(trials["device"].dropna().astype(str).unique()))
    trained = " to ".join(
        dict.fromkeys(str(value) for value in (trials["epochs_run"].min(), trials["epochs_run"].max()))
    )
    return [
        ("networks", _networks(trials)),
        ("all with", _settings(trials)),
        ("data", f"{data['name']} ({images})"),
        ("last batch", _last_batch(sweep)),
        ("trials", f"{len(trials):,}, of {trained} epochs"),
        ("trained on", devices + (f" ({processor}{cores})" if processor and processor != devices else "")),
        ("time", _duration(meta)),
        ("versions", ", ".join(f"{name} {versions[name]}" for name in ("jax", "ray", "python") if versions.get(name))),
        ("revision", str(environment.get("git_revision") or "")),
        ("results", str(sweep.path)),
    ]


def _settings(trials: pd.DataFrame) -> str:
    """Return the settings that all trials share, those that are as usual left out."""
    same = {name: trials[name].iloc[0] for name in FAMILY if name in trials and trials[name].nunique() == 1}
    usual = vars(TrialConfig())
    always = ("optimizer", "batch_size", "momentum", "loss")
    shown = {name: value for name, value in same.items() if name in always or value != usual[name]}
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shown.items() if name != "architecture")


def _last_batch(sweep: Tables) -> str:
    images = data_facts(sweep.meta).train_images
    kinds = sweep.trials[["holdout", "batch_size", "drop_last"]].drop_duplicates().itertuples(index=False)
    return small_last_batch((images - holdout, size, dropped) for holdout, size, dropped in kinds)


def _networks(trials: pd.DataFrame) -> str:
    return listed(sorted(trials["architecture"].unique()), 4)


def _duration(meta: dict[str, Any]) -> str:
    try:
        start = datetime.fromisoformat(meta["started"])
        if meta.get("ended") is None:
            return f"started {start:%Y-%m-%d %H:%M} UTC"
        seconds = (datetime.fromisoformat(meta["ended"]) - start).total_seconds()
    except (KeyError, ValueError, TypeError):  # older sweeps, and those of tests, have no times
        return ""
    return f"{spoken(seconds)}, started {start:%Y-%m-%d %H:%M} UTC"


def spoken(seconds: float) -> str:
    """Return a time as people say it: `4 min 31 s`."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s" if seconds < 10 else f"{rest} s"
