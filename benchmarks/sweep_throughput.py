"""How fast is a sweep: as Ray Tune's documentation shows it, as ours, and without Ray at all?

    python benchmarks/sweep_throughput.py

Every side trains the same trials in a fresh process of its own, with all its start and end, one thread a trial,
and an empty compilation cache; the sides take turns in every round. Printed are medians over the rounds, and
ratios within a round with their smallest and largest.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
import psutil

from mnist_tune import TrialConfig, UserError, cli
from mnist_tune.data.dataset import Dataset, load_dataset
from mnist_tune.data.files import cache_folder
from mnist_tune.machine import usable_cpus
from mnist_tune.results.provenance import describe_environment
from mnist_tune.trial import closest
from mnist_tune.tuning.options import LANES, SweepOptions
from mnist_tune.tuning.sweep import run_sweep

TARGETS = (
    ("process", "tune", "trial_epochs_per_s", 4.0, "at least"),
    ("process", "tune", "peak_mib", 1.0, "at most"),
    ("lanes", "tune", "trial_epochs_per_s", 4.0, "at least"),
    ("lanes", "process", "steady_per_s", 1.5, "at least"),
    ("auto", "process", "steady_per_s", 0.97, "at least"),
)
"""Ratio of a measure between two sides, and what it should be."""
DRIVER_TARGET_MS = 4.0
"""The most CPU time of the driver that a result of ours should cost."""
SAMPLE_INTERVAL_S = 2.0
"""Every half second, reading the memory of 20 processes took 15% of a core from what is measured."""
RUN_SIDE = "--side"
"""How the benchmark calls itself: `--side SIDE FIELDS`, the benchmark's fields as JSON, in an empty folder."""
REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class ThroughputBenchmark:
    """Compares whole sweeps: Ray Tune as documented, mnist_tune, and the same trials one after another without Ray."""

    architectures: tuple[str, ...] = ("mlp-16-tanh",)
    """Architectures to sweep, a table each."""
    trials: int = 32
    """Trials of a sweep, at learning rates from 0.001 to 0.5, log-spaced."""
    epochs: int = 5
    """Epochs of a trial."""
    rounds: int = 3
    """Sweeps of each side; the sides take turns."""
    compare: tuple[str, ...] = ("tune", "process", "lanes", "floor")
    """Sides to run: tune (an actor a trial, default settings), process, lanes, auto (ours), floor (one process, no
    Ray), notebook (its own loop in one process)."""
    dataset: str = "mnist"
    """mnist, or mnist-5k for a quick look."""
    output: Path | None = None
    """JSON file that receives the figures."""

    def __post_init__(self) -> None:
        for name in ("trials", "epochs", "rounds"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} must be at least 1, got {getattr(self, name)}")
        for side in self.compare:
            if side not in SIDES:
                raise UserError(f"--compare: there is no side {side!r}{closest(side, SIDES)}")

    def configs(self) -> list[TrialConfig]:
        rates = np.geomspace(0.001, 0.5, self.trials)
        common: dict[str, Any] = {"architecture": self.architectures[0], "epochs": self.epochs}
        return [TrialConfig(learning_rate=float(rate), stop_when_diverged=False, **common) for rate in rates]


@dataclass(frozen=True)
class Epoch:
    """One result of a sweep."""

    busy_s: float
    """Seconds of training and evaluating."""
    ended_at: float
    """Unix time."""
    test_accuracy: float
    trial: str
    fill: float = 1.0
    """Share of its device's lanes that trained in the same round."""


@dataclass(frozen=True)
class Driver:
    """CPU seconds of the sweep's process between its first and its last result."""

    cpu_s: float
    results: int


RESULT = ("busy_s", "ended_at", "test_accuracy", "trial")

Outcome = tuple[list[Epoch], Driver | None]


