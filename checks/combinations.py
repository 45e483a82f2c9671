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
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields
from functools import partial
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

OPTIONS: dict[str, list[Fields]] = {
    "data": [
        {"dataset": "mnist-5k"},
        {"dataset": "fashion-mnist", "data_dir": Path("@/idx")},
        {"dataset": "@/idx"},
        {"dataset": "@/colour.npz"},
        {"dataset": "@/vectors.npz"},
        {"dataset": "@/arrays.npz"},
    ],
    "architecture": [
        {"architecture": ("mlp-4-tanh",)},
        {"architecture": ("mlp-4-tanh", "mlp-4-3-relu-he")},
        {"architecture": (f"{OWN}:residual(width=4, blocks=1)",)},
        {"architecture": (f"{OWN}:normed(width=4)",)},
    ],
    "optimizer": [
        {},
        {"optimizer": ("adam(b1=0.8)",)},
        {"optimizer": ("adamw",)},
        {"optimizer": ("lion",)},
        {"optimizer": (f"{OWN}:radam",)},
    ],
    "momentum": [{}, {"momentum": (0.9,)}, {"momentum": (0.5, 0.9)}],
    "nesterov": [{}, {"nesterov": True}],
    "weight decay": [{}, {"weight_decay": 0.01}],
    "clip norm": [{}, {"clip_norm": 0.5}],
    "schedule": [{}, {"schedule": "cosine"}, {"schedule": "linear"}],
    "warm-up": [{}, {"warmup_steps": 3}, {"warmup_steps": 10_000}],
    "loss": [{}, {"loss": "mse"}],
    "label noise": [{}, {"label_noise": 20}],
    # of 60 images: a batch of 40, and less than one
    "hold-out": [{}, {"holdout": 20}, {"holdout": 24}],
    "batch size": [
        {"batch_size": (16,)},
        {"batch_size": (40,)},
        {"batch_size": (16, 40)},
    ],
    "train images": [{}, {"train_images": 60}],
    "drop last": [{}, {"drop_last": True}],
    "standardize": [{}, {"standardize": True}],
    "target": [{}, {"target": 0.6}],
    "train evaluation": [{}, {"train_evaluation": 10}, {"train_evaluation": 5000}],
    "sharpness": [
        {},
        {"sharpness": True},
        {"sharpness_every": 5},
        {"sharpness": True, "sharpness_images": 30},
    ],
    "diverged": [{}, {"stop_when_diverged": False}],
    "scheduler": [
        {"scheduler": "fifo"},
        {"scheduler": "regimes", "grace_period": 1},
        {"scheduler": "asha", "grace_period": 1},
    ],
    "execution": [
        {"execution": "process"},
        {"execution": "lanes"},
        {"execution": "lanes", "lanes": 2},
        {"execution": "auto", "max_concurrent": 1},
    ],
    "cpus": [{}, {"cpus_per_trial": 1}, {"cpus_per_trial": 2}],
    "save every": [{}, {"save_every": 3}],
    "time budget": [{}, {"time_budget": 1000.0}],
    "epochs": [{"epochs": 2}, {"epochs": 4}],
    "rates": [
        {"learning_rates": (0.03,)},
        {"learning_rates": ("0.01:0.1:2",)},
        {"learning_rates": (0.1, 0.01, 1e6)},
    ],
    "seeds": [{}, {"seeds": (0, 1, 2)}],
}
"""The kinds of values of each option. Paths are below `@`, the folder of `write_data`.
`arrays.npz` stands for arrays from Python; commands read the file."""

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
    names = {field.name for field in fields(TrialConfig)}

    def refused(row: Row) -> bool:
        first = {
            name: value[0] if isinstance(value, tuple) else value
            for name, value in values(row).items()
        }
        try:
            return not TrialConfig(
                **{name: value for name, value in first.items() if name in names}
            )
        except UserError:
            return True

    return pairwise(COUNTS, refused, seed)


def values(row: Row, folder: Path = Path("data")) -> Fields:
    """Return the fields that a row stands for, with the data in a folder."""
    found: Fields = {}
    for name, i in row.items():
        found |= OPTIONS[name][i]
    for name in {"dataset", "data_dir"} & found.keys():
        found[name] = type(found[name])(str(found[name]).replace("@", str(folder)))
    return found


def flags(given: Fields) -> list[str]:
    """Return the flags that stand for fields of `LearningRateRegimes`."""
    words = []
    for name, value in given.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [
                f"--{flag}",
                *map(str, value if isinstance(value, tuple) else [value]),
            ]
    return words


