"""Print a sweep on the terminal: the table of its trials, the findings, and what its seeds agree on."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table

from mnist_tune.invocation import command
from mnist_tune.numbers import rate
from mnist_tune.regimes.families import families, varied
from mnist_tune.regimes.replicates import counts, summarise_replicates
from mnist_tune.reports.findings import Finding, Kind, findings, of
from mnist_tune.reports.page_data import range_of, replicated, with_epochs, without_test
from mnist_tune.reports.styles import TERMINAL_COLOURS
from mnist_tune.reports.trial_table import MANY, TERMINAL, Field, accuracy, evidence, fields, heading
from mnist_tune.results.tables import Tables

PLAIN_WIDTH = 160
"""Width of the tables, in characters, if standard output is not a terminal."""

INTERRUPTED = 130
"""The usual exit code of a command that Ctrl-C ended."""

ENOUGH = 10_000
"""Room for any line of a table."""

WIDE = 100
"""From this width on, the table always says why each trial stopped."""

LEAST_EVIDENCE = 24
"""The least width of the column of evidence, which may wrap."""

SAID_BY_REGIME = ("completed", "diverged", "slow", "dead")
"""Stop reasons that follow from the other columns."""

LINES = 24
"""Lines of a condensed table, shared among the families."""

FAILURES = 10
"""The most errors that are printed. If more trials failed, their errors are mostly the same."""

ACCURACIES = "accuracies as mean ± half-width of its 95% interval, or both of two"


def table_console() -> Console:
    """Return the console that tables are printed to: as wide as the terminal, or `PLAIN_WIDTH` where there is none."""
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)


def print_report(sweep: Tables, every_line: bool = False, picture: bool = False) -> int:
    """Print a sweep's table, where each regime is found, the best learning rate, the next command and the folder;
    return the command's exit code (`exit_code`).

    More than `MANY` trials are condensed unless `every_line` is set. Unless the caller draws the `picture`, the command
    that does is printed.
    """
    console, path = table_console(), str(sweep.path)
    if isinstance(sweep.path, Path) and not (relative := os.path.relpath(path)).startswith(".."):
        path = relative
    trials = without_test(sweep).trials.sort_values([*varied(sweep.trials), "learning_rate", "seed"])
    condensed = len(trials) > MANY and not every_line
    if condensed:
        console.print(condensed_table(trials, _says_why(console, trials)))
        if (left := len(list(families(trials))) - MANY) > 0:
            console.print(f"... and {left} more families", highlight=False)
    else:
        _print_table(console, trials)
    found = findings(sweep, path)
    most, failures = (None, None) if every_line else (MANY, FAILURES)
    _print(console, lines(of(found, Kind.REGIMES, Kind.WINNER)))
    _print(console, lines(of(found, Kind.FAMILY, Kind.EDGE), most, "families"))
    _print(console, lines(of(found, Kind.NEXT)))
    _print(console, lines(of(found, Kind.NOTE)), style="bold yellow")
    _print(console, _where(sweep, path, found, condensed, picture))
    _print(console, lines(of(found, Kind.FAILURE), failures, "failed; the column error of trials says why"))
    return exit_code(trials)


def exit_code(trials: pd.DataFrame) -> int:
    """Return a command's exit code: 1 if a trial ended in an error, 130 after Ctrl-C, else 0."""
    reasons = set(trials["stop_reason"])
    return 1 if "error" in reasons else INTERRUPTED if "interrupted" in reasons else 0


def lines(found: Sequence[Finding], most: int | None = None, others: str = "") -> list[str]:
    """Return findings as lines; of more than `most`, the first ones and how many `others` there are."""
    left = len(found) - most if most else 0
    return [line for one in found[:most] for line in one.lines] + [f"... and {left} more {others}"] * (left > 0)


def _print(console: Console, said: Sequence[str], style: str | None = None) -> None:
    for line in said:
        console.print(line, soft_wrap=True, highlight=False, markup=False, style=style)


def _where(sweep: Tables, path: str, found: Sequence[Finding], condensed: bool, picture: bool) -> list[str]:
    again = f"{command('summarize')} {shlex.quote(path)}"
    said = [f"Results: {path}"]
    if isinstance(sweep.path, Path) and (sweep.path / "report.html").exists():
        said.append(f"Page: {os.path.join(path, 'report.html')}")
    if condensed:
        written = "trials.parquet there, or " * (sweep.meta["ended"] is not None)
        ranges = "Each line is a range of learning rates, with median accuracies"
        said.append(f"{ranges}; every trial: {written}{again} --all")
    left = lines(of(found, Kind.STATE, Kind.LEFT))
    return said + left if left or picture else [*said, f"Picture: {again}"]


def _print_table(console: Console, trials: pd.DataFrame) -> None:
    """Print a line per trial. Where the evidence has no room beside it, it follows on a line of its own."""
    shown, narrow = fields(trials, TERMINAL), console.width < WIDE
    if not _says_why(console, trials):
        shown = [one for one in shown if one.name != "stop_reason"]
    table = _table(trials, [one for one in shown if one.name != "evidence"], narrow)
    table.width = width = _full_width(console, table)
    if console.width - width >= LEAST_EVIDENCE:
        console.print(_table(trials, shown, narrow))
        return
    with console.capture() as captured:
        console.print(table, soft_wrap=True)
    printed = captured.get().splitlines()
    head = len(printed) - len(trials)
    print("\n".join(printed[:head]))
    for line, why in zip(printed[head:], evidence(trials), strict=True):
        print(line)
        console.print(Padding(escape(why), (0, 0, 0, 4)))


