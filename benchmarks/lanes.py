"""What do lanes and programs cost that are not used?

    python benchmarks/lanes.py

It prints, each measured in a process of its own: the seconds of a batch of 2 lanes where 64 are attached, and where 2
are; the memory of lanes of five batch sizes, and of as many lanes of the largest one; and by how much the memory of a
process grows that trains many programs one after another, with and without dropping those that are idle. It is counted
from the third program on, when as many idle ones are held as ever are.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing import get_context
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from benchmarks.comparison import Recorded, describe_machine, machine_line, write_record
from mnist_tune import TrialConfig, cli
from mnist_tune.data.dataset import load_dataset
from mnist_tune.execution import pool as module
from mnist_tune.execution.process_setup import WorkerSettings, make_pool

SMALL = TrialConfig(architecture="mlp-16-tanh")
LARGE = TrialConfig(architecture="mlp-1024-128-tanh", momentum=0.9)


@dataclass(frozen=True, kw_only=True)
class Lanes(Recorded):
    """Measures what lanes and programs cost that are not used."""

    lanes: int = 64
    """Lanes that are attached while 2 train."""
    programs: int = 13
    """Programs that a process trains one after another."""


def pool_of(capacity: int = 1) -> tuple[Any, TemporaryDirectory[str]]:
    """Return a pool of lanes with a compilation cache of its own."""
    cache = TemporaryDirectory()
    return make_pool(load_dataset("mnist-5k"), WorkerSettings("states", cache_dir=cache.name), capacity), cache


def two_lanes_s(lanes: int) -> float:
    """Return the least seconds of a batch of 2 lanes, once padding has cost enough to compile it."""
    pool, _cache = pool_of(lanes)
    for i in range(lanes):
        pool.attach(str(i), replace(SMALL, learning_rate=0.001 * (1 + i)))
    while 2 not in pool.lanes["0"].group.executor.sizes:
        pool.run(["0", "1"])
    return float(min(pool.run(["0", "1"])["0"]["batch_s"] for _ in range(10)))


def lanes_mb(sizes: list[int]) -> float:
    """Return the memory that 10 lanes of these batch sizes take on the device, MB: all arrays but the data set."""
    import jax

    pool, _cache = pool_of(10)
    for i in range(10):
        pool.attach(str(i), replace(LARGE, batch_size=sizes[i % len(sizes)]))
        pool.run([str(i)])
    data = sum(array.nbytes for data in pool._data.values() for array in data.arrays)
    return float(sum(array.nbytes for array in jax.live_arrays()) - data) / 1e6


def growth_mb(programs: int, idle: int) -> float:
    """Return how much memory a process takes after some programs in addition to that after the third one, MB."""
    module.IDLE_PROGRAMS = idle
    pool, _cache = pool_of()
    taken = []
    for i in range(programs):
        pool.attach("a", replace(LARGE, batch_size=400 + 10 * i))
        pool.run(["a"])
        pool.detach("a")
        gc.collect()
        taken.append(psutil.Process().memory_info().rss / 1e6)
    return float(taken[-1] - taken[2])


def measured(function: Callable[..., float], *arguments: Any) -> float:
    """Call a function in a new process."""
    with get_context("spawn").Pool(1) as processes:
        return float(processes.apply(function, arguments))


def main() -> None:
    config = cli.parse(Lanes)
    machine = describe_machine()
    print(machine_line(machine), flush=True)
    count, kept = config.programs, module.IDLE_PROGRAMS
    figures = {
        f"s a batch of 2 lanes of {config.lanes}": measured(two_lanes_s, config.lanes),
        "s a batch of 2 lanes of 2": measured(two_lanes_s, 2),
        "MB for 10 lanes of five batch sizes": measured(lanes_mb, [32, 64, 128, 256, 512]),
        "MB for 10 lanes of the largest": measured(lanes_mb, [512]),
        f"MB more after {count} programs than after 3": measured(growth_mb, count, kept),
        "MB more for each if none is dropped": measured(growth_mb, count, count) / (count - 3),
    }
    for name, value in figures.items():
        print(f"{value:.4g} {name}", flush=True)
    write_record(config, machine, {"lanes": figures})


if __name__ == "__main__":
    cli.run(main)
