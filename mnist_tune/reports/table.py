"""The table of sweeps, as data: the terminal prints it, the page renders it. It has a
row for each setting, for each range of learning rates of an edge and of a large sweep,
or for each trial (`View.rows`)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mnist_tune.numbers import counted, exactly, told_apart
from mnist_tune.regimes.evidence import beside_accuracy
from mnist_tune.regimes.families import has, varied
from mnist_tune.regimes.limits import FAR
from mnist_tune.regimes.reasons import Reason
from mnist_tune.reports.names import shortened
from mnist_tune.reports.view import Measure, View, spaced

MANY = 60
"""Judged and lists with more lines than this are condensed."""

ROOM = 40
"""The most characters of a network's name in a table."""

SAID_BY_REGIME = {"completed", "diverged", "slow", "dead"}
"""Stop reasons that follow from the other columns."""


class ShownColumn(NamedTuple):
    """A column of the table, with a cell for each row of `View.settings`."""

    title: str
    cells: list[str]
    keys: Sequence[Any] = ()
    """What it is sorted by, if not by its cells."""
    look: str = "number"
    """A class of the style sheet."""
    must: bool = True
    """Whether it is shown also where all its cells are the same."""


def columns(view: View) -> list[ShownColumn]:
    """Return the columns of the table: what tells rows apart, then what they did."""
    return [
        one
        for one in _columns(view)
        if one.must or len(one.cells) == 1 or len({*one.cells}) > 1
    ]


def _columns(view: View) -> Iterator[ShownColumn]:
    trials, settings = view.trials, view.settings
    each, first = settings["trials"].tolist(), [rows[0] for rows in settings["trials"]]
    if len(view.sweeps) > 1:
        yield ShownColumn("sweep", [view.titles[i] for i in settings["sweep"]], look="")
    for name in [
        *["label"] * bool(trials["label"].fillna("").ne("").any()),
        *varied(trials),
    ]:
        values, numeric = (
            trials[name].iloc[first].tolist(),
            pd.api.types.is_numeric_dtype(trials[name]),
        )
        said, rows = (
            _texts(trials[name]),
            trials.loc[first, ["optimizer"]].to_dict("records"),
        )
        cells = [
            said[one] if has(row, name) else "–"
            for one, row in zip(values, rows, strict=True)
        ]
        yield ShownColumn(
            spaced(name), cells, values if numeric else (), "number" * numeric, False
        )
    yield ShownColumn(
        "rate", settings["rate"].tolist(), settings["learning_rate"].tolist()
    )
    if view.rows == "trials":
        yield ShownColumn(
            "seed",
            trials["seed"].astype(str).tolist(),
            trials["seed"].tolist(),
            must=False,
        )
    yield from _of_decisions(view)
    yield ShownColumn("regime", settings["said"].tolist(), look="word")
    ran, asked = (
        [trials[name].to_numpy()[rows] for rows in each]
        for name in ("epochs_run", "epochs_asked")
    )
    epochs = [f"{_span(run)}/{_span(of)}" for run, of in zip(ran, asked, strict=True)]
    cut = bool((trials["epochs_run"] < trials["epochs_asked"]).any())
    yield ShownColumn("epochs", epochs, [int(run.max()) for run in ran], must=cut)
    if "learned" in trials and trials["learned"].any():
        counts = [
            (int(np.nansum(trials["learned"].to_numpy()[rows])), len(rows))
            for rows in each
        ]
        yield ShownColumn(
            "learned",
            [f"{some} of {of}" for some, of in counts],
            [some / of for some, of in counts],
        )
    seeds = [
        0 if is_range else len(rows)
        for rows, is_range in zip(each, settings["is_range"], strict=True)
    ]
    shown = view.losses
    if view.accuracies:
        shown = [*view.accuracies, *view.losses[: view.of_tokens or view.by_loss]]
    for one in [*shown, *(one for one in view.known if one.column in view.ranked)]:
        means, values = view.means[one.column], view.values(one)
        title = one.title.replace("training", "train").replace("accuracy", "acc")
        found = zip(
            values.count(),
            values.min(),
            values.max(),
            means.tolist(),
            seeds,
            strict=True,
        )
        yield ShownColumn(
            title, [_mean(one, *row) for row in found], means[:, 1].tolist()
        )
    yield ShownColumn("curve", [""] * len(each), look="curve")
    if any(sweep.decision is not None for sweep in view.sweeps):
        return  # what is compared there are settings, not their regimes
    if trials["target"].notna().any() and trials[
        ["reaches", "reaches_from"]
    ].notna().any(axis=None):
        texts, when = (
            _reaches(trials),
            trials["reaches"].astype(float).fillna(math.inf).tolist(),
        )
        cells = [
            ", ".join([*dict.fromkeys(texts[i] for i in rows)][:3]) for rows in each
        ]
        # a network without one counts, too: the title stands above its row
        targets = trials["target"].unique()
        of_share = "" if view.sweeps[0].record.data.by_accuracy else "share "
        title = (
            f"reaches {of_share}{targets[0]:.4g}"
            if len(targets) == 1
            else "reaches target"
        )
        yield ShownColumn(
            title,
            cells,
            [min(when[i] for i in rows) for rows in each],
            "number hide",
            False,
        )
    reasons = trials["stop_reason"].tolist()
    if not SAID_BY_REGIME.issuperset(reasons):
        yield ShownColumn(
            "stopped", [_counted([reasons[i] for i in rows]) for rows in each], look=""
        )
    why, regimes = evidence(trials), trials["regime"].tolist()
    pairs = zip(each, settings["regime"], strict=True)
    typical = [
        next((i for i in rows if regimes[i] == regime), rows[0])
        for rows, regime in pairs
    ]
    yield ShownColumn("why", [why[i] for i in typical], look="why")


