"""Command lines: a dataclass is the interface, tyro the parser, every mistake one line and exit code 2."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import TypeVar

import tyro

from mnist_tune.errors import UserError, redacted

Config = TypeVar("Config")


def parse(config: type[Config], args: Sequence[str] | None = None) -> Config:
    """The config from the command line (or `args`); a mistake ends the process with one line and exit code 2."""
    said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")  # in another encoding tyro draws other boxes
    arguments = list(sys.argv[1:] if args is None else args)
    try:
        if "-h" in arguments or "--help" in arguments:
            return tyro.cli(config, args=arguments, config=(tyro.conf.FlagCreatePairsOff,))
        with redirect_stderr(said), redirect_stdout(said):
            return tyro.cli(config, args=arguments, config=(tyro.conf.FlagCreatePairsOff,))
    except SystemExit as exit_:
        if exit_.code != 2:
            raise
    except UserError as error:  # from the dataclass's own checks
        fail(str(error))
    said.seek(0)
    fail(_one_line(said.read()) + "; --help lists all flags")
    raise AssertionError("unreachable")


def run(main: Callable[[], int | None]) -> None:
    """Runs a command's main function; a `UserError` becomes one line and exit code 2, Ctrl-C before training begins one
    line and 130."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a result is not lost to a terminal that has no "…"
    try:
        sys.exit(main() or 0)
    except UserError as error:
        fail(str(error))
    except KeyboardInterrupt:
        print("interrupted; nothing was lost: --resume goes on where a sweep's folder was made", file=sys.stderr)
        sys.exit(130)


def fail(message: str) -> None:
    print(f"error: {redacted(message)}", file=sys.stderr)
    sys.exit(2)


def _one_line(box: str) -> str:
    """What tyro says in a box, without the box and the repeated help texts."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", box)
    lines = [line.strip("│ ") for line in text.splitlines() if line.startswith("│")]
    parts = [re.sub(r"\s+", " ", part).strip(" .") for part in re.split(r"─+", " ".join(lines))]
    hint = r"(?:Perhaps you meant|Arguments similar to \S+): (--[\w-]+).*"
    kept = [re.sub(hint, r"did you mean \1?", part) for part in parts]
    return "; ".join(part for part in kept if not re.match(r"Argument helptext|For full helptext|$", part))
