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

INTERRUPTED = 130
"""A shell's exit code of a program that Ctrl-C ended: 128 + SIGINT."""

TERMINATED = 143
"""That of one that SIGTERM ended."""

PIPE_CLOSED = 141
"""A shell's exit code of a program that wrote into a closed pipe: 128 + SIGPIPE."""

LEARNING_RATE = ("learning_rates", "learning_rate", "expected")
"""The options of commands that are learning rates; each command has one at most."""

MISSING = r"Missing from .*?: [A-Z]+ (.*?)\.? \(required\)"
"""How tyro says which argument without a flag is not there, and what it is."""

HINT = r"(?:Perhaps you meant|Arguments similar to \S+): (--[\w-]+).*"
"""How tyro says which flags are alike."""

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
    settings: dict[str, Any] = {"args": arguments, "config": CONFIG}
    if default is not None:
        settings["default"] = default
    if "-h" in arguments or "--help" in arguments:
        print_help(config)
    try:
        with redirect_stderr(output), redirect_stdout(output):
            options: Config = tyro.cli(config, **settings)
            return options
    except SystemExit as exit_:
        output.seek(0)
        if exit_.code != 2:  # tyro printed a shell's completion script
            print(output.read(), end="")
            raise
    except UserError as error:  # from the dataclass's own checks
        fail(str(error))
    names = [option.name for option in fields(config)]  # type: ignore[arg-type]
    message = re.sub(
        r"Error parsing --([\w-]+): .*?('[^']*'(?:, '[^']*')*)[^;]*",
        partial(_of_numbers, config),
        _one_line(output.read()),
    )
    parts = [message, suggestion(arguments, names), "--help lists all flags"]
    fail("; ".join(part for part in parts if part))


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
    name = error[1].replace("-", "_")
    hint = str(get_type_hints(config).get(name, ""))
    if "float" in hint:
        return f"--{error[1]} takes numbers, got {error[2]}"
    if "int" in hint:
        return f"--{error[1]} takes whole numbers, got {error[2]}"
    return error[0]


def suggestion(arguments: Sequence[str], options: Sequence[str] = ()) -> str:
    """Return what was likely meant by lists, folders, and flags of a command with these
    options, that are written as elsewhere; empty if nothing comes to mind."""
    rates = [name for name in LEARNING_RATE if name in options]
    for before, word in zip(("", *arguments), arguments, strict=False):
        name, equals, value = word.partition("=")
        if name in ("--lr", "-lr", "--lrs") and rates:
            return f"did you mean --{rates[0].replace('_', '-')}?"
        is_alone = not before.startswith("-")
        if is_alone and os.path.isfile(os.path.join(word, "sweep.json")):
            if "sweep" in options:
                return f"did you mean {invocation.words('sweep', word)}?"
            if "resume" in options:
                return f"did you mean {invocation.resume(word)}?"
        values = _values_meant(value if equals else word)
        if values:
            return f"did you mean {values}?"
    return ""


def _values_meant(text: str) -> str:
    """Return the values that are meant by a list with commas, or by a range of whole
    numbers; empty if the text is neither."""
    if re.fullmatch(r"[\d.eE+-]+(,[\d.eE+-]+)+", text):
        return text.replace(",", " ")
    bounds = re.fullmatch(r"(\d{1,4})(?:-|\.\.)(\d{1,4})", text)
    if bounds is None:
        return ""
    first, last = int(bounds[1]), int(bounds[2])
    if not first < last < first + 100:
        return ""
    return " ".join(map(str, range(first, last + 1)))


def run(main: Callable[[], int | None]) -> None:
    """Run a command's main function and exit with its code.

    A `UserError` becomes one line and exit code 2. Ctrl-C before training begins
    becomes one line and 130; what SIGTERM ended has 143. Where nobody reads the output any more, the command ends
    in silence with 141; a full disk is one line, too.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # printing "…" must not fail on a terminal without it
            stream.reconfigure(errors="replace")
    try:
        code = main() or 0
        if code == INTERRUPTED and invocation.TERMINATED.is_set():
            code = TERMINATED
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
        sys.exit(TERMINATED if invocation.TERMINATED.is_set() else INTERRUPTED)


def fail(message: str) -> NoReturn:
    """Print an error in one line and exit with code 2."""
    print(f"error: {redacted(message)}", file=sys.stderr)
    sys.exit(2)


def _one_line(box: str) -> str:
    """Return tyro's message without its box and the help texts that it repeats."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", box)
    lines = [line.strip("│ ") for line in text.splitlines() if line.startswith("│")]
    kept = []
    for part in re.split(r"─+", " ".join(lines)):
        plain = re.sub(r"\s+", " ", part).strip(" .")
        if re.match(r"Argument helptext|For full helptext|$", plain):
            continue
        plain = re.sub(MISSING, r"name what is missing: \1", plain)
        kept.append(re.sub(HINT, r"did you mean \1?", plain))
    return "; ".join(kept)


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
    for title, of_panel in panels(config).items():
        names = [name for name in of_panel if shown is None or name in shown]
        if not names:
            continue
        hidden = []
        for option in fields(config):
            if option.name not in names:
                hint: Any = Annotated[hints[option.name], tyro.conf.Suppress]
                hidden.append((option.name, hint, field(default=option.default)))
        panel = make_dataclass(
            title.title(), hidden, bases=(config,), frozen=True, kw_only=True
        )
        named = tyro.conf.arg(name=title, help="")
        nested.append((title, Annotated[panel, tyro.conf.OmitArgPrefixes, named]))
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
    titles: dict[str, str] = {}
    for kind in reversed(config.__mro__):
        title = vars(kind).get("PANEL", "training")
        for name in vars(kind).get("__annotations__", {}):
            titles.setdefault(name, title)
    names = defaultdict(list)
    for option in fields(config):
        names[titles[option.name]].append(option.name)
    return dict(reversed(names.items()))
