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
    found = range_test(options)
    print_range(found, options)
    plot_range_test(found, options.picture)
    print(f"Picture: {options.picture}")


def print_range(found: RangeTest, options: RangeTestOptions) -> None:
    """Print where the loss blows up, over seeds, and where the edge may be, as it was
    on other networks."""
    rates = [curve.blow_up for curve in found.curves if curve.blew_up]
    if rates:
        middle = float(np.median(rates))
        seeds = f" [{rate(min(rates), 3)} to {rate(max(rates), 3)}]" * (len(rates) > 1)
        print(f"{found.architecture}: the loss blows up at {rate(middle, 3)}{seeds}")
        if not found.curves[0].of_task and found.loss == "cross-entropy":
            low, high = (f"{one:.2g}" for one in (middle / WITHIN, middle * WITHIN))
            print(
                f"So expect half of the seeds to learn up to {low} to {high}, as in {CASES} of {CASES} new cases"
            )
    if stayed := len(found.curves) - len(rates):
        print(f"With {stayed} of {len(found.curves)} seeds it never leaves")
    if found.loss == "mse":
        print("With mse, no range test is to be trusted")
    named = [words("task", *options.task)] if options.task else []
    if options.sweep:  # which lacks only code of one's own
        own = options.architecture != RangeTestOptions.architecture
        named = [
            words("sweep", options.sweep),
            *named,
            *[words("architecture", options.architecture)] * own,
        ]
    named = named or [words("architecture", found.architecture)]
    print(
        f"To measure it here: {command('edge')} {' '.join(named)}{_repeated(options)}"
    )


def _repeated(options: RangeTestOptions) -> str:
    """Return the flags of what else was tested, and on which data, for the command that
    measures the edge."""
    given = {name: value for name, value in options.given().items() if name not in OWN}
    return "".join(
        f" {words(name, *[value] * (value is not True))}"
        for name, value in given.items()
    )


def plot_range_test(found: RangeTest, path: Path) -> None:
    """Draw the losses of every seed by learning rate, smoothed, and where they
    leave."""
    figure, axis = panels((8, 4.5))
    log_axis(axis, "x")
    first = (curve.smooth[np.isfinite(curve.smooth)][:20] for curve in found.curves)
    top = 1.2 * max(float(losses.max(initial=0)) for losses in first)
    for i, curve in enumerate(found.curves):
        axis.plot(curve.rates, curve.losses, color=f"C{i}", lw=0.5, alpha=0.35)
        axis.plot(curve.rates, curve.smooth, color=f"C{i}", lw=1.4)
        label = None if i else "the loss blows up"
        axis.axvline(
            curve.blow_up, color=COLOURS["diverged"], ls="--", lw=1, label=label
        )
    least = 1.2 * min(
        float(curve.smooth[np.isfinite(curve.smooth)].min(initial=0))
        for curve in found.curves
    )
    axis.set(
        ylim=(least, max(top, 1e-6)),
        xlabel="learning rate",
        ylabel="training loss of a batch, and its mean",
    )
    axis.set_title(f"range test of {found.architecture}", fontsize=10, parse_math=False)
    axis.legend(frameon=False)
    save(figure, path)
