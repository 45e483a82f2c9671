"""Do the options of a sweep work together?

    python checks/combinations.py
    python checks/combinations.py --rows 3 17 --keep found

It makes a table of tiny sweeps in which every two kinds of values of any two options
meet at least once. All sweeps run in this process and share one Ray. Each must run, or
be refused in one line. Every trial must have its rows and a label, and the table, the
picture, the page and the CSV files are made. A third of the sweeps is then run again by
command, killed by SIGKILL at a random row and resumed. Another third is first run with
fewer epochs, rates or seeds and then extended with --resume. Both must end with the
numbers of the undisturbed sweep: bit for bit in processes, to rounding as lanes. Stops
of early stopping depend on which trial is faster, so they are compared with --scheduler
fifo only.

    python checks/combinations.py --marked --rows 3 17

runs each row twice by command: as it is, and with a marker at the end of every text
that a person reads (`checks/markers.py`). Exit codes, tables without texts, answers and
the commands of questions must be the same. Labels and answers of the first run are also
made again, with markers: these are the same to the last bit in every row.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shlex
import signal
import time
import traceback
import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import psutil

from benchmarks.comparison import Recorded, describe_machine, machine_line, write_record
from benchmarks.processes import REPOSITORY, start_python
from checks.markers import MARK, TEXTS, without_texts
from checks.pairwise import Pair, Row, every_pair, pairs, pairwise
from mnist_tune import Sweep, TrialConfig, UserError, cli, load_sweep, run_sweep
from mnist_tune.commands.lr_regimes import LearningRateRegimes
from mnist_tune.continuation import resume_command
from mnist_tune.data.files import CHECKSUMS
from mnist_tune.exports import mirror
from mnist_tune.regimes.labels import REGIMES
from mnist_tune.results.folder import META, TABLES
from mnist_tune.results.journal import read_journal
from mnist_tune.results.tables import TIMES
from mnist_tune.tuning.options import rates_of

Fields = dict[str, Any]
"""Fields of `LearningRateRegimes` that are not the default."""

Kind = Literal["once", "killed", "extended"]
"""What is done with a row. Those that are killed or extended are run once, too."""

TIMEOUT_S = 300.0
"""The most seconds that a command may take."""

OWN = str(REPOSITORY / "examples" / "networks.py")
"""Networks and optimisers as users write theirs. `normed` has a state, and draws random
numbers while it trains."""

OPTIONS: dict[str, list[Fields]] = {}
"""The kinds of values of each option. Paths are below `@`, the folder of `write_data`.
`arrays.npz` stands for arrays from Python; commands read the file."""
OPTIONS["data"] = [
    {"dataset": "mnist-5k"},
    {"dataset": "fashion-mnist", "data_dir": Path("@/idx")},
    {"dataset": "@/idx"},
    {"dataset": "@/colour.npz"},
    {"dataset": "@/vectors.npz"},
    {"dataset": "@/arrays.npz"},
]
OPTIONS["architecture"] = [
    {"architecture": ("mlp-4-tanh",)},
    {"architecture": ("mlp-4-tanh", "mlp-4-3-relu-he")},
    {"architecture": (f"{OWN}:residual(width=4, blocks=1)",)},
    {"architecture": (f"{OWN}:normed(width=4)",)},
]
OPTIONS["optimizer"] = [
    {},
    {"optimizer": ("adam(b1=0.8)",)},
    {"optimizer": ("adamw",)},
    {"optimizer": ("lion",)},
    {"optimizer": (f"{OWN}:radam",)},
]
OPTIONS["momentum"] = [{}, {"momentum": (0.9,)}, {"momentum": (0.5, 0.9)}]
OPTIONS["nesterov"] = [{}, {"nesterov": True}]
OPTIONS["weight decay"] = [{}, {"weight_decay": 0.01}]
OPTIONS["clip norm"] = [{}, {"clip_norm": 0.5}]
OPTIONS["schedule"] = [{}, {"schedule": "cosine"}, {"schedule": "linear"}]
OPTIONS["warm-up"] = [{}, {"warmup_steps": 3}, {"warmup_steps": 10_000}]
OPTIONS["loss"] = [{}, {"loss": "mse"}]
OPTIONS["label noise"] = [{}, {"label_noise": 20}]
# of 60 images: a batch of 40, and less than one
OPTIONS["hold-out"] = [{}, {"holdout": 20}, {"holdout": 24}]
OPTIONS["batch size"] = [
    {"batch_size": (16,)},
    {"batch_size": (40,)},
    {"batch_size": (16, 40)},
]
OPTIONS["train images"] = [{}, {"train_images": 60}]
OPTIONS["drop last"] = [{}, {"drop_last": True}]
OPTIONS["standardize"] = [{}, {"standardize": True}]
OPTIONS["target"] = [{}, {"target": 0.6}]
OPTIONS["train evaluation"] = [{}, {"train_evaluation": 10}, {"train_evaluation": 5000}]
OPTIONS["sharpness"] = [
    {},
    {"sharpness": True},
    {"sharpness_every": 5},
    {"sharpness": True, "sharpness_images": 30},
]
OPTIONS["diverged"] = [{}, {"stop_when_diverged": False}]
OPTIONS["scheduler"] = [
    {"scheduler": "fifo"},
    {"scheduler": "regimes", "grace_period": 1},
    {"scheduler": "asha", "grace_period": 1},
]
OPTIONS["execution"] = [
    {"execution": "process"},
    {"execution": "lanes"},
    {"execution": "lanes", "lanes": 2},
    {"execution": "auto", "max_concurrent": 1},
]
OPTIONS["cpus"] = [{}, {"cpus_per_trial": 1}, {"cpus_per_trial": 2}]
OPTIONS["save every"] = [{}, {"save_every": 3}]
OPTIONS["keep best"] = [{}, {"keep_best": True}]
OPTIONS["time budget"] = [{}, {"time_budget": 1000.0}]
OPTIONS["epochs"] = [{"epochs": 2}, {"epochs": 4}]
OPTIONS["rates"] = [
    {"learning_rates": (0.03,)},
    {"learning_rates": ("0.01:0.1:2",)},
    {"learning_rates": (0.1, 0.01, 1e6)},
]
OPTIONS["seeds"] = [{}, {"seeds": (0, 1, 2)}]

COUNTS = {name: len(kinds) for name, kinds in OPTIONS.items()}


@dataclass(frozen=True, kw_only=True)
class Combinations(Recorded):
    """Runs tiny sweeps in which every two kinds of values of any two options meet."""

    rows: tuple[int, ...] = ()
    """The numbers of the rows to run; by default all."""
    only: Kind | None = None
    """Run only the rows of this kind."""
    marked: bool = False
    """Compare each row with itself, with markers in all texts, in place of the rest."""
    seed: int = 0
    """Seed of the table, of the kills and of what is extended."""
    keep: Path | None = None
    """Keep data and sweeps in this new folder; by default they are removed."""

    def __post_init__(self) -> None:
        if self.keep and self.keep.exists():
            raise UserError(f"--keep {self.keep} is there already; name a new folder")


def table(seed: int) -> list[Row]:
    """Return the rows of this benchmark. The program is asked whether it refuses a
    row's first trial."""
    return pairwise(COUNTS, is_refused, seed)


