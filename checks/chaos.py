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
        flags = [
            "--learning-rates",
            *rates,
            "--epochs",
            str(self.epochs),
            "--scheduler",
            "fifo",
            "--quiet",
        ]
        file, colon, function = self.architecture.rpartition(":")
        if colon:
            # Each sweep runs in a folder of its own.
            file = os.path.abspath(file)
        flags += ["--architecture", f"{file}{colon}{function}"]
        flags += ["--dataset", "mnist-5k"]
        return [*flags, "--execution", "lanes" if self.kill == "server" else "process"]


class Victim:
    """A command that runs a sweep in a folder of its own, and of which a process may be
    killed."""

    def __init__(
        self, config: Chaos, folder: Path, variables: Mapping[str, str] | None = None
    ) -> None:
        self.config, self.folder, self.sweep, self.killed = (
            config,
            folder,
            folder / "sweep",
            False,
        )
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
            flags = [
                "--resume",
                str(self.sweep),
                "--quiet",
                *["--retry-errored"] * (self.config.kill == "disk"),
            ]
        command = [str(REPOSITORY / "sweeps" / "lr_regimes.py"), *flags]
        return start_python(command, self.folder, self.variables, own_group=True)

    def _kill(self, child: psutil.Popen, random_: random.Random) -> None:
        """Kill a process, once there is one of the kind to kill. Do nothing if the
        command ends first."""
        while child.poll() is None and not self.killed:
            if self.config.kill == "driver":
                os.killpg(child.pid, signal.SIGKILL)
                self.killed = True
            elif found := processes(child, TITLES[self.config.kill]):
                random_.choice(found).kill()
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
    found = []
    with contextlib.suppress(psutil.Error):
        for process in parent.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if title in " ".join(process.cmdline()):
                    found.append(process)
    return found


def numbers(sweep: Sweep) -> pd.DataFrame:
    """Return the numeric columns of a sweep's epochs, except times, with a row for each
    trial and epoch."""
    epochs = (
        sweep.epochs.set_index(["trial_id", "epoch"])
        .sort_index()
        .select_dtypes(["number", "bool"])
    )
    return epochs.drop(columns=[*TIMES, "batch_s", "ended_at"])


def faults(path: Path, undisturbed: Sweep, exact: bool) -> list[str]:
    """Return what is wrong with a sweep in which a process was killed; empty if nothing
    is."""
    sweep, found = load_sweep(path), []
    ends, calm = (
        one.trials.set_index("trial_id")[["stop_reason", "epochs_run", "regime"]]
        for one in (sweep, undisturbed)
    )
    if not ends.sort_index().equals(calm.sort_index()):
        found.append(f"trials ended as {ends.to_dict('list')}")
    epochs = read_journal(path).epochs
    keys = list(zip(epochs["trial_id"], epochs["epoch"], strict=True))
    if len(keys) != len(set(keys)):
        found.append(f"{len(keys) - len(set(keys))} rows are in the journal twice")
    if set(keys) != set(numbers(undisturbed).index):
        found.append(f"{len(set(keys))} rows in place of {len(undisturbed.epochs)}")
    elif exact and not numbers(sweep).equals(numbers(undisturbed)):
        found.append("numbers differ")
    return found


LATE_S = 1.0
"""Seconds that a sync may be late, or take, on a machine that is shared."""


def cut(config: Chaos, scratch: Path) -> list[list[str]]:
    """Return the faults of a sweep after each of some imitated power cuts."""
    calm, records = Victim(config, scratch / "calm"), scratch / "records"
    calm.run()
    records.mkdir()
    folder = scratch / "recorded"
    path = [str(Path(__file__).parent / "recorded"), str(REPOSITORY)]
    where = os.pathsep.join(map(str, (records, folder / "sweep")))
    sweep = Victim(
        config, folder, variables={"PYTHONPATH": os.pathsep.join(path), RECORD: where}
    )
    sweep.run()
    synced, undisturbed = recorded(records), load_sweep(calm.sweep)
    written, random_, found = (
        read_journal(sweep.sweep).epochs,
        random.Random(config.seed),
        [],
    )
    clock = time.time() - time.monotonic()
    for i in range(config.moments):
        at = random_.uniform(synced[0].at, synced[-1].at)
        victim = Victim(config, scratch / f"cut{i}")
        disk(synced, sweep.sweep, at, random_, victim.sweep)
        wrong = lost_rows(victim.sweep, written, at + clock)
        said = (
            f"{len(os.listdir(victim.sweep / 'states')) - 1} states"
            if (victim.sweep / "states").exists()
            else ""
        )
        if victim.sweep.exists() and not (victim.sweep / "sweep.json").exists():
            shutil.rmtree(victim.sweep)  # what a sweep begins with
        victim.run()
        wrong += faults(victim.sweep, undisturbed, exact=True)
        found.append(wrong)
        print(
            f"cut after {at - synced[0].at:.2f} s, {said}: {'; '.join(wrong) or 'nothing lost'}",
            flush=True,
        )
    print(
        f"{found.count([])} of {config.moments} sweeps lost a second at most",
        flush=True,
    )
    return found


