"""What is true of a family's learning rates: where each regime is found, where it
converges, and what to try next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mnist_tune.continuation import python_call, resume_command
from mnist_tune.data_spec import ARRAYS
from mnist_tune.invocation import command, started_by, words
from mnist_tune.numbers import counted, rate, told_apart
from mnist_tune.own_code.registry import (
    FROM_PYTHON,
    NAMED_AGAIN,
    as_loaded,
    named_again,
)
from mnist_tune.regimes.data_facts import data_facts
from mnist_tune.regimes.families import FAMILY
from mnist_tune.regimes.labels import ON_ITS_WAY
from mnist_tune.trial import LIVE_REASONS, OPEN_REASONS, TrialConfig

OF_AN_EDGE: dict[str, Any] = {
    name: getattr(TrialConfig, name) for name in FAMILY if name != "architecture"
}
OF_AN_EDGE |= {
    "epochs": 3,
    "dataset": "mnist",
    "data_dir": None,
    "train_images": None,
    "train_evaluation": None,
}
OF_AN_EDGE |= {"standardize": False, "holdout": 0}
"""The flags of a search for an edge that a proposed command repeats unless they have
these defaults."""

SEVERAL = ("task", "architecture", "optimizer", "batch_size", "momentum")
"""Those that take several values."""

REFINED = 1.2
"""Learning rates whose ratio is below this are too close to try others between them."""

RESTLESS = {"oscillating", "diverged"}

MOST_RUNS = 3
"""If a regime has more runs of learning rates than this, they are counted, between its
first and its last rate."""

VERBS = {
    "slow": "slow",
    "underfit": "underfits",
    ON_ITS_WAY: ON_ITS_WAY,
    "undecided": "undecided",
    "converged": "converges",
    "overfit": "overfits",
    "oscillating": "oscillates",
    "diverged": "diverges",
}


def converging(family: pd.DataFrame) -> tuple[float | None, float | None]:
    """Return the largest learning rate at which every replicate converged, and the
    largest at which any did; None if there is none. Trials that never finished an epoch
    say nothing."""
    trained = family[family["epochs_run"] > 0]
    converged = trained["regime"].eq("converged").groupby(trained["learning_rate"])
    every, some = (each[each].index for each in (converged.all(), converged.any()))
    return max(every, default=None), max(some, default=None)


def spans(family: pd.DataFrame) -> list[str]:
    """Return at which learning rates each regime is found, such as `converges
    0.04–0.7`.

    Each rate is named once, with the most frequent regime of its seeds; of equally
    frequent ones, with the one that is later in `VERBS`. In `converges to 1.3 (5 of 6
    trials, not all at 0.7)`, others converge at 0.7. Rates between are those that were
    tried. A trial that was cut before it could be decided is named so, and so are rates
    that converge though accuracy still falls late in a curve, beyond noise.
    """
    asked, family = (
        family["learning_rate"].agg(["min", "max", "nunique"]),
        family[family["epochs_run"] > 0],
    )
    cut = family["epochs_run"].lt(family["epochs_asked"]) & ~family["stop_reason"].isin(
        LIVE_REASONS
    )
    on_its_way = family["regime_evidence"].fillna("").str.startswith(ON_ITS_WAY)
    # no resume trains what was stopped early
    on_its_way &= ~cut | family["stop_reason"].isin(OPEN_REASONS)
    found = family["regime"].mask(on_its_way, ON_ITS_WAY)
    cut &= found == "undecided"
    counts = pd.crosstab(family["learning_rate"], found)
    most = (
        counts[[name for name in reversed(VERBS) if name in counts]].idxmax(axis=1)
        if len(counts)
        else counts
    )
    rates, lines = list(counts.index), []
    falls = (
        {*family["learning_rate"][family["late_fall"] > 0]}
        if "late_fall" in family
        else set()
    )
    said = list(told_apart(rates).values())
    for regime in most.unique() if len(counts) else ():
        here = (most == regime).to_numpy()
        # Where a run of these rates begins, and where the next rate is of another one.
        ends = np.flatnonzero(np.diff([0, *here.astype(int), 0]))
        runs, places = ends.reshape(-1, 2) - [0, 1], []
        if len(runs) > MOST_RUNS:
            first, last = runs[0, 0], runs[-1, 1]
            places.append(
                f"at {here.sum()} of the {last - first + 1} rates {said[first]}–{said[last]}"
            )
        for first, last in runs if len(runs) <= MOST_RUNS else ():
            inside = family[family["learning_rate"].between(rates[first], rates[last])]
            count, seeds = int((found[inside.index] == regime).sum()), len(inside)
            kind = "trials" if first < last else "seeds"
            mixed = [
                said[k]
                for k in range(first, last + 1)
                if counts.iloc[k][regime] < counts.iloc[k].sum()
            ]
            if len(mixed) <= min(last - first, MOST_RUNS):
                kind += f", not all at {', '.join(mixed)}"
            share = f" ({count} of {seeds} {kind})" if count < seeds else ""
            if regime == "undecided" and cut[inside.index].any():
                ran = inside["epochs_run"][cut[inside.index]]
                after = f"{ran.min()} to " * bool(ran.min() < ran.max()) + counted(
                    int(ran.max()), "epoch"
                )
                share += f" ({f'{len(ran)} ' * (len(ran) < count)}cut after {after})"
            whole = (
                rates[0] == asked["min"],
                rates[-1] == asked["max"],
                len(rates) == asked["nunique"],
            )
            places.append(_place(said, first, last, *whole) + share)
        lines.append(f"{VERBS[regime]} {', '.join(places)}")
        if regime == "converged" and (
            jumping := [one for one in rates if most[one] == regime and one in falls]
        ):
            first, few = (
                jumping[0],
                [said[rates.index(one)] for one in jumping[:MOST_RUNS]],
            )
            above = len(jumping) > 1 and all(
                one in falls for one in rates if one >= first and most[one] == regime
            )
            where = (
                f"from {few[0]} on"
                if above
                else f"at {', '.join(few)}" + ", ..." * (len(jumping) > MOST_RUNS)
            )
            lines[-1] += f" ({where} accuracy jumps)"
    return lines


def _place(
    rates: Sequence[str], first: int, last: int, begins: bool, ends: bool, whole: bool
) -> str:
    """Return where a run of the rates that trained lies, given whether these begin, end
    and are what was asked for."""
    low, high, top = rates[first], rates[last], len(rates) - 1
    if first == last:
        return low
    if (first, last) == (0, top):
        return f"at all rates{' that trained' * (not whole)}, {low}–{high}"
    return (
        f"to {high}"
        if begins and first == 0
        else f"from {low}"
        if ends and last == top
        else f"{low}–{high}"
    )


def too_large(family: pd.DataFrame, best: float = math.nan) -> set[float]:
    """Return the learning rates that are too large: those that oscillate or diverge,
    and those that are slow though they are above the best one, or above one that
    converged. There training crawls on a plateau."""
    rates, regimes = family["learning_rate"], family["regime"]
    slow = regimes.eq("slow")
    learns = regimes.eq("converged") | (rates.eq(best) & ~slow)
    crawls = slow & rates.gt(rates[learns].max())
    return {*rates[regimes.isin(RESTLESS) | crawls]}


def can_grow(meta: Mapping[str, Any]) -> bool:
    """Return whether a resume can add learning rates and epochs to a sweep."""
    return not meta.get("search") and started_by(meta["name"]) in (None, "regimes")


def advice(
    family: pd.DataFrame, meta: Mapping[str, Any], where: str, best: float = math.nan
) -> tuple[str, str]:
    """Return which rates to try next in a family, and the command that adds them to the
    sweep at `where`; both are empty if there is nothing to ask, or no rate can be
    added. `best` is the most accurate setting's rate, if known."""
    if not can_grow(meta):
        return "", ""
    trained, (every, some) = family[family["epochs_run"] > 0], converging(family)
    rates = sorted(trained["learning_rate"].unique())
    restless = too_large(trained, best)
    slow = {*trained["learning_rate"][trained["regime"].eq("slow")]} - restless
    last = some if every is None else every
    top = max((one for one in rates if one not in restless), default=0.0)
    above = min((one for one in restless if one >= (last or top)), default=math.inf)
    if (
        len(rates) > 1
        and best not in restless
        and (best == rates[-1] or (best == rates[0] and best not in slow))
    ):
        which, direction = (
            ("largest", "larger") if best == rates[-1] else ("smallest", "smaller")
        )
        asked = f"{rate(best)} is the {which} rate tried, so try {direction} ones:"
        tried = _between(best, best * 10 if best == rates[-1] else best / 10)[1:]
    elif last is None and top and top not in slow:
        return "", ""  # nothing points anywhere
    elif above == math.inf:
        asked, tried = (
            "no edge yet, try larger rates:",
            _between(rates[-1], 10 * rates[-1])[1:],
        )
    elif above == rates[0]:
        asked, tried = "try smaller rates:", _between(above, above / 10)[1:]
    else:
        low = max(one for one in rates if one < above)
        asked, tried = (
            "try rates between:",
            _between(low, above, 6)[1:-1] if above / low > REFINED else [],
        )
    if not tried:
        return "", ""
    # from the rate beside the first of these
    low, high = sorted((tried[0] ** 2 / tried[1], tried[-1]))
    untrained = {*family["learning_rate"]}.difference(rates)  # which may tell
    return (
        ("", "")
        if any(low <= one <= high for one in untrained)
        else (asked, proposed(meta, where, tried))
    )


