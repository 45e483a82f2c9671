"""What pictures and pages show: which trials and values, in which order, with which bands, before anything is drawn.

Drawing is done elsewhere: by `figures` and `curve_plots` with matplotlib, by `page_figures` with Bokeh.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mnist_tune.numbers import exactly, told_apart
from mnist_tune.regimes.data_facts import data_facts
from mnist_tune.regimes.families import FAMILY, held_out, layers, setting, varied
from mnist_tune.regimes.measured_edge import CLASSICAL, MeasuredEdge
from mnist_tune.regimes.replicates import CONFIGURATION, counts, half_width, summarise_replicates
from mnist_tune.reports.trial_table import MANY
from mnist_tune.results.journal import LIVE_REASONS
from mnist_tune.results.tables import Tables

FEW = 24
"""Up to this many curves are drawn one by one."""

BAND = (0.1, 0.5, 0.9)
"""Quantiles over trials: the lower edge of a band, its median and its upper edge."""


def without_test(sweep: Tables) -> Tables:
    """Return the sweep without the test set's scores, if a search compares its trials on images held out."""
    if not sweep.meta.get("search") or held_out(sweep.trials) == "test":
        return sweep
    tables = sweep.trials, sweep.epochs
    trials, epochs = (one[[name for name in one if not name.startswith(("test_", "best_"))]] for one in tables)
    return replace(sweep, trials=trials, epochs=epochs)


