"""What a trial's line shows, in one list: on the terminal, in the page's table, and in the page's details."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from mnist_tune.numbers import told_apart
from mnist_tune.regimes.families import varied
from mnist_tune.regimes.labels import LEFT
from mnist_tune.regimes.statistics import FAR

TERMINAL, PAGE, DETAILS = "terminal", "page", "details"
"""Where a field is shown: in the printed table, in the page's, and in the page's details of a trial and its download.
"""

EVERYWHERE = (TERMINAL, PAGE, DETAILS)

MANY = 60
"""Tables and lists with more lines than this are condensed."""

ROOM = 40
"""The most characters of a network's name in a table."""

Texts = Callable[[pd.DataFrame], list[str]]


@dataclass(frozen=True)
class Field:
    """Something that a trial's line shows."""

    name: str
    """The column of `trials` that it shows, and is sorted by; `evidence` and `trial` are in no table."""
    title: str = ""
    """The heading of its column, where it has one."""
    where: tuple[str, ...] = (DETAILS,)
    full: str = ""
    """What the details call it, if not by its name."""
    texts: Texts | None = field(default=None, repr=False)
    """Returns what is shown of each trial; by default its value."""
    differs: bool = False
    """Whether it is shown only where trials differ in it."""

    def said(self, trials: pd.DataFrame) -> list[str]:
        """Return what is shown of each of these trials."""
        return self.texts(trials) if self.texts else [_plain(value) for value in trials[self.name]]

    def values(self, trials: pd.DataFrame) -> np.ndarray | list[str]:
        """Return what a column of these is sorted and compared by: numbers, or what is shown."""
        known = trials.get(self.name)
        if known is None or not pd.api.types.is_numeric_dtype(known) or pd.api.types.is_bool_dtype(known):
            return self.said(trials)
        numbers: np.ndarray = known.to_numpy(dtype=float, na_value=math.nan)
        return numbers

    def shows(self, trials: pd.DataFrame) -> bool:
        """Return whether there is something to show."""
        if self.name not in trials:
            return self.name in ("evidence", "trial")
        values = trials[self.name]
        return values.nunique() > 1 if self.differs else bool((values.notna() & values.ne("")).any())

    @property
    def called(self) -> str:
        """What the details call it."""
        return self.full or self.name.replace("_", " ")


def _settings(name: str) -> Texts:
    """Return what writes a setting so that different values look different."""

    def texts(trials: pd.DataFrame) -> list[str]:
        values = trials[name]
        said: dict[Any, str] = shortened(values) if name == "architecture" else {}
        if pd.api.types.is_float_dtype(values):
            said = told_apart(values)
        return [said.get(value, str(value)) for value in values]

    return texts


def _epochs(trials: pd.DataFrame) -> list[str]:
    return [f"{run}/{asked}" for run, asked in zip(trials["epochs_run"], trials["epochs_asked"], strict=True)]


def _reaches(trials: pd.DataFrame) -> list[str]:
    """Return when each trial reaches its target: `epoch 4` has been, `~14` and `> 22` are projections. A trial that was
    there and is below it again has `left`."""
    names = ("reaches", "reaches_from", "epochs_run")
    found = map(_when, *(trials[name] for name in names), FAR * trials["epochs_asked"])
    return ["left" if why.startswith(LEFT) else when for when, why in zip(found, evidence(trials), strict=True)]


def _when(epoch: float, first: float, run: int, limit: int) -> str:
    if math.isnan(epoch):  # then it may be known that it is later than `first`
        return "–" if pd.isna(first) else f"> {min(first, limit):.0f}"
    if math.isinf(epoch):
        return "never"
    return f"epoch {epoch:.0f}" if epoch <= run else f"> {limit}" if epoch > limit else f"~{epoch:.0f}"


def evidence(trials: pd.DataFrame) -> list[str]:
    """Return why each trial has its regime; of one that failed, its error."""
    errors = trials["error"].fillna("")
    return list(errors.where(errors != "", trials["regime_evidence"].fillna("")))


