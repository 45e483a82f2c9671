"""The answer of a sweep: what to train with, how sure that is, and what to ask next. Terminal, page and notebook take
their sentences from here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from mnist_tune.numbers import counted, rate, told_apart
from mnist_tune.regimes.families import families, held_out, setting, varied
from mnist_tune.regimes.replicates import CONFIGURATION
from mnist_tune.reports.decided import decided, titles
from mnist_tune.reports.findings import SPLITS, Finding, Kind, findings, measured, of, winner_of
from mnist_tune.reports.page_data import so_far
from mnist_tune.reports.ranges import spans
from mnist_tune.results.tables import Tables

Key = tuple[Any, ...]
"""Names a setting: its values of `CONFIGURATION`."""

MOST_NAMED = 6
"""The most settings that a sentence names."""


ROOM = 40
"""The most characters of names within a sentence."""


class Question(NamedTuple):
    """What to ask next, and the command that answers it."""

    text: str
    command: str


@dataclass(frozen=True)
class Answer:
    """What a sweep says."""

    headline: str
    """The answer in one line, such as `Train with 0.7: test accuracy 0.9814 (best of 16)`."""
    lines: tuple[str, ...] = ()
    """How sure it is, and where each regime is found."""
    questions: tuple[Question, ...] = ()
    """At most three."""
    best: Key | None = None
    """The setting to train with; None if there is none yet, or if the sweep measured something else."""
    rivals: tuple[Key, ...] = ()
    """The settings that are not told apart from the best."""
    jumping: tuple[Key, ...] = ()
    """The settings whose accuracy still jumps between epochs."""


def keys(rows: pd.DataFrame) -> list[Key]:
    """Return the key of each row's setting, from a table of trials or of `standing`."""
    known = rows[[name for name in CONFIGURATION if name in rows]].astype(object)
    return list(known.where(known.notna(), None).itertuples(index=False, name=None))


def named(rows: pd.DataFrame, trials: pd.DataFrame) -> list[str]:
    """Return the name of each row's setting: its learning rate, after the other settings in which trials differ."""
    rates, names = told_apart(trials["learning_rate"]), varied(trials)
    said = []
    for row in rows.to_dict("records"):
        known = {name: float(rate(row[name])) if isinstance(row[name], float) else row[name] for name in names}
        others = [row["label"] or "", *(setting(name, value) for name, value in known.items())]
        own = f"learning rate {rates[row['learning_rate']]}" if any(others) else rates[row["learning_rate"]]
        said.append(", ".join([*filter(None, others), own]))
    return said


def answer(sweep: Tables, where: str = "", found: Sequence[Finding] | None = None) -> Answer:
    """Return the answer of a sweep.

    Args:
        sweep: finished or running.
        where: how its path is written in commands, by default in full.
        found: its `findings`, if they are known.
    """
    trials = sweep.trials
    if sweep.decision is not None:
        return _decided(sweep)
    if edges := sweep.edges():
        first = [f"half of the seeds learn up to {edge.rate(0.5)}" for edge in edges if edge.is_bracketed]
        said = [measured(edge) for edge in edges]
        several = [f"{edge.title}: {one.text}" for edge, one in zip(edges, said, strict=True)] * (len(edges) > 1)
        head = first[0] if first and len(edges) == 1 else f"{len(first)} of {counted(len(edges), 'edge')} measured"
        text = head if len(edges) > 1 or first else said[0].text
        return Answer(text[0].upper() + text[1:], tuple(several or said[0].more))
    if not (trials["epochs_run"] > 0).any():
        return Answer("No trial has finished an epoch", tuple(filter(None, [so_far(trials)])))
    found = findings(sweep, where) if found is None else found
    best = sweep.best()
    if best.empty:
        head = "No setting has run all its epochs" + " without diverging" * (not so_far(trials))
        return Answer(head, tuple(filter(None, [so_far(trials), *_facts(sweep, best)])))
    names, close, tried = named(best, trials), best["close"].to_numpy(bool), len({*keys(trials)})
    winner = of(winner_of(sweep), Kind.WINNER)
    seeds = int(best["seeds"].iloc[0])
    chosen = f"best of {tried}" + f", mean of {seeds} seeds" * (seeds > 1) if tried > 1 else counted(seeds, "seed")
    head = f"{names[0]}: {SPLITS[held_out(trials)]} {best['accuracy'].iloc[0]:.4f} ({chosen})"
    head = f"So far {head}" if so_far(trials) else f"Train with {head}"
    key = keys(best)
    jumps = best["jumps"].fillna(0).to_numpy() > 0
    return Answer(
        head,
        tuple(filter(None, [*([so_far(trials)] * (not winner)), _ranked(best, names), *_facts(sweep, best)])),
        tuple(_questions(found, best, names))[:3],
        key[0],
        tuple(one for one, near in zip(key[1:], close[1:], strict=True) if near),
        tuple(one for one, jumping in zip(key, jumps, strict=True) if jumping),
    )