def _texts(values: pd.Series) -> dict[Any, str]:
    known = values.unique().tolist()
    if pd.api.types.is_float_dtype(values):
        return dict(told_apart(known))
    if all(isinstance(value, str) for value in known):
        return shortened(known, ROOM)
    return {value: exactly(value) for value in known}


def _span(values: np.ndarray) -> str:
    low, high = values.min(), values.max()
    return f"{low}" if low == high else f"{low}–{high}"


def _counted(texts: Sequence[str]) -> str:
    found = Counter(texts)
    return (
        texts[0]
        if len(texts) == 1
        else ", ".join(f"{count} {text}" for text, count in found.most_common())
    )


def _mean(
    one: Measure,
    count: int,
    least: float,
    most: float,
    mean: Sequence[float],
    seeds: int,
) -> str:
    """Return the accuracy or loss of a row: that of one seed, both of two, or the mean
    with its interval, if known."""
    if count == 2 <= seeds:
        return f"{one.said(least)}, {one.said(most)}"
    if seeds < 2 or math.isnan(mean[2]):
        return one.said(mean[1])
    wide = mean[2] - mean[1]
    return f"{one.said(mean[1], wide)} ± {one.error(wide)}"


def _of_decisions(view: View) -> Iterator[ShownColumn]:
    """Yield how far each setting of a decision is below the best, its seeds, how many
    of them failed, and whether it may be as good."""
    known, side = dict[int, tuple[Any, ...]](), "below"
    for i, sweep in enumerate(view.sweeps):
        if (contest := sweep.decision) is None or not contest.decision.seeds.any():
            continue
        found, best, said = (
            contest.decision,
            int(contest.decision.leader),
            contest.ranking.difference,
        )
        each = zip(view.of_contest(i, contest), *found.worse(), strict=True)
        side = contest.ranking.worse
        for k, (number, (low, mean, high), both) in enumerate(each):
            # of few seeds there is none
            interval = f" [{said(low)}, {said(high)}]" * math.isfinite(low)
            below = (
                "–"
                if k == best
                else f"{said(mean)}{interval}"
                if both
                else "no seed in common"
            )
            state = (
                "best"
                if k == best
                else "may be as good"
                if found.rivals[k]
                else "worse"
            )
            if found.aside[k]:
                state = f"set aside, as another had failed with {counted(int(found.allowed[k]), 'seed')}"
            worse = -1.0 if k == best else float(mean)
            known[number] = (
                below,
                state,
                worse,
                int(found.seeds[k]),
                int(found.failures[k]),
            )
    if known:
        rows = (
            known.get(number, ("–", "–", math.inf, 0, 0))
            for number in view.settings.index
        )
        texts, states, by, seeds, failures = map(list, zip(*rows, strict=True))
        yield ShownColumn(f"{side} the best", texts, by)
        yield ShownColumn("seeds", [*map(str, seeds)], seeds, must=False)
        yield ShownColumn("failed", [*map(str, failures)], failures, must=False)
        yield ShownColumn("state", states, look="text", must=False)


def _reaches(trials: pd.DataFrame) -> list[str]:
    """Return when each trial reaches its target: `epoch 4` has been, `~14` and `> 22`
    are projections. A trial that was there and is below it again has `left`."""
    names = ("reaches", "reaches_from", "epochs_run")
    found = map(_when, *(trials[name] for name in names), FAR * trials["epochs_asked"])
    has_left = trials["reason"].eq(Reason.LEFT_TARGET)
    return [
        "left" if left else when for when, left in zip(found, has_left, strict=True)
    ]


def _when(epoch: float, first: float, run: int, limit: int) -> str:
    if math.isnan(epoch):  # then it may be known that it is later than `first`
        return "–" if pd.isna(first) else f"> {min(first, limit):.0f}"
    if math.isinf(epoch):
        return "never"
    return (
        f"epoch {epoch:.0f}"
        if epoch <= run
        else f"> {limit}"
        if epoch > limit
        else f"~{epoch:.0f}"
    )


def evidence(trials: pd.DataFrame) -> list[str]:
    """Return why each trial has its regime, without the accuracy beside it; of one that
    failed, its error."""
    errors = trials["error"].fillna("")
    texts = trials["regime_evidence"].fillna("")
    shown = map(beside_accuracy, texts, trials["train_accuracy"])
    return list(errors.where(errors != "", list(shown)))