def _accuracy(split: str, title: str, *where: str) -> Field:
    name = f"{split}_accuracy"
    return Field(name, title, (*where, DETAILS), texts=lambda trials: [accuracy(value) for value in trials[name]])


FIELDS = (
    Field("sweep_name", "sweep", (PAGE, DETAILS), full="sweep"),
    Field("label", "label", (PAGE, DETAILS)),
    Field("learning_rate", "rate", EVERYWHERE, texts=_settings("learning_rate")),
    Field("seed", "seed", EVERYWHERE, differs=True),
    Field("data_seed"),
    Field("regime", "regime", EVERYWHERE),
    Field("epochs_run", "epochs", EVERYWHERE, full="epochs", texts=_epochs),
    Field("epochs_asked", full="epochs asked for"),
    _accuracy("train", "train acc", TERMINAL, PAGE),
    _accuracy("test", "test acc", TERMINAL, PAGE),
    _accuracy("validation", "held out", TERMINAL, PAGE),
    Field("reaches", "reaches", EVERYWHERE, full="reaches the target in epoch", texts=_reaches),
    *map(Field, ("target", "train_loss", "test_loss", "validation_loss", "best_test_accuracy")),
    Field("best_epoch", full="best test accuracy in epoch"),
    Field("diverged_at_step"),
    Field("stop_reason", "stopped", EVERYWHERE, full="ended because"),
    Field("evidence", "evidence", EVERYWHERE, texts=evidence),
    Field("curve_regime", full="regime without its siblings"),
    Field("node"),
    Field("device"),
    Field("compile_s", full="compiled for, in s"),
    Field("train_s", full="trained for, in s"),
    Field("eval_s", full="evaluated for, in s"),
    Field("wait_s", full="waited for, in s"),
    Field("trial", "trial", (PAGE, DETAILS), texts=lambda trials: list(trials.get("own_id", trials["trial_id"]))),
)
"""The settings in which trials differ come first: `fields` adds them."""


def fields(trials: pd.DataFrame, where: str) -> list[Field]:
    """Return what is shown of these trials on the TERMINAL, the PAGE or in its DETAILS, in order: what tells them
    apart, then what they did. The page's trials have their `own_id`, and `sweep_name` if they are of several sweeps."""
    shown = [one for one in FIELDS if where in one.where and one.shows(trials)]
    names = [one for one in shown if one.name in ("sweep_name", "label")]
    settings = [
        Field(name, name.replace("_", " "), EVERYWHERE, texts=_settings(name))
        for name in varied(trials)
        if name != "epochs_asked"  # beside those that it ran
    ]
    return [*names, *settings, *(one for one in shown if one not in names)]


def heading(one: Field, trials: pd.DataFrame) -> str:
    """Return the heading of a field's column; that of `reaches` names the target, if the trials share one."""
    if one.name != "reaches":
        return one.title
    targets = trials["target"].dropna().unique()
    return f"reaches {targets[0]:.4g}" if len(targets) == 1 else "reaches target"


def accuracy(value: Any) -> str:
    """Return an accuracy in four digits."""
    return "-" if value is None or pd.isna(value) else f"{value:.4f}"


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.4g}"
    return "" if value is None or value is pd.NA else str(value)


def shortened(names: Iterable[str]) -> dict[str, str]:
    """Return each network's name without its folder and its middle, if it is long and no other becomes the same."""
    found, half = {name: name for name in names}, (ROOM - 1) // 2
    for long, short in ((r"^.*?([^/]*\.py:)", r"\1"), (f"^(.{{{half}}}).*(.{{{half}}})$", r"\1…\2")):
        shorter = {name: said if len(said) <= ROOM else re.sub(long, short, said) for name, said in found.items()}
        if len(set(shorter.values())) == len(found):
            found = shorter
    return found