def is_refused(row: Row) -> bool:
    """Whether the first trial of a row is refused."""
    names = {field.name for field in fields(TrialConfig)}
    first = {}
    for name, value in values(row).items():
        if name not in names:
            continue
        if isinstance(value, tuple):
            value = value[0]
        first[name] = value
    try:
        TrialConfig(**first)
    except UserError:
        return True
    return False


def values(row: Row, folder: Path = Path("data")) -> Fields:
    """Return the fields that a row stands for, with the data in a folder."""
    row_fields: Fields = {}
    for name, i in row.items():
        row_fields |= OPTIONS[name][i]
    for name in {"dataset", "data_dir"} & row_fields.keys():
        path = row_fields[name]
        # A path stays a path, and a text a text.
        row_fields[name] = type(path)(str(path).replace("@", str(folder)))
    return row_fields


def flags(row: Fields) -> list[str]:
    """Return the flags that stand for fields of `LearningRateRegimes`."""
    words = []
    for name, value in row.items():
        flag = name.replace("_", "-")
        if value is True:
            words.append(f"--{flag}")
        elif value is False:
            words.append(f"--no-{flag}")
        elif isinstance(value, tuple):
            words += [f"--{flag}", *map(str, value)]
        else:
            words += [f"--{flag}", str(value)]
    return words


