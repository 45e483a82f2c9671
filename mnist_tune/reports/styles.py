"""The colour and the marker of each regime, the same in every table, figure and page."""

from __future__ import annotations

from mnist_tune.regimes.labels import REGIMES

_COLOURS, _MARKERS, _PAGE_MARKERS, _OUTLINES, _MEANINGS = zip(
    ("#2b9348", "o", "circle", "M8 2a6 6 0 1 0 .01 0z",
     "Converged: is at the target in its last three epochs, or rises through it."),
    ("#3a7bd5", "^", "triangle", "M8 2 15 14H1z",
     "Slow: learns smoothly, but needs over three times the epochs asked for, or three times those of a larger rate."),
    ("#bb7a00", "D", "diamond", "M8 1 15 8 8 15 1 8z",
     "Oscillating: its loss spikes or its accuracy falls in many epochs."),
    ("#d1342f", "X", "x", "M3 1 8 6l5-5 2 2-5 5 5 5-2 2-5-5-5 5-2-2 5-5-5-5z",
     "Diverged: the loss blew up and stayed high, or the network fell back to guessing."),
    ("#8f5fb5", "s", "square", "M2 2h12v12H2z",
     "Underfit: levelled off below the target, and no other learning rate did better."),
    ("#d0569b", "P", "plus", "M6 1h4v5h5v4h-5v5H6v-5H1V6h5z",
     "Overfit: lost held-out accuracy while it still fitted the training set."),
    ("#808080", "v", "inverted_triangle", "M8 14 1 2h14z",
     "Undecided: is on its way to the target, or has too few epochs to tell."),
    strict=True,
)  # fmt: skip
COLOURS, MARKERS, PAGE_MARKERS, OUTLINES, MEANINGS = (
    dict(zip(REGIMES, each, strict=True)) for each in (_COLOURS, _MARKERS, _PAGE_MARKERS, _OUTLINES, _MEANINGS)
)
"""By regime: its colour, which has a contrast of at least 3 on both `GROUNDS`, as WCAG 2.2 asks of graphics (1.4.11); a
shape, for readers who don't see its colour, in matplotlib, in Bokeh, and as an SVG path in a square of 16; and what it
says of a curve."""

GROUNDS = {"light": "#ffffff", "dark": "#15181e"}
"""What figures and pages are drawn on."""
