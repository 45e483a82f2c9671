"""Is anything lost when something is killed at a random moment?

    python benchmarks/chaos.py
    python benchmarks/chaos.py --kill worker

Runs a sweep undisturbed, then again with a kill -9 at a random moment of it: of the driver's process group, of a
trial's process, of a lane server or of Ray's raylet; and both anew for each moment, since a shared machine is slow for
minutes at a time. A command that a kill ends is run again with --resume. In the end every trial must be complete, each
epoch's row in the journal once, and the tables, but for times, those of the undisturbed sweep bit for bit (lanes, which
are the same to rounding, are not compared). Printed is the wall time against the undisturbed sweep's.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Literal

import pandas as pd
import psutil

from comparison import Measured, Recorded, Target, checked, describe_machine, machine_line, ratios, write_record
from mnist_tune import Sweep, UserError, cli, load_sweep
from mnist_tune.results.journal import read_journal
from mnist_tune.results.tables import TIMES
from processes import REPOSITORY, start_python

TARGET = Target("killed", "wall_s", "at most", 1.5, "undisturbed")
"""The most that a kill may cost."""

TITLES = {"worker": "ray::ResourceTrainable", "server": "ray::LaneServer", "raylet": "raylet/raylet"}
"""What the command lines of the processes to kill hold."""

ENDING = ("driver", "raylet")
"""Whose death ends the command; after that of others the sweep goes on by itself."""

TIMEOUT_S = 300.0
"""Seconds that a command may take."""


@dataclass(frozen=True, kw_only=True)
class Chaos(Recorded):
    """Kills a part of a sweep at random moments and looks at what is left."""

    kill: Literal["driver", "worker", "server", "raylet"] = "driver"
    """What is killed: driver with its process group, or one process of Ray's."""
    moments: int = 20
    """Kills, each in a sweep of its own."""
    seed: int = 0
    """Of the moments."""
    trials: int = 8
    """Of mlp-16-tanh on mnist-5k."""
    epochs: int = 60
    """Of a trial."""

    def flags(self) -> list[str]:
        rates = [f"{0.01 * 1.5**i:.4g}" for i in range(self.trials)]
        said = ["--learning-rates", *rates, "--epochs", str(self.epochs), "--scheduler", "fifo", "--quiet"]
        said += ["--architecture", "mlp-16-tanh", "--dataset", "mnist-5k"]
        return [*said, "--execution", "lanes" if self.kill == "server" else "process"]


class Victim:
    """A sweep's command in a folder of its own, in which something may be killed."""

    def __init__(self, config: Chaos, folder: Path) -> None:
        self.config, self.folder, self.sweep, self.killed = config, folder, folder / "sweep", False
        folder.mkdir()

    def run(self, kill_after_s: float | None = None, random_: random.Random | None = None) -> float:
        """Wall seconds of the command, and of the one that goes on with it where a kill ended it.

        Raises:
            UserError: a command failed for another reason than the kill, or lasted too long.
        """
        start = time.perf_counter()
        child = self._start()
        if kill_after_s is not None:
            with contextlib.suppress(psutil.TimeoutExpired):
                child.wait(kill_after_s)
            self._kill(child, random_ or random.Random())
        if self._ended(child) and self.killed and self.config.kill in ENDING:
            child = self._start()
            self._ended(child)
        wall_s = time.perf_counter() - start
        if child.returncode:
            said = (self.folder / "said").read_text(errors="replace")[-3000:]
            raise UserError(f"the sweep in {self.folder} failed:\n{said}")
        return wall_s

    def _start(self) -> psutil.Popen:
        known = (self.sweep / "sweep.json").exists()
        asked = ["--resume", "sweep", "--quiet"] if known else ["--output", "sweep", *self.config.flags()]
        return start_python([str(REPOSITORY / "sweeps" / "lr_regimes.py"), *asked], self.folder, own_group=True)

    def _kill(self, child: psutil.Popen, random_: random.Random) -> None:
        """Kills what there is to kill, or waits for it; nothing where the command has ended before."""
        while child.poll() is None and not self.killed:
            if self.config.kill == "driver":
                os.killpg(child.pid, signal.SIGKILL)
                self.killed = True
            elif found := processes(child, TITLES[self.config.kill]):
                random_.choice(found).kill()
                self.killed = True
            else:
                time.sleep(0.01)

    def _ended(self, child: psutil.Popen) -> int:
        """The exit code of the command."""
        try:
            return int(child.wait(TIMEOUT_S))
        except psutil.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            raise UserError(f"the sweep in {self.folder} did not end within {TIMEOUT_S:g} s") from None


