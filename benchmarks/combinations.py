"""Do the options of a sweep work together?

    python benchmarks/combinations.py
    python benchmarks/combinations.py --rows 3 17 --keep found

It makes a table of tiny sweeps in which every two kinds of values of any two options meet at least once. All sweeps run
in this process and share one Ray. Each must run, or be refused in one line. Every trial must have its rows and a label,
and the table, the picture, the page and the CSV files are made. A third of the sweeps is then run again by command,
killed by SIGKILL at a random row and resumed. Another third is first run with fewer epochs, rates or seeds and then
extended with --resume. Both must end with the numbers of the undisturbed sweep: bit for bit in processes, to rounding
as lanes. Stops of early stopping depend on which trial is faster, so they are compared with --scheduler fifo only.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import shlex
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import chain, combinations, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import psutil

from comparison import Recorded, describe_machine, machine_line, write_record
from mnist_tune import Sweep, TrialConfig, UserError, cli, load_sweep, run_sweep
from mnist_tune.commands.lr_regimes import LearningRateRegimes
from mnist_tune.exports import mirror
from mnist_tune.regimes.labels import REGIMES
from mnist_tune.results.journal import read_journal, resume_command
from mnist_tune.results.tables import TIMES
from mnist_tune.tuning.options import rates_of
from processes import REPOSITORY, start_python

Fields = dict[str, Any]
"""Fields of `LearningRateRegimes` that are not the default."""

Row = dict[str, int]
"""For each option, the number of its kind of values."""

KINDS = ("once", "killed", "extended")
"""What is done with a row. Those that are killed or extended are run once, too."""

TIMEOUT_S = 300.0
"""The most seconds that a command may take."""

OWN = str(REPOSITORY / "benchmarks" / "unseen_networks.py")
"""Networks and optimisers as users write theirs. `normed` has a state, and draws random numbers while it trains."""

HAS_DROP_LAST = "drop_last" in {field.name for field in fields(TrialConfig)}

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
    "hold-out": [{}, {"holdout": 24}],
    "batch size": [{"batch_size": (16,)}, {"batch_size": (40,)}, {"batch_size": (16, 40)}],
    "train images": [{}, {"train_images": 60}],
    "drop last": [{}, {"drop_last": True}] if HAS_DROP_LAST else [{}],
    "standardize": [{}, {"standardize": True}],
    "target": [{}, {"target": 0.6}],
    "train evaluation": [{}, {"train_evaluation": 10}, {"train_evaluation": 5000}],
    "sharpness": [{}, {"sharpness": True}, {"sharpness_every": 5}, {"sharpness": True, "sharpness_images": 30}],
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
    "rates": [{"learning_rates": (0.03,)}, {"learning_rates": ("0.01:0.1:2",)}, {"learning_rates": (0.1, 0.01, 1e6)}],
    "seeds": [{}, {"seeds": (0, 1, 2)}],
}
"""The kinds of values of each option. Paths are below `@`, the folder of `write_data`. `arrays.npz` stands for arrays
from Python; commands read the file."""


@dataclass(frozen=True, kw_only=True)
class Combinations(Recorded):
    """Runs tiny sweeps in which every two kinds of values of any two options meet."""

    rows: tuple[int, ...] = ()
    """The numbers of the rows to run; by default all."""
    only: str = ""
    """Run only the rows of this kind: once, killed or extended."""
    seed: int = 0
    """Seed of the table, of the kills and of what is extended."""
    keep: Path | None = None
    """Keep data and sweeps in this folder, which must not exist yet; by default in one that is removed."""

    def __post_init__(self) -> None:
        if self.only not in ("", *KINDS):
            raise UserError(f"--only must be one of {', '.join(KINDS)}, got {self.only!r}")


def pairs(row: Row) -> set[frozenset[tuple[str, int]]]:
    """Return every pair of values that meet in a row."""
    return {frozenset(pair) for pair in combinations(row.items(), 2)}


def pairwise(counts: Mapping[str, int], refused: Callable[[Row], bool], seed: int = 0, tries: int = 300) -> list[Row]:
    """Return rows in which every two values of any two options meet.

    A row begins with a pair that is missing. The other options, in random order, take the value that adds the most
    missing pairs. If that row is refused, some of its values are drawn anew.

    Args:
        counts: how many values each option has.
        refused: whether the program refuses a row. A pair whose rows are all refused gets one of them. That row stands
            for no other pair.
        seed: seed of the random choices.
        tries: how often values are drawn anew for a pair.
    """
    random_ = random.Random(seed)
    kinds = [[(name, i) for i in range(count)] for name, count in counts.items()]
    missing = {frozenset(pair) for one, other in combinations(kinds, 2) for pair in product(one, other)}
    rows = []
    while missing:
        pair = dict(random_.choice(sorted(map(sorted, missing))))
        greedy = _filled(pair, counts, missing, random_)
        others = (_redrawn(greedy, pair, counts, random_) for _ in range(tries))
        accepted = next((row for row in chain([greedy], others) if not refused(row)), None)
        rows.append(accepted or greedy)
        missing -= pairs(accepted or pair)
    return [{name: row[name] for name in counts} for row in rows]


def _filled(pair: Row, counts: Mapping[str, int], missing: set[Any], random_: random.Random) -> Row:
    row = dict(pair)

    def gain(one: tuple[str, int]) -> int:
        return sum(frozenset([one, other]) in missing for other in row.items())

    for name in random_.sample(list(counts), len(counts)):
        if name not in pair:
            row |= [max(random_.sample([(name, i) for i in range(counts[name])], counts[name]), key=gain)]
    return row


def _redrawn(row: Row, pair: Row, counts: Mapping[str, int], random_: random.Random) -> Row:
    return {name: i if random_.random() < 0.7 else random_.randrange(counts[name]) for name, i in row.items()} | pair


def table(seed: int) -> list[Row]:
    """Return the rows of this benchmark. The program is asked whether it refuses a row's first trial."""
    names = {field.name for field in fields(TrialConfig)}

    def refused(row: Row) -> bool:
        first = {name: value[0] if isinstance(value, tuple) else value for name, value in values(row).items()}
        try:
            return not TrialConfig(**{name: value for name, value in first.items() if name in names})
        except UserError:
            return True

    return pairwise({name: len(kinds) for name, kinds in OPTIONS.items()}, refused, seed)


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
            words += [f"--{flag}", *map(str, value if isinstance(value, tuple) else [value])]
    return words


