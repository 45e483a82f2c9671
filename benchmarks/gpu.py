"""How fast do trials train on a GPU, as lanes and in processes, and are their numbers those of the CPU?

    python benchmarks/gpu.py

On any machine with a GPU it writes a record, part by part:

- the main command (`main`),
- for a small MLP, the main one and the convnet:
  - an epoch of the notebook's loop, and of ours (`loop`),
  - an epoch of 1, 4, 16, 64 and 256 lanes without Ray, and the peak memory of the device (`lanes`),
  - the losses after an epoch, compared with the CPU's (`numbers`),
  - the trials a second of sweeps with as many lanes, and with a process a trial (`sweeps`).

Each part has processes of its own. If one fails, the record says so, and the others run. The exit code is then 1, as it
is if numbers in float32 differ by more than rounding.

Without a GPU it says so, with exit code 2. `python benchmarks/gpu.py --device cpu` runs the same code small.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import psutil

from benchmarks.comparison import Recorded, describe_machine, machine_line, write_record
from benchmarks.main_command import figures as command_figures
from benchmarks.processes import REPOSITORY, Finished, empty_cache, run_python
from benchmarks.sides.on_device import FIGURES
from benchmarks.sides.sweep_work import Outcome, SweepWork
from benchmarks.sweep_throughput import steady_rate
from mnist_tune import UserError, cli, load_sweep
from mnist_tune.data.dataset import load_dataset
from mnist_tune.machine import usable_cpus
from mnist_tune.training.architectures import kind_of

ON_CPU = {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
"""Variables that hide GPUs from JAX and from Ray."""
ON_GPU = {"CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]}
"""Variables that leave the first GPU alone, so that figures are those of one."""
ROUNDING = 1e-4
"""The largest relative difference of two losses after a calm epoch that rounding makes, with products in float32."""
WAYS = {
    "1:default": "1 lane",
    "2:default": "2 lanes",
    "1:highest": "1 lane in float32",
    "2:highest": "2 lanes in float32",
}
"""How trials train whose numbers are compared: lanes and precision, and what to call it."""
TURNS = 3
"""Epochs that are timed after the one that compiles."""
FEW = 1024
"""Training images where it runs small."""

Part = Literal["main", "loop", "lanes", "numbers", "sweeps"]
PARTS: tuple[Part, ...] = ("main", "loop", "lanes", "numbers", "sweeps")
Found = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class GPUBenchmark(Recorded):
    """Measures trials on a GPU. On a GPU, a record is always written."""

    device: Literal["gpu", "cpu"] = "gpu"
    """cpu runs the same code small, where there is no GPU."""
    architectures: tuple[str, ...] = ("mlp-16-tanh", "mlp-1024-128-tanh", "convnet")
    """Networks to train. For convnet, the notebook's loop is left out: it takes minutes."""
    lanes: tuple[int, ...] = ()
    """Numbers of lanes to try; by default 1, 4, 16, 64 and 256, on a CPU 1 and 4."""
    trials: int = 0
    """Trials of a sweep, at least; there are no fewer than lanes. By default 16, on a CPU 4."""
    epochs: int = 0
    """Epochs of a trial in a sweep; by default 3, on a CPU 2."""
    dataset: str = ""
    """What is trained on; by default mnist, on a CPU 1,024 images of mnist-5k."""
    parts: tuple[Part, ...] = PARTS
    """What to measure."""
    limit_s: float = 1200.0
    """Seconds after which a part counts as failed."""

    def filled(self) -> GPUBenchmark:
        """Return the flags with the defaults of the device."""
        small = self.device == "cpu"
        return replace(
            self,
            record=self.record or not small,
            lanes=self.lanes or ((1, 4) if small else (1, 4, 16, 64, 256)),
            trials=self.trials or (4 if small else 16),
            epochs=self.epochs or (2 if small else 3),
            dataset=self.dataset or ("" if small else "mnist"),
        )


