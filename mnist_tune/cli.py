"""Command lines: a dataclass defines the flags, tyro parses them. Every mistake is one
line and exit code 2."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import field, fields, make_dataclass
from functools import partial
from inspect import getdoc
from typing import Annotated, Any, NoReturn, TypeVar, get_type_hints

import tyro

from mnist_tune import invocation
from mnist_tune.errors import InterruptedSweepError, UserError, redacted

Config = TypeVar("Config")

PIPE_CLOSED = 141
"""A shell's exit code of a program that wrote into a closed pipe: 128 + SIGPIPE."""

LEARNING_RATE = ("learning_rates", "learning_rate", "expected")
"""The options of commands that are learning rates; each command has one at most."""

MISSING = r"Missing from .*?: [A-Z]+ (.*?)\.? \(required\)"
"""How tyro says which argument without a flag is not there, and what it is."""

CONFIG = (tyro.conf.FlagCreatePairsOff,)


def parse(
    config: type[Config],
    args: Sequence[str] | None = None,
    default: Config | None = None,
) -> Config:
    """Return the config that the command line (or `args`) gives, with what it does not
    give as in `default`. On a mistake, print one line and exit with code 2."""
    # tyro draws other boxes in other encodings
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    arguments = list(invocation.arguments() if args is None else args)
    of_before: dict[str, Any] = {} if default is None else {"default": default}
    if "-h" in arguments or "--help" in arguments:
        print_help(config)
    try:
        with redirect_stderr(output), redirect_stdout(output):
            found: Config = tyro.cli(config, args=arguments, config=CONFIG, **of_before)
            return found
    except SystemExit as exit_:
        output.seek(0)
        if exit_.code != 2:  # tyro printed a shell's completion script
            print(output.read(), end="")
            raise
    except UserError as error:  # from the dataclass's own checks
        fail(str(error))
    meant = suggestion(arguments, [one.name for one in fields(config)])  # type: ignore[arg-type]
    said = re.sub(
        r"Error parsing --([\w-]+): .*?('[^']*'(?:, '[^']*')*)[^;]*",
        partial(_of_numbers, config),
        _one_line(output.read()),
    )
    fail("; ".join(filter(None, [said, meant, "--help lists all flags"])))


def given(options: Config, args: Sequence[str] | None = None) -> dict[str, Any]:
    """Return those of the options that `parse` read from the command line (or `args`),
    also where they are as by default."""
    values = {}
    for word in invocation.arguments() if args is None else args:
        name = word.partition("=")[0].removeprefix("--").replace("-", "_")
        if name not in vars(options):
            name = name.removeprefix("no_")
        if word.startswith("--") and name in vars(options):
            values[name] = getattr(options, name)
    return values


def _of_numbers(config: type[Any], error: re.Match[str]) -> str:
    """Return tyro's error about a flag that takes numbers, in plain words; others as
    they are."""
    hint = str(get_type_hints(config).get(error[1].replace("-", "_"), ""))
    kind = "numbers" if "float" in hint else "whole numbers" if "int" in hint else ""
    return f"--{error[1]} takes {kind}, got {error[2]}" if kind else error[0]


def suggestion(arguments: Sequence[str], options: Sequence[str] = ()) -> str:
    """Return what was likely meant by lists, folders, and flags of a command with these
    options, that are written as elsewhere; empty if nothing comes to mind."""
    for before, word in zip(("", *arguments), arguments, strict=False):
        name, equals, value = word.partition("=")
        meant = [one for one in LEARNING_RATE if one in options]
        if name in ("--lr", "-lr", "--lrs") and meant:
            return f"did you mean --{meant[0].replace('_', '-')}?"
        takes = (
            {"sweep", "resume"}.intersection(options)
            if not before.startswith("-")
            else ()
        )
        if takes and os.path.isfile(os.path.join(word, "sweep.json")):
            return f"did you mean {invocation.words('sweep', word) if 'sweep' in takes else invocation.resume(word)}?"
        value = value if equals else word
        if re.fullmatch(r"[\d.eE+-]+(,[\d.eE+-]+)+", value):
            return f"did you mean {value.replace(',', ' ')}?"
        if found := re.fullmatch(r"(\d{1,4})(?:-|\.\.)(\d{1,4})", value):
            first, last = map(int, found.groups())
            if first < last < first + 100:
                return f"did you mean {' '.join(map(str, range(first, last + 1)))}?"
    return ""