def _ranked(best: pd.DataFrame, names: Sequence[str]) -> str:
    """Return which settings can't be ranked."""
    close = best["close"].to_numpy(bool)
    least, most = best["seeds"].min(), best["seeds"].max()
    by = "One seed" if most == 1 else f"{most if least == most else f'{least} to {most}'} seeds"
    if len(best) < 2:
        return ""
    if close.sum() < 2:
        return f"{by} told it apart from all others"
    near = _close(best, names)
    said = f"{by} can't rank {', '.join(near) if len(near) <= MOST_NAMED else f'{len(near)} of {len(best)} settings'}"
    jumping = _close(best[best["jumps"].fillna(0) > 0], names)
    if not jumping:
        return said
    at = ", ".join(jumping)
    return f"{said}; {f'at {at}' if len(at) <= ROOM else f'at {len(jumping)} of them'} accuracy still jumps"


def _close(best: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Return the names of the best setting and those that are not told apart from it, by their rates."""
    return [names[i] for i in best[best["close"]].sort_values("learning_rate", kind="stable").index]


def _facts(sweep: Tables, best: pd.DataFrame) -> Iterator[str]:
    """Yield where the regimes of a family are found; of several families, the best setting of each."""
    found = list(families(sweep.steady))
    if len(found) == 1:
        yield " · ".join(spans(found[0][1]))
    elif len(found) <= MOST_NAMED and len(best):
        first = best.drop_duplicates(varied(sweep.trials))
        each = zip(named(first, sweep.trials), first["accuracy"], strict=True)
        yield "Best of each: " + " · ".join(f"{name} ({accuracy:.4f})" for name, accuracy in each)


def _questions(found: Sequence[Finding], best: pd.DataFrame, names: Sequence[str]) -> Iterator[Question]:
    close = _close(best, names)
    for one in of(found, Kind.NEXT):
        which = f"Is it {', '.join(close[:-1])} or {close[-1]}?" if len(close) <= 4 else f"Which of these {len(close)}?"
        yield Question(which, one.command or one.text)
    for one in of(found, Kind.FAMILY):
        if one.question:
            text = one.question.rstrip(":")
            yield Question(text[0].upper() + text[1:], one.command)


def _decided(sweep: Tables) -> Answer:
    contest = sweep.decision
    said = list(decided(sweep, contest)) if contest is not None else []
    if contest is None or not said:
        return Answer("No setting has been compared yet", tuple(filter(None, [so_far(sweep.trials)])))
    settings = pd.DataFrame([one.to_dict() for one in contest.settings]).rename(columns={"epochs": "epochs_asked"})
    known, best = keys(settings), int(contest.decision.leader)
    name = titles(contest.settings)[best]
    _, _, why = said[0].partition(f": {name}")
    said[1:] = sorted(said[1:], key=lambda line: " than " in line)  # how far each is below stands in the table, too
    rivals = tuple(key for k, key in enumerate(known) if contest.decision.active[k] and k != best)
    head = f"{'Train with' if contest.settled else 'So far'} {name}: {why.lstrip(';, ')}"
    return Answer(head, tuple(said[1:]), (), known[best], rivals)
