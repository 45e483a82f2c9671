"""Print the results of a sweep as text."""

from __future__ import annotations

import math
import os
import shlex
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table

from mnist_tune.invocation import command
from mnist_tune.numbers import counted, told_apart
from mnist_tune.regimes.conclusions import varied
from mnist_tune.regimes.data_facts import data_facts
from mnist_tune.regimes.families import families
from mnist_tune.regimes.statistics import FAR
from mnist_tune.reports.conclusions import conclusions
from mnist_tune.reports.console import table_console
from mnist_tune.reports.large_sweeps import MANY, condensed_table, cut
from mnist_tune.reports.names import shortened
from mnist_tune.reports.prepared import so_far
from mnist_tune.reports.styles import COLOURS
from mnist_tune.results.journal import OPEN_REASONS, resume_command
from mnist_tune.results.tables import Tables
from mnist_tune.storage import Place

INTERRUPTED = 130
"""The usual exit code of a command that Ctrl-C ended."""

WIDE = 100
"""From this width on, the table always says why each trial stopped."""

LEAST_EVIDENCE = 24
"""The least width of the column of evidence, which may wrap."""

SAID_BY_REGIME = ("completed", "diverged", "slow", "dead")
"""Stop reasons that follow from the other columns."""

FAILURES = 10
"""The most errors that are printed. If more trials failed, their errors are mostly the same."""


def print_report(sweep: Tables, every_line: bool = False, picture: bool = False) -> int:
    """Print a sweep's table, where each regime is found, the best learning rate, the next command and the folder.

    Args:
        sweep: the sweep.
        every_line: print one line per trial; else more than `MANY` trials are condensed.
        picture: whether the caller draws the picture; else the command that does is printed.

    Returns:
        The command's exit code: 1 if a trial ended in an error, 130 after Ctrl-C, else 0.
    """
    console = table_console()
    trials = sweep.trials.sort_values([*varied(sweep.trials), "learning_rate", "seed"])
    condensed = len(trials) > MANY and not every_line
    if condensed:
        console.print(condensed_table(trials, _says_why(console, trials)))
        if (left := len(list(families(trials))) - MANY) > 0:
            console.print(f"... and {left} more families", highlight=False)
    else:
        _print_table(console, trials)
    most = None if every_line else MANY
    for line in conclusions(trials, sweep.meta.get("options", {}), sweep.edges(), most):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    if (trials["epochs_run"] > 0).any() and data_facts(sweep.meta).target is None:
        console.print("No target is known for this data, so each network's best trial is its measure; see --target.")
    if sweep.meta["dataset"]["note"]:
        console.print(escape(f"Note: {sweep.meta['dataset']['note']}"), style="bold yellow", soft_wrap=True)
    for line in _where(sweep, condensed, picture):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    failed = trials[trials["stop_reason"] == "error"].itertuples()
    failures = [f"trial {row.trial_id} (learning rate {row.learning_rate:.4g}) failed: {row.error}" for row in failed]
    for line in failures if every_line else cut(failures, FAILURES, "failed; the column error of trials says why"):
        console.print(line, soft_wrap=True, markup=False)
    return exit_code(trials)


def exit_code(trials: pd.DataFrame) -> int:
    """Return a command's exit code: 1 if a trial ended in an error, 130 after Ctrl-C, else 0."""
    reasons = set(trials["stop_reason"])
    return 1 if "error" in reasons else INTERRUPTED if "interrupted" in reasons else 0


def _where(sweep: Tables, condensed: bool, picture: bool) -> list[str]:
    path = _short(sweep.path)
    again = f"{command('summarize')} {shlex.quote(path)}"
    lines = [f"Results: {path}"]
    if isinstance(sweep.path, Path) and (sweep.path / "report.html").exists():
        lines.append(f"Page: {os.path.join(path, 'report.html')}")
    if condensed:
        written = "trials.parquet there, or " * (sweep.meta["ended"] is not None)
        ranges = "Each line is a range of learning rates, with median accuracies"
        lines.append(f"{ranges}; every trial: {written}{again} --all")
    left, failed = (sweep.trials["stop_reason"].isin(reasons).sum() for reasons in (OPEN_REASONS, ["error"]))
    if said := so_far(sweep.trials):
        return [*lines, f"{said}: this sweep is still running"]
    if left:
        lines.append(f"{counted(left)} had not ended; resume with: {resume_command(sweep.meta, path)}")
    if failed:
        again_with = resume_command(sweep.meta, path, True)
        lines.append(f"{counted(failed)} failed; train {'it' if failed == 1 else 'them'} again with: {again_with}")
    return lines if left or failed or picture else [*lines, f"Picture: {again}"]


