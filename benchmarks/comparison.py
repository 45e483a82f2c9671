"""What all benchmarks share: sides that take turns at the same work, medians, ratios
within a round, targets, records.

A side is a program to compare, a figure is a number that it measures. Each benchmark
describes its sides and figures as `Comparison`s, and `run` does the rest. On a shared
machine everything can be slow for minutes. So ratios are taken within a round, between
figures that were measured at about the same time.

With `--record`, a benchmark writes its command, the versions and the raw values to
`benchmarks/records/`.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import itertools
import json
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Literal

from mnist_tune import UserError
from mnist_tune.errors import redacted
from mnist_tune.machine import describe_environment

RECORDS = Path(__file__).resolve().parent / "records"

Figures = Mapping[str, float | None]
"""What a side measured in one turn, by name. A figure that the side does not have is
None or missing."""

Measured = dict[str, list[Figures]]
"""The figures of all rounds, by side."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """The flag that every benchmark has."""

    record: bool = False
    """Write the figures to a file in benchmarks/records/, named after the date and the
    processor (or GPU)."""


@dataclass(frozen=True, kw_only=True)
class Benchmark(Recorded):
    """The flags of a benchmark that runs in rounds."""

    rounds: int = 3
    """How often each side runs."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            # a bool is an int, too, but not a count
            if type(value) is int and value < 1:
                raise UserError(
                    f"--{name.replace('_', '-')} must be at least 1, got {value}"
                )