def processes(parent: psutil.Process, title: str) -> list[psutil.Process]:
    """Descendants whose command line holds a title."""
    found = []
    with contextlib.suppress(psutil.Error):
        for process in parent.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if title in " ".join(process.cmdline()):
                    found.append(process)
    return found


def numbers(sweep: Sweep) -> pd.DataFrame:
    """The numeric columns of a sweep's epochs but for times, a row a trial and epoch."""
    epochs = sweep.epochs.set_index(["trial_id", "epoch"]).sort_index().select_dtypes(["number", "bool"])
    return epochs.drop(columns=[*TIMES, "batch_s", "ended_at"])


def faults(path: Path, undisturbed: Sweep, exact: bool) -> list[str]:
    """What is wrong with a sweep that something was killed in; empty where nothing is."""
    sweep, found = load_sweep(path), []
    if set(sweep.trials["stop_reason"]) != set(undisturbed.trials["stop_reason"]):
        found.append(f"trials ended as {sweep.trials['stop_reason'].value_counts().to_dict()}")
    keys = [(event["trial_id"], event["epoch"]) for event in read_journal(path) if event["kind"] == "epoch"]
    if len(keys) != len(set(keys)):
        found.append(f"{len(keys) - len(set(keys))} rows are in the journal twice")
    if set(keys) != set(numbers(undisturbed).index):
        found.append(f"{len(set(keys))} rows in place of {len(undisturbed.epochs)}")
    elif exact and not numbers(sweep).equals(numbers(undisturbed)):
        found.append("numbers differ")
    return found


def main() -> int:
    config = cli.parse(Chaos)
    machine = describe_machine()
    print(machine_line(machine), flush=True)
    random_, found = random.Random(config.seed), []
    measured: Measured = {"undisturbed": [], "killed": []}
    with TemporaryDirectory() as scratch:
        for i in range(config.moments):
            calm, victim = (Victim(config, Path(scratch) / f"{name}{i}") for name in ("calm", "killed"))
            calm_s = calm.run()
            moment = random_.uniform(0, calm_s)
            wall_s = victim.run(moment, random_)
            said = faults(victim.sweep, load_sweep(calm.sweep), exact=config.kill != "server")
            found.append(said)
            measured["undisturbed"].append({"wall_s": calm_s})
            measured["killed"].append({"wall_s": wall_s, "moment_s": moment, "kills": float(victim.killed)})
            killed = f"{config.kill} killed after {moment:.2f} s" if victim.killed else "ended before the kill"
            print(f"undisturbed {calm_s:.1f} s; {killed}: {wall_s:.1f} s; {'; '.join(said) or 'well'}", flush=True)
    well, costs = found.count([]), ratios(measured, "killed", "undisturbed", "wall_s")
    print(
        f"{well} of {config.moments} well; wall time against the undisturbed sweep: "
        f"median {median(costs):.2f}, most {max(costs):.2f} (target {TARGET.bound:g})"
    )
    results = {"rounds": measured, "targets": checked([TARGET], measured), "faults": found}
    write_record(config, machine, {f"{config.kill} killed": results})
    return int(well < config.moments)


if __name__ == "__main__":
    cli.run(main)
