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
    return bool(clopper_pearson(round(share * count), count)[1] < LEAST)


def generator(seed: int, *cell: Any) -> np.random.Generator:
    """Return the random numbers of a cell, which other cells don't change."""
    return np.random.default_rng([seed, zlib.crc32(" ".join(map(str, cell)).encode())])


def simulate_all(config: Recorded, cells: Iterable[Any]) -> pd.DataFrame:
    """Print cells, which are dataclasses, as they are done, then the range of each
    figure. Write the record that `config` may ask for, and return the cells as rows."""
    machine, start, done = (
        describe_machine(),
        time.perf_counter(),
        list[dict[str, Any]](),
    )
    print(machine_line(machine))
    for cell in cells:
        done.append(asdict(cell))
        if len(done) == 1:
            print(*(f"{name:>12}" for name in done[0]))
        print(
            *(
                f"{f'{of:.4g}' if isinstance(of, float) else of!s:>12}"
                for of in done[-1].values()
            ),
            flush=True,
        )
    found = pd.DataFrame(done)
    print(
        found.describe()
        .loc[["min", "mean", "max"]]
        .to_string(float_format="{:.4g}".format)
    )
    print(f"{time.perf_counter() - start:.0f} s")
    write_record(config, machine, {"cells": {"rounds": done, "targets": []}})
    return found
