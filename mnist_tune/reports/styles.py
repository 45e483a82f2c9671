"""The colour and the marker of each regime, the same in every table and figure."""

from __future__ import annotations

from mnist_tune.regimes.labels import REGIMES

COLOURS = dict(zip(REGIMES, ("#2a9d3a", "#3a76c4", "#e0a100", "#d1342f", "#7a5195", "#c2548f", "#8a8a8a"), strict=True))

MARKERS = dict(zip(REGIMES, ("o", "^", "D", "X", "s", "P", "v"), strict=True))
"""A shape for each regime, for readers who don't see its colour."""
