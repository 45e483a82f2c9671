"""The colour and the mark of each regime, the same in every figure and page, and the
other colours of pages."""

from __future__ import annotations

from mnist_tune.regimes.labels import REGIMES

_COLOURS, _DARK, _TERMINAL, _MARKERS = zip(
    ("#117536", "#4fcf7c", "green", "o"),
    ("#2a6fc0", "#6aa9f0", "blue", "^"),
    ("#a65600", "#f0a04b", "yellow", "D"),
    ("#8c1c13", "#ff7b6b", "red", "X"),
    ("#4f2b96", "#d6c2ff", "magenta", "s"),
    ("#c2408c", "#f59ad0", "bright_magenta", "P"),
    ("#6b6b6b", "#a8a8a8", "default", "v"),
    strict=True,
)
COLOURS, TERMINAL_COLOURS, MARKERS = (
    dict(zip(REGIMES, looks, strict=True)) for looks in (_COLOURS, _TERMINAL, _MARKERS)
)
"""By regime: its colour, whose contrast on a light and on a dark ground is at least
4.5, as WCAG 2.2 asks of words (1.4.3); its colour on a terminal that has sixteen; and
its mark, for readers who don't see its colour."""

LINES = [
    ("#6f3fb5", "#c3a3f5"),
    ("#0f7c83", "#45c4cc"),
    ("#8a6d00", "#d9b830"),
    ("#ad2f7d", "#f08cc8"),
    ("#475a7a", "#a9bcd9"),
    ("#7a4a1f", "#d8a878"),
]
"""Colours of lines that are no regimes, on a light and on a dark ground."""

LOOKS = COLOURS | {f"line{number}": colour for number, (colour, _) in enumerate(LINES)}
"""Colours of trials by their names on a page."""

INKS = {
    "bg": ("#ffffff", "#15181e"),
    "ink": ("#1b1f24", "#e8eaed"),
    "dim": ("#59626c", "#a3abb5"),
    "faint": ("#b4bbc3", "#5b646f"),
    "rule": ("#e4e7ea", "#2b3138"),
    "pick": ("#fff0b8", "#332d10"),
    "good": ("#e9f4ec", "#16301e"),
}
"""The other colours on a light and on a dark ground: the ground, what matters, words,
curves in the background, grids, and the grounds of rows that are chosen, and of those
that are best."""

INK, DIM, FAINT, RULE = (INKS[name][0] for name in ("ink", "dim", "faint", "rule"))

SHADES = INKS | dict(
    zip(LOOKS, [*zip(_COLOURS, _DARK, strict=True), *LINES], strict=True)
)
"""All colours by their names on a page, on a light and on a dark ground."""
