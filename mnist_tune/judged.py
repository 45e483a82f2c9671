"""The tables of a sweep, and what follows from them: which setting is best, what a
decision or a search for an edge found."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from mnist_tune import storage
from mnist_tune.columns import TRIALS
from mnist_tune.errors import UserError
from mnist_tune.regimes.contest import CONTENDERS, Contest
from mnist_tune.regimes.decision import late_falls, standing, to_decide
from mnist_tune.regimes.families import families, whole_epochs
from mnist_tune.regimes.labels import label_trials
from mnist_tune.regimes.learned_share import loss_noises, noise_alone
from mnist_tune.regimes.measured_edge import MeasuredEdge, measured_edges
from mnist_tune.regimes.replicates import CONFIGURATION, summarise_replicates
from mnist_tune.results.arguments import with_arguments
from mnist_tune.results.tables import Tables, own_scores, read_tables
from mnist_tune.storage import Place
from mnist_tune.trial import TrialConfig

FINALISTS = 3
"""How many of its best settings a search decides between in the end."""


@dataclass(frozen=True, repr=False)
class Judged(Tables):
    """The tables of a sweep, and what follows from them."""

    def edges(self) -> list[MeasuredEdge]:
        """Return the edges that the sweep measured (`mnist_tune.find_edge`); none if it
        looked for none."""
        return self._edges

    @cached_property
    def _edges(self) -> list[MeasuredEdge]:
        return list(measured_edges(families(self.trials), self.epochs, self.meta))

    @cached_property
    def decision(self) -> Contest | None:
        """What `sweeps/decide.py` found so far; None for other sweeps, and for one that
        has not begun to train."""
        options = self.record.options
        if CONTENDERS not in options or options.get("at_a_time") is None:
            return None
        return Contest.of(self.meta).replay(self.trials)

    @cached_property
    def steady(self) -> pd.DataFrame:
        """The trials that kept their settings, and so say something of them."""
        return self.trials[self.trials["changed"].ne(True)]

    @cached_property
    def unlearned(self) -> pd.DataFrame:
        """Those of `steady` whose task has no accuracy, and of which no sibling that
        ran all its epochs learned more than noise."""
        return self.steady[noise_alone(self.steady, self.epochs, self.record.data)]

    def best(self) -> pd.DataFrame:
        """Return the settings that compete to be the best, the best first; of a
        decision, the one that leads. Of equally accurate ones, that with the least loss
        is first. Tasks whose losses don't compare have a best setting each.

        `accuracy` is the mean on held-out images over `seeds`, and `train_accuracy`
        that on training images; where losses are compared, `accuracy` is the mean loss
        with a minus, so that more is better. `failures` is how many more seeds failed.
        `gap` is how far the setting is below the best, and `close` whether it may be as
        good. `jumps` is by how much its accuracy still falls in a late epoch, 0 if
        noise explains it."""
        return self._best.copy()

    @cached_property
    def _best(self) -> pd.DataFrame:
        trials, facts = self.steady, self.record.data
        if facts.ranking.is_own:
            noises = loss_noises(self.epochs, facts.ranking.name)
            trials = trials.assign(loss_noise=trials["trial_id"].map(noises))
        if facts.compares_tasks or trials.empty:
            return standing(trials, facts, self._is_of_leader(trials))
        by_task = trials.groupby("architecture", sort=False)
        tables = [standing(of_task, facts) for _, of_task in by_task]
        # an empty table has columns of other types
        ranked = [table for table in tables if len(table)]
        return pd.concat(ranked or tables[:1], ignore_index=True)

    def _is_of_leader(self, trials: pd.DataFrame) -> list[bool] | bool:
        """Return for each trial whether the setting that leads a decision has it; False
        if the sweep is no decision."""
        contest = self.decision
        if not contest:
            return False
        return contest.is_of(int(contest.decision.leader), trials)

    def contenders(self) -> list[TrialConfig]:
        """Return the settings between which a decision would decide, the best first,
        each with the seed 0: those that are not told apart from the best, and those
        that are told apart by their largest jump alone."""
        return settings_of(to_decide(self.best()))

    def finalists(self) -> pd.DataFrame:
        """Return the best three settings (`best`), between which the command `search`
        decides in the end."""
        return self.best().head(FINALISTS)

    def leading(self) -> list[str]:
        """Return the trials whose states are always kept: one of each of the best three
        settings, the best first, and one of the best setting of each network."""
        leading = self.finalists()["trial_id"].tolist()
        if self.final and self.final.decision:
            winner = leading[int(self.final.decision.decision.leader)]
            leading.insert(0, winner)
        facts = self.record.data
        for _, trials in self.steady.groupby("architecture"):
            leading += standing(trials, facts)["trial_id"][:1].tolist()
        return list(dict.fromkeys(leading))

    @property
    def final_place(self) -> Place:
        """Where a search has that decision. It is named by trials: with more of them,
        there is another one."""
        name = "-".join(["decision", *self.finalists()["trial_id"]])
        return storage.join(self.path, name)

    @cached_property
    def final(self) -> Judged | None:
        """That decision; None if there is none."""
        if not self.record.ends_in_a_decision or not self.record.ended:
            return None
        with suppress(UserError):
            final = read_judged(self.final_place)
            if final.decision and final.decision.decision.seeds.any():
                return final
        return None

    def by(self, *names: str) -> pd.DataFrame:
        """Return mean, standard deviation, range and 95% interval of each score, a row
        for each value of these columns, such as `sweep.by("batch_size")`; by default
        for each configuration. What else differs is averaged over. Only means over
        three or more seeds have an interval.

        Raises:
            UserError: `trials` has no such column.
        """
        self._refuse_unknown("trials", *names)
        trained = self.trials[self.trials["epochs_run"] > 0]
        return summarise_replicates(trained, [*names] or CONFIGURATION)


def settings_of(settings: pd.DataFrame) -> list[TrialConfig]:
    """Return settings of `Judged.best`, each as a trial with the seed 0."""
    rows = settings[CONFIGURATION].drop(columns="epochs_asked")
    rows["epochs"] = whole_epochs(settings)
    return [TrialConfig(**row) for row in rows.to_dict("records")]


def read_judged(path: str | Path) -> Judged:
    """Read a sweep, finished or not, as `mnist_tune.load_sweep` does. Raises
    `UserError`."""
    return judged(read_tables(path))


def judge(tables: Tables) -> tuple[Judged, Callable[[], list[str]]]:
    """Return what a `SweepWriter` has to know of a sweep that has ended."""
    sweep = judged(tables)
    return sweep, sweep.leading


def judged(tables: Tables) -> Judged:
    """Return the tables of a sweep with labels, and with the arguments of what it
    trained. Labels are those that are stored, or new ones for tables from a journal,
    which has none."""
    trials = tables.trials
    if "regime" not in trials:
        trials = _with_labels(tables)
    elif len(trials) and trials["reason"].isna().all():
        trials = _with_reasons(tables)
    epochs = _without_unmeasured(tables.epochs)
    return Judged(tables.path, with_arguments(trials), epochs, tables.meta)


def _with_labels(tables: Tables) -> pd.DataFrame:
    """Return `trials` with the regimes, and what else is known once all have ended."""
    epochs, data = tables.epochs, tables.record.data
    trials = label_trials(tables.trials, epochs, data)
    trials = trials.assign(dataset=tables.record.dataset["name"])
    ids = trials["trial_id"]
    trials["late_fall"] = ids.map(late_falls(trials, epochs, data))
    trials["loss_noise"] = np.nan
    if not data.by_accuracy:
        trials["loss_noise"] = ids.map(loss_noises(epochs))
    has_diverged = trials["regime"] == "diverged"
    trials["diverged_at_step"] = trials["diverged_at_step"].where(has_diverged)
    columns = (*TRIALS, *own_scores(tables.meta))
    return trials[[column.name for column in columns]]


def _with_reasons(tables: Tables) -> pd.DataFrame:
    """Return the trials of an older version, whose table has no reasons, with these.
    They follow from the curves; where today's label is another one than the stored one,
    the reason is not known."""
    labels = label_trials(tables.trials, tables.epochs, tables.record.data)
    is_same = labels["regime"] == tables.trials["regime"]
    return tables.trials.assign(reason=labels["reason"].where(is_same))


def _without_unmeasured(epochs: pd.DataFrame) -> pd.DataFrame:
    """Return epochs without the columns of what only some sweeps measure, if this one
    did not."""
    measured = ("validation", "answers", "loss_noise", "loss_error")
    empty = list[str]()
    for name in epochs:
        by_some = name.startswith(measured) or "sharpness" in name
        if by_some and epochs[name].isna().all():
            empty.append(name)
    return epochs.drop(columns=empty)