def write_data(folder: Path) -> None:
    """Write the data that the rows name. `vectors.npz` has no test part: a sixth of its
    images becomes that."""
    idx = folder / "idx"
    idx.mkdir(parents=True)
    colour = patterns((6, 6, 3), 7)
    np.savez(folder / "colour", allow_pickle=False, **colour)
    arrays = patterns((6, 6), 2)
    np.savez(folder / "arrays", allow_pickle=False, **arrays)
    vectors = patterns((12,), 3)
    del vectors["x_test"]
    del vectors["y_test"]
    np.savez(folder / "vectors", allow_pickle=False, **vectors)
    digits = patterns((28, 28), 10)
    for name, array in zip(CHECKSUMS, digits.values(), strict=True):
        if array.ndim > 1:
            array = 255 * array
        content = array.astype(np.uint8)
        header = bytes([0, 0, 8, content.ndim])
        shape = np.array(content.shape, ">u4")
        (idx / name).write_bytes(header + shape.tobytes() + content.tobytes())


def patterns(shape: tuple[int, ...], classes: int) -> dict[str, npt.NDArray[Any]]:
    """Return 96 training and 24 test images that a small network learns, and their
    labels, as in an .npz file."""
    rng = np.random.default_rng(0)
    y = np.arange(120) % classes
    is_white = rng.random((classes, *shape)) > 0.5
    noise = rng.random((120, *shape))
    images = 0.6 * is_white[y] + 0.4 * noise
    x = images.astype(np.float32)
    return {"x_train": x[:96], "y_train": y[:96], "x_test": x[96:], "y_test": y[96:]}


def run_once(row: Fields, output: Path) -> Sweep:
    """Run a sweep in this process, with arrays in place of `arrays.npz`."""
    if Path(row["dataset"]).name == "arrays.npz":
        names = ("x_train", "y_train", "x_test", "y_test")
        with np.load(row["dataset"]) as file:
            arrays = tuple(file[name] for name in names)
        row = row | {"dataset": arrays}
    config = LearningRateRegimes(**row, output=output, quiet=True)
    return run_sweep("lr_regimes", config.trials(), config)


def shown(sweep: Sweep) -> list[str]:
    """Make all that people look at, and return what is wrong with it. A warning is an
    error."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()) as text:
        warnings.simplefilter("error")
        sweep.table()
        sweep.plot(sweep.picture("regimes.png"))
        pictures = [sweep.picture("regimes.png"), Path(sweep.report())]
        mirror("csv", None).update(sweep)
    faults = []
    if str(sweep.path) not in text.getvalue():
        faults.append("the table does not name the folder")
    for picture in pictures:
        if picture.stat().st_size < 1000:
            faults.append(f"{picture.name} is empty")
    for name, table in (("trials.csv", sweep.trials), ("epochs.csv", sweep.epochs)):
        count = len(pd.read_csv(sweep.picture(name)))
        if count != len(table):
            faults.append(f"{name} has {count} rows in place of {len(table)}")
    return faults


def incomplete(sweep: Sweep, row: Fields) -> list[str]:
    """Return what a sweep's tables lack: trials, rows, labels."""
    faults = []
    count = len(sweep.trials)
    planned = len(LearningRateRegimes(**row).trials())
    if count != planned:
        faults.append(f"{count} trials in place of {planned}")
    journal = read_journal(Path(sweep.path)).epochs
    if journal.duplicated(["trial_id", "epoch"]).any():
        faults.append("a row is in the journal twice")
    epochs = {}
    for trial_id, numbers in sweep.epochs.groupby("trial_id")["epoch"]:
        epochs[str(trial_id)] = sorted(numbers)
    for trial in sweep.trials.itertuples():
        faults += faults_of_trial(trial, epochs.get(trial.trial_id, []), row)
    return faults


