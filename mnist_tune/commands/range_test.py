"""At which learning rate does the loss blow up, if it grows as a network trains? Seconds, and no sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
from rich.table import Table

from mnist_tune import RangeTestOptions, cli, numbers, range_test
from mnist_tune.invocation import command, words
from mnist_tune.reports.axes import log_axis
from mnist_tune.reports.figures import panels, save
from mnist_tune.reports.styles import COLOURS
from mnist_tune.reports.terminal import table_console
from mnist_tune.training.range_suggestions import BLOW_UP, BLOWN_UP, EDGE_OVER, RangeCurve

OWN = ("architecture", "seeds", "picture")
"""The options that the command which measures the edge gets by itself, or lacks."""


def main() -> None:
    options = cli.parse(RangeTestOptions)
    found = range_test(options)
    print_range(found.architecture, found.curves, found.suggestions, options)
    plot_range_test(found.architecture, found.curves, options.picture)
    print(f"Picture: {options.picture}")


def print_range(
    name: str,
    curves: Sequence[RangeCurve],
    suggestions: Mapping[str, Sequence[float | None]],
    options: RangeTestOptions,
) -> None:
    """Print where the loss blows up, what the rules of libraries suggest, over seeds, and how far from there edges of
    other networks were."""
    left = sum(curve.blew_up for curve in curves)
    print(
        f"{name}: {len(curves)} range tests, one per seed; in {left} the mean loss left: {BLOWN_UP:g} times its least, "
        "or half-way back to a guess's"
    )
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("rule", "suggests (over seeds)", "edges were, times that", "so expect the edge at"):
        table.add_column(title, no_wrap=True, justify="left" if title == "rule" else "right")
    said = {BLOW_UP: [curve.blow_up if curve.blew_up else None for curve in curves], **suggestions}
    for rule, rates in said.items():
        known = [rate for rate in rates if rate is not None]
        low, middle, high = EDGE_OVER[rule]
        nothing = "nothing: the loss never left" if rule == BLOW_UP else "nothing: too few points"
        cells = [nothing, f"{low:.3g} to {high:.3g}", "–"]
        if known:
            rate = float(np.median(known))
            cells[0], cells[2] = _spread(known), f"{rate * middle:.2g} ({rate * low:.2g} to {rate * high:.2g})"
        table.add_row(rule, *cells)
    table_console().print(table)
    print("The edge is the rate at which half of the seeds learn. It was measured on ten networks (docs/edge.md).")
    if options.loss == "mse":
        print("All of them had cross-entropy: with mse, no range test is to be trusted.")
    print(f"To measure it here: {command('edge')} {words('architecture', name)}{_repeated(options)}")


def _repeated(options: RangeTestOptions) -> str:
    """Return the flags of what else was tested, and on which data, for the command that measures the edge."""
    given = {one.name: getattr(options, one.name) for one in fields(options) if one.name not in OWN}
    defaults = RangeTestOptions()
    changed = {name: value for name, value in given.items() if value != getattr(defaults, name)}
    return "".join(f" {words(name, *[value] * (value is not True))}" for name, value in changed.items())


def _spread(rates: Sequence[float]) -> str:
    middle = numbers.rate(float(np.median(rates)), 3)
    return middle if len(rates) == 1 else f"{middle} [{numbers.rate(min(rates), 3)} to {numbers.rate(max(rates), 3)}]"


def plot_range_test(name: str, curves: Sequence[RangeCurve], path: Path) -> None:
    """Draw the losses of every seed by learning rate, smoothed, and where they leave."""
    figure, axis = panels((8, 4.5))
    log_axis(axis, "x")
    top = 1.2 * max(float(curve.smooth[np.isfinite(curve.smooth)][:20].max(initial=0)) for curve in curves)
    for i, curve in enumerate(curves):
        axis.plot(curve.rates, curve.losses, color=f"C{i}", lw=0.5, alpha=0.35)
        axis.plot(curve.rates, curve.smooth, color=f"C{i}", lw=1.4)
        label = None if i else "the loss blows up"
        axis.axvline(curve.blow_up, color=COLOURS["diverged"], ls="--", lw=1, label=label)
    axis.set(ylim=(0, max(top, 1e-6)), xlabel="learning rate", ylabel="training loss of a batch, and its mean")
    axis.set_title(f"range test of {name}", fontsize=10, parse_math=False)
    axis.legend(frameon=False)
    save(figure, path)