def with_epochs(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials that have something to draw: those that finished an epoch."""
    return trials[trials["epochs_run"] > 0]


def so_far(trials: pd.DataFrame) -> str:
    """Return how far a running sweep is, as `12 of 16 trials ended, 2 running, 2 waiting`; empty if it has ended."""
    running, waiting, unknown = (int((trials["stop_reason"] == reason).sum()) for reason in LIVE_REASONS)
    live = running + waiting + unknown
    said = f"{unknown} unknown" if unknown else f"{running} running, {waiting} waiting"
    return f"{len(trials) - live} of {len(trials)} trials ended, {said}" if live else ""


def listed(names: Sequence[str], most: int) -> str:
    """Return the first names, and how many more there are."""
    return ", ".join(names[:most]) + f" and {len(names) - most} more" * (len(names) > most)


def range_of(rates: pd.Series, count: int) -> np.ndarray:
    """Return for each learning rate the number of its range, of at most so many. All ranges hold equally many different
    rates, since a searcher's rates are unevenly spread."""
    different = np.unique(rates)
    starts = [part[0] for part in np.array_split(different, min(count, len(different)))]
    return np.asarray(np.searchsorted(starts, rates, side="right"))


def mark(trials: int) -> tuple[float, float]:
    """Return the area of a mark, in square points, and its opacity: with more trials, smaller and paler."""
    root = np.sqrt(max(trials, 1))
    return float(np.clip(450 / root, 5, 46)), float(np.clip(11 / root, 0.15, 0.85))


def finite(values: pd.Series) -> pd.Series:
    """Return values with NaN in place of infinities. What is not finite is drawn above all others instead."""
    numbers = values.astype(float)
    return numbers.where(np.isfinite(numbers))


def curve_rows(trials: pd.DataFrame, epochs: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the points of the curves: an epoch's `value` with its trial's regime and what its trial is named by.

    Values that are not finite, and those below or at 0, have no place on the logarithmic axis.
    """
    known = list(dict.fromkeys(["trial_id", "label", *varied(trials), "learning_rate", "regime"]))
    rows = epochs[["trial_id", "epoch"]].assign(value=epochs[column].astype(float))
    rows = rows[np.isfinite(rows["value"]) & (rows["value"] > 0)]
    return rows.merge(trials[known], on="trial_id")


class Band(NamedTuple):
    """A curve with the band about it."""

    name: str
    """The regime of its trials; or the value of the setting that they share."""
    x: np.ndarray
    """Epochs, or learning rates."""
    low: np.ndarray
    middle: np.ndarray
    high: np.ndarray
    trials: int
    learning_rate: float = math.nan
    """That of its trials, if they share one."""


def bands(rows: pd.DataFrame, trials: pd.DataFrame) -> Iterator[Band]:
    """Yield the median curve of each regime with the band that holds the middle 80% of its trials, up to the last epoch
    that half of all its trials reached: beyond, the median would be that of the survivors. `rows` are of `curve_rows`.
    """
    of = counts(trials["regime"])
    for regime, part in rows.groupby("regime"):
        reached = part["epoch"].value_counts()
        part = part[part["epoch"].isin(reached.index[reached >= 0.5 * of[regime]])]
        if len(part):
            yield _median(str(regime), part["epoch"], part["value"], part["trial_id"].nunique())


def _median(name: str, x: pd.Series, values: pd.Series, trials: int) -> Band:
    quantiles = values.groupby(x).quantile(BAND).unstack()
    low, middle, high = (quantiles[share].to_numpy() for share in BAND)
    return Band(name, quantiles.index.to_numpy(), low, middle, high, trials)


def replicated(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials whose configuration was trained with several seeds."""
    return trials[trials.duplicated(CONFIGURATION, keep=False)]


def shares(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the configurations with several seeds (`summarise_replicates`). Equal rates get places beside each other
    (`beside`), so that their intervals can be told apart."""
    several = replicated(trials)
    if several.empty:
        return pd.DataFrame()
    summary = summarise_replicates(several)
    rates = summary["learning_rate"]
    places = rates.groupby(rates)
    return summary.assign(beside=rates * 1.05 ** (places.cumcount() - (places.transform("size") - 1) / 2))


def pooled_shares(trials: pd.DataFrame, ranges: int = FEW) -> pd.DataFrame:
    """Return the shares of all trials in each of so many ranges of learning rates, at its geometric mean: what is shown
    instead of `shares` if there are too many configurations."""
    logarithms = np.log(trials["learning_rate"])
    middle = np.exp(logarithms.groupby(range_of(trials["learning_rate"], ranges)).transform("mean"))
    alike = dict.fromkeys(CONFIGURATION, "") | {"architecture": "all", "learning_rate": middle.map("{:.12g}".format)}
    return shares(trials.assign(**alike).astype({"learning_rate": float}))


def words(name: str) -> str:
    """Return the name of a column as people say it."""
    return name.replace("_", " ")


def mean_curves(trials: pd.DataFrame, epochs: pd.DataFrame, most: int = FEW) -> list[Band]:
    """Return the mean curves of configurations with several seeds, each with its 95% interval and named by its most
    frequent regime, in the order of their learning rates; of more than `most`, that many, evenly chosen.

    The interval is Student's, `mean ± t s / sqrt(n)`, of the n seeds that trained an epoch; two are its ends. An epoch
    that only one of them trained is left out, and so are values that are not finite.
    """
    number = trials.groupby(CONFIGURATION).ngroup()
    firsts = trials["learning_rate"].groupby(number).first().sort_values(kind="stable").index
    found = []
    for chosen in evenly(firsts, most):
        part = trials[number == chosen]
        rows = epochs[epochs["trial_id"].isin(part["trial_id"])]
        table = finite(rows["value"]).groupby(rows["epoch"]).agg(["mean", "std", "count", "max"])
        table = table[table["count"] > 1]
        if len(table):
            half = table["max"] - table["mean"]  # of two
            half = half.where(table["count"] == 2, half_width(table["std"], table["count"])).to_numpy()
            middle, rate = table["mean"].to_numpy(), float(part["learning_rate"].iloc[0])
            regime, ends = str(part["regime"].mode()[0]), (middle - half, middle, middle + half)
            found.append(Band(regime, table.index.to_numpy(), *ends, len(part), rate))
    return found


def evenly(items: Any, most: int) -> list[Any]:
    """Return at most `most` of these, evenly chosen, with the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(i)] for i in np.linspace(0, len(items) - 1, most)]


POINTS = 200
"""Points of a curve."""

NEAR = 20
"""Predictors that are further away than by this factor don't widen the axis."""


def predicted_by(edge: MeasuredEdge) -> dict[str, float]:
    """Return the median over seeds of what each predictor says, the largest first."""
    known = {name: [rate for rate in rates if rate is not None] for name, rates in edge.predicted.items()}
    medians = {name: float(np.median(rates)) for name, rates in known.items() if rates}
    return dict(sorted(medians.items(), key=lambda item: -item[1]))


def edge_band(edge: MeasuredEdge) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the learning rates of an axis that holds an edge, its trials and the predictors near it; and the share of
    seeds that learn there: its 95% interval's lower end, median and upper end."""
    middle = edge.rate(0.5).median
    near = [rate for rate in predicted_by(edge).values() if middle / NEAR < rate < middle * NEAR]
    seen = [*edge.outcomes["learning_rate"], *near] + [middle / 3, middle * 3] * (0 < middle < np.inf)
    rates = np.geomspace(min(seen) / 1.1, max(seen) * 1.1, POINTS)
    low, center, high = edge.posterior.band(np.log(rates)) if edge.is_bracketed else np.full((3, POINTS), np.nan)
    return rates, low, center, high


MOST_MARKS = 3
"""With more edges than this in a sweep, the map has no marks: they would hide the trials."""


class RateMark(NamedTuple):
    """Learning rates that the map marks: a measured edge with its interval, or a prediction such as 2/λ0."""

    title: str
    low: float
    high: float
    """The same as `low` for a single rate."""
    sweep: int = 0
    """Which of the page's sweeps it belongs to."""


MARGIN = 0.05
"""Room at either end of an axis, as a share of its length."""


def padded(values: Any, log: bool = True, least: float = 0.05) -> tuple[float, float]:
    """Return the ends of an axis that holds these values with some room, without those that have no place on it. Its
    length is at least `least`, in decades if it is logarithmic."""
    with np.errstate(divide="ignore", invalid="ignore"):
        places = np.log10(values) if log else np.asarray(values, dtype=float)
    places = places[np.isfinite(places)]
    low, high = (float(places.min()), float(places.max())) if len(places) else (0.0, 1.0)
    middle, half = (low + high) / 2, (0.5 + MARGIN) * max(high - low, least / (1 + 2 * MARGIN))
    ends = middle - half, middle + half
    return (10 ** ends[0], 10 ** ends[1]) if log else ends


@dataclass(frozen=True)
class Metric:
    """A measure of trials and epochs, which the page shows on a logarithmic axis."""

    key: str
    title: str
    column: str
    """The column of `trials` and `epochs` that it comes from."""
    measured: str
    """A column that has no value exactly where this was not measured: a loss that was may be NaN."""
    error: bool
    """Whether it is the error, `1 - accuracy`."""
    least: float
    """Stands for 0, which has no place on the axis: half an image, or the least loss above 0."""
    start: float = math.nan
    end: float = math.nan
    """The ends of the axis, which holds the last values of all trials and their curves."""
    top: float | None = None
    """The line of what is not finite, above all others; None if everything is finite."""

    def values(self, rows: pd.DataFrame) -> np.ndarray:
        """Return its values in rows of `trials` or `epochs`; NaN if they lack its column."""
        values = rows.reindex(columns=[self.column])[self.column].to_numpy(dtype=float)
        found: np.ndarray = np.maximum(1 - values if self.error else values, self.least)
        return found

    def with_axis(self, trials: pd.DataFrame, epochs: pd.DataFrame) -> Metric:
        last = self.values(trials)
        start, end = padded(np.concatenate([last, self.values(epochs)]))
        lost = (trials[self.measured].notna() & ~np.isfinite(last)).any()
        room = (end / start) ** MARGIN
        return replace(self, start=start, end=end * room if lost else end, top=end if lost else None)


class Setting(NamedTuple):
    """A field in which trials differ, and where each trial is on its axis."""

    name: str
    places: np.ndarray
    groups: list[str]
    """The names of the places 0, 1, 2, ...; empty if the axis is one of numbers."""
    log: bool


class RateLines(NamedTuple):
    """Errors by learning rate, with a line for each value of a setting."""

    setting: str
    others: str
    """The values of all other settings that vary, such as `momentum 0.9`."""
    lines: list[Band]


MOST_CELLS = 2**18
"""The most epochs of trials whose curves the page holds in full. With more, it holds fewer metrics, then fewer epochs:
5,000 trials of 50 epochs are 250,000."""

FULL_CELLS = MOST_CELLS // 2
"""With more than this, only the curves of the first metric and of the training loss are held."""

MOST_GROUPS = 12
"""The most different numbers that a slice shows as groups; with more, it has an axis of numbers."""

LAYERS = ("width", "hidden_layers", "activation")
"""What `layers` returns, as settings of their own."""

MOST_PANELS = 6
"""The most combinations of the other settings that have their own lines; of more, all are taken together."""


@dataclass(frozen=True)
class PageData:
    """One or several sweeps side by side, in one table of trials."""

    sweeps: Sequence[Tables]

    @cached_property
    def titles(self) -> list[str]:
        """The name of each sweep: the last folders of its path in which the sweeps differ."""
        parts = [[part for part in str(sweep.path).split("?")[0].split("/") if part] or ["."] for sweep in self.sweeps]
        for count in range(1, max(map(len, parts)) + 1):
            titles = ["/".join(part[-count:]) for part in parts]
            if len(set(titles)) == len(titles):
                return titles
        return [f"{title} ({i})" for i, title in enumerate(titles, start=1)]

    @cached_property
    def trials(self) -> pd.DataFrame:
        """The trials of all sweeps. The first are the most accurate on images of `split`, the last those without
        epochs. `sweep` is the number of a trial's sweep, `number` the trial's own in it; a `trial_id` is unique."""
        tables = [
            sweep.trials.assign(sweep=i, own_id=sweep.trials["trial_id"], number=range(1, len(sweep.trials) + 1))
            for i, sweep in enumerate(map(without_test, self.sweeps))
        ]
        if self.several:
            tables = [table.assign(sweep_name=title) for table, title in zip(tables, self.titles, strict=True)]
        trials = self._together(tables)
        parts = {name: layers(name) for name in trials["architecture"].unique()}
        if parts and all(parts.values()) and len(parts) == len({*parts.values()}):
            for name, values in zip(LAYERS, zip(*map(parts.get, trials["architecture"]), strict=True), strict=True):
                trials[name] = values
        best = [f"{self.split}_accuracy", f"{self.split}_loss"]
        order = trials[best].astype(float).sort_values(best, ascending=[False, True], kind="stable").index
        return trials.loc[order].reset_index(drop=True)

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """The epochs of all sweeps, with the ids of `trials`."""
        return self._together([without_test(sweep).epochs for sweep in self.sweeps])

    def _together(self, tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
        if not self.several:
            return tables[0].reset_index(drop=True)
        named = [table.assign(trial_id=f"{i}:" + table["trial_id"]) for i, table in enumerate(tables)]
        return pd.concat(named, ignore_index=True)

    @cached_property
    def split(self) -> str:
        """The images on which trials are judged: those held out, or the test set if some trial held none out."""
        return held_out(pd.concat([sweep.trials for sweep in self.sweeps], ignore_index=True))

    @property
    def several(self) -> bool:
        return len(self.sweeps) > 1

    @property
    def running(self) -> bool:
        """Whether a sweep is still running, so that the page will change."""
        return bool(self.trials["stop_reason"].isin(LIVE_REASONS).any())

    @property
    def few(self) -> bool:
        """Whether the curves are drawn one by one, as in the picture."""
        return max(len(with_epochs(sweep.trials)) for sweep in self.sweeps) <= FEW

    @cached_property
    def metrics(self) -> list[Metric]:
        """What the maps can show: errors and losses of which some epoch has a finite value. The first is the error on
        the images of `split`."""
        titles = {"validation": "held-out", "test": "test", "train": "training"}
        half_an_image = 0.5 / max(data_facts(sweep.meta).test_images for sweep in self.sweeps)
        found = []
        for split in sorted(titles, key=lambda name: name != self.split):
            for what, column in (("error", f"{split}_accuracy"), ("loss", f"{split}_loss")):
                error = what == "error"
                known = finite(self.epochs[column]).dropna() if column in self.epochs else pd.Series(dtype=float)
                known = known if error else known[known > 0]
                least = half_an_image if error else float(known.min())
                one = Metric(f"{split}_{what}", f"{titles[split]} {what}", column, f"{split}_accuracy", error, least)
                found += [one.with_axis(self.trials, self.epochs)] if len(known) else []
        cells = len(self.trials) * self.trials["epochs_run"].max()  # NaN without trials, which have no metrics
        return found if cells <= FULL_CELLS else [one for one in found if one is found[0] or one.key == "train_loss"]

    @cached_property
    def kept_epochs(self) -> np.ndarray:
        """The epochs of which the page holds the curves: all, or every second, third, ... and the last one."""
        last = max(int(self.epochs["epoch"].max()) if len(self.epochs) else 0, 1)
        every = -(-max(len(self.trials), 1) * last // MOST_CELLS)
        return np.arange(last, 0, -every)[::-1]

    @cached_property
    def curves(self) -> dict[str, np.ndarray]:
        """The curves of each metric, of shape [trials, kept epochs]; NaN where there is no value."""
        row = pd.Index(self.trials["trial_id"]).get_indexer(self.epochs["trial_id"])
        column = pd.Index(self.kept_epochs).get_indexer(self.epochs["epoch"])
        known, found = (row >= 0) & (column >= 0), {}
        for metric in self.metrics:
            found[metric.key] = np.full((len(self.trials), len(self.kept_epochs)), np.nan)
            found[metric.key][row[known], column[known]] = metric.values(self.epochs)[known]
        return found

    def bands(self, sweep: Tables) -> Iterator[tuple[Metric, Band]]:
        """Yield the bands of a sweep's regimes for each metric; none if the curves are drawn one by one."""
        trials = with_epochs(sweep.trials)
        for metric in () if self.few else self.metrics:
            epochs = sweep.epochs[["trial_id", "epoch"]].assign(value=metric.values(sweep.epochs))
            for band in bands(curve_rows(trials, epochs, "value"), trials):
                yield metric, band

    @cached_property
    def shares(self) -> pd.DataFrame:
        """The configurations with several seeds, with the share that converged and its interval."""
        return shares(self.replicates)

    @cached_property
    def pooled(self) -> pd.DataFrame:
        """The same over ranges of learning rates; empty if there are few configurations."""
        return pooled_shares(self.replicates) if len(self.shares) > MANY else pd.DataFrame()

    @cached_property
    def mean_curves(self) -> list[Band]:
        """The mean of the logarithm of the error for each of these configurations, or for a choice of them."""
        values = np.log10(self.metrics[0].values(self.epochs))
        return mean_curves(self.replicates, self.epochs[["trial_id", "epoch"]].assign(value=values))

    @cached_property
    def replicates(self) -> pd.DataFrame:
        """The trials whose configuration has several seeds; those of different sweeps are kept apart."""
        trials = with_epochs(self.trials)
        names = trials["sweep"].map(dict(enumerate(self.titles))) + " "
        return replicated(trials.assign(label=names + trials["label"]) if self.several else trials)

    @cached_property
    def varied(self) -> list[str]:
        """The settings in which the trials differ, other than the learning rate and the seed."""
        names = ["sweep", *FAMILY, "epochs_asked"]
        return [name for name in names if self.trials[name].nunique() > 1]

    @cached_property
    def settings(self) -> list[Setting]:
        """What differs, as in `varied`, but with the parts of networks in their place if these tell them apart."""
        parts = [name for name in LAYERS if name in self.trials and self.trials[name].nunique() > 1]
        others = [name for name in self.varied if not parts or name != "architecture"]
        return [self._setting(name) for name in (*parts, *others)]

    def _setting(self, name: str) -> Setting:
        values = self.trials[name]
        numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
        if name != "sweep" and numeric and values.nunique() > MOST_GROUPS:
            numbers = values.to_numpy(float)
            return Setting(name, numbers, [], bool(numbers.min() > 0 and numbers.max() / numbers.min() >= 10))
        codes, groups = pd.factorize(values, sort=True)
        spread = np.arange(len(codes)) * 0.618034 % 1 - 0.5  # evenly within a group, by the golden ratio
        return Setting(name, codes + 0.5 * spread, [self._said(name, group) for group in groups], False)

    def _said(self, name: str, value: Any) -> str:
        if name == "sweep":
            return str(self.titles[value])
        if isinstance(value, float):
            return told_apart(self.trials[name].dropna().unique())[value]
        return exactly(value.item() if hasattr(value, "item") else value)

    def _named(self, name: str, value: Any) -> str:
        return self.titles[value] if name == "sweep" else setting(name, value) or f"{words(name)} {value}"

    @cached_property
    def rate_lines(self) -> list[RateLines]:
        """The error by learning rate, for each setting with which several rates were crossed."""
        trials, found = with_epochs(self.trials), []
        trials = trials.assign(value=self.metrics[0].values(trials))
        for name in self.varied:
            crossed = (trials.groupby("learning_rate")[name].nunique() > 1).sum() > 1
            if not crossed or trials[name].nunique() > MOST_GROUPS:
                continue
            others = [one for one in self.varied if one != name]
            panels = list(trials.groupby(others, dropna=False)) if others else []
            for values, part in panels if 0 < len(panels) <= MOST_PANELS else [((), trials)]:
                said = ", ".join(map(self._named, others, values))
                lines = [
                    _median(self._said(name, value), line["learning_rate"], line["value"], len(line))
                    for value, line in part.groupby(name)
                ]
                found.append(RateLines(name, said, lines))
        return found

    @cached_property
    def best_so_far(self) -> pd.Series:
        """The least error of a search's trials up to each, by its number; only those trained to their end count."""
        trials = self.trials.sort_values("number").set_index("number")
        values = pd.Series(self.metrics[0].values(trials), trials.index)
        return values.where(trials["stop_reason"] == "completed").cummin().ffill().dropna()

    @cached_property
    def edges(self) -> list[MeasuredEdge]:
        """The measured edges of all sweeps."""
        return [edge for sweep in self.sweeps for edge in sweep.edges()]

    @cached_property
    def marks(self) -> list[RateMark]:
        """The measured edges of each sweep, and what the sharpness predicted, as marks in the maps."""
        found = []
        for i, sweep in enumerate(self.sweeps):
            edges = sweep.edges()
            for edge in edges if len(edges) <= MOST_MARKS else ():
                if (half := edge.rate(0.5)).is_known:
                    found.append(RateMark(f"edge of {edge.title} {half}", half.low, half.high, i))
                if (rate := predicted_by(edge).get(CLASSICAL)) is not None:
                    found.append(RateMark(f"{CLASSICAL} of {edge.title} {rate:.3g}", rate, rate, i))
        return found