def run(config: GPUBenchmark, arguments: Sequence[str], reads: Callable[[Path, Finished], Found], cpu: bool) -> Found:
    """Run a command in a process, with an empty cache of compiled programs, and return what `reads` reads of it.

    Args:
        config: the flags.
        arguments: what follows `python`.
        reads: takes the folder that the command ran in, and its times.
        cpu: whether to hide GPUs.
    """
    with TemporaryDirectory(prefix="gpu-") as name:
        folder = Path(name)
        variables = {"RAY_ADDRESS": "local", "PJRT_NPROC": "1"} | empty_cache(folder) | (ON_CPU if cpu else ON_GPU)
        return reads(folder, run_python(arguments, folder, variables, partial(wait, limit_s=config.limit_s)))


def wait(child: psutil.Popen, limit_s: float) -> None:
    """Wait for a process to end. Kill it, and all that it started, if that takes too long."""
    try:
        child.wait(limit_s)
    except psutil.TimeoutExpired:
        for process in [*child.children(recursive=True), child]:
            with suppress(psutil.Error):
                process.kill()
        child.wait()
        raise UserError(f"it took more than {limit_s:g} s") from None


def on_device(config: GPUBenchmark, *arguments: object, cpu: bool = False) -> Found:
    """Return the figures of `benchmarks.sides.on_device`, on the device or on the CPU."""
    command = ["-m", "benchmarks.sides.on_device", *map(str, arguments)]
    return run(
        config, command, lambda folder, _: dict(json.loads((folder / FIGURES).read_text())), cpu or on_cpu(config)
    )


def on_cpu(config: GPUBenchmark) -> bool:
    return config.device == "cpu"


def main_command(config: GPUBenchmark) -> Found:
    """Run the main command, and return its times, regimes, devices and the most lanes of a batch."""
    flags = [*["--smoke"] * on_cpu(config), *["--dataset", config.dataset], "--quiet"]

    def read(folder: Path, finished: Finished) -> Found:
        sweep = load_sweep(folder)
        devices = sorted(set(sweep.epochs["device"]))
        return command_figures(finished, sweep) | {"lanes": int(sweep.epochs["lanes"].max()), "devices": devices}

    return run(config, [str(REPOSITORY / "sweeps" / "lr_regimes.py"), *flags], read, on_cpu(config))


def sweep(config: GPUBenchmark, architecture: str, lanes: int | None) -> Found:
    """Run a sweep with so many lanes, or with None in processes, and return its trials a second."""
    work = SweepWork(architecture, max(config.trials, lanes or 0), config.epochs, config.dataset)
    how = ["process"] if lanes is None else ["lanes", str(lanes)]
    at_a_time = lanes or (usable_cpus() if on_cpu(config) else 1)

    def read(folder: Path, finished: Finished) -> Found:
        return sweep_figures(work, finished.wall_s, Outcome.read(folder), at_a_time)

    return run(config, ["-m", "benchmarks.sides.our_sweep", json.dumps(asdict(work)), *how], read, on_cpu(config))


def sweep_figures(work: SweepWork, wall_s: float, outcome: Outcome, at_a_time: int) -> Found:
    """Return the trials a second of a sweep: of the whole command, and since as many reported as train at a time."""
    epochs = sorted(outcome.epochs, key=lambda epoch: epoch.ended_at)
    steady = steady_rate(epochs, at_a_time)
    return {
        "steady_trials_per_s": steady and steady / work.epochs,
        "trials_per_s": work.trials / wall_s,
        "wall_s": wall_s,
        "trials": work.trials,
        "fill": sum(epoch.fill for epoch in epochs) / len(epochs),
        "test_accuracy": sum(epoch.test_accuracy for epoch in epochs) / len(epochs),
    }


def compare_numbers(config: GPUBenchmark, architecture: str) -> Found:
    """Return the losses after an epoch on the CPU, and on the device in each of `WAYS`, and by how much these differ at
    most, relative to the CPU's."""
    rest = "numbers", architecture, config.dataset
    cpu = on_device(config, *rest, "1:default", cpu=True)["1:default"]
    losses = on_device(config, *rest, *WAYS)
    differ = {WAYS[way]: difference(found, cpu) for way, found in losses.items()}
    worst = max(value for way, value in differ.items() if way.endswith("float32"))
    return {"differ": differ, "rounding": worst <= ROUNDING, "losses": {"cpu": cpu} | losses}


