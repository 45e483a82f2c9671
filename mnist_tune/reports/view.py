"""What the tables and the pictures of sweeps show: trials, rows and measures, before
anything is drawn."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from mnist_tune.answers.settings import keys
from mnist_tune.columns import OWN_SCORE
from mnist_tune.judged import Judged
from mnist_tune.numbers import LEAST_DIGITS, exactly, rate, told_apart
from mnist_tune.regimes.contest import Contest
from mnist_tune.regimes.families import FAMILY, has, held_out, setting, varied
from mnist_tune.regimes.measured_edge import LEARNED
from mnist_tune.regimes.noise import accuracy_noise
from mnist_tune.regimes.outcomes import COMPETES, independent_answers_of, outcomes
from mnist_tune.regimes.replicates import half_width
from mnist_tune.reports.answer import Answer, answer
from mnist_tune.reports.findings import SPLITS
from mnist_tune.reports.measures import (
    Axis,
    Measure,
    SettingAxis,
    accuracy_axis,
    loss_axis,
    measure_kind,
    numbers_of,
    score_axis,
)
from mnist_tune.reports.names import shortened
from mnist_tune.reports.ranges import VERBS
from mnist_tune.reports.styles import LINES
from mnist_tune.results.arguments import CALLS, arguments_of
from mnist_tune.results.tables import distinct
from mnist_tune.trial import LIVE_REASONS

FEW = 24
"""Up to this many settings, each curve is named."""

MOST_CURVES = 300
"""The most curves that are drawn; a page's script draws a chosen one that is not."""

LARGE = 200
"""With more trials than this, a page shows two measures only."""

MOST_CELLS = 2**18
"""The most epochs of trials whose curves a page holds in full: of more, every second,
third, ... and the last one."""

MOST_GROUPS = 12
"""The most different values of a setting that are shown as groups, or as lines; of more
numbers there is an axis."""

RANGES = 24
"""Ranges of learning rates, shared among the families; of an edge half as many."""

NAME_LETTERS = 18
"""The most letters of a setting's value in the name of a curve."""

Z = 1.96
"""Half-width of a 95% interval, in standard errors."""


def spaced(name: str) -> str:
    """Return the name of a column as people say it."""
    return name.replace("_", " ")


def _texts(values: pd.Series) -> list[str]:
    """Return how each trial's value of a setting is written in the names of curves: in
    few letters, but told apart. An argument's has its name, and is empty where it is
    not given."""
    different = values.dropna().unique().tolist()
    if pd.api.types.is_float_dtype(values):
        texts = told_apart(different, 3)
    else:
        short = shortened(map(str, different), NAME_LETTERS)
        texts = {value: short[str(value)] for value in different}
    if is_argument(str(values.name)):
        texts = {value: f"{values.name}={text}" for value, text in texts.items()}
    return [texts.get(value, "") for value in values.tolist()]


def is_argument(name: str) -> bool:
    """Return whether a shown setting is an argument."""
    return name not in FAMILY and name != "epochs_asked"