STOPS = {"asha": {"asha"}, "regimes": {"slow", "dead"}}
"""Why schedulers stop trials."""


def faults_of_trial(trial: Any, epochs: list[int], row: Fields) -> Iterator[str]:
    """Yield what is wrong with a trial, which has rows of these epochs."""
    stops = {"completed", "diverged"} | STOPS.get(row["scheduler"], set())
    count = max(1, trial.epochs_run)
    if trial.stop_reason == "completed":
        count = row["epochs"]
    name = f"trial {trial.trial_id}"
    if trial.stop_reason not in stops:
        yield f"{name} ended as {trial.stop_reason} {trial.error or ''}".strip()
    elif epochs != list(range(1, count + 1)):
        yield f"{name}, {trial.stop_reason}, has the epochs {epochs}"
    if trial.regime not in REGIMES:
        yield f"{name} has the label {trial.regime!r}"


CONFIG = [
    "architecture",
    "optimizer",
    "momentum",
    "batch_size",
    "learning_rate",
    "seed",
]
"""What tells the trials of a row apart. Their ids depend on the order in which they
were asked for."""

CHAOTIC = ("diverged", "oscillating")
"""Labels of trials in which rounding decides what happens."""

APART = [*TIMES, "batch_s", "ended_at", "lanes", "fill"]
"""Columns that differ from run to run."""


def by_config(sweep: Sweep) -> pd.DataFrame:
    """Return the epochs of the trials that ended by themselves, by trial and epoch."""
    has_ended = sweep.trials["stop_reason"].isin(["completed", "diverged"])
    trials = sweep.trials.loc[has_ended, ["trial_id", "regime", *CONFIG]]
    epochs = sweep.epochs.drop(columns=["learning_rate", *APART], errors="ignore")
    epochs = epochs.merge(trials, on="trial_id")
    return epochs.set_index([*CONFIG, "epoch"]).sort_index()


def differing(sweep: Sweep, once: Sweep, row: Fields) -> list[str]:
    """Return how a sweep that was killed or extended differs from the undisturbed
    one."""
    mine = by_config(sweep)
    theirs = by_config(once)
    common = mine.index.intersection(theirs.index)
    is_fifo = row["scheduler"] == "fifo"
    # Early stopping may end other trials, and later.
    if is_fifo and not len(common) == len(mine) == len(theirs):
        return [f"{len(mine)} rows in place of {len(theirs)}"]
    mine = mine.loc[common]
    theirs = theirs.loc[common]
    if row["execution"] != "lanes" and cpus_of(sweep) == cpus_of(once):
        names = list(theirs.select_dtypes(["number", "bool"]))
        if is_fifo:
            names.append("regime")
        wrong = [name for name in names if not mine[name].equals(theirs[name])]
    else:
        is_chaotic = mine["regime"].isin(CHAOTIC) | theirs["regime"].isin(CHAOTIC)
        wrong = []
        for name in ("train_loss", "test_loss"):
            is_close = np.isclose(mine[name], theirs[name], rtol=1e-3)
            if not is_close[~is_chaotic].all():
                wrong.append(name)
    if not wrong:
        return []
    return [f"{', '.join(wrong)} differ from the undisturbed sweep's"]


def cpus_of(sweep: Sweep) -> Any:
    return sweep.meta.get("options", {}).get("cpus_per_trial")


