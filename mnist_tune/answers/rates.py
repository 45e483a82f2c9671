"""Which learning rates of a family to try next, and between which its edge lies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from mnist_tune.answers.steps import NextStep, StepKind, Why
from mnist_tune.continuation import code_is_there, named_from_here
from mnist_tune.numbers import told_apart
from mnist_tune.own_code.registry import TOTAL_STEPS
from mnist_tune.regimes.data_facts import EVALUATED
from mnist_tune.regimes.families import FAMILY
from mnist_tune.results.sweep_meta import SweepMeta
from mnist_tune.trial import TrialConfig

OF_AN_EDGE: dict[str, Any] = {
    name: getattr(TrialConfig, name) for name in FAMILY if name != "architecture"
}
OF_AN_EDGE |= {
    "epochs": 3,
    "dataset": "mnist",
    "data_dir": None,
    "train_images": None,
    "train_evaluation": EVALUATED,
    "standardize": False,
    "holdout": 0,
}
"""The options of a search for an edge that a step repeats unless they have these
defaults."""

REFINED = 1.2
"""Learning rates whose ratio is below this are too close to try others between them."""

DECADE = 10.0
"""How far beyond the rates tried others are tried."""

RESTLESS = {"oscillating", "diverged"}


def converging(family: pd.DataFrame) -> tuple[float | None, float | None]:
    """Return the largest learning rate at which every replicate converged, and the
    largest at which any did; None if there is none. Trials that never finished an epoch
    say nothing."""
    trained = family[family["epochs_run"] > 0]
    converged = trained["regime"].eq("converged").groupby(trained["learning_rate"])
    return _largest(converged.all()), _largest(converged.any())


def _largest(holds: pd.Series) -> float | None:
    """Return the largest learning rate of which something holds."""
    return max(holds[holds].index, default=None)


def too_large(family: pd.DataFrame, best: float = math.nan) -> set[float]:
    """Return the learning rates that are too large: those that oscillate or diverge,
    and those that are slow though they are above the best one, or above one that
    converged. There training crawls on a plateau."""
    rates, regimes = family["learning_rate"], family["regime"]
    slow = regimes.eq("slow")
    learns = regimes.eq("converged") | (rates.eq(best) & ~slow)
    crawls = slow & rates.gt(rates[learns].max())
    return {*rates[regimes.isin(RESTLESS) | crawls]}


def can_grow(record: SweepMeta) -> bool:
    """Return whether a resume can add learning rates and epochs to a sweep."""
    if record.proposes_trials or record.script is not None:
        return False
    return record.command in (None, "regimes")


def can_go_on(trials: pd.DataFrame, record: SweepMeta) -> pd.Series:
    """Return for each trial whether more epochs may follow: those of a schedule or an
    optimiser may depend on how many there are."""
    depending = [code["name"] for code in record.code if code.get(TOTAL_STEPS)]
    optimizers = trials["optimizer"].str.partition("(")[0].str.strip()
    return trials["schedule"].eq("constant") & ~optimizers.isin(depending)


def rates_to_try(
    family: pd.DataFrame, record: SweepMeta, best: float = math.nan
) -> NextStep | None:
    """Return the step that adds learning rates to a family; None if nothing points
    anywhere, if rates that may tell have not been trained yet, or if no rate can be
    added.

    Args:
        best: the most accurate setting's rate, if known.
    """
    if not can_grow(record):
        return None
    trained = family[family["epochs_run"] > 0]
    step = _beyond_the_best(trained, best) or _towards_the_edge(trained, best)
    if step is None:
        return None
    rates: list[float] = step.arguments["learning_rates"]
    before_first = rates[0] ** 2 / rates[1]
    low, high = sorted((before_first, rates[-1]))
    untrained = set(family["learning_rate"]).difference(trained["learning_rate"])
    if any(low <= rate <= high for rate in untrained):
        return None
    texts = told_apart(rates, 3)
    rounded = tuple(float(texts[rate]) for rate in rates)
    return NextStep(step.kind, step.why, {"learning_rates": rounded}, rate=step.rate)


def _beyond_the_best(trained: pd.DataFrame, best: float) -> NextStep | None:
    """Return larger or smaller rates, where the best one is the last that was tried."""
    rates = sorted(trained["learning_rate"].unique())
    if len(rates) < 2 or best in too_large(trained, best):
        return None
    if best == rates[-1]:
        return _try(Why.LARGEST_IS_BEST, _between(best, DECADE * best)[1:], best)
    slow = trained["learning_rate"][trained["regime"].eq("slow")]
    if best == rates[0] and best not in {*slow}:
        return _try(Why.SMALLEST_IS_BEST, _between(best, best / DECADE)[1:], best)
    return None


def _towards_the_edge(trained: pd.DataFrame, best: float) -> NextStep | None:
    """Return rates between the last that is not too large and the first that is, or
    beyond all that were tried."""
    rates = sorted(trained["learning_rate"].unique())
    too_large_rates = too_large(trained, best)
    usable = [rate for rate in rates if rate not in too_large_rates]
    top = max(usable, default=0.0)
    slow = trained["learning_rate"][trained["regime"].eq("slow")]
    all_converge, some_converge = converging(trained)
    last = all_converge or some_converge
    if last is None and top and top not in {*slow}:
        return None
    beyond = [rate for rate in too_large_rates if rate >= (last or top)]
    above = min(beyond, default=math.inf)
    if above == math.inf:
        return _try(Why.NO_EDGE_YET, _between(rates[-1], DECADE * rates[-1])[1:])
    if above == rates[0]:
        return _try(Why.ALL_TOO_LARGE, _between(above, above / DECADE)[1:])
    low = max(rate for rate in rates if rate < above)
    if above / low <= REFINED:
        return None
    return _try(Why.BETWEEN, _between(low, above, 6)[1:-1])


def _try(why: Why, rates: Sequence[float], best: float | None = None) -> NextStep:
    return NextStep(StepKind.ADD_RATES, why, {"learning_rates": rates}, rate=best)


def _between(first: float, last: float, count: int = 4) -> list[float]:
    ratio = last / first
    return [first * ratio ** (i / (count - 1)) for i in range(count)]


def edge_to_find(family: pd.DataFrame, record: SweepMeta) -> NextStep | None:
    """Return the step that measures the edge of a family; None unless it has trials on
    both sides of it, and a command or a call can name what it trains."""
    low, _ = converging(family)
    if low is None or record.proposes_trials or record.is_elsewhere:
        return None
    rates = family["learning_rate"]
    is_above = rates.isin(too_large(family)) & rates.gt(low)
    above = rates[is_above].min()
    if math.isnan(above) or not code_is_there(record, family):
        return None
    overfit = rates[family["regime"].eq("overfit") & rates.lt(above)]
    low = max([low, *overfit])
    nearest = (rates - low).abs().idxmin()
    values = _values_of(family.loc[nearest].to_dict(), record)
    flag = record.data.flag
    expected = math.sqrt(low * above)
    arguments = {flag: values[flag], "expected": float(f"{expected:.3g}")}
    for name, usual in OF_AN_EDGE.items():
        if values.get(name, usual) != usual:
            arguments[name] = values[name]
    return NextStep(StepKind.FIND_EDGE, Why.EDGE_WITHIN, arguments)


def _values_of(row: dict[str, Any], record: SweepMeta) -> dict[str, Any]:
    """Return the options that train a row of `trials`, and those of its sweep."""
    flag = record.data.flag
    options = record.options.items()
    values = {name: value for name, value in options if value is not None}
    dataset = values.get("dataset", "mnist")
    values |= row
    values["optimizer"] = named_from_here(record, "optimizer", row["optimizer"])
    values[flag] = named_from_here(record, flag, row["architecture"])
    values["epochs"] = row["epochs_asked"]
    values["dataset"] = dataset
    return values
