"""The colour and the mark of each regime, the same in every figure and page."""

from __future__ import annotations

from mnist_tune.regimes.labels import REGIMES

_COLOURS, _DARK, _TERMINAL, _MARKERS, _MEANINGS = zip(
    ("#117536", "#4fcf7c", "green", "o",
     "Converged: is at the target in its last three epochs, or rises through it."),
    ("#2a6fc0", "#6aa9f0", "blue", "^",
     "Slow: learns smoothly, but needs over three times the epochs asked for, or three times those of a larger rate."),
    ("#a65600", "#f0a04b", "yellow", "D",
     "Oscillating: its loss spikes or its accuracy falls in many epochs."),
    ("#8c1c13", "#ff7b6b", "red", "X",
     "Diverged: the loss blew up and stayed high, or the network fell back to guessing."),
    ("#4f2b96", "#d6c2ff", "magenta", "s",
     "Underfit: levelled off below the target, and no other learning rate did better."),
    ("#c2408c", "#f59ad0", "bright_magenta", "P",
     "Overfit: lost held-out accuracy while it still fitted the training set."),
    ("#6b6b6b", "#a8a8a8", "default", "v",
     "Undecided: is on its way to the target, or has too few epochs to tell."),
    strict=True,
)  # fmt: skip
COLOURS, DARK, TERMINAL_COLOURS, MARKERS, MEANINGS = (
    dict(zip(REGIMES, each, strict=True)) for each in (_COLOURS, _DARK, _TERMINAL, _MARKERS, _MEANINGS)
)
"""By regime: its colour on a light ground and on a dark one, each with a contrast of at least 4.5, as WCAG 2.2 asks of
words (1.4.3); its colour on a terminal that has sixteen; its mark, for readers who don't see its colour; and what it
says of a curve."""

GROUNDS = {"light": "#ffffff", "dark": "#15181e"}
"""What figures and pages are drawn on."""

INK, DIM, FAINT, RULE = "#1b1f24", "#59626c", "#b4bbc3", "#e4e7ea"
"""Colours on a light ground of what matters, of words, of curves in the background, and of grids."""

DARK_INKS = {"ink": "#e8eaed", "dim": "#a3abb5", "faint": "#5b646f", "rule": "#2b3138"}
"""The same on a dark ground."""

LINES = {
    "#6f3fb5": "#c3a3f5", "#0f7c83": "#45c4cc", "#8a6d00": "#d9b830", "#ad2f7d": "#f08cc8", "#475a7a": "#a9bcd9",
    "#7a4a1f": "#d8a878",
}  # fmt: skip
"""Colours of lines that are no regimes, and what they are on a dark ground."""

LOOKS = COLOURS | {f"line{number}": colour for number, colour in enumerate(LINES)}
"""Colours by their names on a page."""
