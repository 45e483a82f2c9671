"""How long do the first result and a whole tiny sweep take, with Ray Tune's hello world
and with ours?

    python benchmarks/startup.py

Hello world is about the least that Ray Tune can do: four trials of a class that imports
JAX and reports once, with `reuse_actors`. `hello` is the version that one would write
first. `saving` also writes the checkpoint that Tune asks for at a trial's end; without
it, each trial ends in an error and no actor is reused. `ours` is `python
sweeps/lr_regimes.py --smoke --quiet`: four trials of 3 epochs.

Each runs in a process of its own. They take turns, after a warm-up run of each that
does not count. The benchmark prints the machine, medians over the rounds, the median,
smallest and largest ratio within a round, and whether the targets (relative to `hello`)
are met.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.comparison import Benchmark, Comparison, Figures, Target, run
from benchmarks.processes import REPOSITORY, run_python
from mnist_tune import cli, load_sweep

TARGETS = (
    Target("ours", "first_result_s", "at most", 1.2, "hello"),
    Target("ours", "command_s", "at most", 1.0, "hello"),
)
FORMATS = {
    # from the start of the process to the first result in the driver
    "first_result_s": "{:.2f}",
    "command_s": "{:.2f}",  # the whole process
}


@dataclass(frozen=True, kw_only=True)
class StartupBenchmark(Benchmark):
    """Times the first result and the whole of the smallest sweep, next to Ray Tune's
    hello world."""

    rounds: int = 5
    """How often each side runs."""


def comparisons() -> Iterator[Comparison]:
    sides: Mapping[str, Callable[[], Figures]] = {
        "hello": partial(hello_world, "Hello"),
        "saving": partial(hello_world, "SavingHello"),
        "ours": smoke,
    }
    for warm_up in sides.values():
        warm_up()
    yield Comparison(
        title="start-up: Ray Tune's hello world, the same saving checkpoints, and lr_regimes.py --smoke",
        sides=sides,
        formats=FORMATS,
        pairs=[("ours", "hello"), ("ours", "saving")],
        ratio_figures=tuple(FORMATS),
        targets=TARGETS,
    )


def hello_world(trainable: str) -> Figures:
    command = ["-m", "benchmarks.sides.hello_world", trainable, "first_result"]
    return timed(command, written_time)


def written_time(folder: Path) -> float:
    return float((folder / "first_result").read_text())


def smoke() -> Figures:
    program = str(REPOSITORY / "sweeps" / "lr_regimes.py")
    return timed([program, "--smoke", "--quiet", "--output", "sweep"], first_row)


def first_row(folder: Path) -> float:
    return float(load_sweep(folder / "sweep").epochs["ended_at"].min())


def timed(command: list[str], first_result_at: Callable[[Path], float]) -> Figures:
    """Run a command in an empty folder. `first_result_at` then reads the Unix time of
    the first result from there."""
    with TemporaryDirectory(prefix="startup-") as name:
        folder = Path(name)
        finished = run_python(command, folder)
        return {
            "first_result_s": first_result_at(folder) - finished.started_at,
            "command_s": finished.wall_s,
        }


def main() -> None:
    run(cli.parse(StartupBenchmark), comparisons())


if __name__ == "__main__":
    cli.run(main)
