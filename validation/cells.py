"""What simulations of known truths share: cells that are printed as they are done,
checked against 95% and recorded."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.comparison import Recorded, describe_machine, machine_line, write_record
from mnist_tune.regimes.replicates import clopper_pearson

LEAST = 0.95
"""The share of cases in which what is said should be right."""


def is_missed(share: float, count: int) -> bool:
    """Return whether a share of so many cases is below `LEAST` beyond chance."""
    _, high = clopper_pearson(round(share * count), count)
    return bool(high < LEAST)


def generator(seed: int, *cell: Any) -> np.random.Generator:
    """Return the random numbers of a cell, which other cells don't change."""
    name = " ".join(map(str, cell))
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def simulate_all(config: Recorded, cells: Iterable[Any]) -> pd.DataFrame:
    """Print cells, which are dataclasses, as they are done, then the range of each
    figure. Write the record that `config` may ask for, and return the cells as rows."""
    machine = describe_machine()
    start = time.perf_counter()
    rows: list[dict[str, Any]] = []
    print(machine_line(machine))
    for cell in cells:
        row = asdict(cell)
        if not rows:
            print(*(f"{name:>12}" for name in row))
        print(*(cell_text(figure) for figure in row.values()), flush=True)
        rows.append(row)
    table = pd.DataFrame(rows)
    ranges = table.describe().loc[["min", "mean", "max"]]
    print(ranges.to_string(float_format="{:.4g}".format))
    print(f"{time.perf_counter() - start:.0f} s")
    write_record(config, machine, {"cells": {"rounds": rows, "targets": []}})
    return table


def cell_text(figure: object) -> str:
    if isinstance(figure, float):
        return f"{figure:.4g}".rjust(12)
    return str(figure).rjust(12)
