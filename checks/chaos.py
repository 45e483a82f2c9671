"""Does a sweep lose anything when one of its processes is killed at a random moment?

    python checks/chaos.py
    python checks/chaos.py --kill worker
    python checks/chaos.py --kill power --moments 30
    python checks/chaos.py --kill disk
    python checks/chaos.py --architecture examples/networks.py:normed

It runs a sweep undisturbed, then again with a kill -9 at a random moment. The kill hits
the driver's process group, a trial's process, a lane server, or Ray's raylet. Both runs
are repeated for each moment, because a shared machine may be slow for minutes. If the
kill ends the command, it is run again with --resume. In the end every trial must be
complete, and the journal must have each epoch's row once. Apart from times, the tables
must equal those of the undisturbed sweep bit for bit; with lanes they are not compared,
because lanes differ by rounding. It prints how much longer the killed sweep took.

With `--kill power` one sweep notes what its processes sync. From that its folder is
made again, as a power cut at a random moment may leave it (`power_cut`). All rows but
those of the last second must be there, and the command must go on as after a kill.

With `--kill disk` the sweep has a small disk of its own. From a random moment on that
is full, or read-only, until the command ends: with one line, and each row that was
recorded still there. Then a resume must complete the sweep. Mounting that disk takes
root, or `unshare -rm python checks/chaos.py --kill disk`.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Literal

import pandas as pd
import psutil

from benchmarks.comparison import (
    Measured,
    Recorded,
    Target,
    checked,
    describe_machine,
    machine_line,
    ratios,
    write_record,
)
from benchmarks.processes import REPOSITORY, start_python
from checks.power_cut import RECORD, disk, recorded
from mnist_tune import Sweep, UserError, cli, load_sweep, storage
from mnist_tune.results.journal import read_journal
from mnist_tune.results.tables import TIMES

TARGET = Target("killed", "wall_s", "at most", 1.5, "undisturbed")
"""How much longer a killed sweep may take."""

TITLES = {
    "worker": "ray::ResourceTrainable",
    "server": "ray::LaneServer",
    "raylet": "raylet/raylet",
}
"""Texts by which we recognise the command lines of the processes to kill."""

ENDING = ("driver", "raylet")
"""Processes whose death ends the command. After the death of others, the sweep goes on
by itself."""

DISK_MB = 64
"""The size of the disk that fills up."""

TIMEOUT_S = 300.0
"""The most seconds that a command may take."""


@dataclass(frozen=True, kw_only=True)
class Chaos(Recorded):
    """Kills one process of a sweep at random moments, and checks that the sweep has
    lost nothing."""

    kill: Literal["driver", "worker", "server", "raylet", "power", "disk"] = "driver"
    """What to kill: the driver with its process group, one of Ray's processes, the
    whole machine, by imitation, or its disk."""
    moments: int = 20
    """The number of kills, each in its own sweep."""
    seed: int = 0
    """Seed of the random moments."""
    architecture: str = "mlp-16-tanh"
    """What is trained, on mnist-5k. A network of one's own runs again after a kill
    without being named: examples/networks.py:normed."""
    trials: int = 8
    """Trials in a sweep."""
    epochs: int = 60
    """Epochs in a trial."""

    def flags(self) -> list[str]:
        rates = [f"{0.01 * 1.5**i:.4g}" for i in range(self.trials)]
        flags = ["--learning-rates", *rates, "--epochs", str(self.epochs)]
        flags += ["--scheduler", "fifo", "--quiet"]
        file, colon, function = self.architecture.rpartition(":")
        if colon:
            # Each sweep runs in a folder of its own.
            file = os.path.abspath(file)
        flags += ["--architecture", f"{file}{colon}{function}"]
        flags += ["--dataset", "mnist-5k"]
        execution = "process"
        if self.kill == "server":
            execution = "lanes"
        return [*flags, "--execution", execution]


class Victim:
    """A command that runs a sweep in a folder of its own, and of which a process may be
    killed."""

    def __init__(
        self, config: Chaos, folder: Path, variables: Mapping[str, str] | None = None
    ) -> None:
        self.config = config
        self.folder = folder
        self.sweep = folder / "sweep"
        self.killed = False
        self.variables = variables
        folder.mkdir()

    def run(
        self, kill_after_s: float | None = None, random_: random.Random | None = None
    ) -> float:
        """Run the command, and again with --resume if a kill ended it. Return the wall
        seconds of both.

        Raises:
            UserError: a command failed for another reason than the kill, or took too
                long.
        """
        start = time.perf_counter()
        child = self.start()
        if kill_after_s is not None:
            with contextlib.suppress(psutil.TimeoutExpired):
                child.wait(kill_after_s)
            self._kill(child, random_ or random.Random())
        self.ended(child)
        if child.returncode and self.killed and self.config.kill in ENDING:
            child = self.start()
            self.ended(child)
        wall_s = time.perf_counter() - start
        if child.returncode:
            said_last = (self.folder / "said").read_text(errors="replace")[-3000:]
            raise UserError(f"the sweep in {self.folder} failed:\n{said_last}")
        return wall_s

    def start(self) -> psutil.Popen:
        flags = ["--output", str(self.sweep), *self.config.flags()]
        if (self.sweep / "sweep.json").exists():
            flags = ["--resume", str(self.sweep), "--quiet"]
            if self.config.kill == "disk":
                flags.append("--retry-errored")
        command = [str(REPOSITORY / "sweeps" / "lr_regimes.py"), *flags]
        return start_python(command, self.folder, self.variables, own_group=True)

    def _kill(self, child: psutil.Popen, random_: random.Random) -> None:
        """Kill a process, once there is one of the kind to kill. Do nothing if the
        command ends first."""
        while child.poll() is None and not self.killed:
            if self.config.kill == "driver":
                os.killpg(child.pid, signal.SIGKILL)
                self.killed = True
                continue
            targets = processes(child, TITLES[self.config.kill])
            if targets:
                random_.choice(targets).kill()
                self.killed = True
            else:
                time.sleep(0.01)

    def ended(self, child: psutil.Popen) -> int:
        """Wait for the command to end, and return its exit code."""
        try:
            return int(child.wait(TIMEOUT_S))
        except psutil.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            raise UserError(
                f"the sweep in {self.folder} did not end within {TIMEOUT_S:g} s"
            ) from None


def processes(parent: psutil.Process, title: str) -> list[psutil.Process]:
    """Return the descendants whose command line contains a text."""
    matching = []
    with contextlib.suppress(psutil.Error):
        for process in parent.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if title in " ".join(process.cmdline()):
                    matching.append(process)
    return matching


def numbers(sweep: Sweep) -> pd.DataFrame:
    """Return the numeric columns of a sweep's epochs, except times, with a row for each
    trial and epoch."""
    epochs = sweep.epochs.set_index(["trial_id", "epoch"]).sort_index()
    epochs = epochs.select_dtypes(["number", "bool"])
    return epochs.drop(columns=[*TIMES, "batch_s", "ended_at"])


def ends_of(sweep: Sweep) -> pd.DataFrame:
    """Return how trials ended."""
    trials = sweep.trials.set_index("trial_id")
    return trials[["stop_reason", "epochs_run", "regime"]]


def faults(path: Path, undisturbed: Sweep, exact: bool) -> list[str]:
    """Return what is wrong with a sweep in which a process was killed; empty if nothing
    is."""
    sweep = load_sweep(path)
    wrong = []
    ends = ends_of(sweep)
    expected = ends_of(undisturbed)
    if not ends.sort_index().equals(expected.sort_index()):
        wrong.append(f"trials ended as {ends.to_dict('list')}")
    epochs = read_journal(path).epochs
    keys = list(zip(epochs["trial_id"], epochs["epoch"], strict=True))
    unique = set(keys)
    repeated = len(keys) - len(unique)
    if repeated:
        wrong.append(f"{repeated} rows are in the journal twice")
    if unique != set(numbers(undisturbed).index):
        wrong.append(f"{len(unique)} rows in place of {len(undisturbed.epochs)}")
    elif exact and not numbers(sweep).equals(numbers(undisturbed)):
        wrong.append("numbers differ")
    return wrong


def described(wrong: list[str]) -> str:
    return "; ".join(wrong) or "nothing lost"


LATE_S = 1.0
"""Seconds that a sync may be late, or take, on a machine that is shared."""


def cut(config: Chaos, scratch: Path) -> list[list[str]]:
    """Return the faults of a sweep after each of some imitated power cuts."""
    calm = Victim(config, scratch / "calm")
    calm.run()
    undisturbed = load_sweep(calm.sweep)
    # The second sweep notes what its processes sync.
    records = scratch / "records"
    records.mkdir()
    folder = scratch / "recorded"
    path = [str(Path(__file__).parent / "recorded"), str(REPOSITORY)]
    variables = {
        "PYTHONPATH": os.pathsep.join(path),
        RECORD: os.pathsep.join([str(records), str(folder / "sweep")]),
    }
    sweep = Victim(config, folder, variables=variables)
    sweep.run()
    synced = recorded(records)
    written = read_journal(sweep.sweep).epochs
    random_ = random.Random(config.seed)
    clock = time.time() - time.monotonic()
    all_faults = []
    for i in range(config.moments):
        at = random_.uniform(synced[0].at, synced[-1].at)
        victim = Victim(config, scratch / f"cut{i}")
        disk(synced, sweep.sweep, at, random_, victim.sweep)
        wrong = lost_rows(victim.sweep, written, at + clock)
        states = states_in(victim.sweep)
        remove_beginning(victim.sweep)
        victim.run()
        wrong += faults(victim.sweep, undisturbed, exact=True)
        all_faults.append(wrong)
        seconds = at - synced[0].at
        print(f"cut after {seconds:.2f} s, {states}: {described(wrong)}", flush=True)
    complete = all_faults.count([])
    print(f"{complete} of {config.moments} sweeps lost a second at most", flush=True)
    return all_faults


def states_in(sweep: Path) -> str:
    """Say how many states a sweep has saved; nothing if it has no folder of them."""
    folder = sweep / "states"
    if not folder.exists():
        return ""
    return f"{len(os.listdir(folder)) - 1} states"


def remove_beginning(sweep: Path) -> None:
    """Remove what a sweep begins with: without its sweep.json, nothing can go on."""
    if sweep.exists() and not (sweep / "sweep.json").exists():
        shutil.rmtree(sweep)


def lost_rows(sweep: Path, written: pd.DataFrame, at: float) -> list[str]:
    """Return what is wrong with the rows that a power cut left; empty if only those of
    the last second are gone."""
    key = ["trial_id", "epoch"]
    present = read_journal(sweep).epochs[key].assign(present=True)
    rows = written.merge(present, on=key, how="left")
    should_be_there = rows["ended_at"] < at - storage.SYNC_S - LATE_S
    gone = rows[rows["present"].isna() & should_be_there]
    if gone.empty:
        return []
    return [f"{len(gone)} rows are lost"]


def failing_disks(config: Chaos, scratch: Path) -> list[list[str]]:
    """Return the faults of sweeps whose disk is full, or read-only, from a random
    moment until their command ends."""
    calm = Victim(config, scratch / "calm")
    calm.run()
    undisturbed = load_sweep(calm.sweep)
    random_ = random.Random(config.seed)
    all_faults = []
    for i in range(config.moments):
        row = random_.randrange(len(undisturbed.epochs))
        how = ("full", "read-only")[i % 2]
        victim = Victim(config, scratch / str(i))
        victim.sweep = victim.folder / "disk" / "sweep"
        with own_disk(victim.sweep.parent):
            wrong = []
            child = victim.start()
            while child.poll() is None and rows_in(victim.sweep) < row:
                time.sleep(0.01)
            time.sleep(random_.random() / 5)
            with failing(victim.sweep.parent, how):
                code = victim.ended(child)
            output = (victim.folder / "said").read_text()
            is_one_line = output.count("error: ") == 1 and "Traceback" not in output
            if code and not is_one_line:
                wrong.append(f"it said {output!r}")
            before = read_journal(victim.sweep).epochs
            remove_beginning(victim.sweep)
            if code:
                victim.run()
            # Each row that was recorded must still be there.
            key = ["trial_id", "epoch", "ended_at"]
            still_there = before[key].merge(read_journal(victim.sweep).epochs[key])
            lost = len(before) - len(still_there)
            wrong += faults(victim.sweep, undisturbed, exact=True)
            if lost > 0:
                wrong.append(f"{lost} rows are lost")
        all_faults.append(wrong)
        last = ["it had ended"]
        if code:
            last = output.strip().splitlines()[-1:]
        print(f"{how} after {len(before)} rows: {described(wrong)} {last}", flush=True)
    complete = all_faults.count([])
    print(f"{complete} of {config.moments} sweeps lost nothing", flush=True)
    return all_faults


def rows_in(sweep: Path) -> int:
    journal = sweep / "journal.jsonl"
    if not journal.exists():
        return 0
    return journal.read_bytes().count(b'"epoch": ')


@contextlib.contextmanager
def own_disk(folder: Path) -> Iterator[None]:
    """Make a folder that is a small disk of its own meanwhile."""
    folder.mkdir()
    mount("-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", folder)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextlib.contextmanager
def failing(disk: Path, how: str) -> Iterator[None]:
    """Let a disk be full meanwhile, or read-only to all that is not open for writing
    yet."""
    if how == "full":
        ballast = disk / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        yield
        ballast.unlink()
    else:
        mount("--bind", disk, disk)
        mount("-o", "remount,bind,ro", disk)
        yield
        subprocess.run(["umount", "--lazy", disk], check=True)


def mount(*arguments: str | Path) -> None:
    """Mount a file system. Raises a `UserError` if that takes more rights than this
    process has."""
    if subprocess.run(["mount", *arguments], check=False).returncode:
        raise UserError(
            "mounting takes root: unshare -rm python checks/chaos.py --kill disk"
        )


def main() -> int:
    config = cli.parse(Chaos)
    if config.kill in ("power", "disk"):
        imitate = {"power": cut, "disk": failing_disks}[config.kill]
        with TemporaryDirectory() as scratch:
            faults_of_moments = imitate(config, Path(scratch))
        return int(any(faults_of_moments))
    machine = describe_machine()
    print(machine_line(machine), flush=True)
    random_ = random.Random(config.seed)
    all_faults = []
    measured: Measured = {"undisturbed": [], "killed": []}
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for i in range(config.moments):
            calm = Victim(config, folder / f"calm{i}")
            victim = Victim(config, folder / f"killed{i}")
            calm_s = calm.run()
            moment = random_.uniform(0, calm_s)
            wall_s = victim.run(moment, random_)
            # Lanes differ by rounding.
            exact = config.kill != "server"
            wrong = faults(victim.sweep, load_sweep(calm.sweep), exact)
            all_faults.append(wrong)
            kills = float(victim.killed)
            row = {"wall_s": wall_s, "moment_s": moment, "kills": kills}
            measured["undisturbed"].append({"wall_s": calm_s})
            measured["killed"].append(row)
            what = "ended before the kill"
            if victim.killed:
                what = f"{config.kill} killed after {moment:.2f} s"
            times = f"undisturbed {calm_s:.1f} s; {what}: {wall_s:.1f} s"
            print(f"{times}; {described(wrong)}", flush=True)
    complete = all_faults.count([])
    costs = ratios(measured, "killed", "undisturbed", "wall_s")
    cost = (
        f"median {median(costs):.2f}, most {max(costs):.2f} (target {TARGET.bound:g})"
    )
    print(
        f"{complete} of {config.moments} sweeps lost nothing; "
        f"wall time relative to the undisturbed sweep: {cost}"
    )
    results = {
        "rounds": measured,
        "targets": checked([TARGET], measured),
        "faults": all_faults,
    }
    write_record(config, machine, {f"{config.kill} killed": results})
    return int(complete < config.moments)


if __name__ == "__main__":
    cli.run(main)