def command(
    words: Sequence[str], folder: Path, kill_at: int | None = None
) -> tuple[int, list[str]]:
    """Run sweeps/lr_regimes.py, and kill it and its processes once the journal in
    `folder` has so many rows.

    Returns:
        The exit code, and the lines that it wrote.
    """
    child = start_python(["-m", "mnist_tune", *words], folder, own_group=True)
    journal = folder / "sweep" / "journal.jsonl"
    until = time.monotonic() + TIMEOUT_S
    poll_s = 1.0
    if kill_at is not None:
        poll_s = 0.005
    while child.poll() is None:
        is_due = kill_at is not None and rows_in(journal) >= kill_at
        if is_due or time.monotonic() > until:
            os.killpg(child.pid, signal.SIGKILL)
        with contextlib.suppress(psutil.TimeoutExpired):
            child.wait(poll_s)
    output = (folder / "said").read_text(errors="replace")
    return int(child.returncode), output.splitlines()


def rows_in(journal: Path) -> int:
    """Return how many rows a journal has; -1 if it is not there."""
    if not journal.exists():
        return -1
    return journal.read_text().count('"epoch"')


def again(
    kind: Kind, row: Fields, once: Sweep, folder: Path, random_: random.Random
) -> tuple[str, list[str]]:
    """Run a row by commands: killed and resumed, or begun with less and extended.
    Return what was done, and faults."""
    sweep = folder / "sweep"
    kill_at = None
    first: Fields = {}
    extension: Fields = {}
    if kind == "killed":
        kill_at = random_.randint(0, len(once.epochs))
    else:
        name, less = shortened(row, random_)
        first = {name: less}
        extension = {name: row[name]}
    words = ["regimes", *flags(row | first), "--output", str(sweep), "--quiet"]
    code, lines = command(words, folder, kill_at)
    was_killed = kind == "killed" and code == -signal.SIGKILL
    if code and not was_killed:
        return f"{kind}: {shlex.join(flags(first))}", [ended_badly(code, lines)]
    if (sweep / META).exists():
        before = load_sweep(sweep)
        resume = shlex.split(resume_command(before.record, sweep))
        words = [*resume[resume.index("resume") :], *flags(extension)]
        rows = f"{len(before.epochs)} of {len(once.epochs)} rows"
        what = f"{kind} after {rows}, {shlex.join(words)}"
    else:
        # There is nothing to resume, and the same command begins.
        words = ["regimes", *flags(row), "--output", str(sweep)]
        what = f"{kind} before its {META} was there, the same again"
    code, lines = command([*words, "--quiet"], folder)
    if "epochs" in extension and "schedule" in row:
        return f"{what}: refused", faults_of_refusal(code, lines)
    if code:
        return what, [ended_badly(code, lines)]
    ended = load_sweep(sweep)
    return what, [*incomplete(ended, row), *differing(ended, once, row)]


def shortened(row: Fields, random_: random.Random) -> tuple[str, Any]:
    """Choose a field of which a sweep may begin with less: its name, and that value."""
    rates = [rate for text in row["learning_rates"] for rate in rates_of(text)]
    seeds = row.get("seeds", (0,))
    less: Fields = {}
    if row["epochs"] // 2 != row["epochs"]:
        less["epochs"] = row["epochs"] // 2
    if len(rates) > 1:
        less["learning_rates"] = tuple(rates[:1])
    if len(seeds) > 1:
        less["seeds"] = seeds[:1]
    names = list(less)
    # More epochs of a schedule are refused.
    if "schedule" in row and len(names) > 1:
        names.remove("epochs")
    name = random_.choice(names)
    return name, less[name]


def ended_badly(code: int, lines: Sequence[str]) -> str:
    return f"exit code {code}: {' '.join(lines[-3:])}"


