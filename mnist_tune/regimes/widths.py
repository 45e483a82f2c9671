"""How a learning rate, such as an edge, moves with the width of a network: the exponent
of a power law."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from mnist_tune.regimes.measured_edge import Interval

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
        low, high = self.value - self.half_width, self.value + self.half_width
        widths = f"{len(self.widths)} widths from {self.widths[0]} to {self.widths[-1]}"
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
    from scipy.special import stdtrit  # as in `replicates`

    found: dict[str, dict[int, list[Interval]]] = defaultdict(lambda: defaultdict(list))
    for title, rate in rates:
        if (match := WIDTH.search(title)) and rate.is_known:
            width = match[1] or match[2]
            name = (
                title[: match.start()]
                + match[0].replace(width, "N")
                + title[match.end() :]
            )
            found[name][int(width)].append(rate)
    for name, at in found.items():
        if len(at) < LEAST_WIDTHS:
            continue
        widths = sorted(at)
        x = np.log(widths) - np.log(widths).mean()
        y = np.array(
            [np.mean([np.log(rate.median) for rate in at[width]]) for width in widths]
        )
        own = np.array(
            [
                np.linalg.norm([rate.half_width for rate in at[width]]) / len(at[width])
                for width in widths
            ]
        )
        slope = x @ y / (x @ x)
        scatter = np.linalg.norm(y - y.mean() - slope * x) / np.sqrt(
            (len(x) - 2) * (x @ x)
        )
        half_width = max(
            stdtrit(len(x) - 2, 0.975) * scatter, np.linalg.norm(x * own) / (x @ x)
        )
        yield Exponent(name, tuple(widths), float(slope), float(half_width))
