"""Running commands in processes of their own, and measuring their time and memory."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from mnist_tune import UserError
from mnist_tune.cache import CACHE_VARIABLE
from mnist_tune.data.files import DATA_VARIABLE, data_folder

REPOSITORY = Path(__file__).resolve().parent.parent
SAMPLE_INTERVAL_S = 2.0
"""At half a second, reading the memory of 20 processes took 15% of a core away from
what is measured."""


@dataclass(frozen=True)
class Finished:
    """A command that has succeeded."""

    started_at: float
    """Unix time."""
    wall_s: float


def run_python(
    arguments: Sequence[str],
    folder: Path,
    variables: Mapping[str, str] | None = None,
    wait: Callable[[psutil.Popen], object] = psutil.Popen.wait,
) -> Finished:
    """Run `python arguments` in a folder. It can import the repository's modules.

    Args:
        arguments: a script, or `-m` and a module, and then its arguments.
        folder: its working directory. Its output goes to the file `said` there.
        variables: environment variables to set, in addition to those of this process.
        wait: returns once the process has ended.

    Raises:
        UserError: the command failed; the message ends with its last output.
    """
    started_at, start = time.time(), time.perf_counter()
    child = start_python(arguments, folder, variables)
    wait(child)
    wall_s = time.perf_counter() - start
    if child.returncode:
        said_last = (folder / "said").read_text(errors="replace")[-3000:]
        raise UserError(f"python {' '.join(arguments)} failed:\n{said_last}")
    return Finished(started_at, wall_s)


def start_python(
    arguments: Sequence[str],
    folder: Path,
    variables: Mapping[str, str] | None = None,
    own_group: bool = False,
) -> psutil.Popen:
    """Start what `run_python` runs. With `own_group` it gets a process group, which can
    be killed as a whole."""
    path = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        **(variables or {}),
    }
    command = [sys.executable, *arguments]
    with (folder / "said").open("wb") as output:
        return psutil.Popen(
            command,
            env=environment,
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=own_group,
        )


def empty_cache(folder: Path) -> dict[str, str]:
    """Return variables with which a command finds MNIST where this process does, but no
    compiled programs."""
    return {
        DATA_VARIABLE: str(data_folder().absolute()),
        CACHE_VARIABLE: str(folder / "cache"),
    }


class Memory:
    """The memory of a process in MiB by Unix time, sampled until it ends."""

    def __init__(self, mib_of: Callable[[psutil.Process], float]) -> None:
        self.mib_of = mib_of
        self.samples: list[tuple[float, float]] = []

    def wait(self, child: psutil.Popen) -> None:
        """Wait for a process to end, and sample its memory meanwhile."""
        ended = False
        while not ended:
            self.samples.append((time.time(), self.mib_of(child)))
            with contextlib.suppress(psutil.TimeoutExpired):
                child.wait(timeout=SAMPLE_INTERVAL_S)
                ended = True


def own_mib(process: psutil.Process) -> float:
    """Return the resident memory of a process; 0 once it has ended."""
    with contextlib.suppress(psutil.Error):
        return float(process.memory_info().rss / 2**20)
    return 0.0


def tree_mib(process: psutil.Process) -> float:
    """Return the memory of a process and all its descendants; what they share counts
    once."""
    total = 0
    with contextlib.suppress(psutil.Error):
        for member in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                memory = member.memory_full_info()
                # only Linux has pss, in which shared memory counts once
                total += getattr(memory, "pss", memory.uss)
    return total / 2**20
