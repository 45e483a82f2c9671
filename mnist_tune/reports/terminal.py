"""Print a sweep on the terminal: a table, the answer below it, and what to ask next."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
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
from mnist_tune.regimes.measured_edge import LEARNED
from mnist_tune.regimes.replicates import regime_counts, summarise_replicates
from mnist_tune.reports.answer import answer
from mnist_tune.reports.decided import compared
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

MOST_LINES = 4
"""The most lines that say how sure an answer is; with `--all`, there are more."""

CONSTANT = ("epochs_run", "reaches", "stop_reason", "seeds", "failed", "state", "label")
"""Columns that are left out where all their cells are the same."""

WORDS = ("regime", "stop_reason", "setting", "label", "state", "architecture")
"""Columns of words. They begin at the left; numbers end at the right."""


def table_console() -> Console:
    """Return the console that tables are printed to: as wide as the terminal, or `PLAIN_WIDTH` where there is none."""
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)


def print_report(sweep: Tables, every_line: bool = False, picture: bool = False) -> int:
    """Print a sweep's table and, below it, the answer, what to ask next and where the results are; return the command's
    exit code (`exit_code`).

    The table has a row for each setting where there are several seeds or a decision, and one for each range of learning
    rates of more than `MANY` trials, or of an edge; for each trial if there are fewer, or `every_line` is set. Unless
    the caller draws the `picture`, the command that does is printed.
    """
    console, path = table_console(), str(sweep.path)
    if isinstance(sweep.path, Path) and not (relative := os.path.relpath(path)).startswith(".."):
        path = relative
    trials = without_test(sweep).trials.sort_values([*varied(sweep.trials), "learning_rate", "seed"])
    found, again = findings(sweep, path), f"{command('show')} {shlex.quote(path)}"
    is_whole = every_line or not _print_summary(console, sweep, trials)
    if is_whole:
        _print_table(console, trials)
    _say(console, lines(of(found, Kind.FAILURE), None if every_line else FAILURES, "failed; see trials.error"))
    said = answer(sweep, path, found)
    _say(console, [said.headline], "bold")
    _say(console, said.lines if every_line else said.lines[:MOST_LINES])
    if every_line and varied(trials):
        _say(console, lines([replace(one, question="") for one in of(found, Kind.FAMILY, Kind.EDGE)]))
    _say(console, lines(of(found, Kind.NOTE)), "yellow")
    asked = [*lines(of(found, Kind.LEFT)), *(f"{one.text} {one.command}" for one in said.questions)]
    places = [f"Results: {path}"]
    if isinstance(sweep.path, Path) and (sweep.path / "report.html").exists():
        places.append(f"Page: {os.path.join(path, 'report.html')}")
    if not is_whole:
        places.append(f"More: {again} --all")
    elif not (picture or of(found, Kind.STATE, Kind.LEFT)):
        places.append(f"Picture: {again} --picture regimes.png")
    for line in (*asked, *_beside(places, console.width)):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    return exit_code(trials)


def _say(console: Console, said: Sequence[str], style: str | None = None) -> None:
    """Print prose. On a terminal it is wrapped between words."""
    for line in said:
        console.print(line, soft_wrap=not console.is_terminal, highlight=False, markup=False, style=style)


def _beside(said: Sequence[str], width: int) -> list[str]:
    """Return texts in lines, side by side as far as they have room."""
    found = [said[0]]
    for text in said[1:]:
        both = f"{found[-1]}    {text}"
        found = [*found[:-1], both] if len(both) <= width else [*found, text]
    return found


def _print_summary(console: Console, sweep: Tables, trials: pd.DataFrame) -> bool:
    """Print the table of a sweep whose trials have no row each; return whether it is such a sweep."""
    contest, edges, (about, several) = sweep.decision, sweep.edges(), replicates(trials)
    if contest is not None and contest.decision.seeds.any():
        _print_texts(console, compared(sweep, contest), "with intervals each of whose ends holds in 95%")
    elif not several.empty and len(several) <= MANY and not edges:
        _print_texts(console, several, about)
    elif len(trials) > MANY or edges:
        learned = [i for edge in edges for i in edge.outcomes.index[edge.outcomes[LEARNED]]] if edges else None
        console.print("A line for each range of learning rates, with median accuracies:", style="dim", highlight=False)
        console.print(condensed_table(trials, _says_why(console, trials), learned))
        if (left := len(list(families(trials))) - MANY) > 0:
            console.print(f"... and {left} more families", highlight=False)
    else:
        return False
    return True


def _print_texts(console: Console, shown: pd.DataFrame, about: str) -> None:
    """Print a row for each setting. Columns in which all are the same are left out, and others that have no room."""
    same = [name for name in shown if name in CONSTANT and len(shown) > 1 and shown[name].nunique() == 1]
    table = _of_texts(shown := shown.drop(columns=same))
    for name in ("converged", "train"):
        if _full_width(console, table) > console.width:
            table = _of_texts(shown := shown.drop(columns=name, errors="ignore"))
    console.print(f"A line for each setting, {about}:", style="dim", highlight=False)
    table.width = _full_width(console, table)
    console.print(table, soft_wrap=True)


def _of_texts(shown: pd.DataFrame) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in shown:
        table.add_column(name, justify="left" if name in WORDS else "right", no_wrap=True)
    for row in shown.to_dict("records"):
        table.add_row(*(_coloured(cell) if name == "regime" else escape(cell) for name, cell in row.items()))
    return table


def _coloured(regimes: str) -> str:
    """Return a regime, or several with their counts, each in its colour."""
    return ", ".join(f"[{TERMINAL_COLOURS[one.split()[-1]]}]{one}[/]" for one in regimes.split(", "))


def exit_code(trials: pd.DataFrame) -> int:
    """Return a command's exit code: 1 if a trial ended in an error, 130 after Ctrl-C, else 0."""
    reasons = set(trials["stop_reason"])
    return 1 if "error" in reasons else INTERRUPTED if "interrupted" in reasons else 0


