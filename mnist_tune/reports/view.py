"""What the tables and the pictures of sweeps show: trials, rows, measures and axes,
before anything is drawn."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from mnist_tune.answers.settings import keys
from mnist_tune.columns import OWN_SCORE
from mnist_tune.judged import Judged
from mnist_tune.numbers import LEAST_DIGITS, digits_showing, exactly, rate, told_apart
from mnist_tune.regimes.contest import Contest
from mnist_tune.regimes.families import has, held_out, setting, varied
from mnist_tune.regimes.measured_edge import LEARNED
from mnist_tune.regimes.noise import accuracy_noise
from mnist_tune.regimes.outcomes import COMPETES, independent_answers_of, outcomes
from mnist_tune.regimes.replicates import half_width
from mnist_tune.reports.answer import Answer, answer
from mnist_tune.reports.findings import SPLITS
from mnist_tune.reports.names import shortened
from mnist_tune.reports.ranges import VERBS
from mnist_tune.reports.styles import LINES
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

BEYOND = 3.0
"""Losses above so many times the untrained one, and those that are not finite, lie at
the top of their axis."""

LEAST_SPAN = 1e-3
"""The least length of a linear axis of losses, as a share of the largest: what is less
may be rounding. Where losses may be negative, their zero means nothing, so that they
may differ by little of their size."""

RANGES = 24
"""Ranges of learning rates, shared among the families; of an edge half as many."""

NAME_LETTERS = 18
"""The most letters of a setting's value in the name of a curve."""

Z = 1.96
"""Half-width of a 95% interval, in standard errors."""


class Axis(NamedTuple):
    """An axis: its ends, and whether it is logarithmic."""

    low: float
    high: float
    log: bool = True
    accuracy: bool = False
    """Whether it is one of errors, which are written as accuracies: the smaller the
    error, the higher it lies."""
    ticks: dict[float, str] | None = None
    """What is written along it, if that is not round numbers."""
    marked: dict[float, str] | None = None
    """Heights that have a line, and what is written there: where guessing is, or what
    is off the scale."""

    @property
    def ends(self) -> tuple[float, float]:
        """Its left or lower end, and the other one."""
        return (self.high, self.low) if self.accuracy else (self.low, self.high)

    def share(self, value: Any) -> Any:
        """Return where a value lies on it: 0 at its left or at its bottom, 1 at the
        other end."""
        first, last, found = (
            np.log(one) if self.log else one for one in (*self.ends, value)
        )
        return (found - first) / (last - first)

    @classmethod
    def of(
        cls, values: Any, log: bool = True, least: float = 0.3, room: float = 0.06
    ) -> Axis:
        """Return the axis that holds these values with some room. What has no place on
        it is left out.

        Args:
            least: how long it is at least: in decades if it is logarithmic, else as a
                share of the largest value, since values have any unit.
        """
        found = np.asarray(values, dtype=float)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.log10(found) if log else found
        found = found[np.isfinite(found)]
        low, high = (
            (float(found.min()), float(found.max())) if len(found) else (-1.0, 0.0)
        )
        if not log:
            least *= max(abs(low), abs(high)) or 1.0
        middle, half = (low + high) / 2, max(high - low, least) * (0.5 + room)
        low, high = middle - half, middle + half
        return cls(10**low, 10**high) if log else cls(low, high, False)