@dataclass(frozen=True)
class Target:
    """A bound on the median of a side's figure, or of its ratio to the figure of
    another side in the same round."""

    side: str
    figure: str
    sense: Literal["at least", "at most"]
    bound: float
    other: str | None = None

    def __str__(self) -> str:
        name = self.side
        if self.other is not None:
            name += f"/{self.other}"
        return f"{name} {self.figure} {self.sense} {self.bound:g}"

    def values(self, measured: Measured) -> list[float]:
        """Return the figure or ratio of each round; empty if a side did not run."""
        if self.other is None:
            return measured_values(measured, self.side, self.figure)
        return ratios(measured, self.side, self.other, self.figure)

    def met(self, value: float) -> bool:
        if self.sense == "at least":
            return value >= self.bound
        return value <= self.bound


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Sides that do the same work, and which of their figures to print."""

    title: str
    sides: Mapping[str, Callable[[], Figures]]
    """Each call is one turn."""
    formats: Mapping[str, str]
    """The figures in the table, in this order, with their formats."""
    pairs: Sequence[tuple[str, str]] = ()
    """Pairs of sides (ours, other) whose ratios are printed."""
    ratio_figures: Sequence[str] = ()
    """The figures whose ratios are printed."""
    targets: Sequence[Target] = ()


def run(benchmark: Benchmark, comparisons: Iterable[Comparison], **facts: str) -> None:
    """Print the machine, then run and print each comparison. With `--record`, write all
    of them to a file, with further `facts` of the machine, such as its `gpu`."""
    machine = describe_machine() | facts
    results = {}
    print(machine_line(machine), flush=True)
    for comparison in comparisons:
        measured = take_turns(comparison, benchmark.rounds)
        print("\n".join(["", *report(comparison, measured)]), flush=True)
        results[comparison.title] = {
            "rounds": measured,
            "targets": checked(comparison.targets, measured),
        }
    write_record(benchmark, machine, results)


def write_record(
    config: Recorded, machine: Mapping[str, Any], results: Mapping[str, Any]
) -> None:
    """Write what a benchmark measured to a new file in `RECORDS`, if `--record` is set.

    Args:
        config: the flags of the benchmark.
        machine: what `describe_machine` returned before the benchmark began, and the
            `gpu`, if it is about one.
        results: for each title, the raw values of all rounds (`rounds`) and which
            targets were met (`targets`).
    """
    if not config.record:
        return
    script, *flags = sys.argv
    now = datetime.now(UTC)
    program = "/".join(Path(script).resolve().parts[-2:])
    content = {
        "command": shlex.join(["python", program, *flags]),
        "date": now.isoformat(timespec="seconds"),
        "environment": machine,
        "asked": asdict(config),
        "results": results,
    }
    processor = machine.get("gpu", machine["processor"])
    title = f"{now:%Y-%m-%d} {Path(script).stem} {processor}"
    name = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    path = RECORDS / f"{name}.json"
    # No record is overwritten.
    for number in itertools.count(2):
        if not path.exists():
            break
        path = RECORDS / f"{name}-{number}.json"
    RECORDS.mkdir(exist_ok=True)
    path.write_text(redacted(json.dumps(content, indent=1, default=str)) + "\n")
    print(f"recorded in benchmarks/records/{path.name}")


def describe_machine() -> dict[str, Any]:
    """Return `describe_environment()` plus the version of PyTorch, without the host's
    name."""
    environment = describe_environment()
    del environment["host"]  # records are published
    torch_version = None
    if importlib.util.find_spec("torch") is not None:
        torch_version = importlib.metadata.version("torch")
    environment["versions"]["torch"] = torch_version
    return environment


def machine_line(machine: Mapping[str, Any]) -> str:
    """Return the processor, cores and versions, from `describe_machine`, in one
    line."""
    versions = machine["versions"]
    names = [name for name in ("jax", "ray", "torch") if versions[name]]
    versions_text = ", ".join(f"{name} {versions[name]}" for name in names)
    return f"{machine['processor']}, {machine['cpus']} cores, {versions_text}"


def take_turns(comparison: Comparison, rounds: int) -> Measured:
    """Run all sides in each round, in order and then backwards in turn, so that a drift
    favours no side."""
    measured: Measured = {side: [] for side in comparison.sides}
    for turn in range(1, rounds + 1):
        sides = list(measured)
        if turn % 2 == 0:
            sides.reverse()
        for side in sides:
            start = time.perf_counter()
            measured[side].append(comparison.sides[side]())
            spent = time.perf_counter() - start
            text = f"round {turn} of {rounds}, {side}: {spent:.1f} s"
            print(text, file=sys.stderr, flush=True)
    return measured


def measured_values(measured: Measured, side: str, figure: str) -> list[float]:
    """Return a figure's values in all rounds; empty if the side did not run or does not
    have it."""
    values = (figures.get(figure) for figures in measured.get(side, []))
    return [value for value in values if value is not None]


def ratios(measured: Measured, side: str, other: str, figure: str) -> list[float]:
    """Return side / other for each round in which both have the figure; empty if one of
    them did not run."""
    rounds = zip(measured.get(side, []), measured.get(other, []), strict=False)
    pairs = ((ours.get(figure), theirs.get(figure)) for ours, theirs in rounds)
    return [a / b for a, b in pairs if a is not None and b is not None]


def report(comparison: Comparison, measured: Measured) -> list[str]:
    """Return the lines to print: medians, ratios (median, smallest, largest),
    targets."""
    width = max(map(len, measured))
    figures = comparison.formats
    titles = "".join(f"  {figure:>8}" for figure in figures)
    lines = [comparison.title, " " * width + titles]
    for side in measured:
        line = f"{side:{width}}"
        for figure, form in figures.items():
            text = cell(measured_values(measured, side, figure), form)
            line += "  " + text.rjust(max(8, len(figure)))
        lines.append(line)
    for side, other in comparison.pairs:
        spreads = []
        for figure in comparison.ratio_figures:
            values = ratios(measured, side, other, figure)
            if values:
                spreads.append(f"{figure} {spread(values)}")
        if spreads:
            lines.append(f"{side}/{other}: {', '.join(spreads)}")
    for target in checked(comparison.targets, measured):
        verdict = "missed"
        if target["met"]:
            verdict = "met"
        lines.append(f"target {target['target']}: {target['median']:.3f}, {verdict}")
    return lines


def cell(values: Sequence[float], form: str) -> str:
    if not values:
        return "-"
    return form.format(median(values))


def spread(values: Sequence[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f}..{max(values):.2f})"


def checked(targets: Sequence[Target], measured: Measured) -> list[dict[str, Any]]:
    """Return the median of each target whose sides ran, and whether it was met."""
    results = []
    for target in targets:
        values = target.values(measured)
        if values:
            value = median(values)
            met = target.met(value)
            results.append({"target": str(target), "median": value, "met": met})
    return results
