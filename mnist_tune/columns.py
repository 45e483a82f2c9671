"""Every column that the tables of a sweep can hold: the one list that all code which
knows columns follows.

The journal's checks, the schema of the parquet files, the tables, a saved state's last
row, what curves are made of and `docs/tables.md` (`docs/pages.py` writes it) come from
here. A new column is a line here and the line that computes it.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

LARGEST = 2**53
"""The largest whole number up to which all are exact as floats."""


@dataclass(frozen=True)
class Kind:
    """What a value may be, and how errors and `docs/tables.md` say so."""

    wanted: str
    holds: Callable[[Any], bool]
    type: type = object
    """How it is stored: as str, bool, int or float; other kinds are in no table."""


def number(
    name: str, low: float = -math.inf, high: float = math.inf, nan: bool = False
) -> Kind:
    """Return the kind of the numbers from `low` to `high`, also whole ones, but not
    True and False. With `nan`, NaN is one, the loss of what diverged."""

    def holds(value: Any) -> bool:
        if isinstance(value, float):
            return low <= value <= high or (nan and math.isnan(value))
        return type(value) is int and low <= value <= high and abs(value) <= LARGEST

    return Kind(name, holds, float)


def whole(low: int, high: int = LARGEST) -> Kind:
    """Return the kind of the whole numbers from `low` to `high`, which are not True and
    False."""
    name = f"a whole number of at least {low}"
    if high != LARGEST:
        name += f" and at most {high}"

    def holds(value: Any) -> bool:
        return type(value) is int and low <= value <= high

    return Kind(name, holds, int)


def text(name: str, longest: int) -> Kind:
    """Return the kind of the texts of at most so many characters."""

    def holds(value: Any) -> bool:
        return isinstance(value, str) and len(value) <= longest

    return Kind(name, holds, str)


def matching(name: str, pattern: str) -> Kind:
    """Return the kind of the texts that match a pattern as a whole."""
    compiled = re.compile(pattern, re.ASCII)

    def holds(value: Any) -> bool:
        return isinstance(value, str) and compiled.fullmatch(value) is not None

    return Kind(name, holds, str)


FINITE = sys.float_info.max
LEAST = math.ulp(0.0)
"""The largest number, and the least one above 0."""


ID = matching("letters, digits, - and _, at most 64", r"[\w-]{1,64}")
"""A valid trial id or stop reason. States are files named by ids, so path separators
are refused."""

SCORE = matching("a-z, 0-9 and _, at most 40", "[a-z0-9_]{1,40}")
"""A valid name of what a task's `score` returns."""
OWN_SCORE = "score_"
"""Begins the columns of these scores."""
MOST_SCORES = 16
"""How many of them a sweep may have."""

TEXT = text("text", 2**20)
NAME = text("text of at most 16,384 characters", 2**14)
FLAG = Kind("True or False", lambda value: isinstance(value, bool), bool)
COUNT, WHOLE = whole(1), whole(0)
COUNT_OR_ALL = Kind(
    f"{COUNT.wanted}, or all", lambda value: value == "all" or COUNT.holds(value)
)
SEED = whole(0, 2**32 - 1)  # numpy's RandomState accepts no more
NUMBER = number("a number", nan=True)
LOSS = number("a finite number", -FINITE, FINITE)
RATE = number("a finite number above 0", LEAST, FINITE)
FROM_0 = number("a finite number of at least 0", 0, FINITE)
JUST_BELOW_1 = math.nextafter(1, 0)
SHARE = number("between 0 and 1", LEAST, JUST_BELOW_1)
BELOW_1 = number("in [0, 1)", 0, JUST_BELOW_1)
PART = number("above 0 and at most 1", LEAST, 1)


@dataclass(frozen=True)
class Column:
    """A column of `epochs` or `trials`, or another value that a file of a sweep
    holds."""

    name: str
    kind: Kind
    about: str = ""
    """One sentence for `docs/tables.md`."""
    unit: str = ""
    gaps: bool = True
    """Whether the table may lack the value in some rows, or altogether."""
    needed: bool = False
    """Whether a row without it is damaged: resumes and schedulers can't do without
    it."""
    curve: bool = False
    """Whether regimes read it."""