def write_data(folder: Path) -> None:
    """Write the data that the rows name: 120 images each that a small network learns, a pattern a class under noise."""
    (folder / "idx").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, shape, classes in (("colour", (6, 6, 3), 7), ("arrays", (6, 6), 2), ("vectors", (12,), 3)):
        arrays = patterns(rng, shape, classes)
        if name == "vectors":  # a sixth of the images becomes the test part
            arrays = {part: arrays[part] for part in ("x_train", "y_train")}
        np.savez(folder / name, allow_pickle=False, **arrays)
    for part, array in patterns(rng, (28, 28), 10).items():
        content = (255 * array if part[0] == "x" else array).astype(np.uint8)
        header = bytes([0, 0, 8, content.ndim]) + np.array(content.shape, ">u4").tobytes()
        name = f"{'train' if 'train' in part else 't10k'}-{'images-idx3' if part[0] == 'x' else 'labels-idx1'}-ubyte"
        (folder / "idx" / name).write_bytes(header + content.tobytes())


def patterns(rng: np.random.Generator, shape: tuple[int, ...], classes: int) -> dict[str, npt.NDArray[Any]]:
    """Return 96 training and 24 test images and their labels, as in an .npz file."""
    y = np.arange(120) % classes
    x = (0.6 * (rng.random((classes, *shape)) > 0.5)[y] + 0.4 * rng.random((120, *shape))).astype(np.float32)
    return {"x_train": x[:96], "y_train": y[:96], "x_test": x[96:], "y_test": y[96:]}


def run_once(given: Fields, output: Path) -> Sweep:
    """Run a sweep in this process, with arrays in place of `arrays.npz`."""
    if Path(given["dataset"]).name == "arrays.npz":
        with np.load(given["dataset"]) as file:
            given = given | {"dataset": tuple(file[name] for name in ("x_train", "y_train", "x_test", "y_test"))}
    config = LearningRateRegimes(**given, output=output, quiet=True)
    return run_sweep("lr_regimes", config.trials(), config)


