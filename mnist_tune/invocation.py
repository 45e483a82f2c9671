"""The commands, and how they are called.

Commands that are printed for the user to type are made here, so that they work where
they are read.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import threading
from pathlib import Path

PROGRAM = "mnist-tune"

COMMANDS = {
    "regimes": (
        "lr_regimes",
        "Which learning rates converge, are slow, oscillate or diverge?",
    ),
    "search": (
        "search",
        "Which network and which settings do best on held-out images?",
    ),
    "decide": ("decide", "Which of some settings is best, and how sure is that?"),
    "edge": ("edge", "How large may the learning rate be, with an interval?"),
    "range": ("range_test", "At which learning rate does the loss blow up? Seconds."),
    "show": ("show", "What does a sweep say? Its table, its page, its picture."),
    "read": ("read", "What do curves say that another tool trained?"),
    "predict": ("predict", "Which classes do new images have?"),
    "export": (
        "export",
        "Copy a sweep into TensorBoard, MLflow, W&B, Optuna, CSV files or safetensors.",
    ),
    "resume": ("resume", "Resume an interrupted sweep."),
}
"""For each name, its module in `mnist_tune/commands/`, and its question."""

RESUMED = ("regimes", "search", "decide", "edge")
"""The commands that start sweeps, each of which has the name of its command's
module."""

SCRIPTS = {"notebook": "sweeps/notebook.py"}
"""The scripts of a clone that start sweeps that no command starts, by their names."""


TERMINATED = threading.Event()
"""Set once a SIGTERM has ended the sweep of this process, as Ctrl-C would have."""


def module_of(name: str) -> str:
    """Return the module of a command, whose function `main` runs it."""
    return f"mnist_tune.commands.{COMMANDS[name][0]}"


def started_by(sweep: str) -> str | None:
    """Return the command that starts sweeps of this name, None if none does."""
    return next((name for name in RESUMED if COMMANDS[name][0] == sweep), None)


def arguments() -> list[str]:
    """Return the arguments that this process was given, without the command's name."""
    return sys.argv[2:] if _is_program() else sys.argv[1:]


def called() -> str:
    """Return how this process was called, without its arguments."""
    return (
        shlex.join([*program(), *sys.argv[1:2]])
        if _is_program()
        else f"python {shlex.quote(sys.argv[0])}"
    )


def program() -> list[str]:
    """Return the words that call the installed program: by its name, if that is on the
    PATH."""
    return [PROGRAM] if shutil.which(PROGRAM) else ["python", "-m", "mnist_tune"]


def command(name: str) -> str:
    """Return what the user types for a command."""
    return f"{shlex.join([*program(), name])}{_cluster() * (name not in ('show', 'read', 'predict', 'export'))}"


def resume(where: object, script: str | None = None) -> str:
    """Return what the user types to resume the sweep in a folder, by the one command,
    or by a script. The folder's name may come from somebody else's folder."""
    # which is no flag
    text = f"./{where}" if str(where).startswith("-") else str(where)
    call = [*program(), "resume", text]
    if script is not None:
        call = ["python", _from_here(script), "--resume", text]
    return f"{shlex.join(call)}{_cluster()}"


def trains() -> bool:
    """Return whether this process may train a sweep: it is a script, or a command that
    starts sweeps or resumes one."""
    return not _is_program() or {*sys.argv[1:2]} <= {*RESUMED, "resume"}


def _cluster() -> str:
    """Return the flag of the cluster that this process was told to use: what follows it
    is to run there, too."""
    given = re.search(r"--address[= ](\S+)", " ".join(arguments()))
    return f" {words('address', given[1])}" if given else ""


def words(option: str, *values: object) -> str:
    """Return the flag of an option with its values, for a shell. A value may come from
    a folder of somebody else's, so one that looks like a flag must not become one."""
    flag, texts = f"--{option.replace('_', '-')}", [str(value) for value in values]
    if texts and texts[0].startswith("-"):
        flag, texts = f"{flag}={texts[0]}", texts[1:]
    return shlex.join([flag, *texts])


def _from_here(script: str) -> str:
    """Return the path of a script of a clone: as this process was called, if it runs
    it, else as it is from the clone's folder."""
    return sys.argv[0] if Path(sys.argv[0]).name == Path(script).name else script


def _is_program() -> bool:
    return Path(sys.argv[0]).name == PROGRAM or Path(sys.argv[0]).parts[-2:] == (
        "mnist_tune",
        "__main__.py",
    )
