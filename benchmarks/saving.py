"""Does a slow disk delay training, and does a kill lose anything while a state is being written?

    python benchmarks/saving.py

It trains a trial with a state of 256 MB on the disk as it is, and on one that takes 2 s longer for a write, and prints
the median seconds of an epoch. Then it trains the trial again on the slow disk and kills its process at random moments.
In the end, the rows must be those of the trial that was not killed, bit for bit.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psutil

from benchmarks.comparison import Measured, Recorded, Target, checked, describe_machine, machine_line, write_record
from benchmarks.processes import run_python, start_python
from benchmarks.sides.slow_disk import read_rows
from mnist_tune import cli

TARGET = Target("slow disk", "epoch_s", "at most", 1.1, "fast disk")
"""How much longer an epoch of 3 s may take if a write takes 2 s."""

TIMES = {"compile_s", "train_s", "eval_s", "batch_s", "wait_s", "ended_at"}
"""Columns that differ from run to run."""


@dataclass(frozen=True, kw_only=True)
class Saving(Recorded):
    """Trains a trial with a state of 256 MB on a slow disk, undisturbed and killed at random moments."""

    epochs: int = 12
    """Epochs of the trial."""
    batch_size: int = 100
    """Images in a step; it sets how long an epoch takes."""
    write_s: float = 2.0
    """Seconds that the slow disk takes for a write."""
    kills: int = 10
    """How often the trial's process is killed."""
    seed: int = 0
    """Seed of the moments."""

    def command(self, folder: Path, write_s: float) -> list[str]:
        folder.mkdir(exist_ok=True)
        return ["-m", "benchmarks.sides.slow_disk", str(folder), str(self.epochs), str(self.batch_size), str(write_s)]


def epoch_s(folder: Path) -> float:
    """Return the median seconds from one row to the next, without the first ones, which compile."""
    ended = [row["ended_at"] for row in read_rows(folder)][1:]
    return median(b - a for a, b in itertools.pairwise(ended))


def train_and_kill(config: Saving, folder: Path, random_: random.Random) -> None:
    """Run the trial until its process has been killed as often as asked, each time a few epochs after it began."""
    for _ in range(config.kills):
        before = len(read_rows(folder))
        child = start_python(config.command(folder, config.write_s), folder, own_group=True)
        while len(read_rows(folder)) == before and child.poll() is None:
            with contextlib.suppress(psutil.TimeoutExpired):
                child.wait(0.2)
        with contextlib.suppress(psutil.TimeoutExpired):
            child.wait(random_.uniform(0, 4))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        print(f"killed after row {len(read_rows(folder))}", flush=True)


def numbers(folder: Path) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name not in TIMES} for row in read_rows(folder)]


def main() -> int:
    config = cli.parse(Saving)
    machine = describe_machine()
    print(machine_line(machine), flush=True)
    with TemporaryDirectory() as scratch:
        fast, slow, killed = (Path(scratch) / name for name in ("fast", "slow", "killed"))
        measured: Measured = {}
        for title, folder, write_s in (("fast disk", fast, 0.0), ("slow disk", slow, config.write_s)):
            run_python(config.command(folder, write_s), Path(scratch))
            measured[title] = [{"epoch_s": epoch_s(folder)}]
            print(f"{title}: {epoch_s(folder):.2f} s per epoch", flush=True)
        train_and_kill(config, killed, random.Random(config.seed))
        run_python(config.command(killed, config.write_s), Path(scratch))
        same = numbers(fast) == numbers(slow) == numbers(killed) and len(numbers(fast)) == config.epochs
    print("no row is lost, and all numbers are the same" if same else "rows are lost, or numbers differ")
    found = {"rounds": measured, "targets": checked([TARGET], measured), "same": same}
    write_record(config, machine, {"saving": found})
    return int(not same)


if __name__ == "__main__":
    cli.run(main)