def shown(sweep: Sweep) -> list[str]:
    """Make all that people look at, and return what is wrong with it. A warning is an error."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()) as text:
        warnings.simplefilter("error")
        sweep.table()
        files = [sweep.plot(), Path(sweep.report())]
        mirror("csv", None).update(sweep)
    found = [] if "Traceback" not in text.getvalue() and text.getvalue() else ["the table is empty"]
    found += [f"{file.name} is empty" for file in files if file.stat().st_size < 1000]
    for name, table in (("trials", sweep.trials), ("epochs", sweep.epochs)):
        rows = (files[0].parent / f"{name}.csv").read_text().splitlines()
        found += [f"{name}.csv has {len(rows) - 1} rows, not {len(table)}"] if len(rows) - 1 != len(table) else []
    return found


def incomplete(sweep: Sweep, given: Fields) -> list[str]:
    """Return what a sweep's tables lack: trials, rows, labels."""
    stops = {"completed", "diverged"} | {"asha": {"asha"}, "regimes": {"slow", "dead"}}.get(given["scheduler"], set())
    asked = LearningRateRegimes(**given).trials()
    found = [] if len(sweep.trials) == len(asked) else [f"{len(sweep.trials)} trials in place of {len(asked)}"]
    journal = read_journal(Path(sweep.path)).epochs
    if journal.duplicated(["trial_id", "epoch"]).any():
        found.append("a row is in the journal twice")
    epochs = {str(trial_id): sorted(rows) for trial_id, rows in sweep.epochs.groupby("trial_id")["epoch"]}
    for trial in sweep.trials.itertuples():
        rows = epochs.get(trial.trial_id, [])
        count = given["epochs"] if trial.stop_reason == "completed" else max(1, trial.epochs_run)
        if trial.stop_reason not in stops:
            found.append(f"trial {trial.trial_id} ended as {trial.stop_reason} {trial.error or ''}".strip())
        elif rows != list(range(1, count + 1)):
            found.append(f"trial {trial.trial_id}, {trial.stop_reason}, has the epochs {rows}")
        if trial.regime not in REGIMES:
            found.append(f"trial {trial.trial_id} has the label {trial.regime!r}")
    return found


CONFIG = ["architecture", "optimizer", "momentum", "batch_size", "learning_rate", "seed"]
"""What tells the trials of a row apart. Their ids depend on the order in which they were asked for."""

APART = [*TIMES, "batch_s", "ended_at", "lanes", "fill"]
"""Columns that differ from run to run."""


def by_config(sweep: Sweep) -> pd.DataFrame:
    """Return the epochs of the trials that ended by themselves, by trial and epoch."""
    ended = sweep.trials[sweep.trials["stop_reason"].isin(["completed", "diverged"])]
    epochs = sweep.epochs.drop(columns="learning_rate").merge(ended[["trial_id", "regime", *CONFIG]], on="trial_id")
    return epochs.set_index([*CONFIG, "epoch"]).sort_index().drop(columns=APART, errors="ignore")


def differing(sweep: Sweep, once: Sweep, given: Fields) -> list[str]:
    """Return how a sweep that was killed or extended differs from the undisturbed one."""
    mine, theirs = by_config(sweep), by_config(once)
    common = mine.index.intersection(theirs.index)
    if given["scheduler"] == "fifo" and not len(common) == len(mine) == len(theirs):
        return [f"{len(mine)} rows in place of {len(theirs)}"]
    mine, theirs = mine.loc[common], theirs.loc[common]
    cpus = [one.meta.get("options", {}).get("cpus_per_trial") for one in (sweep, once)]
    if given["execution"] != "lanes" and cpus[0] == cpus[1]:
        numbers = theirs.select_dtypes(["number", "bool"]).columns
        wrong = [name for name in numbers if not mine[name].equals(theirs[name])]
    else:
        calm = ~mine["regime"].isin(["diverged", "oscillating"]) & ~theirs["regime"].isin(["diverged", "oscillating"])
        wrong = [
            name
            for name in ("train_loss", "test_loss")
            if not np.allclose(mine[calm][name], theirs[calm][name], rtol=1e-2, equal_nan=True)
        ]
    return [f"{', '.join(wrong)} differ from the undisturbed sweep's"] if wrong else []


def command(words: Sequence[str], folder: Path, kill_at: int | None = None) -> tuple[int, list[str]]:
    """Run sweeps/lr_regimes.py, and kill it and its processes once the journal in `folder` has so many rows.

    Returns:
        The exit code, and the lines that it wrote.
    """
    child = start_python([str(REPOSITORY / "sweeps" / "lr_regimes.py"), *words], folder, own_group=True)
    journal, until = folder / "sweep" / "journal.jsonl", time.monotonic() + TIMEOUT_S
    while child.poll() is None:
        rows = journal.read_text().count('"epoch"') if kill_at is not None and journal.exists() else -1
        if time.monotonic() > until or (kill_at is not None and rows >= kill_at):
            os.killpg(child.pid, signal.SIGKILL)
        with contextlib.suppress(psutil.TimeoutExpired):
            child.wait(0.005 if kill_at is not None else 1)
    return int(child.returncode), (folder / "said").read_text(errors="replace").splitlines()