def write_data(folder: Path) -> None:
    """Write the data that the rows name. `vectors.npz` has no test part: a sixth of its
    images becomes that."""
    (folder / "idx").mkdir(parents=True)
    for name, shape, classes in (
        ("colour", (6, 6, 3), 7),
        ("arrays", (6, 6), 2),
        ("vectors", (12,), 3),
    ):
        arrays = patterns(shape, classes)
        parts = ("x_train", "y_train") if name == "vectors" else tuple(arrays)
        np.savez(
            folder / name, allow_pickle=False, **{part: arrays[part] for part in parts}
        )
    for name, array in zip(CHECKSUMS, patterns((28, 28), 10).values(), strict=True):
        content = (255 * array if array.ndim > 1 else array).astype(np.uint8)
        header = (
            bytes([0, 0, 8, content.ndim]) + np.array(content.shape, ">u4").tobytes()
        )
        (folder / "idx" / name).write_bytes(header + content.tobytes())


def patterns(shape: tuple[int, ...], classes: int) -> dict[str, npt.NDArray[Any]]:
    """Return 96 training and 24 test images that a small network learns, and their
    labels, as in an .npz file."""
    rng, y = np.random.default_rng(0), np.arange(120) % classes
    x = (
        0.6 * (rng.random((classes, *shape)) > 0.5)[y] + 0.4 * rng.random((120, *shape))
    ).astype(np.float32)
    return {"x_train": x[:96], "y_train": y[:96], "x_test": x[96:], "y_test": y[96:]}


def run_once(given: Fields, output: Path) -> Sweep:
    """Run a sweep in this process, with arrays in place of `arrays.npz`."""
    if Path(given["dataset"]).name == "arrays.npz":
        with np.load(given["dataset"]) as file:
            given = given | {
                "dataset": tuple(
                    file[name] for name in ("x_train", "y_train", "x_test", "y_test")
                )
            }
    config = LearningRateRegimes(**given, output=output, quiet=True)
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
    found = (
        []
        if str(sweep.path) in text.getvalue()
        else ["the table does not name the folder"]
    )
    found += [
        f"{file.name} is empty" for file in pictures if file.stat().st_size < 1000
    ]
    for name, table in (("trials.csv", sweep.trials), ("epochs.csv", sweep.epochs)):
        count = len(pd.read_csv(sweep.picture(name)))
        found += (
            [f"{name} has {count} rows in place of {len(table)}"]
            if count != len(table)
            else []
        )
    return found


def incomplete(sweep: Sweep, given: Fields) -> list[str]:
    """Return what a sweep's tables lack: trials, rows, labels."""
    stops = {"completed", "diverged"} | {
        "asha": {"asha"},
        "regimes": {"slow", "dead"},
    }.get(given["scheduler"], set())
    asked = LearningRateRegimes(**given).trials()
    found = (
        []
        if len(sweep.trials) == len(asked)
        else [f"{len(sweep.trials)} trials in place of {len(asked)}"]
    )
    journal = read_journal(Path(sweep.path)).epochs
    if journal.duplicated(["trial_id", "epoch"]).any():
        found.append("a row is in the journal twice")
    epochs = {
        str(trial_id): sorted(rows)
        for trial_id, rows in sweep.epochs.groupby("trial_id")["epoch"]
    }
    for trial in sweep.trials.itertuples():
        rows = epochs.get(trial.trial_id, [])
        count = (
            given["epochs"]
            if trial.stop_reason == "completed"
            else max(1, trial.epochs_run)
        )
        if trial.stop_reason not in stops:
            found.append(
                f"trial {trial.trial_id} ended as {trial.stop_reason} {trial.error or ''}".strip()
            )
        elif rows != list(range(1, count + 1)):
            found.append(
                f"trial {trial.trial_id}, {trial.stop_reason}, has the epochs {rows}"
            )
        if trial.regime not in REGIMES:
            found.append(f"trial {trial.trial_id} has the label {trial.regime!r}")
    return found


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
    ended = sweep.trials[sweep.trials["stop_reason"].isin(["completed", "diverged"])]
    epochs = sweep.epochs.drop(columns="learning_rate").merge(
        ended[["trial_id", "regime", *CONFIG]], on="trial_id"
    )
    return (
        epochs.set_index([*CONFIG, "epoch"])
        .sort_index()
        .drop(columns=APART, errors="ignore")
    )