def lines(found: Sequence[Finding], most: int | None = None, others: str = "") -> list[str]:
    """Return findings as lines; of more than `most`, the first ones and how many `others` there are."""
    left = len(found) - most if most else 0
    return [line for one in found[:most] for line in one.lines] + [f"... and {left} more {others}"] * (left > 0)


def _print_table(console: Console, trials: pd.DataFrame) -> None:
    """Print a line per trial. Where the evidence has no room beside it, it follows on a line of its own."""
    shown, narrow = fields(trials, TERMINAL), console.width < WIDE
    same = {one.name for one in shown if one.name in CONSTANT and len(trials) > 1 and len({*one.said(trials)}) == 1}
    same |= set() if _says_why(console, trials) else {"stop_reason"}
    shown = [one for one in shown if one.name not in same]
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
    for line, why in zip(printed[head:], _evidence(trials), strict=True):
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
            is_word = one.name in WORDS
            table.add_column(title, justify="left" if is_word else "right", no_wrap=True)
    texts = [_evidence(trials) if one.name == "evidence" else one.said(trials) for one in shown]
    for cells in zip(*texts, strict=True):
        named = zip(shown, cells, strict=True)
        table.add_row(*(_coloured(cell) if one.name == "regime" else escape(cell) for one, cell in named))
    return table


def _evidence(trials: pd.DataFrame) -> list[str]:
    """Return why each trial has its regime, without the accuracy that stands beside it."""
    beside = map(accuracy, trials["train_accuracy"])
    found = zip(evidence(trials), beside, strict=True)
    return [why.removeprefix(f"accuracy {known}").lstrip(" ,;") for why, known in found]


def _says_why(console: Console, trials: pd.DataFrame) -> bool:
    """Return whether the table says why trials stopped: where it has room, or the other columns don't tell."""
    return console.width >= WIDE or not trials["stop_reason"].isin(SAID_BY_REGIME).all()


def bins(rows: pd.DataFrame, most: int = LINES) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the title of the family and the rows of each range of learning rates, in order: of `most` ranges or, as
    each family has at least one, of the first `MANY` families."""
    found = list(families(rows))[:MANY]
    for title, family in found:
        for _, part in family.groupby(range_of(family["learning_rate"], max(1, most // len(found)))):
            yield title, part


def condensed_table(trials: pd.DataFrame, stops: bool = True, learned: Collection[int] | None = None) -> Table:
    """Return the table of a large sweep: one line per range of learning rates, with median accuracies, and, with
    `stops`, why trials stopped; of an edge, how many of its trials are among those that `learned`."""
    table = Table(box=None, header_style="bold", pad_edge=False, expand=True)
    several, stops = bool(varied(trials)), stops and trials["stop_reason"].nunique() > 1
    scores = [one for one in fields(trials, TERMINAL) if one.name.endswith("_accuracy")]
    heads = ["family"] * several + ["rates", "trials", "epochs"] + ["learned"] * (learned is not None)
    for name in (*heads, *(one.title for one in scores)):
        table.add_column(name, justify="right", no_wrap=name != "family", overflow="fold")
    for name in (*["stopped"] * stops, "regimes"):
        table.add_column(name, ratio=1 + (name == "regimes"), overflow="fold")
    for title, part in bins(trials, LINES if learned is None else LINES // 2):
        rates, epochs = span(part["learning_rate"], " – "), span(part["epochs_run"])
        cells = [escape(title)] * several + [rates, str(len(part)), epochs]
        cells += [] if learned is None else [f"{part.index.isin(learned).sum()} of {len(part)}"]
        cells += [accuracy(part[one.name].astype(float).dropna().median()) for one in scores]
        stopped = part["stop_reason"].value_counts()
        cells += [", ".join(f"{count} {escape(reason)}" for reason, count in stopped.items())] * stops
        table.add_row(*cells, _coloured(regime_counts(part["regime"])))
    return table


def span(values: pd.Series, to: str = "–") -> str:
    """Return the least and the largest value, or the one that all are."""
    low, high = (rate(value, 3) if value < 1000 else f"{value:.0f}" for value in (values.min(), values.max()))
    return low if low == high else f"{low}{to}{high}"


def replicates(trials: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """Return a row for each setting, if one was trained with several seeds: its regimes, how many seeds converged and
    its accuracies, as a table of texts with what it shows in words."""
    trained = with_epochs(trials)
    if replicated(trained).empty:
        return "", pd.DataFrame()
    summary = summarise_replicates(trained)
    names = varied(summary) + ["label"] * bool(summary["label"].any())
    low, high = summary["converged_low"], summary["converged_high"]
    shares = [f"{k} ({a:.0%} to {b:.0%})" for k, a, b in zip(summary["converged"], low, high, strict=True)]
    regimes = [text if ", " in text else text.split()[-1] for text in summary["regimes"]]
    shown = summary[[*names, "learning_rate"]].assign(regime=regimes, converged=shares, **_accuracies(summary))
    shown = shown.rename(columns=lambda name: name.removeprefix("learning_").replace("_", " "))
    return "with 95% intervals, or the values of two seeds", shown.map(
        lambda cell: rate(cell) if isinstance(cell, float) else str(cell)
    )


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
