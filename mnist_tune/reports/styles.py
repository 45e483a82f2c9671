"""The colour and the marker of each regime, the same in every table, figure and page."""

from __future__ import annotations

from mnist_tune.regimes.labels import REGIMES

COLOURS = dict(zip(REGIMES, ("#2b9348", "#3a7bd5", "#bb7a00", "#d1342f", "#8f5fb5", "#d0569b", "#808080"), strict=True))
"""Each has a contrast of at least 3 on both `GROUNDS`, as WCAG 2.2 asks of graphics (1.4.11)."""

MEANINGS = dict(
    zip(
        REGIMES,
        (
            "Converged: is at the target in its last three epochs, or rises through it.",
            "Slow: is calm, and needs more than three times the epochs asked for, or those of a larger rate.",
            "Oscillating: has loss spikes or accuracy drops in many epochs, or goes to and fro.",
            "Diverged: its loss left for good or fell back to chance, or the network is dead.",
            "Underfit: levelled off below the target, and no other learning rate did better.",
            "Overfit: lost held-out accuracy while it still fitted the training set.",
            "Undecided: is on its way to the target, or has too few epochs to tell.",
        ),
        strict=True,
    )
)
"""What each regime says of a curve (README, "Regimes")."""

GROUNDS = {"light": "#ffffff", "dark": "#15181e"}
"""What figures and pages are drawn on."""

MARKERS = dict(zip(REGIMES, ("o", "^", "D", "X", "s", "P", "v"), strict=True))
"""A shape for each regime, for readers who don't see its colour."""

PAGE_MARKERS = dict(
    zip(REGIMES, ("circle", "triangle", "diamond", "x", "square", "plus", "inverted_triangle"), strict=True)
)
"""The same shapes by their names in Bokeh."""

OUTLINES = {
    "circle": "M8 2a6 6 0 1 0 .01 0z",
    "triangle": "M8 2 15 14H1z",
    "diamond": "M8 1 15 8 8 15 1 8z",
    "x": "M3 1 8 6l5-5 2 2-5 5 5 5-2 2-5-5-5 5-2-2 5-5-5-5z",
    "square": "M2 2h12v12H2z",
    "plus": "M6 1h4v5h5v4h-5v5H6v-5H1V6h5z",
    "inverted_triangle": "M8 14 1 2h14z",
}
"""The same shapes as SVG paths in a square of 16."""