def differing(sweep: Sweep, once: Sweep, given: Fields) -> list[str]:
    """Return how a sweep that was killed or extended differs from the undisturbed
    one."""
    mine, theirs = by_config(sweep), by_config(once)
    common = mine.index.intersection(theirs.index)
    if given["scheduler"] == "fifo" and not len(common) == len(mine) == len(theirs):
        return [f"{len(mine)} rows in place of {len(theirs)}"]
    mine, theirs = mine.loc[common], theirs.loc[common]
    cpus = [one.meta.get("options", {}).get("cpus_per_trial") for one in (sweep, once)]
    if given["execution"] != "lanes" and cpus[0] == cpus[1]:
        names = [
            *theirs.select_dtypes(["number", "bool"]),
            *(["regime"] if given["scheduler"] == "fifo" else []),
        ]
        wrong = [name for name in names if not mine[name].equals(theirs[name])]
    else:
        calm = ~(mine["regime"].isin(CHAOTIC) | theirs["regime"].isin(CHAOTIC))
        close = {
            name: np.isclose(mine[name], theirs[name], rtol=1e-3)
            for name in ("train_loss", "test_loss")
        }
        wrong = [name for name in close if not close[name][calm].all()]
    return [f"{', '.join(wrong)} differ from the undisturbed sweep's"] if wrong else []


def command(
    words: Sequence[str], folder: Path, kill_at: int | None = None
) -> tuple[int, list[str]]:
    """Run sweeps/lr_regimes.py, and kill it and its processes once the journal in
    `folder` has so many rows.

    Returns:
        The exit code, and the lines that it wrote.
    """
    child = start_python(["-m", "mnist_tune", *words], folder, own_group=True)
    journal, until = folder / "sweep" / "journal.jsonl", time.monotonic() + TIMEOUT_S
    while child.poll() is None:
        rows = (
            journal.read_text().count('"epoch"')
            if kill_at is not None and journal.exists()
            else -1
        )
        if time.monotonic() > until or (kill_at is not None and rows >= kill_at):
            os.killpg(child.pid, signal.SIGKILL)
        with contextlib.suppress(psutil.TimeoutExpired):
            child.wait(0.005 if kill_at is not None else 1)
    return int(child.returncode), (folder / "said").read_text(
        errors="replace"
    ).splitlines()


def again(
    kind: Kind, given: Fields, once: Sweep, folder: Path, random_: random.Random
) -> tuple[str, list[str]]:
    """Run a row by commands: killed and resumed, or begun with less and extended.
    Return what was done, and faults."""
    kill_at, less, more, sweep = None, {}, {}, folder / "sweep"
    if kind == "killed":
        kill_at = random_.randint(0, len(once.epochs))
    else:
        rates = tuple(
            rate for text in given["learning_rates"] for rate in rates_of(text)
        )
        asked = {
            "epochs": given["epochs"],
            "learning_rates": rates,
            "seeds": given.get("seeds", (0,)),
        }
        first = {
            name: value // 2 if name == "epochs" else value[:1]
            for name, value in asked.items()
        }
        # more epochs of a schedule are refused
        kept = {"epochs"} if "schedule" in given else set()
        possible = [name for name in asked if first[name] != asked[name]]
        name = random_.choice(
            [name for name in possible if name not in kept] or possible
        )
        less, more = {name: first[name]}, {name: given[name]}
    code, said = command(
        ["regimes", *flags(given | less), "--output", str(sweep), "--quiet"],
        folder,
        kill_at,
    )
    if code and not (kind == "killed" and code == -signal.SIGKILL):
        return f"{kind}: {shlex.join(flags(less))}", [
            f"exit code {code}: {' '.join(said[-3:])}"
        ]
    if (sweep / META).exists():
        before = load_sweep(sweep)
        printed = shlex.split(resume_command(before.record, sweep))
        words = [*printed[printed.index("resume") :], *flags(more)]
        what = f"{kind} after {len(before.epochs)} of {len(once.epochs)} rows, {shlex.join(words)}"
    else:  # there is nothing to resume, and the same command begins
        words, what = (
            ["regimes", *flags(given), "--output", str(sweep)],
            f"{kind} before its {META} was there, the same again",
        )
    code, said = command([*words, "--quiet"], folder)
    if "epochs" in more and "schedule" in given:
        wrong = code != 2 or len(said) != 1 or "start a new sweep" not in said[0]
        return f"{what}: refused", [
            "more epochs of a schedule that has ended are not refused"
        ] if wrong else []
    if code:
        return what, [f"exit code {code}: {' '.join(said[-3:])}"]
    return what, [
        *incomplete(load_sweep(sweep), given),
        *differing(load_sweep(sweep), once, given),
    ]


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
        content = json.loads("\n".join(lines[lines.index("{") : lines.index("}") + 1]))
    return Printed(int(code), content, lines)


