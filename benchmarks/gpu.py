"""How fast do trials train on a GPU, as lanes and in processes, and are their numbers
those of the CPU?

    python benchmarks/gpu.py --record

For a small MLP, the main one and the convnet it measures, each in processes of its own:

- `lanes`: an epoch of 1, 4, 16, 64 and 256 lanes without Ray, and the peak memory of
  the device,
- `numbers`: by how much losses after an epoch differ from the CPU's,
- `sweeps`: the trials a second of sweeps with as many lanes, and with a process a
  trial.

If a side fails, its last line is printed, and the others run. `main_command.py` and
`epoch.py` run on a GPU as well.

Without a GPU it says so, with exit code 2. The same code runs small on a CPU:

    python benchmarks/gpu.py --device cpu --dataset mnist-5k --architectures mlp-16-tanh --lanes 1 4 --trials 4
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import psutil

from benchmarks.comparison import Benchmark, Comparison, Figures, Target, run
from benchmarks.processes import Finished, empty_cache, run_python
from benchmarks.sides.on_device import FIGURES
from benchmarks.sides.sweep_work import Outcome, SweepWork
from benchmarks.sweep_throughput import steady_rate
from mnist_tune import UserError, cli
from mnist_tune.data.dataset import load_dataset
from mnist_tune.machine import usable_cpus
from mnist_tune.training.architectures import kind_of

ON_CPU = {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
"""Variables that hide GPUs from JAX and from Ray."""
ON_GPU = {
    "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
}
"""Variables that leave the first GPU alone, so that figures are those of one."""
ROUNDING = 1e-4
"""The largest relative difference of two losses after a calm epoch that rounding makes,
with products in float32."""
WAYS = {
    "1 lane": ("1", "default"),
    "2 lanes": ("2", "default"),
    "1 lane in float32": ("1", "highest"),
    "2 lanes in float32": ("2", "highest"),
}
"""How trials train whose numbers are compared: lanes, and precision of products of
matrices."""
TURNS = 3
"""Epochs that are timed after the one that compiles."""

LANES = {
    "epoch_s": "{:.3f}",
    "trial_epochs_per_s": "{:.1f}",
    "in_a_batch": "{:.0f}",
    "peak_mib": "{:.0f}",
}
SWEEPS = {
    "steady_trials_per_s": "{:.2f}",
    "trials_per_s": "{:.2f}",
    "wall_s": "{:.1f}",
    "test_accuracy": "{:.4f}",
}

Part = Literal["lanes", "numbers", "sweeps"]
Measurement = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class GPUBenchmark(Benchmark):
    """Measures trials on a GPU."""

    rounds: int = 1
    """How often each side runs."""
    device: Literal["gpu", "cpu"] = "gpu"
    """cpu runs the same code where there is no GPU."""
    architectures: tuple[str, ...] = ("mlp-16-tanh", "mlp-1024-128-tanh", "convnet")
    """Networks to train."""
    lanes: tuple[int, ...] = (1, 4, 16, 64, 256)
    """Numbers of lanes to try."""
    trials: int = 16
    """Trials of a sweep, at least; there are no fewer than lanes."""
    epochs: int = 3
    """Epochs of a trial in a sweep."""
    dataset: str = "mnist"
    """What is trained on."""
    parts: tuple[Part, ...] = ("lanes", "numbers", "sweeps")
    """What to measure."""
    limit_s: float = 1200.0
    """Seconds after which a side counts as failed."""


@contextmanager
def ran(
    config: GPUBenchmark, *arguments: str, cpu: bool = False
) -> Iterator[tuple[Path, Finished]]:
    """Run `python arguments` with an empty cache of compiled programs, on the device or
    on the CPU. Yield the folder it ran in, and its times."""
    with TemporaryDirectory(prefix="gpu-") as name:
        folder = Path(name)
        variables = {"RAY_ADDRESS": "local", "PJRT_NPROC": "1"} | empty_cache(folder)
        if cpu or config.device == "cpu":
            variables |= ON_CPU
        else:
            variables |= ON_GPU
        wait_for = partial(wait, limit_s=config.limit_s)
        yield folder, run_python(arguments, folder, variables, wait_for)


def wait(child: psutil.Popen, limit_s: float) -> None:
    """Wait for a process to end. Kill it, and all that it started, if that takes too
    long."""
    try:
        child.wait(limit_s)
    except psutil.TimeoutExpired:
        for process in [*child.children(recursive=True), child]:
            with suppress(psutil.Error):
                process.kill()
        child.wait()
        raise UserError(f"it took more than {limit_s:g} s") from None


def on_device(config: GPUBenchmark, *arguments: str, cpu: bool = False) -> Measurement:
    """Return the figures of `benchmarks.sides.on_device`, on the device or on the
    CPU."""
    with ran(config, "-m", "benchmarks.sides.on_device", *arguments, cpu=cpu) as (
        folder,
        _,
    ):
        return dict(json.loads((folder / FIGURES).read_text()))


def sweep(config: GPUBenchmark, architecture: str, lanes: int | None) -> Measurement:
    """Run a sweep with so many lanes, or with None in processes, and return its trials
    a second: of the whole command, and since as many reported as train at a time."""
    trials = max(config.trials, lanes or 0)
    work = SweepWork(architecture, trials, config.epochs, config.dataset)
    command = ["-m", "benchmarks.sides.our_sweep", json.dumps(asdict(work))]
    at_a_time = 1
    if lanes is not None:
        command += ["lanes", str(lanes)]
        at_a_time = lanes
    else:
        command.append("process")
        if config.device == "cpu":
            at_a_time = usable_cpus()
    with ran(config, *command) as (folder, finished):
        epochs = Outcome.read(folder).epochs
    steady = steady_rate(epochs, at_a_time)
    rates = {
        "steady_trials_per_s": steady and steady / work.epochs,
        "trials_per_s": work.trials / finished.wall_s,
    }
    accuracy = sum(epoch.test_accuracy for epoch in epochs) / len(epochs)
    return rates | {"wall_s": finished.wall_s, "test_accuracy": accuracy}


@cache
def losses_of_cpu(config: GPUBenchmark, architecture: str) -> Measurement:
    return on_device(
        config, "numbers", architecture, config.dataset, *WAYS["1 lane"], cpu=True
    )


def differences(config: GPUBenchmark, architecture: str, way: str) -> Figures:
    """Return by how much losses after an epoch differ from the CPU's at most, relative
    to these; infinity if one is not finite."""
    losses = on_device(config, "numbers", architecture, config.dataset, *WAYS[way])
    largest = 0.0
    for name, loss in losses_of_cpu(config, architecture).items():
        difference = abs(losses[name] - loss) / abs(loss)
        if math.isnan(difference):
            difference = math.inf
        largest = max(largest, difference)
    return {"differ": largest}


def tried(measure: Callable[..., Figures], *arguments: Any) -> Figures:
    """Return what a side measures; nothing if it fails."""
    try:
        return measure(*arguments)
    except UserError as error:
        print(f"failed: {str(error).splitlines()[-1]}", flush=True)
        return {}


def comparisons(config: GPUBenchmark) -> Iterator[Comparison]:
    makers = {"lanes": lanes_without_ray, "numbers": numbers, "sweeps": sweeps}
    for name in config.architectures:
        for part in config.parts:
            yield makers[part](config, name)


def lanes_without_ray(config: GPUBenchmark, name: str) -> Comparison:
    lanes = partial(tried, on_device, config, "lanes", name, config.dataset)
    sides = {}
    for count in config.lanes:
        sides[f"{count} lanes"] = partial(lanes, str(count), str(TURNS))
    title = f"{name}: lanes without Ray"
    return Comparison(title=title, sides=sides, formats=LANES)


def numbers(config: GPUBenchmark, name: str) -> Comparison:
    # Only products in float32 are compared to rounding.
    exact = [way for way in WAYS if way.endswith("float32")]
    return Comparison(
        title=f"{name}: losses after an epoch, compared with the CPU's",
        sides={way: partial(tried, differences, config, name, way) for way in WAYS},
        formats={"differ": "{:.1e}"},
        targets=[Target(way, "differ", "at most", ROUNDING) for way in exact],
    )


def sweeps(config: GPUBenchmark, name: str) -> Comparison:
    run_lanes = partial(tried, sweep, config, name)
    sides = {"processes": partial(run_lanes, None)}
    for count in config.lanes:
        sides[f"{count} lanes"] = partial(run_lanes, count)
    return Comparison(title=f"{name}: sweeps", sides=sides, formats=SWEEPS)


def main() -> None:
    config = cli.parse(GPUBenchmark)
    for name in config.architectures:
        kind_of(name)  # refuses an unknown name before anything is measured
    load_dataset(config.dataset)  # fetched before the clock starts
    device = on_device(config, "which")
    if device["platform"] != config.device:
        raise UserError(
            f"JAX finds no GPU here, only {device['kind']}; with one, python -m pip install 'jax[cuda12]', "
            "without one --device cpu runs the same code"
        )
    print(", ".join(f"{name} {value}" for name, value in device.items()))
    if config.device == "gpu":
        run(config, comparisons(config), gpu=device["kind"])
    else:
        run(config, comparisons(config))


if __name__ == "__main__":
    cli.run(main)