def first_wrong(values: Any, columns: Iterable[Column]) -> str | None:
    """The name of the first value that is missing or of the wrong kind; None where all
    are right. What is in no column is not looked at. A value may be missing, or None,
    where its column is not `needed`."""
    if not isinstance(values, Mapping):
        return "it"
    for column in columns:
        value = values.get(column.name)
        is_missing = value is None
        if is_missing and column.needed:
            return column.name
        if not is_missing and not column.kind.holds(value):
            return column.name
    return None


EPOCHS = (
    Column("trial_id", ID, "The trial, as in `trials`.", gaps=False, needed=True),
    Column(
        "epoch",
        COUNT,
        "The number of the epoch, or of the report, from 1.",
        gaps=False,
        needed=True,
    ),
    Column("step", COUNT, "Steps made since the trial began.", gaps=False, needed=True),
    Column(
        "learning_rate",
        RATE,
        "The rate asked for, before warm-up and schedule.",
        gaps=False,
        needed=True,
    ),
    Column(
        "train_loss",
        NUMBER,
        "Mean loss on the training set.",
        "nats",
        needed=True,
        curve=True,
    ),
    Column(
        "train_accuracy",
        NUMBER,
        "Share of the training set classified right.",
        "0 to 1",
        needed=True,
        curve=True,
    ),
    Column(
        "test_loss",
        NUMBER,
        "Mean loss on the test set.",
        "nats",
        needed=True,
        curve=True,
    ),
    Column(
        "test_accuracy",
        NUMBER,
        "Share of the test set classified right.",
        "0 to 1",
        needed=True,
        curve=True,
    ),
    Column(
        "validation_loss",
        NUMBER,
        "Mean loss on the images held out, if some are.",
        "nats",
        curve=True,
    ),
    Column(
        "validation_accuracy",
        NUMBER,
        "Share of the images held out classified right.",
        "0 to 1",
        curve=True,
    ),
    Column(
        "answers",
        NUMBER,
        "With tokens: how many independent answers an example is worth, held out.",
        curve=True,
    ),
    Column(
        "loss_noise",
        NUMBER,
        "Tasks: standard error of how far the held-out loss has fallen.",
        curve=True,
    ),
    Column(
        "loss_error", NUMBER, "Tasks: standard error of the held-out loss.", curve=True
    ),
    Column(
        "step_loss_first",
        NUMBER,
        "Loss of the epoch's first batch, before its update.",
        "nats",
    ),
    Column(
        "step_loss_max",
        NUMBER,
        "The largest batch loss of the epoch.",
        "nats",
        curve=True,
    ),
    Column("step_loss_last", NUMBER, "Loss of the epoch's last batch.", "nats"),
    Column(
        "window_loss_max",
        NUMBER,
        "The largest mean of batch losses over 128 images or more.",
        "nats",
        curve=True,
    ),
    Column("finite", FLAG, "Whether every loss of the epoch was finite."),
    Column(
        "diverged",
        FLAG,
        "Whether the trial has diverged by the end of this epoch.",
        needed=True,
        curve=True,
    ),
    Column(
        "above_since",
        COUNT,
        "The step since which the loss has been above `untrained_loss`.",
        "step",
        curve=True,
    ),
    Column(
        "guessing_since",
        COUNT,
        "The step since which the loss is no better than a guess's.",
        "step",
        curve=True,
    ),
    Column(
        "untrained_loss",
        NUMBER,
        "Mean loss on the training set before the first step.",
        "nats",
        curve=True,
    ),
    Column(
        "sharpness",
        NUMBER,
        "The largest eigenvalue of the training loss's Hessian, with `--sharpness`.",
    ),
    Column(
        "sharpness_residual",
        NUMBER,
        "Its Ritz residual: an eigenvalue is at most so far away, relative to it.",
    ),
    Column(
        "batch_sharpness",
        NUMBER,
        "The mean of `gᵀHg / ‖g‖²` over batches with a gradient; NaN if none has one.",
    ),
    Column(
        "preconditioned_sharpness",
        NUMBER,
        "With Adam, the largest eigenvalue of the preconditioned Hessian P⁻¹H.",
    ),
    Column("untrained_sharpness", NUMBER, "The sharpness before the first step."),
    Column(
        "sharpness_steps",
        TEXT,
        "All measurements of the epoch; `sweep.sharpness()` is their table.",
    ),
    Column(
        "compile_s",
        NUMBER,
        "Time spent compiling: the trial's share of its batches of lanes.",
        "s",
    ),
    Column("train_s", NUMBER, "Time spent training, shared likewise.", "s"),
    Column(
        "eval_s",
        NUMBER,
        "Time spent evaluating and measuring sharpness, shared likewise.",
        "s",
    ),
    Column("batch_s", NUMBER, "Time that the trial's whole batch of lanes took.", "s"),
    Column(
        "wait_s",
        NUMBER,
        "Time between two epochs in which the trial did not compute.",
        "s",
    ),
    Column("lanes", COUNT, "Trials that trained together in this epoch."),
    Column(
        "fill",
        NUMBER,
        "Share of the device's lanes that asked for this epoch.",
        "0 to 1",
    ),
    Column("node", NAME, "The machine that trained the epoch."),
    Column("device", NAME, "The processor or GPU that trained it."),
    Column(
        "ended_at",
        NUMBER,
        "When the epoch ended, by the clock of its node.",
        "Unix time",
    ),
)
"""The table `epochs`: a row an epoch of a trial."""

