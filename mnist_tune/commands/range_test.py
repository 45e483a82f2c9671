"""At which learning rate does the loss blow up, if it grows as a network trains? Seconds, and no sweep."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from mnist_tune import RangeTestOptions, cli, numbers, range_test
from mnist_tune.invocation import command
from mnist_tune.reports.curve_plots import log_axis
from mnist_tune.reports.figures import save
from mnist_tune.reports.styles import COLOURS
from mnist_tune.reports.terminal import table_console
from mnist_tune.training.range_suggestions import BLOW_UP, BLOWN_UP, EDGE_OVER, RangeCurve


def main() -> None:
    options = cli.parse(RangeTestOptions)
    found = range_test(options)
    print_range(found.architecture, found.curves, found.suggestions, options.loss)
    plot_range_test(found.architecture, found.curves, options.picture)
    print(f"Picture: {options.picture}")


def print_range(
    name: str, curves: Sequence[RangeCurve], suggestions: Mapping[str, Sequence[float | None]], loss: str
) -> None:
    """Print where the loss blows up, what the rules of libraries suggest, over seeds, and how far from there the edges
    of other networks were."""