def lost_rows(sweep: Path, written: pd.DataFrame, at: float) -> list[str]:
    """Return what is wrong with the rows that a power cut left; empty if only those of
    the last second are gone."""
    known = ["trial_id", "epoch"]
    kept = read_journal(sweep).epochs[known].assign(kept=True)
    rows = written.merge(kept, on=known, how="left")
    gone = rows[rows["kept"].isna() & (rows["ended_at"] < at - storage.SYNC_S - LATE_S)]
    return [f"{len(gone)} rows are lost"] if len(gone) else []


def failing_disks(config: Chaos, scratch: Path) -> list[list[str]]:
    """Return the faults of sweeps whose disk is full, or read-only, from a random
    moment until their command ends."""
    calm, random_, found = (
        Victim(config, scratch / "calm"),
        random.Random(config.seed),
        [],
    )
    calm.run()
    undisturbed = load_sweep(calm.sweep)
    for i in range(config.moments):
        row, how = (
            random_.randrange(len(undisturbed.epochs)),
            ("full", "read-only")[i % 2],
        )
        victim = Victim(config, scratch / str(i))
        victim.sweep = victim.folder / "disk" / "sweep"
        with own_disk(victim.sweep.parent):
            child, wrong = victim.start(), []
            while child.poll() is None and rows_in(victim.sweep) < row:
                time.sleep(0.01)
            time.sleep(random_.random() / 5)
            with failing(victim.sweep.parent, how):
                code = victim.ended(child)
            said = (victim.folder / "said").read_text()
            if code and (said.count("error: ") != 1 or "Traceback" in said):
                wrong.append(f"it said {said!r}")
            before = read_journal(victim.sweep).epochs
            if victim.sweep.exists() and not (victim.sweep / "sweep.json").exists():
                shutil.rmtree(victim.sweep)  # what a sweep begins with
            if code:
                victim.run()
            known = ["trial_id", "epoch", "ended_at"]
            kept = before[known].merge(read_journal(victim.sweep).epochs[known])
            wrong += faults(victim.sweep, undisturbed, exact=True)
            wrong += [f"{len(before) - len(kept)} rows are lost"] * (
                len(kept) < len(before)
            )
        found.append(wrong)
        last = said.strip().splitlines()[-1:] if code else ["it had ended"]
        print(
            f"{how} after {len(before)} rows: {'; '.join(wrong) or 'nothing lost'} {last}",
            flush=True,
        )
    print(f"{found.count([])} of {config.moments} sweeps lost nothing", flush=True)
    return found


def rows_in(sweep: Path) -> int:
    journal = sweep / "journal.jsonl"
    return journal.read_bytes().count(b'"epoch": ') if journal.exists() else 0


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
        with TemporaryDirectory() as scratch:
            return int(
                any(
                    {"power": cut, "disk": failing_disks}[config.kill](
                        config, Path(scratch)
                    )
                )
            )
    machine = describe_machine()
    print(machine_line(machine), flush=True)
    random_, found = random.Random(config.seed), []
    measured: Measured = {"undisturbed": [], "killed": []}
    with TemporaryDirectory() as scratch:
        for i in range(config.moments):
            calm, victim = (
                Victim(config, Path(scratch) / f"{name}{i}")
                for name in ("calm", "killed")
            )
            calm_s = calm.run()
            moment = random_.uniform(0, calm_s)
            wall_s = victim.run(moment, random_)
            wrong = faults(
                victim.sweep, load_sweep(calm.sweep), exact=config.kill != "server"
            )
            found.append(wrong)
            measured["undisturbed"].append({"wall_s": calm_s})
            measured["killed"].append(
                {"wall_s": wall_s, "moment_s": moment, "kills": float(victim.killed)}
            )
            killed = (
                f"{config.kill} killed after {moment:.2f} s"
                if victim.killed
                else "ended before the kill"
            )
            print(
                f"undisturbed {calm_s:.1f} s; {killed}: {wall_s:.1f} s; {'; '.join(wrong) or 'nothing lost'}",
                flush=True,
            )
    complete, costs = (
        found.count([]),
        ratios(measured, "killed", "undisturbed", "wall_s"),
    )
    print(
        f"{complete} of {config.moments} sweeps lost nothing; wall time relative to the undisturbed sweep: "
        f"median {median(costs):.2f}, most {max(costs):.2f} (target {TARGET.bound:g})"
    )
    results = {
        "rounds": measured,
        "targets": checked([TARGET], measured),
        "faults": found,
    }
    write_record(config, machine, {f"{config.kill} killed": results})
    return int(complete < config.moments)


if __name__ == "__main__":
    cli.run(main)
