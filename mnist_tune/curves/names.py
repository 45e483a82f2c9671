"""Which column of a table holds what: the one list of names, ours and those of other
tools."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping

from mnist_tune.errors import UserError, closest

SETTING = "config/"
"""How the column of a setting begins."""

LIST = """
learning_rate: lr base_lr initial_lr eta
epoch: epochs training_iteration
step: global_step trainer_global_step iteration iter steps
run: run_id run_name trial trial_id experiment id
seed: random_seed random_state
test_accuracy: test_acc accuracy_test acc_test
test_loss: loss_test
validation_accuracy: val_acc val_accuracy valid_acc valid_accuracy eval_acc eval_accuracy
validation_loss: val_loss valid_loss eval_loss
train_loss: training_loss loss
train_accuracy: train_acc training_accuracy accuracy acc
train_loss_examples:
untrained_loss: initial_loss
diverged:
epochs_asked: max_epochs num_epochs num_train_epochs n_epochs
batch_size: train_batch_size batch
schedule: lr_schedule lr_scheduler lr_scheduler_type
stop_reason:
"""
"""Our names, each with those of other tools, in small letters and with `_` for all
other signs: `val/acc` is `val_acc`. `docs/curves_of_others.md` has the list."""

NAMES = dict[str, list[str]]()
for line in LIST.split("\n")[1:-1]:
    name, _, theirs = line.partition(":")
    NAMES[name] = theirs.split()

PLACES = ("epoch", "step")
ACCURACIES = ("test_accuracy", "validation_accuracy")
SCORES = (*ACCURACIES, "test_loss", "validation_loss")
"""The scores by which runs are compared."""

ALIKE = 0.85
"""From here on, two names are as alike as one and the same with a typing error."""


def our_names(
    names: list[str], renamed: Mapping[str, str], settings: Iterable[str]
) -> dict[str, str]:
    """Return our name of each column that is read, by the name that the table has. That
    of a setting begins with `SETTING`.

    Args:
        names: the columns of the table.
        renamed: our names of some of them.
        settings: those that are settings.

    Raises:
        UserError: a column is missing, or not known.
    """
    named = dict(renamed)
    for name in settings:
        named[name] = SETTING + name.removeprefix(SETTING)
    for theirs, ours in named.items():
        if theirs not in names:
            hint = closest(theirs, names)
            raise UserError(f"the table has no column {theirs!r}{hint}")
        if theirs in renamed and ours not in NAMES:
            hint = closest(ours, NAMES)
            raise UserError(f"no column is called {ours!r} here{hint}")
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"the table has two columns {name!r}; rename one")
    # where two columns could be the same, that with our own name is
    own_first = sorted(names, key=lambda name: name not in NAMES)
    for name in own_first:
        our_name = meaning(name)
        if our_name and name not in named and our_name not in named.values():
            named[name] = our_name
    unread = [name for name in names if name not in named]
    _refuse_missing(named, unread)
    return named


def meaning(name: str) -> str | None:
    """Return our name of a column; that of a setting is its own. None if it is not
    known."""
    plain = name.removeprefix(SETTING)
    small = re.sub(r"\W+", "_", plain.lower())
    for ours, theirs in NAMES.items():
        if small == ours or small in theirs:
            return ours
    if name.startswith(SETTING):
        return name
    return None


def _refuse_missing(named: Mapping[str, str], unread: Collection[str]) -> None:
    """Refuse a table without a column that is needed, or with a misspelt one."""
    lacking = set(NAMES).difference(named.values())
    for name in unread:
        for meant in difflib.get_close_matches(name, lacking, 1, ALIKE):
            hint = f"did you mean {meant!r}? Rename it, or leave it out"
            raise UserError(f"the column {name!r} is not known; {hint}")
    for needed in (["learning_rate"], PLACES, SCORES):
        if lacking.issuperset(needed):
            what = f"the table has no column {' or '.join(needed)}"
            hint = f"name it with columns={{NAME: {needed[0]!r}}}"
            columns = ", ".join(unread) or "no other"
            raise UserError(f"{what}; {hint}; it has {columns}")
