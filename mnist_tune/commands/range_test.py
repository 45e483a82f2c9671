"""At which learning rate does the loss blow up, if it grows as a network trains?
Seconds, and no sweep."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mnist_tune import RangeTestOptions, cli, range_test
from mnist_tune.edge.range_run import RangeTest
from mnist_tune.invocation import command, words
from mnist_tune.numbers import rate
from mnist_tune.reports.axes import log_axis
from mnist_tune.reports.figures import panels, save
from mnist_tune.reports.styles import COLOURS

OWN = ("architecture", "task", "sweep", "seeds", "picture")
"""The options that the command which measures the edge gets by itself, or lacks."""

WITHIN = 2
"""The measured edge was within this factor of the rate at which the loss blew up, in
`CASES` of as many new cases of other data with cross-entropy
(docs/edge_evidence.md)."""

CASES = 12


def main() -> None:
    options = cli.parse(RangeTestOptions)
    test = range_test(options)
    print_range(test, options)
    plot_range_test(test, options.picture)
    print(f"Picture: {options.picture}")


def print_range(test: RangeTest, options: RangeTestOptions) -> None:
    """Print where the loss blows up, over seeds, and where the edge may be, as it was
    on other networks."""
    rates = [curve.blow_up for curve in test.curves if curve.blew_up]
    if rates:
        middle = float(np.median(rates))
        line = f"{test.architecture}: the loss blows up at {rate(middle, 3)}"
        if len(rates) > 1:
            line += f" [{rate(min(rates), 3)} to {rate(max(rates), 3)}]"
        print(line)
        if not test.curves[0].of_task and test.loss == "cross-entropy":
            low = f"{middle / WITHIN:.2g}"
            high = f"{middle * WITHIN:.2g}"
            print(
                f"So expect half of the seeds to learn up to {low} to {high}, as in {CASES} of {CASES} new cases"
            )
    stayed = len(test.curves) - len(rates)
    if stayed:
        print(f"With {stayed} of {len(test.curves)} seeds it never leaves")
    if test.loss == "mse":
        print("With mse, no range test is to be trusted")
    flags = [command("edge"), *_what_is_tested(test, options), *_repeated(options)]
    print(f"To measure it here: {' '.join(flags)}")


def _what_is_tested(test: RangeTest, options: RangeTestOptions) -> list[str]:
    """Return the flags that name what was tested."""
    flags: list[str] = []
    if options.sweep:
        flags.append(words("sweep", options.sweep))
    if options.task:
        flags.append(words("task", *options.task))
    # A sweep lacks only code of one's own.
    own = options.architecture != RangeTestOptions.architecture
    if options.sweep and own:
        flags.append(words("architecture", options.architecture))
    if not flags:
        flags.append(words("architecture", test.architecture))
    return flags


def _repeated(options: RangeTestOptions) -> list[str]:
    """Return the flags of what else was tested, and on which data, for the command that
    measures the edge."""
    flags: list[str] = []
    for name, value in options.given().items():
        if name in OWN:
            continue
        if value is True:
            flags.append(words(name))
        else:
            flags.append(words(name, value))
    return flags


def plot_range_test(test: RangeTest, path: Path) -> None:
    """Draw the losses of every seed by learning rate, smoothed, and where they
    leave."""
    figure, axis = panels((8, 4.5))
    log_axis(axis, "x")
    finite = [curve.smooth[np.isfinite(curve.smooth)] for curve in test.curves]
    top = 1.2 * max(float(losses[:20].max(initial=0)) for losses in finite)
    least = 1.2 * min(float(losses.min(initial=0)) for losses in finite)
    label: str | None = "the loss blows up"
    for i, curve in enumerate(test.curves):
        colour = f"C{i}"
        axis.plot(curve.rates, curve.losses, color=colour, lw=0.5, alpha=0.35)
        axis.plot(curve.rates, curve.smooth, color=colour, lw=1.4)
        axis.axvline(
            curve.blow_up, color=COLOURS["diverged"], ls="--", lw=1, label=label
        )
        label = None  # the legend names it once
    axis.set(
        ylim=(least, max(top, 1e-6)),
        xlabel="learning rate",
        ylabel="training loss of a batch, and its mean",
    )
    axis.set_title(f"range test of {test.architecture}", fontsize=10, parse_math=False)
    axis.legend(frameon=False)
    save(figure, path)