def _print_table(console: Console, trials: pd.DataFrame) -> None:
    """Print a line per trial. Where the evidence has no room beside it, it follows on a line of its own."""
    stops, narrow = _says_why(console, trials), console.width < WIDE
    table = _table(trials, narrow, stops)
    if console.width - Measurement.get(console, console.options, table).maximum >= LEAST_EVIDENCE:
        console.print(_table(trials, narrow, stops, evidence=True))
        return
    with console.capture() as captured:
        console.print(table, soft_wrap=True)
    heading, *lines = captured.get().splitlines()
    head = len(lines) - len(trials)
    print("\n".join([heading, *lines[:head]]))
    for line, row in zip(lines[head:], trials.itertuples(), strict=True):
        print(line)
        console.print(Padding(_why(row), (0, 0, 0, 4)))


def _table(trials: pd.DataFrame, narrow: bool, stops: bool, evidence: bool = False) -> Table:
    break_ = "\n" if narrow else " "
    table = Table(box=None, header_style="bold", pad_edge=False, collapse_padding=narrow, expand=evidence)
    many = varied(trials) + ["seed"] * (trials["seed"].nunique() > 1)
    for name in (*many, "rate"):
        table.add_column(name.replace("_", break_), justify="right", no_wrap=True)
    table.add_column("regime", no_wrap=True)
    title = f"reaches{break_}{one_target(trials) or 'target'}"
    for name in ("epochs", "train", "test", title):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("stopped" if stops else "", no_wrap=True)
    if evidence:
        table.add_column("evidence", overflow="fold", ratio=1)
    rates, names = told_apart(trials["learning_rate"]), shortened(trials["architecture"])
    for row in trials.itertuples():
        said = row._asdict() | {"architecture": names[row.architecture]}
        cells = [escape(str(said[name])) for name in many] + [rates[row.learning_rate]]
        cells += [f"[{COLOURS[row.regime]}]{row.regime}[/]", f"{row.epochs_run}/{row.epochs_asked}"]
        cells += [_accuracy(row.train_accuracy), _accuracy(row.test_accuracy), reaches(row)]
        table.add_row(*cells, escape(row.stop_reason) if stops else "", *[_why(row)] * evidence)
    return table


def _why(row: Any) -> str:
    return escape(row.error or row.regime_evidence)


def _says_why(console: Console, trials: pd.DataFrame) -> bool:
    """Return whether the table says why trials stopped: where it has room, or the other columns don't tell."""
    return console.width >= WIDE or not trials["stop_reason"].isin(SAID_BY_REGIME).all()


def one_target(trials: pd.DataFrame) -> str:
    """Return the target that these trials share; empty if they have several, or none."""
    targets = trials["target"].dropna().unique()
    return f"{targets[0]:.4g}" if len(targets) == 1 else ""


def reaches(row: Any) -> str:
    """Return when a trial reaches its target: `epoch 4` has been, `~14` and `> 30` are projections."""
    if math.isnan(row.reaches):
        return "–"
    if math.isinf(row.reaches):
        return "never"
    if row.reaches <= row.epochs_run:
        return f"epoch {row.reaches:.0f}"
    limit = FAR * row.epochs_asked
    return f"> {limit}" if row.reaches > limit else f"~{row.reaches:.0f}"


def _accuracy(value: object) -> str:
    return "-" if value is None or pd.isna(value) else f"{value:.4f}"


def _short(path: Place) -> str:
    if isinstance(path, str):
        return path
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