def _full_width(console: Console, table: Table) -> int:
    """Return how wide a table's lines are. Those wider than the terminal wrap there: no digit may be lost."""
    return Measurement.get(console, console.options.update_width(ENOUGH), table).maximum


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
        table.add_row(
            *(f"[{TERMINAL_COLOURS[cell]}]{cell}[/]" if one.name == "regime" else escape(cell) for one, cell in named)
        )
    return table


def _says_why(console: Console, trials: pd.DataFrame) -> bool:
    """Return whether the table says why trials stopped: where it has room, or the other columns don't tell."""
    return console.width >= WIDE or not trials["stop_reason"].isin(SAID_BY_REGIME).all()


def bins(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the title of the family and the rows of each range of learning rates, in order.

    Each family has at least one range, so only the first `MANY` families are included.
    """
    found = list(families(rows))[:MANY]
    for title, family in found:
        for _, part in family.groupby(range_of(family["learning_rate"], max(1, LINES // len(found)))):
            yield title, part


def condensed_table(trials: pd.DataFrame, stops: bool = True) -> Table:
    """Return the table of a large sweep: one line per range of learning rates, with median accuracies, and, with
    `stops`, why trials stopped."""
    table = Table(box=None, header_style="bold", pad_edge=False, expand=True)
    several = bool(varied(trials))
    scores = [one for one in fields(trials, TERMINAL) if one.name.endswith("_accuracy")]
    for name in (*["family"] * several, "rates", "trials", "epochs", *(one.title for one in scores)):
        table.add_column(name, justify="right", no_wrap=name != "family", overflow="fold")
    for name in (*["stopped"] * stops, "regimes"):
        table.add_column(name, ratio=1 + (name == "regimes"), overflow="fold")
    for title, part in bins(trials):
        rates, epochs = span(part["learning_rate"], " – "), span(part["epochs_run"])
        cells = [escape(title)] * several + [rates, str(len(part)), epochs]
        cells += [accuracy(part[one.name].astype(float).dropna().median()) for one in scores]
        stopped, regimes = part["stop_reason"].value_counts(), counts(part["regime"])
        cells += [", ".join(f"{count} {escape(reason)}" for reason, count in stopped.items())] * stops
        cells.append(", ".join(f"[{TERMINAL_COLOURS[name]}]{count} {name}[/]" for name, count in regimes.items()))
        table.add_row(*cells)
    return table


def span(values: pd.Series, to: str = "–") -> str:
    """Return the least and the largest value, or the one that all are."""
    low, high = (rate(value, 3) if value < 1000 else f"{value:.0f}" for value in (values.min(), values.max()))
    return low if low == high else f"{low}{to}{high}"


def print_replicates(trials: pd.DataFrame, every_line: bool = False) -> None:
    """Print `replicates`, if there are any."""
    said, shown = replicates(trials, every_line)
    if shown.empty:
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in shown:
        table.add_column(name, justify="right", no_wrap=name not in ("family", "label"), overflow="fold")
    for row in shown.itertuples(index=False):
        table.add_row(*map(escape, row))
    console = table_console()
    console.print(f"\nReplicates over seeds: {said}", highlight=False)
    table.width = _full_width(console, table)
    console.print(table, soft_wrap=True)


def replicates(trials: pd.DataFrame, every_line: bool = False) -> tuple[str, pd.DataFrame]:
    """Return how many seeds of each configuration that has several converged, and their accuracies, as a table of texts
    with what it shows in words. More than `MANY` configurations are condensed unless `every_line` is set."""
    several = replicated(with_epochs(trials))
    if several.empty:
        return "", pd.DataFrame()
    summary = summarise_replicates(several)
    if len(summary) > MANY and not every_line:
        rows = []
        for title, part in bins(summary):
            medians = part.filter(like="_accuracy_").median().to_frame().T
            row = {"family": title, "rates": span(part["learning_rate"], " – "), "configurations": len(part)}
            row |= {"seeds": span(part["replicates"]), "converged": f"{part['converged_share'].median():.0%}"}
            rows.append(row | {name: cells[0] for name, cells in _accuracies(medians).items()})
        said = f"the share that converged; {ACCURACIES}; medians over configurations"
        return said, pd.DataFrame(rows, dtype=str)
    names = varied(summary) + ["label"] * bool(summary["label"].any())
    low, high = summary["converged_low"], summary["converged_high"]
    shares = [f"{k} ({a:.0%} to {b:.0%})" for k, a, b in zip(summary["converged"], low, high, strict=True)]
    shown = summary[[*names, "learning_rate"]].assign(converged=shares, **_accuracies(summary))
    shown = shown.rename(columns=lambda name: name.removeprefix("learning_").replace("_", " "))
    said = f"how many converged, with the 95% interval of that share; {ACCURACIES}"
    return said, shown.map(lambda cell: rate(cell) if isinstance(cell, float) else str(cell))


def _seeds(mean: float, spread: float, width: float, low: float, high: float) -> str:
    """Return the accuracy of several seeds, both of two, or the one that is known."""
    if pd.isna(spread):
        return accuracy(mean)
    return f"{low:.4f}, {high:.4f}" if pd.isna(width) else f"{mean:.4f} ± {width:.4f}"


def _accuracies(summary: pd.DataFrame) -> dict[str, list[str]]:
    def cells(split: str) -> list[str]:
        names = (f"{split}_accuracy_{name}" for name in ("mean", "std", "ci95", "min", "max"))
        return [_seeds(*values) for values in zip(*(summary[name] for name in names), strict=True)]

    known = [name for name in ("train", "validation", "test") if f"{name}_accuracy_mean" in summary]
    shown = [name for name in known if name != "validation" or summary[f"{name}_accuracy_mean"].notna().any()]
    return {name.replace("validation", "held out"): cells(name) for name in shown}
