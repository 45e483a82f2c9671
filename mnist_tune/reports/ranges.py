"""What is true of a family's learning rates: where each regime is found, where it converges, and what to try next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mnist_tune.invocation import command, words
from mnist_tune.numbers import counted, told_apart
from mnist_tune.own_code.registry import as_loaded, named_again
from mnist_tune.regimes.families import FAMILY, held_out
from mnist_tune.regimes.labels import ON_ITS_WAY
from mnist_tune.trial import LIVE_REASONS, TrialConfig

DEFAULTS: dict[str, Any] = {name: getattr(TrialConfig, name) for name in FAMILY if name != "architecture"}
DEFAULTS |= {"seeds": [TrialConfig.seed], "epochs": TrialConfig.epochs, "dataset": "mnist", "scheduler": "regimes"}
DEFAULTS |= {"grace_period": 5, "target": None, "data_dir": None, "train_evaluation": None, "train_images": None}
DEFAULTS |= {"standardize": False, "stop_when_diverged": True}
DEFAULTS |= {"sharpness": False, "sharpness_every": None, "sharpness_images": None}
"""The flags that a proposed command repeats unless they have these defaults."""

NOT_OF_AN_EDGE = ("seeds", "scheduler", "grace_period", "target", "stop_when_diverged", "sharpness")
"""Those that a search for an edge does not take."""

EDGE_EPOCHS = 3
"""The epochs of such a search, unless others are asked for."""

REFINED = 1.2
"""Learning rates whose ratio is below this are too close to try others between them."""

CLEAR = 0.02
"""A difference of accuracies that is not chance, also with few test images."""

RESTLESS = {"oscillating", "diverged"}

MOST_RUNS = 3
"""If a regime has more runs of learning rates than this, they are counted, between its first and its last rate."""

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


@dataclass(frozen=True)
class Range:
    """The learning rates at which a family converges. None stands for a rate that does not exist."""

    lowest: float | None
    """The smallest at which every replicate converged."""
    always: float | None
    """The largest at which every replicate converged."""
    sometimes: float | None
    """The largest at which any replicate converged."""
    beyond: float | None
    """The one from which on none converged, though each trial ran all its epochs, or was decided before."""

    @classmethod
    def of(cls, family: pd.DataFrame) -> Range:
        """Return the range of one family, given its trials. Those that never finished an epoch say nothing."""
        trained = family[family["epochs_run"] > 0]
        converged = trained["regime"].eq("converged").groupby(trained["learning_rate"])
        every, some = (each[each].index for each in (converged.all(), converged.any()))
        sometimes = max(some, default=None)
        known = trained["regime"].ne("undecided") | (trained["epochs_run"] >= trained["epochs_asked"])
        by_rate = known.groupby(trained["learning_rate"]).all()
        by_rate = by_rate.reindex(sorted(family["learning_rate"].unique(), reverse=True), fill_value=False)
        beyond = by_rate.index[by_rate.cumprod() > 0]
        beyond = min(beyond[beyond > (sometimes or math.inf)], default=None)
        return cls(min(every, default=None), max(every, default=None), sometimes, beyond)


def spans(family: pd.DataFrame) -> list[str]:
    """Return at which learning rates each regime is found, such as `converges 0.04–0.7`.

    Each rate is named once, with the most frequent regime of its seeds; of equally frequent ones, with the one that is
    later in `VERBS`. In `converges to 1.3 (5 of 6 trials)`, the sixth is at a rate at which others converge. Rates
    between are those that were tried. A trial that was cut before it could be decided is named so, and so are rates
    that converge though accuracy still falls late in a curve, beyond noise.
    """
    asked, family = family["learning_rate"].nunique(), family[family["epochs_run"] > 0]
    found = family["regime"].mask(family["regime_evidence"].fillna("").str.startswith(ON_ITS_WAY), ON_ITS_WAY)
    cut = family["epochs_run"].lt(family["epochs_asked"]) & (found == "undecided")
    cut &= ~family["stop_reason"].isin(LIVE_REASONS)
    counts = pd.crosstab(family["learning_rate"], found)
    most = counts[[name for name in reversed(VERBS) if name in counts]].idxmax(axis=1) if len(counts) else counts
    rates, lines = list(counts.index), []
    falls = {*family["learning_rate"][family["late_fall"] > 0]} if "late_fall" in family else set()
    said = list(told_apart(rates).values())
    for regime in most.unique() if len(counts) else ():
        here = (most == regime).to_numpy()
        # Where a run of these rates begins, and where the next rate is of another one.
        ends = np.flatnonzero(np.diff([0, *here.astype(int), 0]))
        runs, places = ends.reshape(-1, 2) - [0, 1], []
        if len(runs) > MOST_RUNS:
            first, last = runs[0, 0], runs[-1, 1]
            places.append(f"at {here.sum()} of the {last - first + 1} rates {said[first]}–{said[last]}")
        for first, last in runs if len(runs) <= MOST_RUNS else ():
            inside = family[family["learning_rate"].between(rates[first], rates[last])]
            count, seeds = int((found[inside.index] == regime).sum()), len(inside)
            kind = "trials" if first < last else "seeds"
            share = f" ({count} of {seeds} {kind})" if count < seeds else ""
            if regime == "undecided" and cut[inside.index].any():
                ran = inside["epochs_run"][cut[inside.index]]
                after = f"{ran.min()} to " * bool(ran.min() < ran.max()) + counted(int(ran.max()), "epoch")
                share += f" ({f'{len(ran)} ' * (len(ran) < count)}cut after {after})"
            places.append(_place(said, first, last, asked) + share)
        lines.append(f"{VERBS[regime]} {', '.join(places)}")
        if regime == "converged" and (jumping := [one for one in rates if most[one] == regime and one in falls]):
            first, few = jumping[0], [said[rates.index(one)] for one in jumping[:MOST_RUNS]]
            above = len(jumping) > 1 and all(one in falls for one in rates if one >= first and most[one] == regime)
            where = f"from {few[0]} on" if above else f"at {', '.join(few)}" + ", ..." * (len(jumping) > MOST_RUNS)
            lines[-1] += f" ({where} accuracy jumps)"
    return lines


def _place(rates: Sequence[str], first: int, last: int, asked: int) -> str:
    low, high = rates[first], rates[last]
    if first == last:
        return low
    if (first, last) == (0, len(rates) - 1):
        return f"at all rates{' that trained' * (len(rates) < asked)}, {low}–{high}"
    return f"to {high}" if first == 0 else f"from {low}" if last == len(rates) - 1 else f"{low}–{high}"


def advice(family: pd.DataFrame, meta: Mapping[str, Any]) -> tuple[str, str]:
    """Return what to try next with a family, and the command that tries it; both are empty if its edge is known. The
    command repeats some of the options in `sweep.json`, whose content is `meta`."""
    trained, found = family[family["epochs_run"] > 0], Range.of(family)
    rates = sorted(trained["learning_rate"].unique())
    if found.sometimes is None:
        direction, tried = _where_none_converged(trained, rates)
        return (f"try {direction}:", proposed(family, meta, tried)) if tried else ("", "")
    last = found.sometimes if found.always is None else found.always
    if last == rates[-1] and not RESTLESS & set(trained["regime"][trained["learning_rate"] == last]):
        larger = _between(rates[-1], 10 * rates[-1])
        return "no edge yet, try larger rates:", proposed(family, meta, larger)
    if last == rates[0] == rates[-1]:
        return "try smaller rates:", proposed(family, meta, _between(last, last / 10))
    low, above = (rates[-2], last) if last == rates[-1] else (last, min(one for one in rates if one > last))
    if above / low > REFINED:
        return "try rates between:", proposed(family, meta, _between(low, above, 6)[1:-1])
    if family["seed"].nunique() < 3:
        return "is it the seed?", proposed(family, meta, [last, above], range(5))
    return "", ""


def where_the_edge_is(family: pd.DataFrame, meta: Mapping[str, Any]) -> tuple[str, str]:
    """Return the question where the edge of a family is, and the command that measures it; both are empty unless it has
    trials on both sides of it, and a command can name what it trains."""
    found = Range.of(family)
    above = family["learning_rate"][family["regime"].isin(RESTLESS)]
    low, above = found.always, above[above > (found.always or math.inf)]
    if (
        low is None
        or above.empty
        or meta.get("search")
        or meta.get("options", {}).get("task")
        or named_again(meta, family)[1]
    ):
        return "", ""
    row = family.loc[(family["learning_rate"] - low).abs().idxmin()]
    expected = f" {words('expected', f'{math.sqrt(low * above.min()):.3g}')}"
    network = words("architecture", as_loaded("architecture", row["architecture"]))
    flags = _flags(row, meta, {"epochs": EDGE_EPOCHS, **dict.fromkeys(NOT_OF_AN_EDGE)})
    return "where is the edge?", f"{command('edge')} {network}{expected}{flags}"


def _where_none_converged(trials: pd.DataFrame, rates: Sequence[float]) -> tuple[str, list[float]]:
    """Return in which direction a rate may converge, and the rates to try; none if nothing points anywhere."""
    regimes = trials.groupby("learning_rate")["regime"].agg(set)
    calm = [one for one in rates if not regimes[one] & RESTLESS]
    if not calm:
        return "smaller rates", _between(rates[0], rates[0] / 10)
    top, slow = calm[-1], "slow" in regimes[calm[-1]]
    above = [one for one in rates if one > top]
    if slow and above:
        return "rates between", _between(top, above[0], 6)[1:-1] if above[0] / top > REFINED else []
    ended = trials[~trials["stop_reason"].isin(LIVE_REASONS)]  # after fewer epochs, an accuracy is another one
    accuracy = ended.groupby("learning_rate")[f"{held_out(trials)}_accuracy"].mean().reindex(calm).dropna()
    if accuracy.empty:
        return "", []
    best = accuracy.idxmax()
    best_first = best == rates[0] < top and "slow" not in regimes[best]
    if best_first and accuracy.max() - accuracy.get(top, accuracy.max()) > CLEAR:
        return "smaller rates", _between(best, best / 10)
    if top == rates[-1] and (slow or best == top > rates[0]):
        return "larger rates", _between(top, 10 * top)
    return "", []


def _between(first: float, last: float, count: int = 4) -> list[float]:
    return [first * (last / first) ** (i / (count - 1)) for i in range(count)]


def proposed(
    family: pd.DataFrame, meta: Mapping[str, Any], rates: Sequence[float], seeds: Sequence[int] | None = None
) -> str:
    """Return the command that tries other learning rates, with all other flags as those of the nearest trial. What has
    no command (`named_again`) has the rates alone."""
    row = family.loc[nearest := (family["learning_rate"] - rates[0]).abs().idxmin()]
    repeated = list(seeds or sorted(family["seed"][family["learning_rate"] == row["learning_rate"]].unique()))
    said = told_apart(rates, 3)
    tried = " ".join(said[one] for one in rates)
    _, by_hand = named_again(meta, family.loc[[nearest]])
    if by_hand:
        return f"{tried}, {by_hand}"
    trained = "task" if meta.get("options", {}).get("task") else "architecture"
    network = words(trained, as_loaded(trained, row["architecture"]))
    return f"{command('regimes')} {network} --learning-rates {tried}{_flags(row, meta, {}, seeds=repeated)}"


def _flags(row: pd.Series, meta: Mapping[str, Any], defaults: dict[str, Any], **values: Any) -> str:
    """Return the flags that train what a trial did, other than its network and its rate: those that have not these
    defaults; one whose default is None is left out."""
    options = meta.get("options", {})
    used = {**options, **row, **values, "epochs": row["epochs_asked"]}
    used |= {name: options.get(name) or DEFAULTS[name] for name in ("dataset", "target")}
    used |= {flag: as_loaded(flag, row[flag]) for flag in ("architecture", "optimizer")}
    line = ""
    for name, default in (DEFAULTS | defaults).items():
        value = used.get(name, default)
        if value != default and not (name in defaults and default is None):
            texts = [] if isinstance(default, bool) else value if isinstance(value, list) else [value]
            line += f" {words('no_' * (value is False) + name, *texts)}"
    return line
