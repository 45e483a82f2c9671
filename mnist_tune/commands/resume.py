"""Resume an interrupted sweep, or have it train more, whichever command started it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import tyro

from mnist_tune import cli, storage
from mnist_tune.continuation import resume_command
from mnist_tune.errors import UserError
from mnist_tune.invocation import arguments, called, module_of
from mnist_tune.reports.terminal import print_result
from mnist_tune.results.meta import read_record
from mnist_tune.results.sweep_meta import SweepMeta
from mnist_tune.sweep import Sweep
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.options import (
    ARCHITECTURE_HELP,
    OPTIMIZER_HELP,
    OWN_DATA,
    InResume,
    SweepOptions,
    all_rates,
)
from mnist_tune.tuning.past import grown
from mnist_tune.tuning.resuming import (
    command_options,
    flags_of_a_resume,
    is_made_by,
    resumed_with,
)
from mnist_tune.tuning.sweep import name_of_own, run_or_resume, shown

USAGE = """usage: {} RESULTS [flags]

Go on with the interrupted sweep in RESULTS, a folder or a URI such as s3://bucket/sweep, or have it train more.
All is as recorded there, but for the flags that RESULTS --help shows."""


@dataclass(frozen=True, kw_only=True)
class PythonSweep(SweepOptions):
    """Resume a sweep that was started from Python."""

    epochs: Annotated[int, InResume.ADDS] = 0
    """Train all trials for so many epochs, those that were to train longer for
    theirs."""
    learning_rates: Annotated[tuple[float | str, ...], InResume.ADDS] = ()
    """More learning rates, for all settings and seeds."""
    seeds: Annotated[tuple[int, ...], InResume.ADDS] = ()
    """More seeds, for all settings and rates."""
    architecture: Annotated[tuple[str, ...], tyro.conf.arg(help=ARCHITECTURE_HELP)] = ()
    optimizer: Annotated[tuple[str, ...], tyro.conf.arg(help=OPTIMIZER_HELP)] = ()

    def trials(self, recorded: Iterable[TrialConfig]) -> list[TrialConfig]:
        """Return the trials of the sweep, of which some are `recorded`."""
        rates = all_rates(self.learning_rates)
        return grown(recorded, self.epochs, rates, self.seeds)


def main() -> int | None:
    words = arguments()
    asks_for_help = not {"-h", "--help"}.isdisjoint(words)
    is_named = bool(words) and not words[0].startswith("-")
    if asks_for_help and not is_named:
        print(USAGE.format(called()))
        return 0
    if not is_named:
        cli.fail("name the folder of a sweep first: mnist-tune resume RESULTS")
    where = storage.place(words[0])
    record = read_record(where)
    command = command_of(record, where)
    if asks_for_help:
        kind = command.OPTIONS
        cli.print_help(kind, flags_of_a_resume(kind), f"{called()} {words[0]}")
    options = command_options(command.OPTIONS, ["--resume", *words], record)
    code: int = command.finish(options)
    return code


OPTIONS, run = PythonSweep, run_or_resume


def finish(options: PythonSweep) -> int:
    """Train what is left of a sweep that was started from Python, and print it."""
    return print_result(run_or_resume(options), options.json)


def command_of(record: SweepMeta, where: storage.Place) -> Any:
    """Return the module of the command that goes on with the sweep in a folder: that
    which started it, or this one if it was started from Python. Raises `UserError` if a
    script goes on with it."""
    if record.script is not None:
        raise UserError(
            f"{where} goes on with its script: {resume_command(record, where)}"
        )
    if record.command is not None:
        module: Any = import_module(module_of(record.command))
        if is_made_by(module.OPTIONS, record):
            return module
    return sys.modules[__name__]


def resume_sweep(path: str | Path, **changes: Any) -> Sweep:
    """Resume a sweep, a search or a decision: trials that had not ended go on from
    their last epoch.

    Args:
        path: the folder or URI.
        changes: options of the command that started it, such as `epochs=20`, `seeds=(3,
            4)` or `quiet=True`. Those that are left out are as recorded. Options that
            make trials add to what is recorded; of the others, those may change that
            say how the sweep runs. A sweep that was started from Python takes `epochs`,
            `learning_rates` and `seeds`, too. `architecture="net.py:mlp"` takes a file
            as it is now, in place of what was recorded; `task=` may be a `Task`.

    Raises:
        UserError: there is no sweep, the data have changed, or an option was given that
            can't change.
    """
    where = storage.place(path)
    record = read_record(where)
    command = command_of(record, where)
    for flag in OWN_DATA:
        if flag in changes:
            changes[flag] = name_of_own(flag, changes[flag])
    changes = {"resume": where} | changes
    options = resumed_with(command.OPTIONS, where, changes, record)
    return shown(command.run(options), options)
