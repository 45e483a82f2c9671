"""What the pictures and the page of sweeps show: trials, settings, measures and axes, before anything is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mnist_tune.numbers import exactly, rate, told_apart
from mnist_tune.regimes.data_facts import data_facts
from mnist_tune.regimes.families import FAMILY, held_out, layers, setting, varied
from mnist_tune.regimes.noise import accuracy_noise
from mnist_tune.regimes.replicates import half_width
from mnist_tune.reports.answer import Answer, answer, keys
from mnist_tune.reports.findings import Finding, findings
from mnist_tune.reports.page_data import range_of, without_test, words
from mnist_tune.results.tables import Tables
from mnist_tune.trial import LIVE_REASONS

FEW = 24
"""Up to this many settings, each curve is named."""

MOST_CURVES = 300
"""The most curves that are drawn; a page's script draws a chosen one that is not."""

LARGE = 200
"""With more trials than this, a page shows two measures only."""

MOST_CELLS = 2**18
"""The most epochs of trials whose curves a page holds in full: of more, every second, third, ... and the last one."""

MOST_GROUPS = 12
"""The most different values of a setting that are shown as groups, or as lines; of more numbers there is an axis."""

BEYOND = 3.0
"""Losses above so many times the untrained one, and those that are not finite, lie on a line at the top."""

RANGES = 12
"""The rows of an edge's table are its trials in at most so many ranges of learning rates."""

Z = 1.96
"""Half-width of a 95% interval, in standard errors."""

LAYERS = ("width", "hidden_layers", "activation")
"""What `layers` returns, as settings of their own."""


class Axis(NamedTuple):
    """An axis: its ends, and whether it is logarithmic."""

    low: float
    high: float
    log: bool = True

    @classmethod
    def of(cls, values: Any, log: bool = True, least: float = 0.3, room: float = 0.06) -> Axis:
        """Return the axis that holds these values with some room, at least `least` long, in decades if it is
        logarithmic. What has no place on it is left out."""
        found = np.asarray(values, dtype=float)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.log10(found) if log else found
        found = found[np.isfinite(found)]
        low, high = (float(found.min()), float(found.max())) if len(found) else (-1.0, 0.0)
        middle, half = (low + high) / 2, max(high - low, least) * (0.5 + room)
        low, high = middle - half, middle + half
        return cls(10**low, 10**high) if log else cls(low, high, False)


@dataclass(frozen=True)
class Measure:
    """A measure of trials and epochs, and its axis."""

    key: str
    title: str
    column: str
    """The column of `trials` and `epochs` that it comes from."""
    error: bool
    """Whether it is `1 - accuracy`, shown in percent."""
    axis: Axis
    least: float
    """Stands for 0 on a logarithmic axis: half an image."""
    most: float = math.inf
    """Values above this, and those that are not finite, are drawn at `top`."""
    top: float | None = None
    guess: float = math.nan
    """What guessing reaches."""

    def of(self, rows: pd.DataFrame, epochs_run: Any = 1) -> np.ndarray:
        """Return the heights of rows of `trials` or `epochs` on its axis; NaN where nothing was measured."""
        values = self.raw(rows)
        top = self.most if self.top is None else self.top
        with np.errstate(invalid="ignore"):
            values = np.where(values > self.most, top, values if not self.axis.log else np.maximum(values, self.least))
        values = np.where(np.isnan(values) & (not self.error), top, values)
        return np.asarray(np.where(np.asarray(epochs_run) > 0, values, math.nan))

    def raw(self, rows: pd.DataFrame) -> np.ndarray:
        """Return its values in rows of `trials` or `epochs`."""
        values: np.ndarray = rows.reindex(columns=[self.column])[self.column].to_numpy(dtype=float, na_value=math.nan)
        return 100 * (1 - values) if self.error else values

    def said(self, value: float) -> str:
        if math.isnan(value):
            return "–"
        return f"{value:.2f}%" if self.error else f"{value:.4g}"