def faults_of_refusal(code: int, lines: Sequence[str]) -> list[str]:
    """Return what is wrong if a command should refuse more epochs of a schedule."""
    if code == 2 and len(lines) == 1 and "start a new sweep" in lines[0]:
        return []
    return ["more epochs of a schedule that has ended are not refused"]


@dataclass(frozen=True)
class Printed:
    """How a command with --json ended."""

    code: int
    content: dict[str, Any] | None
    """The object that it printed; None if it printed none."""
    lines: list[str]
    """All that it wrote."""

    def facts(self, leave_out: Collection[str] = ()) -> dict[str, Any]:
        """Return the object without texts, its path, and these columns of trials."""
        facts = without_texts(self.content or {"trials": [], "questions": []})
        facts.pop("path", None)
        for row in facts["trials"]:
            for name in leave_out:
                row.pop(name, None)
        return facts


def printed(words: Sequence[str], folder: Path, program: str) -> Printed:
    """Run a command with --json in a folder, by `python -m program`."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
    arguments = ["-m", program, *words, "--json"]
    child = start_python(arguments, folder, own_group=True)
    try:
        code = child.wait(TIMEOUT_S)
    except psutil.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        code = child.wait()
    lines = (folder / "said").read_text(errors="replace").splitlines()
    content = None
    if "{" in lines and "}" in lines:
        # notes on standard error stand before the object, or behind it
        first = lines.index("{")
        last = lines.index("}")
        content = json.loads("\n".join(lines[first : last + 1]))
    return Printed(int(code), content, lines)


def compared(row: Fields, folder: Path) -> tuple[str, list[str]]:
    """Run a row with markers in all texts, and without. Return what was done, and how
    the two differ."""
    words = ["regimes", *flags(row), "--output", "sweep", "--quiet"]
    plain_folder = folder / "plain"
    marked_folder = folder / "marked"
    plain = printed(words, plain_folder, "mnist_tune")
    marked = printed(words, marked_folder, "checks.markers")
    if plain.code != marked.code:
        last = " ".join(marked.lines[-3:])
        fault = f"exit code {marked.code} in place of {plain.code}: {last}"
        return "marked", [fault]
    if plain.content is None or marked.content is None:
        return f"refused: {plain.lines[-1]}", not_refused_alike(plain, marked)
    sweep = load_sweep(marked_folder / "sweep")
    undisturbed = load_sweep(plain_folder / "sweep")
    faults = unmarked(marked.content)
    faults += differing(sweep, undisturbed, row)
    # the same epochs have the same labels, whichever trial was faster
    for name in TABLES:
        (plain_folder / "sweep" / name).unlink()
    again = printed(["show", "sweep"], plain_folder, "checks.markers")
    for fault in fields_apart(plain, again):
        faults.append(f"{fault}, made again")
    if row["scheduler"] == "fifo" and row["execution"] == "process":
        faults += fields_apart(plain, marked, leave_out=TIMES)
    return "marked", faults


def not_refused_alike(plain: Printed, marked: Printed) -> list[str]:
    """Return what is wrong with the errors of a row that is refused."""
    marked_lines = [f"{line}{MARK}" for line in plain.lines]
    if plain.code == 2 and marked.lines == marked_lines:
        return []
    return [f"refused with {marked.lines[-3:]} in place of {plain.lines[-3:]}"]


def unmarked(content: dict[str, Any]) -> list[str]:
    """Return which texts of an object have no marker, though all should."""
    texts = list(content["text"]["notes"])
    for row in content["trials"]:
        texts += [row[name] for name in TEXTS]
    return [f"{text!r} has no marker" for text in texts if text and MARK not in text]


def fields_apart(
    plain: Printed, marked: Printed, leave_out: Collection[str] = ()
) -> list[str]:
    """Return which fields differ between the objects of two commands."""
    before = plain.facts(leave_out)
    after = marked.facts(leave_out)
    names = [name for name in before | after if before.get(name) != after.get(name)]
    return [f"{name} differs with markers" for name in names]


def tried(
    kind: Kind, row: Fields, folder: Path, random_: random.Random
) -> tuple[str, list[str]]:
    """Run a row, and do with it what its kind says. Return what was done, and what was
    wrong."""
    try:
        once = run_once(row, folder / "once")
    except UserError as error:
        return f"refused: {error}", refused_otherwise(kind, row, folder, error)
    faults = incomplete(once, row) + shown(once)
    if faults or kind == "once":
        return kind, faults
    return again(kind, row, once, folder, random_)


def refused_otherwise(
    kind: Kind, row: Fields, folder: Path, error: UserError
) -> list[str]:
    """Return what is wrong with an error: it has several lines, or the command says
    something else. The command is not run for rows that are run once."""
    refusal = f"error: {error}"
    lines = [refusal]
    if kind != "once":
        words = ["regimes", *flags(row), "--output", "sweep", "--quiet"]
        _, lines = command(words, folder)
    if lines == [refusal] and "\n" not in refusal:
        return []
    return [f"the command said {lines}"]


def main() -> int:
    config = cli.parse(Combinations)
    machine = describe_machine()
    rows = table(config.seed)
    every = every_pair(COUNTS)
    unknown = set(config.rows) - set(range(len(rows)))
    if unknown:
        raise UserError(f"--rows {min(unknown)}: the rows are 0 to {len(rows) - 1}")
    kinds = [get_args(Kind)[i % 3] for i in range(len(rows))]
    chosen = list(config.rows or range(len(rows)))
    if config.only:
        chosen = [i for i in chosen if kinds[i] == config.only]
    print(machine_line(machine))
    pairs_line = f"{len(OPTIONS)} options: {len(rows)} rows hold all {len(every)} pairs"
    print(f"{pairs_line}, {len(chosen)} are run", flush=True)
    ran: set[Pair] = set()
    failed = {}
    with contextlib.ExitStack() as context:
        folder = config.keep
        if folder is None:
            folder = Path(context.enter_context(TemporaryDirectory()))
        folder = folder.absolute()
        write_data(folder)
        for i in chosen:
            start = time.perf_counter()
            kind = kinds[i]
            row = values(rows[i], folder)
            what, faults = outcome(config, kind, i, row, folder)
            if not what.startswith("refused"):
                ran |= pairs(rows[i])
            faults_text = "; ".join(faults) or "nothing is wrong"
            text = f"{what}: {faults_text}".replace(f"{folder}/", "")
            print(f"row {i}, {time.perf_counter() - start:.0f} s, {text}", flush=True)
            if faults:
                words = ["python", "sweeps/lr_regimes.py", *flags(values(rows[i]))]
                command_line = shlex.join(words)
                failed[i] = {"kind": kind, "found": faults, "command": command_line}
    print_result(config, len(chosen), failed, len(ran), len(every))
    results = {
        "rows": len(chosen),
        "pairs": len(every),
        "met and ran": len(ran),
        "failed": failed,
    }
    write_record(config, machine, {"combinations": results})
    return int(bool(failed))


def print_result(
    config: Combinations,
    count: int,
    failed: dict[int, dict[str, Any]],
    ran: int,
    every: int,
) -> None:
    """Print how many rows are right, and how those that failed are run again."""
    right = count - len(failed)
    print(f"{right} of {count} rows are right; {ran} of {every} pairs met and ran")
    for i, failure in failed.items():
        print(f"\nrow {i}, {failure['kind']}: --seed {config.seed} --rows {i}")
        print(failure["command"])


def outcome(
    config: Combinations, kind: Kind, number: int, row: Fields, folder: Path
) -> tuple[str, list[str]]:
    """Run a row in a folder of its own. Return what was done, and what was wrong."""
    row_folder = folder / str(number)
    row_folder.mkdir()
    try:
        if config.marked:
            return compared(row, row_folder)
        return tried(kind, row, row_folder, random.Random(number))
    except Exception:
        return kind, [traceback.format_exc()]


if __name__ == "__main__":
    cli.run(main)