class PlainTrials:
    """This package's compiled epoch in a plain loop, one trial after another: what a user would write by hand."""

    def __init__(self, dataset: Dataset) -> None:
        import jax

        self._jax = jax
        self._train_set = jax.device_put((dataset.train_images, dataset.train_labels))
        self._test_set = jax.device_put((dataset.test_images, dataset.test_labels))
        self._compiled: dict[Any, tuple[Any, Any]] = {}

    def run(self, config: TrialConfig) -> Iterator[dict[str, Any]]:
        """Trains a trial, a result an epoch."""
        from mnist_tune.training.batch_order import batch_order
        from mnist_tune.training.program import Hyperparameters, Program

        jax, program = self._jax, Program.of(config)
        train_epoch, evaluate = self._compiled.setdefault(
            program, (jax.jit(program.train_epoch, donate_argnums=(0,)), jax.jit(program.evaluate))
        )
        state = jax.device_put(program.init(config.seed))
        hyper = Hyperparameters(np.float32(config.learning_rate), np.float32(config.momentum))
        for epoch in range(config.epochs):
            start = time.perf_counter()
            order = batch_order(config.data_seed, epoch, len(self._train_set[1]))
            state, _ = train_epoch(state, hyper, *self._train_set, order)
            train_loss, train_right = evaluate(state.params, *self._train_set, *_whole(self._train_set))
            _, test_right = evaluate(state.params, *self._test_set, *_whole(self._test_set))
            result: dict[str, Any] = {
                "train_loss": float(train_loss),
                "train_accuracy": int(train_right) / len(self._train_set[1]),
            }
            result["test_accuracy"] = int(test_right) / len(self._test_set[1])
            result["trial"] = str(config.learning_rate)
            yield result | {"busy_s": time.perf_counter() - start, "ended_at": time.time()}


def _whole(split: Any) -> tuple[Any, Any]:
    """The range that `Program.evaluate` needs for all images of a set."""
    return np.int32(0), np.int32(len(split[1]))


def run_tune(benchmark: ThroughputBenchmark) -> Outcome:
    """As Ray Tune's documentation shows it: a function, `tune.report` every epoch, `Tuner(...).fit()`."""
    from ray import tune

    trials = {config.learning_rate: config for config in benchmark.configs()}
    name = benchmark.dataset

    def train_mnist(config: dict[str, Any]) -> None:
        for result in PlainTrials(load_dataset(name)).run(trials[config["learning_rate"]]):
            tune.report(result)

    meter = _meter()
    tuner = tune.Tuner(
        train_mnist,
        param_space={"learning_rate": tune.grid_search(list(trials))},
        run_config=tune.RunConfig(storage_path=str(Path.cwd()), callbacks=[meter]),
    )
    tuner.fit()
    cpu = meter.cpu_times
    return [Epoch(**epoch) for epoch in meter.epochs], Driver(cpu[-1] - cpu[0], len(cpu))


def _meter() -> Any:
    """A Tune callback that keeps the results and the driver's CPU time at each."""
    from ray import tune

    class Meter(tune.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.epochs: list[dict[str, float]] = []
            self.cpu_times: list[float] = []

        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **_: Any) -> None:
            self.epochs.append({key: result[key] for key in RESULT})
            self.cpu_times.append(time.process_time())

    return Meter()


def run_ours(benchmark: ThroughputBenchmark, execution: Literal["auto", "lanes", "process"]) -> Outcome:
    """`run_sweep`, which also saves every trial's state every epoch."""
    options: dict[str, Any] = {"dataset": benchmark.dataset, "output": Path("sweep"), "execution": execution}
    sweep = run_sweep("benchmark", benchmark.configs(), SweepOptions(scheduler="fifo", quiet=True, **options))
    rows = sweep.epochs.to_dict("records")
    epochs = [
        Epoch(row["train_s"] + row["eval_s"], row["ended_at"], row["test_accuracy"], row["trial_id"], row["fill"])
        for row in rows
    ]
    return epochs, Driver(**sweep.meta["driver"])


def run_floor(benchmark: ThroughputBenchmark) -> Outcome:
    """The trials one after another in this process: what a core does that nobody has to tell what to do next."""
    plain = PlainTrials(load_dataset(benchmark.dataset))
    results = [result for config in benchmark.configs() for result in plain.run(config)]
    return [Epoch(**{key: r[key] for key in RESULT}) for r in results], None


def run_notebook(benchmark: ThroughputBenchmark) -> Outcome:
    """The notebook's own loop, one trial after another in this process."""
    from epoch import Notebook, Setting  # benchmarks/epoch.py, beside this file

    data, epochs = load_dataset(benchmark.dataset), []
    for config in benchmark.configs():
        side = Notebook(Setting(config.architecture, config.learning_rate, config.batch_size, data))
        for epoch in range(config.epochs):
            start = time.perf_counter()
            side.train(epoch)
            _, test_accuracy = side.evaluate()
            busy_s = time.perf_counter() - start
            epochs.append(Epoch(busy_s, time.time(), test_accuracy, str(config.learning_rate)))
    return epochs, None


SIDES: dict[str, Callable[[ThroughputBenchmark], Outcome]] = {
    "tune": run_tune,
    "process": partial(run_ours, execution="process"),
    "lanes": partial(run_ours, execution="lanes"),
    "auto": partial(run_ours, execution="auto"),
    "floor": run_floor,
    "notebook": run_notebook,
}
CLIENTS = {"lanes": LANES["CPU"]}
"""Trials at a time a core, where it is not one."""
CORES = {"floor": 1, "notebook": 1}
"""Cores that a side uses, where it is not all."""