class Measure(NamedTuple):
    """A measure of trials and epochs, and its axis."""

    title: str
    column: str
    """The column of `trials` and `epochs` that it comes from."""
    axis: Axis
    digits: int = LEAST_DIGITS
    """The significant digits of its values, unless it is an accuracy."""

    def place(self, values: np.ndarray) -> np.ndarray:
        """Return the heights of values: what is off the scale lies at its end, as do
        losses that are not finite."""
        with np.errstate(invalid="ignore"):
            found = np.clip(
                1 - values if self.axis.accuracy else values,
                self.axis.low,
                self.axis.high,
            )
        return np.where(
            np.isnan(found) & (measure_kind(self.column) == "loss"),
            self.axis.high,
            found,
        )

    def of(self, rows: pd.DataFrame) -> np.ndarray:
        """Return its values in rows of `trials` or `epochs`."""
        values: np.ndarray = rows.reindex(columns=[self.column])[self.column].to_numpy(
            dtype=float, na_value=math.nan
        )
        return values

    def said(self, value: float, error: float = 0.0) -> str:
        """Return a value as text, with the digits that such an error leaves to it."""
        if math.isnan(value):
            return "–"
        digits = max(self.digits, digits_showing(error, value))
        return f"{value:.4f}" if self.axis.accuracy else f"{value + 0.0:.{digits}g}"

    def error(self, value: float) -> str:
        """Return the half-width of an interval as text."""
        return f"{value:.4f}" if self.axis.accuracy else f"{value:.4g}"


class SettingAxis(NamedTuple):
    """A setting in which trials differ, and where each trial is on its axis."""

    name: str
    places: np.ndarray
    axis: Axis
    """Its ticks are the groups at the places 0, 1, 2, ..., unless it is one of
    numbers."""


def measure_kind(column: str) -> str:
    """Return `accuracy` or `loss`; nothing for a task's own score, whatever it is
    called."""
    return "" if column.startswith(OWN_SCORE) else column.rpartition("_")[2]


def spaced(name: str) -> str:
    """Return the name of a column as people say it."""
    return name.replace("_", " ")


def _texts(values: pd.Series) -> dict[Any, str]:
    """Return how the values of a setting are written in the names of curves: in few
    letters, but told apart."""
    different = values.unique().tolist()
    if pd.api.types.is_float_dtype(values):
        return told_apart(different, 3)
    cut = shortened(map(str, different), NAME_LETTERS)
    return {value: cut[str(value)] for value in different}


