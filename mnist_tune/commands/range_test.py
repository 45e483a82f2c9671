"""Where does the loss leave if the learning rate grows as a network trains? Seconds, and no sweep."""

from __future__ import annotations

from mnist_tune import RangeTestOptions, cli, range_test
from mnist_tune.reports.range_test import plot_range_test, print_range


def main() -> None:
    options = cli.parse(RangeTestOptions)
    found = range_test(options)
    print_range(found.architecture, found.curves, found.suggestions)
    plot_range_test(found.architecture, found.curves, options.picture)
    print(f"Picture: {options.picture}")
