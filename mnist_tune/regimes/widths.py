"""How a learning rate, such as an edge, moves with the width of a network: the exponent
of a power law."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mnist_tune.regimes.measured_edge import Interval
from mnist_tune.regimes.statistics import line_through

WIDTH = re.compile(r"(?<=mlp-)(\d+)(?:-\1)*(?=-[a-z])|(?<=\bwidth=)(\d+)")
"""The width in a network's name: of all hidden layers of an MLP, or an argument of a
network of one's own."""

LEAST_WIDTHS = 3
"""Widths from which on there is an exponent: through two points every line is
straight."""


@dataclass(frozen=True)
class Exponent:
    """The exponent of a rate's power law in the width."""

    title: str
    """What is said of networks that differ in their width only, with N for it."""
    widths: tuple[int, ...]
    value: float
    half_width: float
    """Half the width of its 95% interval."""

    def __str__(self) -> str:
        low = self.value - self.half_width
        high = self.value + self.half_width
        least, most = self.widths[0], self.widths[-1]
        widths = f"{len(self.widths)} widths from {least} to {most}"
        return f"goes as width^{self.value:+.2f} [{low:+.2f}, {high:+.2f}]; {widths}"


def exponents(rates: Iterable[tuple[str, Interval]]) -> Iterator[Exponent]:
    """Yield an exponent for each set of networks that differ in their width only, of at
    least `LEAST_WIDTHS` widths.

    It is the slope of the least squares of ln rate on ln width. Of several rates at one
    width, such as those of seeds, the mean counts: they share what the width has of its
    own. The interval is Student's, with two degrees of freedom fewer than there are
    widths, but no narrower than the rates' own intervals allow: few may lie on a line
    by chance. The rates come with the titles of their families; those that are not
    known are left out.
    """
    networks: dict[str, dict[int, list[Interval]]] = {}
    for title, rate in rates:
        match = WIDTH.search(title)
        if match is None or not rate.is_known:
            continue
        width = match[1] or match[2]
        shape = match[0].replace(width, "N")
        name = title[: match.start()] + shape + title[match.end() :]
        by_width = networks.setdefault(name, {})
        by_width.setdefault(int(width), []).append(rate)
    for name, by_width in networks.items():
        if len(by_width) >= LEAST_WIDTHS:
            yield _exponent(name, by_width)


def _exponent(title: str, rates: Mapping[int, Sequence[Interval]]) -> Exponent:
    """Return the exponent of the rates that there are at each width."""
    from scipy.special import stdtrit  # as in `replicates`

    widths = sorted(rates)
    means, errors = [], []
    for width in widths:
        medians = [np.log(rate.median) for rate in rates[width]]
        half_widths = [rate.half_width for rate in rates[width]]
        means.append(np.mean(medians))
        errors.append(np.linalg.norm(half_widths) / len(half_widths))
    x = np.log(widths)
    x = x - x.mean()
    squares = x @ x
    slope, residuals = line_through(x, np.array(means))
    free = len(widths) - 2
    error = np.linalg.norm(residuals) / np.sqrt(free * squares)
    of_scatter = stdtrit(free, 0.975) * error
    of_rates = np.linalg.norm(x * np.array(errors)) / squares
    half_width = float(max(of_scatter, of_rates))
    return Exponent(title, tuple(widths), slope, half_width)