def run(main: Callable[[], int | None]) -> None:
    """Run a command's main function and exit with its code.

    A `UserError` becomes one line and exit code 2. Ctrl-C before training begins
    becomes one line and 130. Where nobody reads the output any more, the command ends
    in silence with 141; a full disk is one line, too.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # printing "…" must not fail on a terminal without it
            stream.reconfigure(errors="replace")
    try:
        code = main() or 0
        print(end="", flush=True)  # at exit, Python itself would say that nobody reads
        sys.exit(code)
    except UserError as error:
        fail(str(error))
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        # Python flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.ENOSPC:
            fail(f"can't write {error.filename or 'the output'}: {error.strerror}")
        sys.exit(PIPE_CLOSED)  # whoever read the output has stopped, as `head` does
    except KeyboardInterrupt as interrupt:
        line = "interrupted"
        if invocation.trains():
            line += "; nothing was lost"
            if isinstance(interrupt, InterruptedSweepError):
                line += f", resume with: {interrupt.resume}"
        print(line, file=sys.stderr)
        sys.exit(130)


def fail(message: str) -> NoReturn:
    """Print an error in one line and exit with code 2."""
    print(f"error: {redacted(message)}", file=sys.stderr)
    sys.exit(2)


def _one_line(box: str) -> str:
    """Return tyro's message without its box and the help texts that it repeats."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", box)
    lines = [line.strip("│ ") for line in text.splitlines() if line.startswith("│")]
    parts = [
        re.sub(r"\s+", " ", part).strip(" .")
        for part in re.split(r"─+", " ".join(lines))
    ]
    hint = r"(?:Perhaps you meant|Arguments similar to \S+): (--[\w-]+).*"
    kept = [
        re.sub(
            hint,
            r"did you mean \1?",
            re.sub(MISSING, r"name what is missing: \1", part),
        )
        for part in parts
    ]
    return "; ".join(
        part
        for part in kept
        if not re.match(r"Argument helptext|For full helptext|$", part)
    )


def print_help(
    config: type[Any], shown: Collection[str] | None = None, program: str = ""
) -> NoReturn:
    """Print the flags that a dataclass defines, and exit with code 0.

    A class of the config's may have `PANEL`, the name of the panel for the fields that
    it adds. The config may have `EXAMPLES`: what may follow the command's name, and
    what it does.

    Args:
        shown: the fields whose flags a resume takes; by default all are printed, with
            what the command does and examples.
        program: what the flags follow; by default how this process was called.
    """
    program = program or invocation.called()
    hints = get_type_hints(config, include_extras=True)
    nested = []
    for title, fields_of_panel in panels(config).items():
        names = fields_of_panel
        if shown is not None:
            names = [name for name in fields_of_panel if name in shown]
        if not names:
            continue
        hidden = [
            (
                one.name,
                Annotated[hints[one.name], tyro.conf.Suppress],
                field(default=one.default),
            )
            for one in fields(config)
            if one.name not in names
        ]
        panel = make_dataclass(
            title.title(), hidden, bases=(config,), frozen=True, kw_only=True
        )
        nested.append(
            (
                title,
                Annotated[
                    panel, tyro.conf.OmitArgPrefixes, tyro.conf.arg(name=title, help="")
                ],
            )
        )
    examples: dict[str, str] = {}
    description: str | None = "All else is as recorded."
    if shown is None:
        examples = getattr(config, "EXAMPLES", {})
        description = getdoc(config)
    try:
        top = config if len(nested) == 1 else make_dataclass(config.__name__, nested)
        tyro.cli(
            top, args=["--help"], config=CONFIG, prog=program, description=description
        )
    finally:
        for flags, about in examples.items():
            print(f"{about}\n    {program} {flags}".rstrip())
    raise AssertionError("unreachable")


def panels(config: type[Any]) -> dict[str, list[str]]:
    """Return the names of a config's fields by panel; those that its own class adds
    come first."""
    titles, found = dict[str, str](), defaultdict(list)
    for kind in reversed(config.__mro__):
        for name in vars(kind).get("__annotations__", {}):
            titles.setdefault(name, vars(kind).get("PANEL", "training"))
    for one in fields(config):
        found[titles[one.name]].append(one.name)
    return dict(reversed(found.items()))
