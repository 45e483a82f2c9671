"""`mnist-tune NAME ...`: the one command of an installed package, which has no
`sweeps/` and no `analysis/`."""

from __future__ import annotations

import sys
from importlib import import_module

from mnist_tune import cli
from mnist_tune.errors import UserError, closest
from mnist_tune.invocation import COMMANDS, PROGRAM, module_of
from mnist_tune.machine import installed_version, newer_than_tried
from mnist_tune.terminal import note

WIDTH = max(map(len, COMMANDS))


def main() -> None:
    """Run the command that the first argument names."""
    cli.run(run)


def run() -> int | None:
    name = next(iter(sys.argv[1:]), "--help")
    if name in ("-h", "--help"):
        print(f"usage: {PROGRAM} NAME ...\n")
        for command, (_, question) in COMMANDS.items():
            print(f"  {PROGRAM} {command:{WIDTH}}  {question}")
        print(
            f"\n{PROGRAM} NAME --help shows the flags of a command, {PROGRAM} --version the version."
        )
        return 0
    if name == "--version":
        version = installed_version("mnist_tune")
        if not version:
            version = "is not installed: its folder is on Python's path"
        print(PROGRAM, version)
        for line in newer_than_tried():
            print(note(line))
        return 0
    if name not in COMMANDS:
        raise UserError(f"there is no command {name!r}{closest(name, COMMANDS)}")
    code: int | None = import_module(module_of(name)).main()
    return code
