"""Which column of a table holds what: the one list of names, ours and those of other
tools."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mnist_tune.errors import UserError, closest

OF_SETTING = "config/"
"""How the column of a setting begins."""

NAMES = {
    "learning_rate": ("lr", "base_lr", "initial_lr", "eta"),
    "epoch": ("epochs", "training_iteration"),
    "step": ("global_step", "trainer_global_step", "iteration", "iter", "steps"),
    "run": ("run_id", "run_name", "trial", "trial_id", "experiment", "id"),
    "seed": ("random_seed", "random_state"),
    "test_accuracy": ("test_acc", "accuracy_test", "acc_test"),
    "test_loss": ("loss_test",),
    "validation_accuracy": (
        "val_acc",
        "val_accuracy",
        "valid_acc",
        "valid_accuracy",
        "validation_acc",
        "eval_acc",
        "eval_accuracy",
        "dev_accuracy",
    ),
    "validation_loss": ("val_loss", "valid_loss", "eval_loss", "dev_loss"),
    "train_loss": ("loss", "training_loss", "train_loss_epoch"),
    "train_accuracy": (
        "accuracy",
        "acc",
        "train_acc",
        "training_accuracy",
        "train_acc_epoch",
    ),
    "train_loss_examples": (),
    "untrained_loss": ("initial_loss",),
    "diverged": (),
    "epochs_asked": ("max_epochs", "num_epochs", "num_train_epochs", "n_epochs"),
    "batch_size": ("batch", "train_batch_size"),
    "schedule": ("lr_schedule", "lr_scheduler", "lr_scheduler_type"),
    "stop_reason": (),
}
"""Our names, each with those of other tools, in small letters and with `_` for all
other signs: `val/acc` is `val_acc`."""

PLACES = ("epoch", "step")
HELD_OUT = ("accuracy", "loss")
SCORES = tuple(f"{split}_{of}" for split in ("test", "validation") for of in HELD_OUT)
"""The scores by which runs are compared."""

ALIKE = 0.85
"""From here on, the names of two columns are as alike as one with a typing error."""


@dataclass(frozen=True)
class Columns:
    """The columns of a table that are read."""

    known: Mapping[str, str]
    """The column of each of our names that the table has."""
    settings: Mapping[str, str]
    """The column of each setting."""
    asked: frozenset[str]
    """The settings that were named, so that they are settings whatever they hold."""
    unread: tuple[str, ...]
    """Columns that are not read."""


def find_columns(
    names: Sequence[str], renamed: Mapping[str, str], settings: Iterable[str]
) -> Columns:
    """Return which columns of a table are read.

    Args:
        names: the columns of the table.
        renamed: our names of some of them.
        settings: those that are settings.

    Raises:
        UserError: a column is missing, or not known, or two hold the same.
    """
    for name in (*renamed, *settings):
        if name not in names:
            raise UserError(f"the table has no column {name!r}{closest(name, names)}")
    for name in renamed.values():
        if name not in NAMES:
            raise UserError(f"columns: {name!r} is no name here{closest(name, NAMES)}")
    known = {ours: theirs for theirs, ours in renamed.items()}
    own = {name.removeprefix(OF_SETTING): name for name in settings}
    unread = []
    for name in names:
        if name in renamed or name in own.values():
            continue
        ours = _ours(name, names)
        if ours is not None and ours not in renamed.values():
            _refuse_second(ours, name, known)
            known[ours] = name
        elif ours is None and name.startswith(OF_SETTING):
            own[name.removeprefix(OF_SETTING)] = name
        else:
            unread.append(name)
    _refuse_misspelt(unread, known)
    _refuse_missing(known, unread)
    return Columns(known, own, frozenset(settings), tuple(unread))


def _ours(name: str, names: Sequence[str]) -> str | None:
    """Return our name of a column; None if it has none, or if another column has that
    very name."""
    plain = name.removeprefix(OF_SETTING)
    small = re.sub(r"[^a-z0-9]+", "_", plain.lower()).strip("_")
    for ours, others in NAMES.items():
        if name == ours:
            return ours
        if (small == ours or small in others) and ours not in names:
            return ours
    return None


def _refuse_second(ours: str, name: str, known: Mapping[str, str]) -> None:
    if ours in known:
        both = f"the columns {known[ours]!r} and {name!r} are both {ours}"
        raise UserError(f"{both}; say which one is: columns={{{name!r}: {ours!r}}}")


def _refuse_misspelt(unread: Sequence[str], known: Mapping[str, str]) -> None:
    """Refuse a column that is nearly one that the table lacks."""
    lacking = [name for name in NAMES if name not in known]
    for name in unread:
        for meant in difflib.get_close_matches(name, lacking, 1, ALIKE):
            hint = f"did you mean {meant!r}? Rename it, or leave it out"
            raise UserError(f"the column {name!r} is not known; {hint}")


def _refuse_missing(known: Mapping[str, str], unread: Sequence[str]) -> None:
    needed = (("learning_rate",), PLACES, SCORES)
    for names in needed:
        if known.keys().isdisjoint(names):
            wanted = " or ".join(names)
            near = closest(names[0], unread) if unread else ""
            hint = f"name it with columns={{NAME: {names[0]!r}}}"
            raise UserError(f"the table has no column {wanted}{near}; {hint}")