def shown_settings(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the settings in which trials differ, other than the learning rate, as they
    are shown: `net.py:cnn(width=16)` as its name and its width, if they differ."""
    shown = [trials[[]]]
    for name in varied(trials):
        shown.append(_parts(trials[name]) if name in CALLS else trials[[name]])
    return pd.concat(shown, axis=1)


def _parts(calls: pd.Series) -> pd.DataFrame:
    """Return those of the names and arguments of calls that differ or, if others don't
    tell them apart, that only some have; or else the calls themselves."""
    names = calls.str.partition("(")[0]
    parts = pd.concat([names.rename(calls.name), arguments_of(calls)], axis=1)
    for differs in (parts.nunique() > 1, parts.nunique(dropna=False) > 1):
        shown = parts.loc[:, differs]
        count = len(shown.drop_duplicates())
        if count == calls.nunique() and not shown.empty:
            return shown
    return calls.to_frame()


def _axis_of(values: pd.Series) -> SettingAxis:
    """Return where each trial is on the axis of a setting."""
    name = str(values.name)
    is_number = pd.api.types.is_numeric_dtype(values)
    is_number &= not pd.api.types.is_bool_dtype(values)
    has_many = name == "learning_rate" or values.nunique() > MOST_GROUPS
    if is_number and has_many:
        numbers = values.to_numpy(float)
        low, high = np.nanmin(numbers), np.nanmax(numbers)
        is_wide = bool(low > 0 and high >= 10 * low)
        return SettingAxis(name, numbers, Axis.of(numbers, log=is_wide))
    codes, groups = pd.factorize(values, sort=True, use_na_sentinel=False)
    # evenly within a group, by the golden ratio
    spread = np.arange(len(codes)) * 0.618034 % 1 - 0.5
    ticks = {}
    for place, group in enumerate(groups.tolist()):
        ticks[float(place)] = "–" if pd.isna(group) else exactly(group)
    axis = Axis(-0.6, len(groups) - 0.4, False, ticks=ticks)
    return SettingAxis(name, codes + 0.5 * spread, axis)


def _without_test(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table without the scores on the test set."""
    names = [name for name in table if not name.startswith(("test_", "best_"))]
    return table[names]


def _regimes(trials: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Return the most frequent regime of the trials of a row, and how many of them have
    each regime, in words."""
    begun = [trial["regime"] for trial in trials if trial["epochs_run"] > 0]
    if not begun:
        return "", "–"
    # as in the sentence: of equally frequent regimes, the later one there
    order = list(VERBS)
    counts = Counter(begun)
    regimes = sorted(counts, key=lambda name: (-counts[name], -order.index(name)))
    first, *rest = regimes
    text = first
    if len(trials) > 1:
        text = f"{counts[first]} of {len(trials)} {first}"
    texts = [text, *(f"{counts[name]} {name}" for name in rest)]
    return first, ", ".join(texts)


def range_of(rates: pd.Series, count: int) -> np.ndarray:
    """Return for each learning rate the number of its range, of at most so many. All
    ranges hold equally many different rates, since a searcher's rates are unevenly
    spread."""
    different = np.unique(rates)
    parts = np.array_split(different, min(count, len(different)))
    starts = [part[0] for part in parts]
    return np.asarray(np.searchsorted(starts, rates, side="right"))


class _Row(NamedTuple):
    """A row of the table: a setting, a trial, or a range of learning rates."""

    sweep: int
    learning_rate: float
    rate: str
    """The learning rate as text."""
    is_range: bool
    """Whether its trials have several learning rates."""
    family: str
    """What it has otherwise."""
    name: str
    regime: str
    """The most frequent one."""
    regimes: str
    """Those of its trials, in words."""
    role: str
    """`best`, `rival`, or nothing."""
    trials: np.ndarray
    """The rows of its trials."""


@dataclass(frozen=True)
class View:
    """One or several sweeps side by side, in one table of trials."""

    sweeps: Sequence[Judged]
    where: str = ""
    """How the path of the sweep is written in commands, by default in full."""
    rows: Literal["settings", "trials", "ranges"] = "settings"
    """What has a row of its own: a setting, a trial, or a range of learning rates. Of
    an edge, settings are ranges."""

    @cached_property
    def answers(self) -> list[Answer]:
        return [answer(sweep, self.where) for sweep in self.sweeps]

    @cached_property
    def titles(self) -> list[str]:
        """The name of each sweep: the last folders of its path in which the sweeps
        differ."""
        paths = []
        for sweep in self.sweeps:
            path, _, _ = str(sweep.path).partition("?")
            folders = [folder for folder in path.split("/") if folder]
            paths.append(folders or ["."])
        longest = max(map(len, paths))
        for count in range(1, longest + 1):
            titles = ["/".join(folders[-count:]) for folders in paths]
            if len(set(titles)) == len(titles):
                return titles
        return [f"{title} ({i})" for i, title in enumerate(titles, start=1)]

    @cached_property
    def shown(self) -> pd.DataFrame:
        """The settings of all trials, as they are shown (`shown_settings`)."""
        return shown_settings(self.trials)

    @cached_property
    def differ(self) -> list[list[str]]:
        """The settings of `shown` in which the trials of each sweep differ."""
        differ = []
        for number in range(len(self.sweeps)):
            own = self.shown[self.trials["sweep"] == number]
            values = own.nunique(dropna=False)
            differ.append([name for name in own if values[name] > 1])
        return differ

    def is_ranked(self, sweep: Judged) -> bool:
        """Whether a sweep compares settings of any kind, so that its rows are best
        first: a search or a decision."""
        if sweep.decision is not None:
            return True
        return sweep.record.proposes_trials and not sweep.edges()

    @cached_property
    def _tables(self) -> list[list[pd.DataFrame]]:
        """The trials and the epochs of each sweep, with ids that differ; without the
        test set's scores if a search compares its trials on images held out."""
        tables = []
        for sweep in distinct(self.sweeps):
            trials, epochs = sweep.trials, sweep.epochs
            if sweep.record.proposes_trials and held_out(trials) != "test":
                trials, epochs = _without_test(trials), _without_test(epochs)
            tables.append([trials, epochs])
        return tables

    @cached_property
    def trials(self) -> pd.DataFrame:
        """The trials of all sweeps, those of a row together: by its values and its
        learning rate, or the best first (`is_ranked`). `sweep` is the number of a
        trial's sweep, `own_index` its index there, `key` that of its row and `setting`
        the row's number in `settings`; a `trial_id` is unique. For `competes` see
        `outcomes`. Of an edge, `learned` is 1 or 0, or NaN if a trial says nothing of
        it."""
        tables = map(self._trials, range(len(self.sweeps)))
        trials = pd.concat(tables, ignore_index=True)
        rows = pd.Series(list(zip(trials["sweep"], trials["key"], strict=True)))
        numbers, _ = pd.factorize(rows)
        return trials.assign(setting=numbers)

    def _trials(self, number: int) -> pd.DataFrame:
        """Return the trials of a sweep in the order of their rows."""
        sweep = self.sweeps[number]
        trials, _ = self._tables[number]
        facts = sweep.record.data
        keys_of_rows = self._keys(trials, sweep)
        trials = trials.assign(sweep=number, own_index=trials.index, key=keys_of_rows)
        trials["competes"] = outcomes(sweep.trials, facts) == COMPETES
        edges = sweep.edges()
        if edges:
            learned = pd.concat([edge.outcomes[LEARNED] for edge in edges])
            trials["learned"] = learned.astype(float)
        order = [trials[["label"]], shown_settings(trials)]
        order.append(trials[["learning_rate", "seed"]])
        if self.is_ranked(sweep):
            scores = facts.ranking.scores(trials, held_out(trials))
            failed = trials["regime"].eq("diverged") | np.isnan(scores)
            worst = np.fmin.reduce(scores, initial=0)
            score = pd.Series(np.where(failed, worst - 1, scores), trials.index)
            best = self.answers[number].best
            trials["behind"] = [key != best for key in trials["key"]]
            trials["rank"] = -score.groupby(trials["key"]).transform("mean")
            order.insert(0, trials[["behind", "rank"]])
        # an argument may have any name
        values = pd.concat(order, axis=1)
        values.columns = range(len(values.columns))
        values = values.sort_values(list(values), kind="stable")
        return trials.loc[values.index]

    def _keys(self, trials: pd.DataFrame, sweep: Judged) -> list[Any]:
        """Return what the trials of a row have in common."""
        if self.rows == "trials":
            return [*trials["trial_id"]]
        settings = keys(trials)
        is_edge = bool(sweep.edges())
        if self.rows != "ranges" and not is_edge:
            return settings
        names = varied(trials) or ["label"]
        groups = trials.groupby(names, dropna=False)["learning_rate"]
        most = RANGES // 2 if is_edge else RANGES
        count = max(most // max(groups.ngroups, 1), 1)
        ranges = groups.transform(range_of, count=count)
        keys_of_ranges = []
        for (*family, _), number in zip(settings, ranges, strict=True):
            keys_of_ranges.append((*family, f"range {number}"))
        return keys_of_ranges

    def of_contest(self, sweep: int, contest: Contest) -> list[int]:
        """Return the row of each setting of a contest; -1 for one without a trial."""
        own = self.trials[self.trials["sweep"] == sweep]
        rows = dict(zip(own["key"], own["setting"], strict=True))
        return [rows.get(key, -1) for key in keys(contest.table)]

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """The epochs of all sweeps, with `row`, that of their trial in `trials`."""
        tables = [epochs for _, epochs in self._tables]
        epochs = pd.concat(tables, ignore_index=True)
        ids = pd.Index(self.trials["trial_id"])
        epochs = epochs.assign(row=ids.get_indexer(epochs["trial_id"]))
        return epochs[epochs["row"] >= 0]

    @cached_property
    def running(self) -> bool:
        """Whether a sweep is still running, so that the page will change."""
        return bool(self.trials["stop_reason"].isin(LIVE_REASONS).any())

    @cached_property
    def known(self) -> list[Measure]:
        """Accuracies, losses, and a task's own scores of which some epoch has a finite
        one; first the scores by which settings are ranked. The first accuracy is that
        on the images by which trials are judged (`held_out`). Losses are the training
        loss and, where labels follow them or they are those of tokens, before it that
        of the images or tokens by which trials are judged. They come before accuracies
        that no label follows."""
        split = held_out(self.trials)
        splits = sorted(SPLITS, key=lambda name: name != split)
        accuracies: list[Measure] = []
        for name in splits:
            title = f"{SPLITS[name]} accuracy"
            accuracies += self._measure(title, f"{name}_accuracy")
        of_losses = ["train"]
        if self.of_tokens or self.by_loss or not accuracies:
            of_losses = [split, "train"]
        losses: list[Measure] = []
        for name in of_losses:
            title = f"{SPLITS[name]} loss"
            if self.of_tokens:
                title += ", nats per token"
            losses += self._measure(title, f"{name}_loss")
        scores: list[Measure] = []
        for name in self.epochs:
            if name.startswith(OWN_SCORE):
                title = spaced(name.removeprefix(OWN_SCORE))
                scores += self._measure(title, name)
        measures = [*losses, *accuracies, *scores]
        if self.by_accuracy:
            measures = [*accuracies, *losses, *scores]
        return sorted(measures, key=lambda measure: measure.column not in self.ranked)

    @cached_property
    def ranked(self) -> set[str]:
        """What settings are ranked by: accuracy, loss, or the columns of own scores."""
        return {sweep.record.data.ranking.name for sweep in self.sweeps}

    @cached_property
    def by_accuracy(self) -> bool:
        """Whether the labels of a sweep follow accuracy."""
        return any(sweep.record.data.by_accuracy for sweep in self.sweeps)

    @cached_property
    def by_loss(self) -> bool:
        """Whether those of a sweep follow the loss, though it may have accuracies,
        too."""
        return not all(sweep.record.data.by_accuracy for sweep in self.sweeps)

    @property
    def accuracies(self) -> list[Measure]:
        """The accuracies; none if no label follows them."""
        if not self.by_accuracy:
            return []
        return [measure for measure in self.known if measure.axis.accuracy]

    @property
    def losses(self) -> list[Measure]:
        return [
            measure for measure in self.known if measure_kind(measure.column) == "loss"
        ]

    @property
    def of_tokens(self) -> bool:
        """Whether a sweep trained on tokens, whose loss is looked at as much as
        accuracy."""
        return any(sweep.record.data.positions > 1 for sweep in self.sweeps)

    @cached_property
    def measures(self) -> list[Measure]:
        """What the charts can show: of a large sweep the first accuracy and loss, and
        the scores that rank settings."""
        if len(self.trials) <= LARGE:
            return list(self.known)
        few = [*self.accuracies[:1], *self.losses[:1]]
        return [
            measure
            for measure in self.known
            if measure in few or measure.column in self.ranked
        ]

    def _measure(self, title: str, column: str) -> Iterator[Measure]:
        """Yield a measure, if some epoch has a finite value of it."""
        values = numbers_of(self.epochs, column)
        values = values[np.isfinite(values)]
        if not len(values):
            return
        kind = measure_kind(column)
        if kind == "accuracy":
            facts = [sweep.record.data for sweep in self.sweeps]
            images = max(data.test_images for data in facts)
            # without labels that follow accuracy nobody knows the chance
            chances = [data.chance for data in facts if data.by_accuracy]
            chance = next(iter(chances), None)
            axis = accuracy_axis(values, images, chance)
            yield Measure(title, column, axis)
            return
        untrained = math.nan
        if "untrained_loss" in self.epochs:
            losses = self.epochs["untrained_loss"].dropna()
            untrained = losses.astype(float).median()
        if kind == "loss" and untrained > 0:
            ran = self.trials[self.trials["epochs_run"] > 0]
            axis = loss_axis(values, numbers_of(ran, column), untrained)
        else:
            axis = score_axis(values)
        yield Measure(title, column, axis, self._digits(column))

    def _digits(self, column: str) -> int:
        """Return the significant digits with which settings that are told apart by a
        column differ in it. If they are ranked by one loss, those of others have as
        many."""
        name = measure_kind(column) or column
        digits = [
            answer.digits
            for answer, sweep in zip(self.answers, self.sweeps, strict=True)
            if sweep.record.data.ranking.name == name
        ]
        return max(digits, default=LEAST_DIGITS)

    @cached_property
    def kept_epochs(self) -> np.ndarray:
        """The epochs of which a page holds the curves: all, or every second, third, ...
        and the last one."""
        last = 1
        if len(self.epochs):
            last = max(int(self.epochs["epoch"].max()), 1)
        cells = max(len(self.trials), 1) * last
        every = math.ceil(cells / MOST_CELLS)
        return np.arange(last, 0, -every)[::-1]

    @cached_property
    def curves(self) -> dict[str, np.ndarray]:
        """The curves of each measure, of shape [trials, kept epochs]; NaN where there
        is no value."""
        row = self.epochs["row"].to_numpy()
        column = pd.Index(self.kept_epochs).get_indexer(self.epochs["epoch"])
        is_held = column >= 0
        shape = len(self.trials), len(self.kept_epochs)
        curves = {}
        for measure in self.measures:
            heights = measure.place(measure.of(self.epochs))
            curve = np.full(shape, np.nan)
            curve[row[is_held], column[is_held]] = heights[is_held]
            curves[measure.column] = curve
        return curves

    @cached_property
    def settings(self) -> pd.DataFrame:
        """A row for each setting, trial or range (`_Row`)."""
        rates = told_apart(self.trials["learning_rate"])
        texts = {name: _texts(self.shown[name]) for name in self.shown}
        # As Python's own rows: pandas takes milliseconds for each of thousands of
        # groups.
        columns = ["sweep", "key", "learning_rate", "regime", "epochs_run", "optimizer"]
        records = self.trials[columns].to_dict("records")
        rows = []
        for trials in self.trials.groupby("setting").indices.values():
            own = [records[i] for i in trials]
            first = own[0]
            sweep = first["sweep"]
            low = min(trial["learning_rate"] for trial in own)
            high = max(trial["learning_rate"] for trial in own)
            text = f"{rate(low, 3)}–{rate(high, 3)}"
            if low == high:
                text = rates[low]
            differ = [name for name in self.differ[sweep] if has(first, name)]
            family = " ".join(filter(None, (texts[name][trials[0]] for name in differ)))
            if differ and not family:
                family = "default"
            regime, counts = _regimes(own)
            row = _Row(
                sweep=sweep,
                learning_rate=math.sqrt(low * high),
                rate=text,
                is_range=low < high,
                family=family,
                name=f"{family} {text}".strip(),
                regime=regime,
                regimes=counts,
                role=self._roles.get((sweep, first["key"]), ""),
                trials=trials,
            )
            rows.append(row)
        settings = pd.DataFrame(rows, columns=_Row._fields)
        has_equal_names = settings.duplicated(["sweep", "name"]).any()
        if has_equal_names and self.rows == "settings":
            first_trials = [trials[0] for trials in settings["trials"]]
            labels = self.trials["label"].to_numpy()[first_trials]
            named = zip(labels, settings["name"], strict=True)
            settings["name"] = [f"{label} {name}".strip() for label, name in named]
        return settings

    @cached_property
    def _roles(self) -> dict[tuple[int, Any], str]:
        """What settings are, by their sweep and key: `best`, or `rival`."""
        roles: dict[tuple[int, Any], str] = {}
        for i, outcome in enumerate(self.answers):
            if len(outcome.rivals) <= FEW:  # marking hundreds would mark none
                roles |= {(i, key): "rival" for key in outcome.rivals}
            roles[i, outcome.best] = "best"
        return roles

    @cached_property
    def has_seeds(self) -> bool:
        return any(len(rows) > 1 for rows in self.settings["trials"])

    def values(self, measure: Measure) -> Any:
        """Return, grouped by rows, the values of the trials that compete or, if none of
        a row does, of all that trained."""
        trained = self.trials["epochs_run"] > 0
        competes, row = self.trials["competes"], self.trials["setting"]
        none_competes = ~competes.groupby(row).transform("any")
        counts = trained & (competes | none_competes)
        values = pd.Series(measure.of(self.trials))
        return values.where(counts).groupby(row)

    @cached_property
    def means(self) -> dict[str, np.ndarray]:
        """By measure, the mean of each row's `values` with the ends of its interval,
        [rows, 3]. The interval is Student's; two values have none. One seed's is that
        of as many images as were judged, for the measure by which settings compete.
        What differs in more than its seeds has none."""
        return {measure.column: self._means(measure) for measure in self.known}

    def _means(self, measure: Measure) -> np.ndarray:
        values = self.values(measure)
        middle = values.mean().to_numpy()
        deviations, counts = values.std().to_numpy(), values.count().to_numpy()
        half = half_width(deviations, counts)
        is_range = self.settings["is_range"].to_numpy(bool)
        half[is_range] = math.nan
        if measure in self.accuracies[:1]:
            trials = self.settings["trials"]
            first = self.trials.iloc[[rows[0] for rows in trials]]
            data = self.sweeps[0].record.data
            images = independent_answers_of(first, data, held_out(self.trials))
            noise = accuracy_noise(measure.of(first), images)
            has_one_seed = trials.map(len).eq(1).to_numpy()
            one_seed = has_one_seed & first["competes"].to_numpy()
            half[one_seed] = Z * noise[one_seed]
        return np.column_stack([middle - half, middle, middle + half])

    def maps(self, sweep: int) -> list[SettingAxis]:
        """Return what the last values of a search's trials can be drawn by: their rank,
        their learning rate, and the settings in which they differ."""
        own = self.trials[self.trials["sweep"] == sweep]
        first = own["setting"].min()
        ranks = (self.trials["setting"] - first + 1).to_numpy(float)
        count = own["setting"].nunique()
        axes = [SettingAxis("rank", ranks, Axis.of([1, count], False, 1 / count))]
        if own["learning_rate"].nunique() > 1:
            axes.append(_axis_of(self.trials["learning_rate"]))
        axes += [_axis_of(self.shown[name]) for name in self.differ[sweep]]
        return axes

    @cached_property
    def points(self) -> pd.DataFrame:
        """What drawings need of the trials: pandas takes long to choose rows of a wide
        table. `look` names the colour of each: that of its regime. Where there are
        several families, it is that of its family, and in a decision that of its
        setting: there all have several seeds, and mostly one regime."""
        looks = self.trials["regime"].to_numpy(object, copy=True)
        for i, sweep in enumerate(self.sweeps):
            for _, look, family in self.families(i):
                rows = np.concatenate([*family["trials"]])
                looks[rows] = look
            if sweep.decision is not None:
                own = (self.trials["sweep"] == i).to_numpy()
                settings = self.trials["setting"][own]
                places = settings - settings.min()  # the best first
                looks[own] = [f"line{place % len(LINES)}" for place in places]
        names = ["sweep", "setting", "learning_rate", "regime", "epochs_run"]
        return self.trials[names].assign(look=looks)

    def drawn(self, sweep: int) -> pd.DataFrame:
        """Return those of a sweep that have something to draw."""
        is_own = self.points["sweep"] == sweep
        has_begun = self.points["epochs_run"] > 0
        return self.points[(is_own & has_begun).to_numpy()]

    def crowded(self, sweep: int) -> tuple[float, float] | None:
        """Return the learning rates about the best and its rivals, two more on either
        side, if there are too many rates to be told apart, and these are less than half
        of them."""
        settings = self.settings[self.settings["sweep"] == sweep]
        rates = np.unique(settings["learning_rate"])
        near = settings["learning_rate"][settings["role"] != ""]
        if len(rates) <= FEW or not len(near):
            return None
        places = np.searchsorted(rates, near)
        low = max(places.min() - 2, 0)
        high = min(places.max() + 2, len(rates) - 1)
        if high - low >= len(rates) / 2:
            return None
        return float(rates[low]), float(rates[high])

    def families(self, sweep: int) -> list[tuple[str, str, pd.DataFrame]]:
        """Return the settings of a sweep by what they share but for the learning rate,
        with its name and its look, at most `MOST_GROUPS`; of more, those with equal
        values of the first setting that varies. Those that are ranked, or are one
        family, are not divided: they have the looks of their regimes."""
        if self.is_ranked(self.sweeps[sweep]):
            return []
        settings = self.settings[self.settings["sweep"] == sweep]
        names = self.differ[sweep]
        if names and settings["family"].nunique() > MOST_GROUPS:
            first_name = names[0]
            first_trials = [rows[0] for rows in settings["trials"]]
            values = self.shown.loc[first_trials, first_name].tolist()
            texts = [setting(first_name, value) for value in values]
            settings = settings.assign(family=texts)
        groups = list(settings.groupby("family", sort=False))
        if not 1 < len(groups) <= MOST_GROUPS:
            return []
        families = []
        for i, (name, family) in enumerate(groups):
            families.append((name, f"line{i % len(LINES)}", family))
        return families