def range_of(rates: pd.Series, count: int) -> np.ndarray:
    """Return for each learning rate the number of its range, of at most so many. All
    ranges hold equally many different rates, since a searcher's rates are unevenly
    spread."""
    different = np.unique(rates)
    starts = [part[0] for part in np.array_split(different, min(count, len(different)))]
    return np.asarray(np.searchsorted(starts, rates, side="right"))


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
        parts = [
            [part for part in str(sweep.path).split("?")[0].split("/") if part] or ["."]
            for sweep in self.sweeps
        ]
        for count in range(1, max(map(len, parts)) + 1):
            titles = ["/".join(part[-count:]) for part in parts]
            if len(set(titles)) == len(titles):
                return titles
        return [f"{title} ({i})" for i, title in enumerate(titles, start=1)]

    @cached_property
    def differ(self) -> list[list[str]]:
        """The settings, other than the learning rate, in which the trials of each sweep
        differ."""
        return [
            varied(self.trials[self.trials["sweep"] == i])
            for i in range(len(self.sweeps))
        ]

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
        found = []
        for sweep in distinct(self.sweeps):
            tables, left_out = [sweep.trials, sweep.epochs], ("test_", "best_")
            if sweep.record.proposes_trials and held_out(sweep.trials) != "test":
                tables = [
                    one[[name for name in one if not name.startswith(left_out)]]
                    for one in tables
                ]
            found.append(tables)
        return found

    @cached_property
    def trials(self) -> pd.DataFrame:
        """The trials of all sweeps, those of a row together: by its values and its
        learning rate, or the best first (`is_ranked`). `sweep` is the number of a
        trial's sweep, `own_index` its index there, `key` that of its row and `setting`
        the row's number in `settings`; a `trial_id` is unique. For `competes` see
        `outcomes`. Of an edge, `learned` is 1 or 0, or NaN if a trial says nothing of
        it."""
        tables = []
        for i, (sweep, (rows, _)) in enumerate(
            zip(self.sweeps, self._tables, strict=True)
        ):
            facts = sweep.record.data
            rows = rows.assign(
                sweep=i, own_index=rows.index, key=self._keys(rows, sweep)
            )
            rows["competes"] = outcomes(sweep.trials, facts) == COMPETES
            if edges := sweep.edges():
                rows["learned"] = pd.concat(
                    [edge.outcomes[LEARNED] for edge in edges]
                ).astype(float)
            order = ["label", *varied(rows), "learning_rate", "seed"]
            if self.is_ranked(sweep):
                scores = facts.ranking.scores(rows, held_out(rows))
                failed = rows["regime"].eq("diverged") | np.isnan(scores)
                score = pd.Series(
                    np.where(failed, np.fmin.reduce(scores, initial=0) - 1, scores),
                    rows.index,
                )
                rows["behind"] = [key != self.answers[i].best for key in rows["key"]]
                rows["rank"] = -score.groupby(rows["key"]).transform("mean")
                order = ["behind", "rank", *order]
            tables.append(rows.sort_values(order, kind="stable"))
        trials = pd.concat(tables, ignore_index=True)
        return trials.assign(
            setting=pd.factorize(
                pd.Series(list(zip(trials["sweep"], trials["key"], strict=True)))
            )[0]
        )

    def _keys(self, rows: pd.DataFrame, sweep: Judged) -> list[Any]:
        """Return what the trials of a row have in common."""
        found, names = keys(rows), varied(rows) or ["label"]
        if self.rows == "trials":
            return [*rows["trial_id"]]
        if self.rows == "ranges" or sweep.edges():
            groups = rows.groupby(names, dropna=False)["learning_rate"]
            count = max(
                1, (RANGES // 2 if sweep.edges() else RANGES) // max(groups.ngroups, 1)
            )
            ranges = groups.transform(range_of, count=count)
            return [
                (*key[:-1], f"range {one}")
                for key, one in zip(found, ranges, strict=True)
            ]
        return found

    def of_contest(self, sweep: int, contest: Contest) -> list[int]:
        """Return the row of each setting of a contest; -1 for one without a trial."""
        own = self.trials[self.trials["sweep"] == sweep]
        known = dict(zip(own["key"], own["setting"], strict=True))
        return [known.get(key, -1) for key in keys(contest.table)]

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """The epochs of all sweeps, with `row`, that of their trial in `trials`."""
        epochs = pd.concat([epochs for _, epochs in self._tables], ignore_index=True)
        epochs = epochs.assign(
            row=pd.Index(self.trials["trial_id"]).get_indexer(epochs["trial_id"])
        )
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
        split, unit = held_out(self.trials), ", nats per token" * self.of_tokens
        splits = sorted(SPLITS, key=lambda name: name != split)
        found = [
            self._measure(f"{SPLITS[one]} accuracy", f"{one}_accuracy")
            for one in splits
        ]
        judged = [split] * (self.of_tokens or self.by_loss or not any(found))
        losses = [
            self._measure(f"{SPLITS[one]} loss{unit}", f"{one}_loss")
            for one in (*judged, "train")
        ]
        found = [*found, *losses] if self.by_accuracy else [*losses, *found]
        own = (name for name in self.epochs if name.startswith(OWN_SCORE))
        found += [
            self._measure(spaced(name.removeprefix(OWN_SCORE)), name) for name in own
        ]
        return sorted(
            (one for one in found if one is not None),
            key=lambda one: one.column not in self.ranked,
        )

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
        return [one for one in self.known if one.axis.accuracy and self.by_accuracy]

    @property
    def losses(self) -> list[Measure]:
        return [one for one in self.known if measure_kind(one.column) == "loss"]

    @property
    def of_tokens(self) -> bool:
        """Whether a sweep trained on tokens, whose loss is looked at as much as
        accuracy."""
        return any(sweep.record.data.positions > 1 for sweep in self.sweeps)

    @cached_property
    def measures(self) -> list[Measure]:
        """What the charts can show: of a large sweep the first accuracy and loss, and
        the scores that rank settings."""
        few = [*self.accuracies[:1], *self.losses[:1]]
        return [
            one
            for one in self.known
            if len(self.trials) <= LARGE or one in few or one.column in self.ranked
        ]

    def _measure(self, title: str, column: str) -> Measure | None:
        known = self.epochs.get(column, pd.Series(dtype=float)).to_numpy(
            dtype=float, na_value=math.nan
        )
        known = known[np.isfinite(known)]
        if not len(known):
            return None
        if measure_kind(column) == "accuracy":
            facts = [sweep.record.data for sweep in self.sweeps]
            errors = np.maximum(1 - known, 0.5 / max(one.test_images for one in facts))
            # else nobody knows the chance
            guesses = [1 - one.chance for one in facts if one.by_accuracy][:1]
            high = min(1.2 * max([errors.max(), *guesses]), 1.15)
            marked = dict.fromkeys(guesses, "guess") or None
            axis = Axis(
                min(0.6 * errors.min(), high / 20), high, accuracy=True, marked=marked
            )
            return Measure(title, column, axis)
        untrained = (
            self.epochs.get("untrained_loss", pd.Series(dtype=float))
            .dropna()
            .astype(float)
            .median()
        )
        log, loss = (
            bool((known > 0).all()),
            measure_kind(column) == "loss" and bool(untrained > 0),
        )
        # Where little can be learned, losses far above the untrained one would flatten
        # all others.
        beyond = (
            min(BEYOND, math.sqrt(max(untrained / known.min(), 1)))
            if log and loss
            else 1
        )
        most = beyond * untrained if loss else math.inf
        axis = Axis.of(
            known[known <= most] if (known <= most).any() else [most],
            log,
            0.3 if log else LEAST_SPAN,
        )
        last = self.trials.loc[self.trials["epochs_run"] > 0, column].to_numpy(
            float, na_value=math.nan
        )
        marked = (
            {axis.high: f"> {axis.high:.2g}"}
            if loss and not (last <= most).all()
            else None
        )
        return Measure(
            title, column, axis._replace(marked=marked), self._digits(column)
        )

    def _digits(self, column: str) -> int:
        """Return the significant digits with which settings that are told apart by a
        column differ in it. If they are ranked by one loss, those of others have as
        many."""
        name = measure_kind(column) or column
        rankings = [sweep.record.data.ranking.name for sweep in self.sweeps]
        digits = (
            one.digits
            for one, ranking in zip(self.answers, rankings, strict=True)
            if ranking == name
        )
        return max(digits, default=LEAST_DIGITS)

    @cached_property
    def kept_epochs(self) -> np.ndarray:
        """The epochs of which a page holds the curves: all, or every second, third, ...
        and the last one."""
        last = max(int(self.epochs["epoch"].max()) if len(self.epochs) else 0, 1)
        every = -(-max(len(self.trials), 1) * last // MOST_CELLS)
        return np.arange(last, 0, -every)[::-1]

    @cached_property
    def curves(self) -> dict[str, np.ndarray]:
        """The curves of each measure, of shape [trials, kept epochs]; NaN where there
        is no value."""
        column = pd.Index(self.kept_epochs).get_indexer(self.epochs["epoch"])
        row, known, found = self.epochs["row"].to_numpy(), column >= 0, {}
        for one in self.measures:
            found[one.column] = np.full(
                (len(self.trials), len(self.kept_epochs)), np.nan
            )
            found[one.column][row[known], column[known]] = one.place(
                one.of(self.epochs)
            )[known]
        return found

    @cached_property
    def settings(self) -> pd.DataFrame:
        """A row for each setting, trial or range: `sweep`, `learning_rate`, `rate` as
        text, `is_range` (whether it has several rates), `family`, what it has otherwise, `name`, `regime` (the most frequent one),
        `said` of its trials' regimes, `role` (`best`, `rival`, or nothing), and
        `trials`, the rows of its trials."""
        names, rows = varied(self.trials), []
        rates = told_apart(self.trials["learning_rate"])
        texts = {name: _texts(self.trials[name]) for name in names}
        roles: dict[Any, str] = {}
        for i, one in enumerate(self.answers):
            # marking hundreds would mark none
            rivals = one.rivals if len(one.rivals) <= FEW else ()
            roles |= {(i, key): "rival" for key in rivals} | {(i, one.best): "best"}
        # as in the sentence: of equally frequent regimes, the later one there
        order = [*VERBS]
        # As Python's own rows: pandas takes milliseconds for each of thousands of
        # groups.
        records = self.trials[
            ["sweep", "key", "learning_rate", "regime", "epochs_run", *names]
        ].to_dict("records")
        for trials in self.trials.groupby("setting").indices.values():
            first, of_rates = (
                records[trials[0]],
                [records[i]["learning_rate"] for i in trials],
            )
            regimes = Counter(
                records[i]["regime"] for i in trials if records[i]["epochs_run"] > 0
            )
            regime, *others = sorted(
                regimes, key=lambda one: (-regimes[one], -order.index(one))
            ) or [""]
            said = (
                [f"{regimes[regime]} of {len(trials)} {regime}"]
                if len(trials) > 1 and regime
                else [regime or "–"]
            )
            said += [f"{regimes[one]} {one}" for one in others]
            low, high = min(of_rates), max(of_rates)
            own = rates[low] if low == high else f"{rate(low, 3)}–{rate(high, 3)}"
            differ = [name for name in self.differ[first["sweep"]] if has(first, name)]
            family = " ".join(texts[name][first[name]] for name in differ)
            role = roles.get((first["sweep"], first["key"]), "")
            rows.append(
                (
                    first["sweep"],
                    math.sqrt(low * high),
                    own,
                    low < high,
                    family,
                    f"{family} {own}".strip(),
                    regime,
                    ", ".join(said),
                    role,
                    trials,
                )
            )
        columns = "sweep learning_rate rate is_range family name regime said role trials".split()
        settings = pd.DataFrame(rows, columns=columns)
        if settings.duplicated(["sweep", "name"]).any() and self.rows == "settings":
            labels = self.trials["label"].to_numpy()[
                [trials[0] for trials in settings["trials"]]
            ]
            settings["name"] = [
                f"{label} {name}".strip()
                for label, name in zip(labels, settings["name"], strict=True)
            ]
        return settings

    @cached_property
    def has_seeds(self) -> bool:
        return any(len(rows) > 1 for rows in self.settings["trials"])

    def values(self, one: Measure) -> Any:
        """Return, grouped by rows, the values of the trials that compete or, if none of
        a row does, of all that trained."""
        competes, row = self.trials["competes"], self.trials["setting"]
        counts = (self.trials["epochs_run"] > 0) & (
            competes | ~competes.groupby(row).transform("any")
        )
        return pd.Series(one.of(self.trials)).where(counts).groupby(row)

    @cached_property
    def means(self) -> dict[str, np.ndarray]:
        """By measure, the mean of each row's `values` with the ends of its interval,
        [rows, 3]. The interval is Student's; two values have none. One seed's is that
        of as many images as were judged, for the measure by which settings compete.
        What differs in more than its seeds has none."""
        return {one.column: self._means(one) for one in self.known}

    def _means(self, one: Measure) -> np.ndarray:
        values = self.values(one)
        middle, wide = (
            values.mean().to_numpy(),
            half_width(values.std().to_numpy(), values.count().to_numpy()),
        )
        wide[self.settings["is_range"].to_numpy(bool)] = math.nan
        if one in self.accuracies[:1]:
            first = self.trials.iloc[[rows[0] for rows in self.settings["trials"]]]
            images = independent_answers_of(
                first, self.sweeps[0].record.data, held_out(self.trials)
            )
            alone = (
                self.settings["trials"].map(len).eq(1).to_numpy()
                & first["competes"].to_numpy()
            )
            wide[alone] = Z * accuracy_noise(one.of(first), images)[alone]
        return np.column_stack([middle - wide, middle, middle + wide])

    def maps(self, sweep: int) -> list[SettingAxis]:
        """Return what the last values of a search's trials can be drawn by: their rank,
        their learning rate, and the settings in which they differ."""
        own = self.trials[self.trials["sweep"] == sweep]
        found = [
            self._setting(name)
            for name in ("learning_rate", *self.differ[sweep])
            if own[name].nunique() > 1
        ]
        rank = (self.trials["setting"] - own["setting"].min() + 1).to_numpy(float)
        count = own["setting"].nunique()
        return [
            SettingAxis("rank", rank, Axis.of([1, count], False, 1 / count)),
            *found,
        ]

    def _setting(self, name: str) -> SettingAxis:
        values = self.trials[name]
        numeric = pd.api.types.is_numeric_dtype(
            values
        ) and not pd.api.types.is_bool_dtype(values)
        if numeric and (values.nunique() > MOST_GROUPS or name == "learning_rate"):
            numbers = values.to_numpy(float)
            log = bool(numbers.min() > 0 and numbers.max() >= 10 * numbers.min())
            return SettingAxis(name, numbers, Axis.of(numbers, log))
        codes, groups = pd.factorize(values, sort=True)
        # evenly within a group, by the golden ratio
        spread = np.arange(len(codes)) * 0.618034 % 1 - 0.5
        said = {
            float(at): exactly(one.item() if hasattr(one, "item") else one)
            for at, one in enumerate(groups)
        }
        return SettingAxis(
            name, codes + 0.5 * spread, Axis(-0.6, len(groups) - 0.4, False, ticks=said)
        )

    @cached_property
    def points(self) -> pd.DataFrame:
        """What drawings need of the trials: pandas takes long to choose rows of a wide
        table. `look` names the colour of each: that of its regime. Where there are
        several families, it is that of its family, and in a decision that of its
        setting: there all have several seeds, and mostly one regime."""
        looks = self.trials["regime"].to_numpy(object, copy=True)
        for i, sweep in enumerate(self.sweeps):
            for _, look, part in self.families(i):
                looks[np.concatenate([*part["trials"]])] = look
            if sweep.decision is not None:
                own = (self.trials["sweep"] == i).to_numpy()
                # the best first
                places = self.trials["setting"][own] - self.trials["setting"][own].min()
                looks[own] = [f"line{place % len(LINES)}" for place in places]
        return self.trials[
            ["sweep", "setting", "learning_rate", "regime", "epochs_run"]
        ].assign(look=looks)

    def drawn(self, sweep: int) -> pd.DataFrame:
        """Return those of a sweep that have something to draw."""
        return self.points[
            (
                (self.points["sweep"] == sweep) & (self.points["epochs_run"] > 0)
            ).to_numpy()
        ]

    def crowded(self, sweep: int) -> tuple[float, float] | None:
        """Return the learning rates about the best and its rivals, two more on either
        side, if there are too many rates to be told apart, and these are less than half
        of them."""
        settings = self.settings[self.settings["sweep"] == sweep]
        rates = np.unique(settings["learning_rate"])
        places = np.searchsorted(
            rates, settings["learning_rate"][settings["role"] != ""]
        )
        if len(rates) <= FEW or not len(places):
            return None
        low, high = max(places.min() - 2, 0), min(places.max() + 2, len(rates) - 1)
        return (
            (float(rates[low]), float(rates[high]))
            if high - low < len(rates) / 2
            else None
        )

    def families(self, sweep: int) -> list[tuple[str, str, pd.DataFrame]]:
        """Return the settings of a sweep by what they share but for the learning rate,
        with its name and its look, at most `MOST_GROUPS`; of more, those with equal
        values of the first setting that varies. Those that are ranked, or are one
        family, are not divided: they have the looks of their regimes."""
        settings = self.settings[self.settings["sweep"] == sweep]
        names = self.differ[sweep]
        if settings["family"].nunique() > MOST_GROUPS and names:
            first = self.trials.loc[
                [rows[0] for rows in settings["trials"]], names[0]
            ].to_numpy()
            settings = settings.assign(
                family=[setting(names[0], value) for value in first]
            )
        found = list(settings.groupby("family", sort=False))
        if self.is_ranked(self.sweeps[sweep]) or not 1 < len(found) <= MOST_GROUPS:
            return []
        return [
            (name, f"line{i % len(LINES)}", family)
            for i, (name, family) in enumerate(found)
        ]
