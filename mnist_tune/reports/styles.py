"""The colour and the marker of each regime, the same in every table, figure and page."""

from __future__ import annotations

from mnist_tune.regimes.labels import REGIMES

COLOURS = dict(zip(REGIMES, ("#2b9348", "#3a7bd5", "#bb7a00", "#d1342f", "#8f5fb5", "#d0569b", "#808080"), strict=True))
"""Each has a contrast of at least 3 on both `GROUNDS`, as WCAG 2.2 asks of graphics (1.4.11)."""

GROUNDS = {"light": "#ffffff", "dark": "#15181e"}
"""What figures and pages are drawn on."""

MARKERS = dict(zip(REGIMES, ("o", "^", "D", "X", "s", "P", "v"), strict=True))
"""A shape for each regime, for readers who don't see its colour."""
