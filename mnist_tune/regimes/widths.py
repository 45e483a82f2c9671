"""How a learning rate, such as an edge, moves with the width of a network: the exponent of a power law."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from mnist_tune.regimes.measured_edge import Interval

WIDTH = re.compile(r"(?<=mlp-)(\d+)(?:-\1)*(?=-[a-z])|(?<=\bwidth=)(\d+)")
"""The width in a network's name: of all hidden layers of an MLP, or an argument of a network of one's own."""

LEAST_WIDTHS = 3
"""Widths from which on there is an exponent: through two points every line is straight."""


@dataclass(frozen=True)
class Exponent:
    """The exponent of a rate's power law in the width."""

    title: str
    """What is said of networks that differ in their width only, with N for it."""
    widths: tuple[int, ...]
    value: float
    half_width: float
    """Half the width of its 95% interval. It is wider where the rates scatter more than their own intervals allow."""
    scatter: float
    """χ² by degrees of freedom: the scatter about the law, in units of the rates' variances."""

    def __str__(self) -> str:
        low, high = self.value - self.half_width, self.value + self.half_width
        said = f"goes as width^{self.value:+.2f} [{low:+.2f}, {high:+.2f}]"
        return (
            f"{said}; {len(self.widths)} widths from {self.widths[0]} to {self.widths[-1]}, χ²/dof {self.scatter:.1f}"
        )


def exponents(rates: Iterable[tuple[str, Interval]]) -> Iterator[Exponent]:
    """Yield an exponent for each set of at least `LEAST_WIDTHS` networks that differ in their width only, by weighted
    least squares of ln rate on ln width. The rates come with the titles of their families; those that are not known are
    left out."""
    found = defaultdict(list)
    for title, rate in rates:
        if (match := WIDTH.search(title)) and rate.is_known:
            width = match[1] or match[2]
            name = title[: match.start()] + match[0].replace(width, "N") + title[match.end() :]
            found[name].append((int(width), np.log(rate.median), rate.half_width / 1.96))
    for name, points in found.items():
        widths, y, noise = map(np.array, zip(*points, strict=True))
        if len(set(widths)) < LEAST_WIDTHS:
            continue
        weights, x = noise**-2.0, np.log(widths)
        x -= np.average(x, weights=weights)
        spread = (weights * x**2).sum()
        slope = (weights * x * y).sum() / spread
        rest = y - np.average(y, weights=weights) - slope * x
        scatter = (weights * rest**2).sum() / (len(x) - 2)
        half_width = 1.96 * np.sqrt(max(scatter, 1) / spread)
        yield Exponent(name, tuple(sorted({*widths.tolist()})), float(slope), float(half_width), float(scatter))