def compared(row: Fields, folder: Path) -> tuple[str, list[str]]:
    """Run a row with markers in all texts, and without. Return what was done, and how
    the two differ."""
    words = ["regimes", *flags(row), "--output", "sweep", "--quiet"]
    plain = printed(words, folder / "plain", "mnist_tune")
    marked = printed(words, folder / "marked", "checks.markers")
    if plain.code != marked.code:
        last = " ".join(marked.lines[-3:])
        return "marked", [f"exit code {marked.code} in place of {plain.code}: {last}"]
    if plain.content is None or marked.content is None:
        return f"refused: {plain.lines[-1]}", not_refused_alike(plain, marked)
    sweep = load_sweep(folder / "marked" / "sweep")
    undisturbed = load_sweep(folder / "plain" / "sweep")
    faults = unmarked(marked.content) + differing(sweep, undisturbed, row)
    # the same epochs have the same labels, whichever trial was faster
    for name in TABLES:
        (folder / "plain" / "sweep" / name).unlink()
    again = printed(["show", "sweep"], folder / "plain", "checks.markers")
    faults += [f"{fault}, made again" for fault in fields_apart(plain, again)]
    if row["scheduler"] == "fifo" and row["execution"] == "process":
        faults += fields_apart(plain, marked, leave_out=TIMES)
    return "marked", faults


def not_refused_alike(plain: Printed, marked: Printed) -> list[str]:
    """Return what is wrong with the errors of a row that is refused."""
    if plain.code == 2 and marked.lines == [f"{line}{MARK}" for line in plain.lines]:
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
    before, after = plain.facts(leave_out), marked.facts(leave_out)
    names = [name for name in before | after if before.get(name) != after.get(name)]
    return [f"{name} differs with markers" for name in names]


def tried(
    kind: Kind, given: Fields, folder: Path, random_: random.Random
) -> tuple[str, list[str]]:
    """Run a row, and do with it what its kind says. Return what was done, and what was
    wrong."""
    try:
        once = run_once(given, folder / "once")
    except UserError as error:
        refusal = f"error: {error}"
        said = (
            [refusal]
            if kind == "once"
            else command(
                ["regimes", *flags(given), "--output", "sweep", "--quiet"], folder
            )[1]
        )
        return f"refused: {error}", [] if said == [
            refusal
        ] and "\n" not in refusal else [f"the command said {said}"]
    found = incomplete(once, given) + shown(once)
    return (
        (kind, found)
        if found or kind == "once"
        else again(kind, given, once, folder, random_)
    )


def main() -> int:
    config = cli.parse(Combinations)
    machine, rows, every = describe_machine(), table(config.seed), every_pair(COUNTS)
    if unknown := set(config.rows) - set(range(len(rows))):
        raise UserError(f"--rows {min(unknown)}: the rows are 0 to {len(rows) - 1}")
    kinds = [get_args(Kind)[i % 3] for i in range(len(rows))]
    chosen = [
        i for i in config.rows or range(len(rows)) if config.only in (None, kinds[i])
    ]
    print(machine_line(machine))
    print(
        f"{len(OPTIONS)} options: {len(rows)} rows hold all {len(every)} pairs, {len(chosen)} are run",
        flush=True,
    )
    ran: set[Pair] = set()
    failed = {}
    with contextlib.ExitStack() as context:
        folder = (
            config.keep or Path(context.enter_context(TemporaryDirectory()))
        ).absolute()
        write_data(folder)
        for i in chosen:
            start, given = time.perf_counter(), values(rows[i], folder)
            (folder / str(i)).mkdir()
            run: Callable[[Fields, Path], tuple[str, list[str]]] = compared
            if not config.marked:
                run = partial(tried, kinds[i], random_=random.Random(i))
            try:
                what, found = run(given, folder / str(i))
            except Exception:
                what, found = kinds[i], [traceback.format_exc()]
            ran |= set() if what.startswith("refused") else pairs(rows[i])
            told = f"{what}: {'; '.join(found) or 'nothing is wrong'}".replace(
                f"{folder}/", ""
            )
            print(f"row {i}, {time.perf_counter() - start:.0f} s, {told}", flush=True)
            if found:
                again_ = shlex.join(
                    ["python", "sweeps/lr_regimes.py", *flags(values(rows[i]))]
                )
                failed[i] = {"kind": kinds[i], "found": found, "command": again_}
    print(
        f"{len(chosen) - len(failed)} of {len(chosen)} rows are right; {len(ran)} of {len(every)} pairs met and ran"
    )
    for i, failure in failed.items():
        print(
            f"\nrow {i}, {failure['kind']}: --seed {config.seed} --rows {i}\n{failure['command']}"
        )
    results = {
        "rows": len(chosen),
        "pairs": len(every),
        "met and ran": len(ran),
        "failed": failed,
    }
    write_record(config, machine, {"combinations": results})
    return int(bool(failed))


if __name__ == "__main__":
    cli.run(main)
