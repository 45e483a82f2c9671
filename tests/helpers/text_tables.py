"""Tables of test cases as texts: a line for each case."""

import ast
import math
import re

NOT_FINITE = {"nan": math.nan, "inf": math.inf}


def rows(text):
    """Return a tuple of values for each line; two spaces or more separate cells.

    A cell is a Python literal, `nan`, `inf`, or else a text. `#` begins a comment.
    """
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [tuple(map(_value, re.split("  +", line))) for line in lines if line]


def numbers(text):
    """Return the numbers of a text as a list; `0.9*3` stands for three times 0.9."""
    values: list[float] = []
    for word in text.split():
        number, _, count = word.partition("*")
        values += [float(number)] * int(count or 1)
    return values


def blocks(text):
    """Yield the first line of each paragraph, and a list of those that follow it."""
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        title, *lines = paragraph.splitlines()
        yield title.strip(), [line.strip() for line in lines]


def _value(cell):
    if cell in NOT_FINITE:
        return NOT_FINITE[cell]
    try:
        return ast.literal_eval(cell)
    except (ValueError, SyntaxError):
        return cell


def barred_rows(text):
    """Return a list of texts for each line: the cells between its bars, without the
    spaces about them."""
    rows_of_cells = []
    for line in text.strip().splitlines():
        cells = line.split("|")
        rows_of_cells.append([cell.strip() for cell in cells])
    return rows_of_cells
