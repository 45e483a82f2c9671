"""Print a sweep on the terminal: a table, the answer below it, and what to ask next."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Sequence, Set
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
    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    path = from_here(sweep.path)
    view = View([sweep], path, "trials" if every_line else "settings")
    is_ranked = view.is_ranked(sweep)
    if len(view.settings) > MANY and not (every_line or is_ranked):
        view = replace(view, rows="ranges")
    most = MANY
    if every_line:
        most = len(view.settings)
    elif is_ranked and sweep.decision is None:
        most = BEST
    print_table(console, view, most)
    answer = view.answers[0]
    lines = answer.lines[:MOST_LINES]
    if every_line:
        lines = (*answer.lines, *answer.details)
    _say(console, failures(sweep.trials, every_line))
    _say(console, [answer.headline], "bold")
    _say(console, lines)
    _say(console, [f"Note: {note}" for note in notes(sweep)], "yellow")
    count = len(view.settings)
    has_further = count < len(sweep.trials) or count > most
    places = _places(sweep, path, has_further, picture or view.running)
    for line in (*map(str, answer.questions), "    ".join(places)):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    return exit_code(sweep.trials)


def _places(
    sweep: Judged, path: str, has_further: bool, has_picture: bool
) -> Iterator[str]:
    """Yield where the results are, and the command that shows further trials, or draws
    the picture that a sweep does not have."""
    if sweep.record.is_elsewhere:
        yield f"Curves: {path}"
    else:
        yield f"Results: {path}"
        if isinstance(sweep.path, Path) and (sweep.path / "report.html").exists():
            yield f"Page: {os.path.join(path, 'report.html')}"
    again = shown_again(sweep, path)
    if not again:
        return  # a table of Python's
    if has_further:
        yield f"More: {again} --all"
    elif not has_picture:
        yield f"Picture: {again} --picture regimes.png"


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
    if not isinstance(place, Path):
        return str(place)
    relative = os.path.relpath(place)
    if relative.startswith(".."):
        return str(place)
    return relative


def _say(console: Console, lines: Iterable[str], style: str | None = None) -> None:
    """Print prose. On a terminal it is wrapped between words."""
    is_wide = not console.is_terminal
    for line in lines:
        console.print(
            line, soft_wrap=is_wide, highlight=False, markup=False, style=style
        )


def exit_code(trials: pd.DataFrame) -> int:
    """Return a command's exit code: 1 if a trial ended in an error, as is usual 130
    after Ctrl-C, else 0."""
    reasons = set(trials["stop_reason"])
    if "error" in reasons:
        return 1
    if "interrupted" in reasons:
        return 130
    return 0


def print_table(console: Console, view: View, most: int) -> None:
    """Print the table, at most so many rows. Why a trial has its regime, and of several
    seeds the training accuracy, are left out where they have no room; what has none
    then wraps, since no digit may be lost."""
    count = len(view.settings)
    if view.has_seeds:
        rows = "setting, without failed seeds: means ± 95%, or both of two:"
        if view.rows == "ranges" or view.sweeps[0].edges():
            rows = "range of learning rates, with means of what did not fail:"
        console.print(f"A line for each {rows}", style="dim", highlight=False)
    elif count > most:
        best = f"The best {most} of {count} settings:"
        console.print(best, style="dim", highlight=False)
    # what is left out first, and what then, by its look or its title
    cuts: list[set[str]] = [set(), {"why"}]
    if view.has_seeds:
        cuts = [{"why", "number hide"}, {"train acc"}]
    shown = [column for column in columns(view) if column.look != "curve"]
    unbounded = console.options.update_width(ENOUGH)
    for cut in cuts:
        shown = [column for column in shown if not _is_cut(column, cut)]
        table = _table(console, shown, most)
        width = Measurement.get(console, unbounded, table).maximum
        table.width = width
        if width <= console.width:
            break
    if shown[-1].look == "why":
        table.columns[-1].width = LEAST_EVIDENCE + console.width - width
        table.width = console.width
    console.print(table, crop=False)
    if count > most and view.rows == "ranges":
        console.print(f"... and {count - most} more", highlight=False)


def _is_cut(column: ShownColumn, cut: Set[str]) -> bool:
    # of a training accuracy, the title also says of how many images it is
    title, _, _ = column.title.partition(" of ")
    return column.look in cut or title in cut


def _table(console: Console, shown: Sequence[ShownColumn], most: int) -> Table:
    is_narrow = console.width < NARROW
    table = Table(
        box=None, header_style="bold", pad_edge=False, collapse_padding=is_narrow
    )
    for column in shown:
        title = column.title
        if is_narrow:
            title = title.replace(" ", "\n")
        side: Literal["right", "left"] = "left"
        if column.look.startswith("number"):
            side = "right"
        wide = LEAST_EVIDENCE if column.look == "why" else None
        table.add_column(
            title, justify=side, no_wrap=wide is None, overflow="fold", width=wide
        )
    texts = []
    for column in shown:
        marked_up = _coloured if column.look == "word" else escape
        texts.append([marked_up(cell) for cell in column.cells[:most]])
    for row in zip(*texts, strict=True):
        table.add_row(*row)
    return table


def _coloured(regimes: str) -> str:
    """Return a regime, or several with their counts, each in its colour."""
    texts = []
    for text in regimes.split(", "):
        colour = TERMINAL_COLOURS.get(text.split()[-1], "default")
        texts.append(f"[{colour}]{text}[/]")
    return ", ".join(texts)
