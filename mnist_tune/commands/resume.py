"""Go on with an interrupted sweep, whichever command started it."""

from __future__ import annotations

from mnist_tune import UserError, cli, storage
from mnist_tune.commands.main import run_as
from mnist_tune.invocation import arguments, called, started_by
from mnist_tune.results.folder import fetched
from mnist_tune.results.meta import read_meta

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
    folder = fetched(where)
    if not (folder / "sweep.json").exists():
        raise UserError(f"nothing to resume: {folder} has no sweep.json")
    return run_as(started_by(read_meta(folder)["name"]) or "regimes", "--resume")