def where_the_edge_is(family: pd.DataFrame, meta: Mapping[str, Any]) -> tuple[str, str]:
    """Return the question where the edge of a family is, and the command that measures
    it; both are empty unless it has trials on both sides of it, and a command or a call
    can name what it trains."""
    low, _ = converging(family)
    above = family["learning_rate"][family["learning_rate"].isin(too_large(family))]
    above = above[above > (low or math.inf)]
    learned = family["learning_rate"][
        family["regime"].eq("overfit") & family["learning_rate"].lt(above.min())
    ]
    low = max([low, *learned]) if low else None
    by_hand = named_again(meta, family)[1]
    if low is None or above.empty or meta.get("search") or by_hand == NAMED_AGAIN:
        return "", ""
    row, flag = (
        family.loc[(family["learning_rate"] - low).abs().idxmin()].to_dict(),
        data_facts(meta).flag,
    )
    own = {
        "optimizer": as_loaded("optimizer", row["optimizer"]),
        flag: as_loaded(flag, row["architecture"]),
    }
    options = {
        name: value
        for name, value in meta.get("options", {}).items()
        if value is not None
    }
    used = {
        **options,
        **row,
        **own,
        "epochs": row["epochs_asked"],
        "dataset": options.get("dataset", "mnist"),
    }
    used["expected"] = float(f"{math.sqrt(low * above.min()):.3g}")
    given = {name: used[name] for name in (flag, "expected")}
    given |= {
        name: used[name]
        for name, usual in OF_AN_EDGE.items()
        if used.get(name, usual) != usual
    }
    if by_hand == FROM_PYTHON:
        given = {
            name: (one,) if name in SEVERAL else one
            for name, one in given.items()
            if one != ARRAYS
        }
        return (
            "where is the edge?",
            f"find_edge(EdgeOptions({python_call('', meta, **given)[1:-1]}))",
        )
    line = " ".join(
        words(name, *[one] * (one is not True)) for name, one in given.items()
    )
    return "where is the edge?", f"{command('edge')} {line}"


def _between(first: float, last: float, count: int = 4) -> list[float]:
    return [first * (last / first) ** (i / (count - 1)) for i in range(count)]


def proposed(meta: Mapping[str, Any], where: str, rates: Sequence[float]) -> str:
    """Return the command that adds learning rates to a sweep, or the rates alone if its
    code is to be named again."""
    said, (_, by_hand) = told_apart(rates, 3), named_again(meta)
    tried = [said[one] for one in rates]
    if by_hand == NAMED_AGAIN:
        return f"{' '.join(tried)}, {by_hand}"
    in_python = by_hand == FROM_PYTHON
    return resume_command(
        meta,
        where,
        learning_rates=tuple(map(float, tried)) if in_python else tuple(tried),
    )