class Setting(NamedTuple):
    """A setting in which trials differ, and where each trial is on its axis."""

    name: str
    places: np.ndarray
    groups: list[str]
    """The names of the places 0, 1, 2, ...; empty if the axis is one of numbers."""
    axis: Axis


@dataclass(frozen=True)
class View:
    """One or several sweeps side by side, in one table of trials."""

    sweeps: Sequence[Tables]

    @cached_property
    def findings(self) -> list[list[Finding]]:
        return [findings(sweep) for sweep in self.sweeps]

    @cached_property
    def answers(self) -> list[Answer]:
        return [answer(sweep, found=found) for sweep, found in zip(self.sweeps, self.findings, strict=True)]

    @cached_property
    def titles(self) -> list[str]:
        """The name of each sweep: the last folders of its path in which the sweeps differ."""
        parts = [[part for part in str(sweep.path).split("?")[0].split("/") if part] or ["."] for sweep in self.sweeps]
        for count in range(1, max(map(len, parts)) + 1):
            titles = ["/".join(part[-count:]) for part in parts]
            if len(set(titles)) == len(titles):
                return titles
        return [f"{title} ({i})" for i, title in enumerate(titles, start=1)]

    @property
    def several(self) -> bool:
        return len(self.sweeps) > 1

    def is_ranked(self, sweep: Tables) -> bool:
        """Whether a sweep compares settings of any kind, so that its rows are best first: a search or a decision."""
        return sweep.decision is not None or bool(sweep.meta.get("search") and not sweep.edges())

    @cached_property
    def trials(self) -> pd.DataFrame:
        """The trials of all sweeps, those of a setting together: by its values and its learning rate, or the best first
        (`is_ranked`). `sweep` is the number of a trial's sweep, `number` the trial's own in it, `setting` that of its
        row in `settings`; a `trial_id` is unique, `own_id` is as in its sweep."""
        tables = []
        for i, (sweep, title) in enumerate(zip(self.sweeps, self.titles, strict=True)):
            rows = without_test(sweep).trials
            rows = rows.assign(sweep=i, own_id=rows["trial_id"], number=range(1, len(rows) + 1), key=keys(rows))
            if sweep.edges():
                ranges = rows.groupby(varied(rows) or ["label"])["learning_rate"].transform(range_of, count=RANGES)
                rows["key"] = [(*key[:-1], one) for key, one in zip(rows["key"], ranges, strict=True)]
            order = ["label", *varied(rows), "learning_rate", "seed"]
            if self.is_ranked(sweep):
                rows["score"] = rows.groupby("key")[f"{held_out(rows)}_accuracy"].transform("mean").astype(float)
                rows["first"] = rows["key"] == self.answers[i].best
                rows["score"] = rows["score"].where(~rows["regime"].eq("diverged"), -1)
                order = ["first", "score", *order]
            ascending = [name not in ("first", "score") for name in order]
            rows = rows.sort_values(order, ascending=ascending, kind="stable").drop(
                columns=["first", "score"], errors="ignore"
            )
            tables.append(rows.assign(sweep_name=title) if self.several else rows)
        trials = pd.concat(tables, ignore_index=True) if self.several else tables[0].reset_index(drop=True)
        if self.several:
            trials["trial_id"] = trials["sweep"].astype(str) + ":" + trials["trial_id"]
        parts = {name: layers(name) for name in trials["architecture"].unique()}
        if parts and all(parts.values()) and len(parts) == len({*parts.values()}):
            for name, values in zip(LAYERS, zip(*map(parts.get, trials["architecture"]), strict=True), strict=True):
                trials[name] = values
        number: dict[Any, int] = {}
        each = zip(trials["sweep"], trials["key"], strict=True)
        return trials.assign(setting=[number.setdefault(one, len(number)) for one in each])

    def row_of(self, sweep: int) -> dict[Any, int]:
        """Return the row in `trials` of each trial of a sweep, by the index of its own table."""
        own = self.trials[self.trials["sweep"] == sweep]
        number = dict(zip(own["own_id"], own.index, strict=True))
        return {index: number[trial_id] for index, trial_id in self.sweeps[sweep].trials["trial_id"].items()}

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """The epochs of all sweeps, with `row`, that of their trial in `trials`."""
        tables = [
            sweep.epochs.assign(trial_id=f"{i}:" + sweep.epochs["trial_id"]) if self.several else sweep.epochs
            for i, sweep in enumerate(map(without_test, self.sweeps))
        ]
        epochs = pd.concat(tables, ignore_index=True) if self.several else tables[0]
        epochs = epochs.assign(row=pd.Index(self.trials["trial_id"]).get_indexer(epochs["trial_id"]))
        return epochs[epochs["row"] >= 0]

    @cached_property
    def split(self) -> str:
        """The images on which trials are judged: those held out, or the test set if some trial held none out."""
        return held_out(self.trials)

    @cached_property
    def running(self) -> bool:
        """Whether a sweep is still running, so that the page will change."""
        return bool(self.trials["stop_reason"].isin(LIVE_REASONS).any())

    @cached_property
    def measures(self) -> list[Measure]:
        """What the maps can show, of which some epoch has a finite value. The first is the error on the images of
        `split`."""
        titles = {"validation": "held-out", "test": "test", "train": "training"}
        splits = sorted(titles, key=lambda name: name != self.split)
        wanted = [(f"{titles[one]} error", f"{one}_accuracy") for one in splits] + [("training loss", "train_loss")]
        wanted += [(words(name), name) for name in self.epochs if name.startswith("score_")]
        if len(self.trials) > LARGE:
            wanted = [wanted[0], ("training loss", "train_loss")]
        return [found for title, column in wanted if (found := self._measure(title, column)) is not None]

    def _measure(self, title: str, column: str) -> Measure | None:
        known = self.epochs.get(column, pd.Series(dtype=float)).to_numpy(dtype=float, na_value=math.nan)
        known, error, key = known[np.isfinite(known)], title.endswith("error"), title.replace(" ", "_")
        if not len(known):
            return None
        if error:
            facts = [data_facts(sweep.meta) for sweep in self.sweeps]
            least, guess = 50 / max(one.test_images for one in facts), 100 * (1 - facts[0].chance)
            values = np.maximum(100 * (1 - known), least)
            high = min(1.2 * max(values.max(), guess), 115)
            return Measure(key, title, column, True, Axis(min(0.6 * values.min(), high / 20), high), least, guess=guess)
        untrained = self.epochs.get("untrained_loss", pd.Series(dtype=float)).astype(float).median()
        log, loss = bool((known > 0).all()), title.endswith("loss") and bool(untrained > 0)
        most = (BEYOND if log else 1) * untrained if loss else math.inf
        axis = Axis.of(known[known <= most] if (known <= most).any() else [most], log, 1 if log else 0.1)
        last = self.trials.loc[self.trials["epochs_run"] > 0, column].to_numpy(float, na_value=math.nan)
        if not loss or (last <= most).all():
            return Measure(key, title, column, False, axis, axis.low if log else -math.inf, most)
        high = axis.high * (axis.high / axis.low) ** 0.08 if log else axis.high + 0.08 * (axis.high - axis.low)
        return Measure(key, title, column, False, axis._replace(high=high), axis.low, most, axis.high)

    @cached_property
    def kept_epochs(self) -> np.ndarray:
        """The epochs of which a page holds the curves: all, or every second, third, ... and the last one."""
        last = max(int(self.epochs["epoch"].max()) if len(self.epochs) else 0, 1)
        every = -(-max(len(self.trials), 1) * last // MOST_CELLS)
        return np.arange(last, 0, -every)[::-1]

    @cached_property
    def curves(self) -> dict[str, np.ndarray]:
        """The curves of each measure, of shape [trials, kept epochs]; NaN where there is no value."""
        column = pd.Index(self.kept_epochs).get_indexer(self.epochs["epoch"])
        row, known, found = self.epochs["row"].to_numpy(), column >= 0, {}
        for one in self.measures:
            found[one.key] = np.full((len(self.trials), len(self.kept_epochs)), np.nan)
            found[one.key][row[known], column[known]] = one.of(self.epochs)[known]
        return found

    @cached_property
    def heights(self) -> dict[str, np.ndarray]:
        """The height of each trial by measure; NaN if it finished no epoch."""
        return {one.key: one.of(self.trials, self.trials["epochs_run"]) for one in self.measures}

    @cached_property
    def settings(self) -> pd.DataFrame:
        """A row a setting: `sweep`, `learning_rate`, `name`, `seeds`, `regime` (the most frequent one), `said` of its
        seeds' regimes, `role` (`best`, `rival`, or nothing), and `trials`, the rows of its trials."""
        names, rows = varied(self.trials), []
        own_names = [varied(self.trials[self.trials["sweep"] == i]) for i in range(len(self.sweeps))]
        rates = told_apart(self.trials["learning_rate"])
        roles: dict[Any, str] = {}
        for i, one in enumerate(self.answers):
            rivals = one.rivals if len(one.rivals) <= FEW else ()  # marking hundreds would mark none
            roles |= {(i, key): "rival" for key in rivals} | {(i, one.best): "best"}
        # As Python's own rows: pandas takes milliseconds for each of thousands of groups.
        records = self.trials[["sweep", "key", "learning_rate", "regime", "epochs_run", *names]].to_dict("records")
        for trials in self._of_settings:
            first, seeds = records[trials[0]], [records[i]["regime"] for i in trials if records[i]["epochs_run"] > 0]
            regime = max(seeds, key=seeds.count) if seeds else ""
            least, most = (find(records[i]["learning_rate"] for i in trials) for find in (min, max))
            own = rates[least] if least == most else f"{rate(least, 3)}–{rate(most, 3)}"
            family = " ".join(_short(first[name]) for name in own_names[first["sweep"]])
            share = f"{seeds.count(regime)} of {len(trials)} {regime}" if len(trials) > 1 else regime
            role = roles.get((first["sweep"], first["key"]), "")
            rows.append((first["sweep"], math.sqrt(least * most), own, family, f"{family} {own}".strip(), len(trials),
                         regime, share if seeds else "–", role, trials))  # fmt: skip
        columns = "sweep learning_rate rate family name seeds regime said role trials".split()
        return pd.DataFrame(rows, columns=columns)

    @cached_property
    def _of_settings(self) -> list[list[int]]:
        found: dict[int, list[int]] = {}
        for row, number in enumerate(self.trials["setting"]):
            found.setdefault(number, []).append(row)
        return list(found.values())

    @cached_property
    def has_seeds(self) -> bool:
        return bool((self.settings["seeds"] > 1).any())

    def means(self, one: Measure) -> np.ndarray:
        """Return the mean of each setting with the ends of its interval, [settings, 3]: of the seeds that ran all their
        epochs and did not diverge, or else of all. The interval is Student's; two values have none. One seed's is that
        of as many images as were judged, for the measure by which settings compete."""
        trials, complete = self.trials, self.trials["epochs_run"] >= self.trials["epochs_asked"]
        competes = (complete & trials["regime"].ne("diverged")).to_numpy()
        heights, found = self.heights[one.key], np.full((len(self.settings), 3), np.nan)
        judged = trials["holdout"] if self.split == "validation" else data_facts(self.sweeps[0].meta).test_images
        images: Any = judged * trials["answers"].astype(float).fillna(1) if "answers" in trials else judged
        noise = np.full(len(heights), math.nan)
        if one.error and one is self.measures[0]:
            noise = 100 * Z * accuracy_noise(1 - heights / 100, images)
        for number, rows in enumerate(self._of_settings):
            known = [i for i in rows if not math.isnan(heights[i])]
            used = [i for i in known if competes[i]] or known
            values, wide = heights[used], math.nan
            if len(rows) == 1:
                wide = float(noise[rows[0]]) if competes[rows[0]] else math.nan
            elif len(values) > 2:
                wide = float(half_width(values.std(ddof=1), len(values)))
            if len(values):
                middle = float(values.mean())
                found[number] = middle - wide, middle, middle + wide
        return found

    @cached_property
    def varied(self) -> list[str]:
        """The settings in which the trials differ, other than the learning rate and the seed."""
        return [name for name in ["sweep", *FAMILY, "epochs_asked"] if self.trials[name].nunique() > 1]

    @cached_property
    def by_setting(self) -> list[Setting]:
        """The settings that vary, with the learning rate; the parts of networks stand in their place if these tell them
        apart."""
        parts = [name for name in LAYERS if name in self.trials and self.trials[name].nunique() > 1]
        others = [name for name in self.varied if not parts or name != "architecture"]
        return [self._setting(name) for name in ("learning_rate", *parts, *others)]

    def _setting(self, name: str) -> Setting:
        values = self.trials[name]
        numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
        if name != "sweep" and numeric and (values.nunique() > MOST_GROUPS or name == "learning_rate"):
            numbers = values.to_numpy(float)
            return Setting(
                name, numbers, [], Axis.of(numbers, bool(numbers.min() > 0 and numbers.max() >= 10 * numbers.min()))
            )
        codes, groups = pd.factorize(values, sort=True)
        spread = np.arange(len(codes)) * 0.618034 % 1 - 0.5  # evenly within a group, by the golden ratio
        said = [
            self.titles[one] if name == "sweep" else exactly(one.item() if hasattr(one, "item") else one)
            for one in groups
        ]
        return Setting(name, codes + 0.5 * spread, said, Axis(-0.6, len(groups) - 0.4, False))

    def left_s(self, sweep: Tables) -> float:
        """Return about how many seconds a running sweep still takes; NaN if too little is known."""
        trials, ended = sweep.trials, sweep.epochs["ended_at"].astype(float)
        live = trials[trials["stop_reason"].isin(LIVE_REASONS)]
        span = ended.max() - ended.min() if len(ended) > 1 else 0
        left = float((live["epochs_asked"] - live["epochs_run"]).clip(lower=0).sum())
        return left * span / (len(ended) - 1) if span > 0 else math.nan

    @cached_property
    def points(self) -> pd.DataFrame:
        """What drawings need of the trials: pandas takes long to choose rows of a wide table."""
        return self.trials[["sweep", "setting", "learning_rate", "regime", "epochs_run"]]

    def drawn(self, sweep: int) -> pd.DataFrame:
        """Return those of a sweep that have something to draw."""
        return self.points[((self.points["sweep"] == sweep) & (self.points["epochs_run"] > 0)).to_numpy()]

    def crowded(self, sweep: int) -> tuple[float, float] | None:
        """Return the learning rates about the best and its rivals, two more on either side, if there are too many rates
        to be told apart, and these are less than half of them."""
        settings = self.settings[self.settings["sweep"] == sweep]
        rates = np.unique(settings["learning_rate"])
        places = np.searchsorted(rates, settings["learning_rate"][settings["role"] != ""])
        if len(rates) <= FEW or not len(places):
            return None
        low, high = max(places.min() - 2, 0), min(places.max() + 2, len(rates) - 1)
        return (float(rates[low]), float(rates[high])) if high - low < len(rates) / 2 else None

    def families(self, sweep: int) -> list[tuple[str, pd.DataFrame]]:
        """Return the settings of a sweep by what they share but for the learning rate, with its name, at most
        `MOST_GROUPS`; of more, those with equal values of the first setting that varies, or none of a search."""
        settings = self.settings[self.settings["sweep"] == sweep]
        names = varied(self.trials[self.trials["sweep"] == sweep])
        if settings["family"].nunique() > MOST_GROUPS and names:
            first = self.trials.loc[[rows[0] for rows in settings["trials"]], names[0]].to_numpy()
            settings = settings.assign(family=[setting(names[0], value) for value in first])
        found = list(settings.groupby("family", sort=False))
        return found if len(found) <= MOST_GROUPS else [("", settings)]


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)[:18]
