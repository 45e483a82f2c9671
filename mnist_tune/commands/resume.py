"""Resume an interrupted sweep, whichever command started it."""

from __future__ import annotations

import sys
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

from mnist_tune import cli, storage
from mnist_tune.commands.main import run
from mnist_tune.decisions.decide import DecideOptions, decide
from mnist_tune.edge.search import EdgeOptions, find_edge
from mnist_tune.errors import UserError
from mnist_tune.invocation import arguments, called, module_of, started_by
from mnist_tune.results.journal import resume_command
from mnist_tune.results.meta import read_meta
from mnist_tune.sweep import Sweep
from mnist_tune.trial import closest
from mnist_tune.tuning.options import SweepOptions
from mnist_tune.tuning.sweep import resume, shown

USAGE = """usage: {} RESULTS [flags]

Go on with the interrupted sweep in RESULTS, a folder or a URI such as s3://bucket/sweep.
The flags are those of the command that started the sweep: NAME --help shows them."""


def main() -> int | None:
    given = arguments()
    if {"-h", "--help"} & {*given}:
        print(USAGE.format(called()))
        return 0
    if not given or given[0].startswith("-"):
        cli.fail("name the folder of a sweep first: mnist-tune resume RESULTS")
    where = storage.place(given[0])
    name = started_by(read_meta(where)["name"]) or "regimes"
    sys.argv[1:] = [name, "--resume", *given]
    return run()


def resume_sweep(path: str | Path, **given: Any) -> Sweep:
    """Resume a sweep, a decision or a search for an edge: trials that had not ended go on from their last epoch.

    Args:
        path: the folder or URI.
        given: options of the command that started it, such as `epochs=20`, `seeds=(3, 4)` or `quiet=True`. Those that
            are left out are as recorded. Options that make trials add to what is recorded; of the others, those may
            change that say how the sweep runs.

    Raises:
        UserError: there is no sweep, the data have changed, or an option was given that can't change.
    """
    where = storage.place(path)
    meta = read_meta(where)
    name = started_by(meta["name"])
    kind = import_module(module_of(name)).ASKED if name else SweepOptions
    known = [one.name for one in fields(kind)]
    for one in given:
        if one not in known:
            raise UserError(f"{where} has no option {one!r}{closest(one, known)}")
    options = kind(resume=where, **given)
    if isinstance(options, EdgeOptions):
        return find_edge(options)
    if isinstance(options, DecideOptions):
        return decide(options)
    if meta.get("search"):
        raise UserError(f"{where} is a search; resume it with: {resume_command(meta, where)}")
    return shown(resume(where, options), options)
