"""Print a sweep on the terminal: a table, the answer below it, and what to ask next."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from mnist_tune.continuation import resumable
from mnist_tune.invocation import command
from mnist_tune.judged import Judged
from mnist_tune.reports.findings import failures, notes
from mnist_tune.reports.json_object import as_json
from mnist_tune.reports.styles import TERMINAL_COLOURS
from mnist_tune.reports.table import MANY, ShownColumn, columns
from mnist_tune.reports.view import View
from mnist_tune.storage import Place

PLAIN_WIDTH = 160
"""Width of the tables, in characters, if standard output is not a terminal."""

ENOUGH = 10_000
"""Room for any line of a table."""

NARROW = 100
"""Below this width, heads of columns are broken between words."""

LEAST_EVIDENCE = 22
"""The least width of the column of evidence, which may wrap."""

BEST = 10
"""The settings of a search that are printed."""

MOST_LINES = 4
"""The most lines that say how sure an answer is; with `--all`, there are more."""


def print_report(sweep: Judged, every_line: bool = False, picture: bool = False) -> int:
    """Print a sweep's table and, below it, the answer, what to ask next and where the
    results are; return the command's exit code (`exit_code`).

    The table has a row for each setting; for each range of learning rates of more than
    `MANY` settings, or of an edge; for each trial if `every_line` is set. Of a search
    it has the best `BEST`. Unless the caller draws the `picture`, the command that does
    is printed.
    """
    console, path = (
        Console() if Console().is_terminal else Console(width=PLAIN_WIDTH),
        from_here(sweep.path),
    )
    view = View([sweep], path, "trials" if every_line else "settings")
    if len(view.settings) > MANY and not (every_line or view.is_ranked(sweep)):
        view = replace(view, rows="ranges")
    most = BEST if view.is_ranked(sweep) and sweep.decision is None else MANY
    most = len(view.settings) if every_line else most
    print_table(console, view, most)
    said, again = view.answers[0], shown_again(sweep, path)
    _say(console, failures(sweep.trials, every_line))
    _say(console, [said.headline], "bold")
    _say(console, (*said.lines, *said.more) if every_line else said.lines[:MOST_LINES])
    _say(console, [f"Note: {one}" for one in notes(sweep)], "yellow")
    places = [f"Results: {path}"]
    if sweep.record.is_elsewhere:
        places = [f"Curves: {path}"]
    elif isinstance(sweep.path, Path) and (sweep.path / "report.html").exists():
        places.append(f"Page: {os.path.join(path, 'report.html')}")
    if not again:
        pass  # a table of Python's
    elif len(view.settings) < len(sweep.trials) or len(view.settings) > most:
        places.append(f"More: {again} --all")
    elif not (picture or view.running):
        places.append(f"Picture: {again} --picture regimes.png")
    for line in (*map(str, said.questions), "    ".join(places)):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    return exit_code(sweep.trials)


def shown_again(sweep: Judged, path: str) -> str:
    """Return the command that prints a sweep; empty if none does."""
    if sweep.record.is_elsewhere:
        return shlex.join(sweep.record.typed)
    return f"{command('show')} {shlex.quote(path)}"


def print_result(sweep: Judged, as_object: bool) -> int:
    """Print a sweep as a table, or as one object of JSON; return the command's exit
    code."""
    with resumable(sweep.record, sweep.path):
        if not as_object:
            return print_report(sweep)
        print(as_json(sweep, from_here(sweep.path)))
    return exit_code(sweep.trials)


def from_here(place: Place) -> str:
    """Return how the path of a sweep is written in commands: from the current folder,
    if it is below that."""
    relative = os.path.relpath(place) if isinstance(place, Path) else ".."
    return str(place) if relative.startswith("..") else relative


def _say(console: Console, said: Sequence[str], style: str | None = None) -> None:
    """Print prose. On a terminal it is wrapped between words."""
    for line in said:
        console.print(
            line,
            soft_wrap=not console.is_terminal,
            highlight=False,
            markup=False,
            style=style,
        )


def exit_code(trials: pd.DataFrame) -> int:
    """Return a command's exit code: 1 if a trial ended in an error, as is usual 130
    after Ctrl-C, else 0."""
    reasons = set(trials["stop_reason"])
    return 1 if "error" in reasons else 130 if "interrupted" in reasons else 0


def print_table(console: Console, view: View, most: int) -> None:
    """Print the table, at most so many rows. Why a trial has its regime, and of several
    seeds the training accuracy, are left out where they have no room; what has none
    then wraps, since no digit may be lost."""
    shown, count = (
        [one for one in columns(view) if one.look != "curve"],
        len(view.settings),
    )
    if view.has_seeds:
        rows = "setting, without failed seeds: means ± 95%, or both of two:"
        if view.rows == "ranges" or view.sweeps[0].edges():
            rows = "range of learning rates, with means of what did not fail:"
        console.print(f"A line for each {rows}", style="dim", highlight=False)
    elif count > most:
        console.print(
            f"The best {most} of {count} settings:", style="dim", highlight=False
        )
    for left_out in (
        ({"why", "number hide"}, {"train acc"})
        if view.has_seeds
        else (set[str](), {"why"})
    ):
        shown = [one for one in shown if left_out.isdisjoint((one.look, one.title))]
        table = _table(console, shown, most)
        table.width = width = Measurement.get(
            console, console.options.update_width(ENOUGH), table
        ).maximum
        if width <= console.width:
            break
    if shown[-1].look == "why":
        table.columns[-1].width, table.width = (
            LEAST_EVIDENCE + console.width - width,
            console.width,
        )
    console.print(table, crop=False)
    if count > most and view.rows == "ranges":
        console.print(f"... and {count - most} more", highlight=False)


def _table(console: Console, shown: Sequence[ShownColumn], most: int) -> Table:
    narrow = console.width < NARROW
    table = Table(
        box=None, header_style="bold", pad_edge=False, collapse_padding=narrow
    )
    for one in shown:
        title, wide = (
            one.title.replace(" ", "\n" if narrow else " "),
            LEAST_EVIDENCE if one.look == "why" else None,
        )
        side: Literal["right", "left"] = (
            "right" if one.look.startswith("number") else "left"
        )
        table.add_column(
            title, justify=side, no_wrap=wide is None, overflow="fold", width=wide
        )
    for cells in list(zip(*(one.cells for one in shown), strict=True))[:most]:
        named = zip(shown, cells, strict=True)
        table.add_row(
            *(
                _coloured(cell) if one.look == "word" else escape(cell)
                for one, cell in named
            )
        )
    return table


def _coloured(regimes: str) -> str:
    """Return a regime, or several with their counts, each in its colour."""
    each = [
        (one, TERMINAL_COLOURS.get(one.split()[-1], "default"))
        for one in regimes.split(", ")
    ]
    return ", ".join(f"[{colour}]{one}[/]" for one, colour in each)