def difference(losses: Mapping[str, float], others: Mapping[str, float]) -> float:
    """Return the largest difference between losses, relative to the others'; infinite if one is not finite."""
    found = [abs(loss - others[name]) / abs(others[name]) for name, loss in losses.items()]
    return max(value if value == value else float("inf") for value in found)


def parts(config: GPUBenchmark) -> Iterator[tuple[str, Callable[[], Found]]]:
    """Yield each part: its title, and a function that measures it."""
    if "main" in config.parts:
        yield "main command", partial(main_command, config)
    for name in config.architectures:
        rest = name, config.dataset
        if "loop" in config.parts:
            for side in ("notebook", "ours"):
                if (side, name) != ("notebook", "convnet"):
                    yield f"{name}, loop, {side}", partial(on_device, config, "loop", side, *rest, TURNS)
        if "lanes" in config.parts:
            for lanes in config.lanes:
                yield f"{name}, lanes, {lanes}", partial(on_device, config, "lanes", *rest, lanes, TURNS)
        if "numbers" in config.parts:
            yield f"{name}, numbers", partial(compare_numbers, config, name)
        if "sweeps" in config.parts:
            yield f"{name}, sweep in processes", partial(sweep, config, name, None)
            for lanes in config.lanes:
                yield f"{name}, sweep with lanes, {lanes}", partial(sweep, config, name, lanes)


def measured(measure: Callable[[], Found]) -> Found:
    """Return what a part found, or why it failed."""
    try:
        return measure()
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}"}


def line(title: str, found: Found) -> str:
    """Return a part in a line: its numbers, or the last line of what failed."""
    if "failed" in found:
        return f"{title}: failed: {found['failed'].splitlines()[-1]}"
    if "differ" in found:
        shown = ", ".join(f"{name} by {value:.1e}" for name, value in found["differ"].items())
        return f"{title}: {'equal' if found['rounding'] else 'NOT equal'} to rounding in float32; {shown}"
    values = {name: value for name, value in found.items() if type(value) in (int, float)}
    return f"{title}: {', '.join(f'{name} {value:.4g}' for name, value in values.items())}"


def find_device(config: GPUBenchmark) -> Found:
    """Return what JAX says of the device.

    Raises:
        UserError: a GPU was asked for, and JAX finds none.
    """
    found = on_device(config, "which")
    if found["platform"] != config.device:
        raise UserError(
            f"JAX finds no GPU here, only {found['kind']}; with one, python -m pip install 'jax[cuda12]', "
            "without one --device cpu runs the same code small"
        )
    return found


def main() -> int:
    config = cli.parse(GPUBenchmark).filled()
    for name in config.architectures:
        kind_of(name)  # refuses an unknown name before anything is measured
    device = find_device(config)
    machine = describe_machine() | ({} if on_cpu(config) else {"gpu": device["kind"]})
    print(f"{device['kind']}; {machine_line(machine)}", flush=True)
    with TemporaryDirectory(prefix="gpu-") as folder:
        if config.dataset:
            load_dataset(config.dataset)  # fetched before the clock starts
        else:
            config = replace(config, dataset=few_images(Path(folder)))
        results, path = {"device": device}, None
        for title, measure in parts(config):
            results[title] = measured(measure)
            print(line(title, results[title]), flush=True)
            path = write_record(config, machine, results, path)  # also if a later part never ends
    return int(any("failed" in found or found.get("rounding") is False for found in results.values()))


def few_images(folder: Path) -> str:
    """Write the first images of mnist-5k to a file, and return it."""
    data, file, test = load_dataset("mnist-5k"), folder / "few-images.npz", FEW // 4
    arrays: dict[str, Any] = {"x_train": data.train_images[:FEW], "y_train": data.train_labels[:FEW]}
    np.savez(file, **arrays, x_test=data.test_images[:test], y_test=data.test_labels[:test])
    return str(file)


if __name__ == "__main__":
    cli.run(main)