@dataclass(frozen=True)
class Measurement:
    """One sweep of one side."""

    wall_s: float
    """Of the whole command."""
    trial_epochs_per_s: float
    """Over the whole command."""
    after_start_per_s: float
    """Trial-epochs a second from the end of the first epoch to the end of the last."""
    steady_per_s: float
    """Trial-epochs a second once as many trials have reported as run at a time."""
    fill: float
    """Mean share of the lanes that trained in the same round."""
    peak_mib: float
    """Most memory of the process and all its descendants at a time; what they share counts once."""
    driver_ms: float | None
    """CPU milliseconds of the driver a result."""
    orchestration: float
    """Share of the cores' time from the first epoch's end to the last's that is neither training nor evaluating."""
    test_accuracy: float
    """Mean over the last epochs of the trials."""


def measure(benchmark: ThroughputBenchmark, side: str, name: str) -> Measurement:
    """Runs one side in a process of its own.

    Raises:
        UserError: it failed; the message ends with what it said last.
    """
    with tempfile.TemporaryDirectory(prefix="sweep_throughput-") as folder:
        work = Path(folder)
        fields = {key: getattr(benchmark, key) for key in ("trials", "epochs", "dataset")} | {"architectures": [name]}
        command = [sys.executable, str(Path(__file__).resolve()), RUN_SIDE, side, json.dumps(fields)]
        start = time.perf_counter()
        with (work / "said").open("wb") as said:
            child = psutil.Popen(command, env=_environment(work), cwd=work, stdout=said, stderr=subprocess.STDOUT)
            peak = watch_memory(child)
        wall = time.perf_counter() - start
        if child.returncode:
            raise UserError(f"{side} failed:\n" + (work / "said").read_text(errors="replace")[-3000:])
        return summarize(wall, peak, json.loads((work / "outcome.json").read_text()), side)


def _environment(work: Path) -> dict[str, str]:
    """The same threads, data and packages for all, no cache of compiled programs, no cluster but one's own."""
    ours = {
        "PJRT_NPROC": "1",
        "MNIST_TUNE_DATA": str(cache_folder().absolute()),
        "XDG_CACHE_HOME": str(work / "cache"),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])),
        "RAY_ADDRESS": "local",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    return {**os.environ, **ours}


def watch_memory(child: psutil.Popen) -> float:
    """Waits for the process; the most MiB that it and its descendants held at a sample."""
    peak = 0.0
    while True:
        peak = max(peak, tree_mib(child))
        with contextlib.suppress(psutil.TimeoutExpired):
            child.wait(timeout=SAMPLE_INTERVAL_S)
            return peak


def tree_mib(process: psutil.Process) -> float:
    total = 0
    with contextlib.suppress(psutil.Error):
        for member in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                memory = member.memory_full_info()
                total += getattr(memory, "pss", memory.uss)  # only Linux divides what is shared
    return total / 2**20


def summarize(wall: float, peak: float, outcome: dict[str, Any], side: str) -> Measurement:
    cores = CORES.get(side, usable_cpus())
    epochs = sorted((Epoch(**epoch) for epoch in outcome["epochs"]), key=lambda epoch: epoch.ended_at)
    span = epochs[-1].ended_at - epochs[0].ended_at
    driver = outcome["driver"]
    return Measurement(
        wall_s=wall,
        trial_epochs_per_s=len(epochs) / wall,
        after_start_per_s=(len(epochs) - 1) / span,
        steady_per_s=steady_rate(epochs, cores * CLIENTS.get(side, 1)),
        fill=sum(epoch.fill for epoch in epochs) / len(epochs),
        peak_mib=peak,
        driver_ms=driver and 1000 * driver["cpu_s"] / driver["results"],
        orchestration=1 - sum(epoch.busy_s for epoch in epochs[1:]) / (cores * span),
        test_accuracy=sum(epoch.test_accuracy for epoch in epochs) / len(epochs),
    )


def steady_rate(epochs: Sequence[Epoch], at_a_time: int) -> float:
    """Trial-epochs a second from the first report of the trial that completes `at_a_time`, to the end."""
    started: dict[str, float] = {}
    for epoch in epochs:
        started.setdefault(epoch.trial, epoch.ended_at)
    begin = sorted(started.values())[min(at_a_time, len(started)) - 1]
    later = [epoch for epoch in epochs if epoch.ended_at > begin]
    return len(later) / (epochs[-1].ended_at - begin) if later else float("nan")