TRIALS = (
    Column("trial_id", ID, "The trial's id.", gaps=False),
    Column(
        "label",
        NAME,
        "The name given to the trial, such as that of an experiment; else empty.",
        gaps=False,
    ),
    Column("architecture", NAME, "The network.", gaps=False),
    Column("learning_rate", RATE, "The step size asked for.", gaps=False),
    Column(
        "momentum",
        BELOW_1,
        "The momentum of SGD; other optimisers have arguments.",
        "0 to 1",
        gaps=False,
    ),
    Column("nesterov", FLAG, "Whether the momentum is Nesterov's.", gaps=False),
    Column("optimizer", NAME, "The optimiser, with its arguments.", gaps=False),
    Column(
        "weight_decay",
        FROM_0,
        "The weight decay, as `--weight-decay` takes it.",
        gaps=False,
    ),
    Column(
        "clip_norm",
        FROM_0,
        "The largest norm of a step's gradient; 0 clips nothing.",
        gaps=False,
    ),
    Column(
        "schedule",
        NAME,
        "The course of the learning rate: constant, cosine or linear.",
        gaps=False,
    ),
    Column(
        "warmup_steps",
        WHOLE,
        "Steps in which the learning rate rises from 0.",
        "steps",
        gaps=False,
    ),
    Column(
        "loss",
        NAME,
        "The loss: cross-entropy, or mse (half the squared error); a task has its own.",
        gaps=False,
    ),
    Column("batch_size", COUNT, "Images in a step.", "images", gaps=False),
    Column(
        "drop_last",
        FLAG,
        "Whether an epoch's last batch is left out if it is smaller.",
        gaps=False,
    ),
    Column(
        "label_noise",
        WHOLE,
        "Training images that were permuted against their labels.",
        "images",
        gaps=False,
    ),
    Column(
        "holdout",
        WHOLE,
        "Training images held out, which choose the best.",
        "images",
        gaps=False,
    ),
    Column("seed", SEED, "Seed of the initialisation.", gaps=False),
    Column("data_seed", SEED, "Seed of the batch order.", gaps=False),
    Column("reports", COUNT, "Reports of an epoch, with `--report-every`; else 1."),
    Column(
        "epochs_run",
        WHOLE,
        "Epochs that were trained; with `--report-every`, reports.",
        gaps=False,
    ),
    Column("epochs_asked", COUNT, "Epochs, or reports, asked for.", gaps=False),
    Column(
        "changed",
        FLAG,
        "Whether a scheduler changed its settings while it trained; these are the last ones.",
    ),
    Column(
        "regime",
        NAME,
        "The label, by the trial's curve and its siblings ([regimes](regimes.md)).",
        gaps=False,
    ),
    Column(
        "reason",
        NAME,
        "Why it has this label; of one that early stopping ended, what its curve shows ([regimes](regimes.md)).",
    ),
    Column("regime_evidence", TEXT, "The numbers that decided the label.", gaps=False),
    Column(
        "reaches",
        NUMBER,
        "The epoch since which it is at the target, or a projection; inf for never.",
        "epoch",
    ),
    Column(
        "reaches_from", NUMBER, "Beginning of the projection's 80% interval.", "epoch"
    ),
    Column(
        "reaches_to", NUMBER, "End of that interval; inf if it is not known.", "epoch"
    ),
    Column(
        "curve_regime", NAME, "The label by the trial's own curve alone.", gaps=False
    ),
    Column(
        "stop_reason",
        ID,
        "Why it ended: completed, patience, diverged, slow, dead, asha, time_budget, interrupted or error; or running, "
        "waiting, unknown.",
        gaps=False,
    ),
    Column(
        "diverged_at_step",
        COUNT,
        "The step from which on a diverged trial's loss stayed high.",
        "step",
    ),
    Column(
        "target",
        NUMBER,
        "The accuracy of a network that has learned the data ([regimes](regimes.md)).",
        "0 to 1",
    ),
    Column(
        "untrained_loss",
        NUMBER,
        "Mean loss on the training set before the first step.",
        "nats",
    ),
    Column(
        "train_loss",
        NUMBER,
        "Mean loss on the training set after the last epoch.",
        "nats",
    ),
    Column(
        "train_accuracy",
        NUMBER,
        "Accuracy on the training set after the last epoch.",
        "0 to 1",
    ),
    Column(
        "test_loss", NUMBER, "Mean loss on the test set after the last epoch.", "nats"
    ),
    Column(
        "test_accuracy",
        NUMBER,
        "Accuracy on the test set after the last epoch.",
        "0 to 1",
    ),
    Column(
        "validation_loss",
        NUMBER,
        "Mean loss on the images held out, after the last epoch.",
        "nats",
    ),
    Column(
        "validation_accuracy",
        NUMBER,
        "Accuracy on the images held out, after the last epoch.",
        "0 to 1",
    ),
    Column(
        "answers",
        NUMBER,
        "With tokens: how many independent answers an example is worth, held out.",
    ),
    Column(
        "best_test_accuracy",
        NUMBER,
        "The best accuracy on the test set after any epoch.",
        "0 to 1",
    ),
    Column(
        "late_fall",
        NUMBER,
        "Largest fall of held-out (else test) accuracy in a late epoch; 0 if noise.",
        "0 to 1",
    ),
    Column(
        "loss_noise",
        NUMBER,
        "Tasks without accuracy: noise of the held-out loss, by which trials are compared.",
    ),
    Column(
        "loss_error",
        NUMBER,
        "Tasks without accuracy: standard error of the last held-out loss.",
    ),
    Column(
        "best_epoch",
        WHOLE,
        "The first epoch with the best test accuracy; 0 if there is none.",
        gaps=False,
    ),
    Column("compile_s", NUMBER, "Time spent compiling, over all epochs.", "s"),
    Column("train_s", NUMBER, "Time spent training, over all epochs.", "s"),
    Column("eval_s", NUMBER, "Time spent evaluating, over all epochs.", "s"),
    Column("wait_s", NUMBER, "Time spent waiting, over all epochs.", "s"),
    Column("node", NAME, "The machine that trained the last epoch."),
    Column("device", NAME, "The processor or GPU that trained it."),
    Column("dataset", NAME, "The data set.", gaps=False),
    Column(
        "error",
        TEXT,
        "What ended the trial where `stop_reason` is error, else empty.",
        gaps=False,
    ),
    Column(
        "error_kind",
        NAME,
        "The kind of this error: refused, program, last_batch or died; else empty.",
    ),
)
"""The table `trials`: a row a trial."""
