"""Print the results of a sweep as text."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table

from mnist_tune.invocation import command
from mnist_tune.numbers import counted
from mnist_tune.regimes.conclusions import varied
from mnist_tune.regimes.data_facts import data_facts
from mnist_tune.regimes.families import families
from mnist_tune.reports.conclusions import conclusions
from mnist_tune.reports.console import table_console
from mnist_tune.reports.large_sweeps import MANY, condensed_table, cut
from mnist_tune.reports.prepared import so_far
from mnist_tune.reports.styles import COLOURS
from mnist_tune.reports.trial_table import TERMINAL, Field, evidence, fields, heading
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
    shown, narrow = fields(trials, TERMINAL), console.width < WIDE
    if not _says_why(console, trials):
        shown = [one for one in shown if one.name != "stop_reason"]
    table = _table(trials, [one for one in shown if one.name != "evidence"], narrow)
    if console.width - Measurement.get(console, console.options, table).maximum >= LEAST_EVIDENCE:
        console.print(_table(trials, shown, narrow))
        return
    with console.capture() as captured:
        console.print(table, soft_wrap=True)
    lines = captured.get().splitlines()
    head = len(lines) - len(trials)
    print("\n".join(lines[:head]))
    for line, why in zip(lines[head:], evidence(trials), strict=True):
        print(line)
        console.print(Padding(escape(why), (0, 0, 0, 4)))


def _table(trials: pd.DataFrame, shown: Sequence[Field], narrow: bool) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, collapse_padding=narrow)
    for one in shown:
        if one.name == "evidence":
            table.expand = True
            table.add_column(one.title, overflow="fold", ratio=1)
        else:
            title = heading(one, trials).replace(" ", "\n" if narrow else " ")
            is_word = one.name in ("regime", "stop_reason")
            table.add_column(title, justify="left" if is_word else "right", no_wrap=True)
    for cells in zip(*(one.said(trials) for one in shown), strict=True):
        named = zip(shown, cells, strict=True)
        table.add_row(*(f"[{COLOURS[cell]}]{cell}[/]" if one.name == "regime" else escape(cell) for one, cell in named))
    return table


def _says_why(console: Console, trials: pd.DataFrame) -> bool:
    """Return whether the table says why trials stopped: where it has room, or the other columns don't tell."""
    return console.width >= WIDE or not trials["stop_reason"].isin(SAID_BY_REGIME).all()


def _short(path: Place) -> str:
    if isinstance(path, str):
        return path
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