COLUMNS = {
    "wall_s": ("wall s", "{:.1f}"),
    "trial_epochs_per_s": ("epochs/s", "{:.2f}"),
    "after_start_per_s": ("after start", "{:.2f}"),
    "steady_per_s": ("steady", "{:.2f}"),
    "fill": ("fill", "{:.0%}"),
    "peak_mib": ("peak MiB", "{:.0f}"),
    "driver_ms": ("driver ms", "{:.2f}"),
    "orchestration": ("orchestration", "{:.1%}"),
    "test_accuracy": ("test accuracy", "{:.4f}"),
}
"""Title and format of each measure in the table; a comment on each is at `Measurement`."""


def ratios(ours: Sequence[Measurement], other: Sequence[Measurement], measure: str) -> tuple[float, float, float]:
    """Median, smallest and largest ratio ours / other of the rounds."""
    pairs = zip(ours, other, strict=True)
    all_ratios = [getattr(a, measure) / getattr(b, measure) for a, b in pairs]
    return median(all_ratios), min(all_ratios), max(all_ratios)


def print_table(benchmark: ThroughputBenchmark, name: str, measured: dict[str, list[Measurement]]) -> None:
    print(
        f"\n{name}: {benchmark.trials} trials x {benchmark.epochs} epochs of {benchmark.dataset}, "
        f"{usable_cpus()} cores, {benchmark.rounds} rounds"
    )
    print(f"{'':8}" + "".join(f"{title:>14}" for title, _ in COLUMNS.values()))
    for side, rounds in measured.items():
        values = {key: [getattr(m, key) for m in rounds if getattr(m, key) is not None] for key in COLUMNS}
        cells = [form.format(median(values[key])) if values[key] else "-" for key, (_, form) in COLUMNS.items()]
        print(f"{side:8}" + "".join(f"{cell:>14}" for cell in cells))
    print_targets(measured)


def print_targets(measured: dict[str, list[Measurement]]) -> None:
    for ours, other, key, target, sense in TARGETS:
        if ours not in measured or other not in measured:
            continue
        middle, low, high = ratios(measured[ours], measured[other], key)
        met = middle >= target if sense == "at least" else middle <= target
        title = COLUMNS[key][0]
        print(f"{ours}/{other} {title}: {middle:.2f} ({low:.2f}..{high:.2f}); target {sense} {target}: {_verdict(met)}")
    for side in ("process", "lanes"):
        if side in measured:
            cost = median(m.driver_ms or 0.0 for m in measured[side])
            verdict = _verdict(cost < DRIVER_TARGET_MS)
            print(f"driver of {side}: {cost:.2f} ms a result; target under {DRIVER_TARGET_MS}: {verdict}")


def _verdict(met: bool) -> str:
    return "met" if met else "missed"


def run_side(side: str, fields: str) -> None:
    """The child's part: the sweep, and what is known of it from inside."""
    epochs, driver = SIDES[side](ThroughputBenchmark(**json.loads(fields)))
    outcome = {"epochs": [asdict(epoch) for epoch in epochs], "driver": driver and asdict(driver)}
    Path("outcome.json").write_text(json.dumps(outcome))


def compare(benchmark: ThroughputBenchmark, name: str) -> dict[str, list[Measurement]]:
    """All rounds of one architecture; odd rounds go backwards."""
    measured: dict[str, list[Measurement]] = {side: [] for side in benchmark.compare}
    for turn in range(benchmark.rounds):
        for side in benchmark.compare[:: -1 if turn % 2 else 1]:
            measured[side].append(measure(benchmark, side, name))
            wall = measured[side][-1].wall_s
            print(f"{name}, round {turn + 1}, {side}: {wall:.1f} s", file=sys.stderr, flush=True)
    return measured


def main() -> None:
    if sys.argv[1:2] == [RUN_SIDE]:
        run_side(*sys.argv[2:])
        return
    from mnist_tune.training.architectures import architecture

    benchmark = cli.parse(ThroughputBenchmark)
    for name in benchmark.architectures:
        architecture(name)
    load_dataset(benchmark.dataset)  # fetched before the clock starts
    results = {}
    for name in benchmark.architectures:
        measured = compare(benchmark, name)
        print_table(benchmark, name, measured)
        results[name] = {side: [asdict(m) for m in rounds] for side, rounds in measured.items()}
    if benchmark.output is not None:
        asked = asdict(benchmark) | {"output": str(benchmark.output)}
        content = {"environment": describe_environment(), "asked": asked, "results": results}
        benchmark.output.write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    cli.run(main)