def again(kind: str, given: Fields, once: Sweep, folder: Path, random_: random.Random) -> tuple[str, list[str]]:
    """Run a row by commands: killed and resumed, or begun with less and extended. Return what was done, and faults."""
    less, more, kill_at = {}, {}, None
    if kind == "killed":
        kill_at = random_.randint(0, len(once.epochs))
    else:
        rates = tuple(rate for text in given["learning_rates"] for rate in rates_of(text))
        first = {"epochs": given["epochs"] // 2, "learning_rates": rates[:1], "seeds": given.get("seeds", (0,))[:1]}
        all_ = {"epochs": given["epochs"], "learning_rates": rates, "seeds": given.get("seeds", (0,))}
        name = random_.choice([name for name in first if first[name] != all_[name]])
        less, more = {name: first[name]}, {name: given[name]}
    sweep = folder / "sweep"
    code, said = command([*flags(given | less), "--output", str(sweep), "--quiet"], folder, kill_at)
    if code and not (kind == "killed" and code == -signal.SIGKILL):
        return f"{kind}: {shlex.join(flags(less))}", [f"exit code {code}: {' '.join(said[-3:])}"]
    before = load_sweep(sweep)
    printed = shlex.split(resume_command(before.meta, sweep))
    words = [*printed[printed.index("--resume") :], *flags(more)]
    what = f"{kind} after {len(before.epochs)} of {len(once.epochs)} rows, {shlex.join(words)}"
    code, said = command([*words, "--quiet"], folder)
    if "epochs" in more and "schedule" in given:
        wrong = code != 2 or len(said) != 1 or "start a new sweep" not in said[0]
        return f"{what}: refused", ["more epochs of a schedule that has ended are not refused"] if wrong else []
    if code:
        return what, [f"exit code {code}: {' '.join(said[-3:])}"]
    return what, [*incomplete(load_sweep(sweep), given), *differing(load_sweep(sweep), once, given)]


def tried(kind: str, given: Fields, folder: Path, random_: random.Random) -> tuple[str, list[str]]:
    """Run a row, and do with it what its kind says. Return what was done, and what was wrong."""
    try:
        once = run_once(given, folder / "once")
    except UserError as error:
        refusal = f"error: {error}"
        said = [refusal] if kind == "once" else command([*flags(given), "--output", "sweep", "--quiet"], folder)[1]
        return f"refused: {error}", [] if said == [refusal] and "\n" not in refusal else [f"the command said {said}"]
    found = incomplete(once, given) + shown(once)
    return (kind, found) if found or kind == "once" else again(kind, given, once, folder, random_)


def main() -> int:
    config = cli.parse(Combinations)
    machine = describe_machine()
    print(machine_line(machine), flush=True)
    rows = table(config.seed)
    chosen = [i for i in config.rows or range(len(rows)) if config.only in ("", KINDS[i % 3])]
    every = set().union(*map(pairs, rows))
    print(f"{len(OPTIONS)} options: {len(rows)} rows hold all {len(every)} pairs, {len(chosen)} are run", flush=True)
    failed, met = {}, set()
    with contextlib.ExitStack() as context:
        folder = (config.keep or Path(context.enter_context(TemporaryDirectory()))).absolute()
        write_data(folder)
        for i in chosen:
            start, kind, given = time.perf_counter(), KINDS[i % 3], values(rows[i], folder)
            (folder / str(i)).mkdir()
            try:
                what, found = tried(kind, given, folder / str(i), random.Random(i))
            except Exception:
                what, found = kind, [traceback.format_exc()]
            met |= set() if what.startswith("refused") else pairs(rows[i])
            told = "; ".join(found) or "nothing is wrong"
            print(f"row {i}, {time.perf_counter() - start:.0f} s, {what}: {told}".replace(f"{folder}/", ""), flush=True)
            if found:
                command_ = shlex.join(["python", "sweeps/lr_regimes.py", *flags(values(rows[i]))])
                failed[i] = {"kind": kind, "found": found, "command": command_}
    print(f"{len(chosen) - len(failed)} of {len(chosen)} rows are right; {len(met)} of {len(every)} pairs met and ran")
    for i, failure in failed.items():
        print(f"\nrow {i}, {failure['kind']}: --seed {config.seed} --rows {i}\n{failure['command']}")
    results = {"rows": len(chosen), "pairs": len(every), "met and ran": len(met), "failed": failed}
    write_record(config, machine, {"combinations": results})
    return int(bool(failed))


if __name__ == "__main__":
    cli.run(main)
