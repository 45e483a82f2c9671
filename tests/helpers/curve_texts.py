"""Made-up curves as texts, with the labels that a person gives them.

Each has a title, a line `labels`, and a line for each argument of `curve`::

    overfit, and a little noisy
        labels      overfit or undecided
        accuracy    0.9 0.95 0.98 1.0*5
        held_out    0.9 0.93 0.94 0.92; 2 times 0.91 0.90
        asked       10
        data        mnist-5k
"""

import ast

from made_up_curves import curve
from text_tables import blocks, numbers

SINGLE = {
    "above_since",
    "asked",
    "batch_size",
    "guessing_since",
    "label_noise",
    "untrained_loss",
}
"""Arguments that are one number for the whole curve."""


def read_curves(text, data_sets=None):
    """Return a curve and its labels for each title; `data_sets` has the data by the
    names that the text calls them by."""
    return {title: _read_curve(lines, data_sets) for title, lines in blocks(text)}


def _read_curve(lines, data_sets):
    values = {}
    labels: set[str] = set()
    for line in lines:
        name, cell = line.split(maxsplit=1)
        if name == "labels":
            labels.update(cell.split(" or "))
        elif name == "data":
            values[name] = data_sets[cell]
        elif name in SINGLE:
            values[name] = ast.literal_eval(cell)
        else:
            values[name] = _course(cell)
    return curve(**values), labels


def _course(text):
    """Return the numbers of a course, of which the last part may be repeated."""
    start, _, last = text.rpartition("; ")
    if " times " not in last:
        return numbers(text)
    times, _, part = last.partition(" times ")
    return numbers(start) + int(times) * numbers(part)
