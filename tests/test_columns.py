"""The list of columns, and everything that is made from it."""

import math
from pathlib import Path

import pytest

from mnist_tune.columns import (
    COUNT,
    EPOCHS,
    FACTOR,
    FLAG,
    ID,
    NAME,
    NUMBER,
    NUMBERS,
    RATE,
    SECONDS,
    TEXT,
    TRIALS,
    WHOLE,
    Column,
    first_wrong,
)
from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.sweep import load_sweep

PAGE = Path(__file__).parents[1] / "docs" / "tables.md"


NAMES = dict.fromkeys((ID, NAME, TEXT), "text") | {FLAG: "yes or no"}
NAMES |= dict.fromkeys((COUNT, WHOLE), "whole number") | dict.fromkeys(NUMBERS, "number")

MARKDOWN = """\
# The tables

`load_sweep(DIR)` returns a `Sweep` with two pandas tables: `trials`, a row a trial, and `epochs`, a row an epoch of a
trial. Its `meta` is what `sweep.json` says: command, options, data set, versions, machine and git revision.
A sweep that is running, or was killed, can be read as well.

Losses are means over the images named, accuracies are shares of them. Counts start at 1. A column with gaps may be
empty in some rows, and missing in sweeps of older versions. `epochs` has no validation columns where no images are held
out, no columns of [sharpness](sharpness.md) where none is measured, and no `answers` but of [tokens](text.md).

This page is printed by `python tests/test_columns.py`.
"""


def markdown() -> str:
    """The page `docs/tables.md`."""
    parts = [MARKDOWN]
    for name, columns in (("trials", TRIALS), ("epochs", EPOCHS)):
        parts.append(f"## {name}\n\n| column | kind | unit | gaps | what it says |\n|---|---|---|---|---|")
        for column in columns:
            gaps = "yes" if column.gaps else ""
            parts.append(f"| `{column.name}` | {NAMES[column.kind]} | {column.unit} | {gaps} | {column.about} |")
        parts.append("")
    return "\n".join(parts)


def test_the_page_of_the_tables_is_up_to_date():
    """To update it: python tests/test_columns.py > docs/tables.md"""
    assert PAGE.read_text() == markdown()


@pytest.mark.parametrize("table", [EPOCHS, TRIALS])
def test_each_column_is_listed_once_with_a_sentence(table):
    assert len({column.name for column in table}) == len(table)
    assert all(column.about.endswith(".") for column in table)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (NUMBER, [0.5, math.nan, -math.inf, 1e300, 2**53, -(2**53)], [True, 2**53 + 1, -(2**53) - 1, "1"]),
        (COUNT, [1, 2**53], [0, 1.0, True, 2**53 + 1]),
        (WHOLE, [0, 2**53], [-1, 0.0, False, 2**53 + 1]),
        (ID, ["a", "b-C_9", "a" * 64], ["", "a" * 65, "a/b", "..", "a\n", "é", 1]),
        (TEXT, ["", "é\n"], [1]),
        (FLAG, [True, False], [1, "True"]),
        (NAME, ["", "a" * 2**14], ["a" * (2**14 + 1), 1]),
        (RATE, [5e-324, 1, 1e308], [0.0, -1, math.inf, math.nan, True]),
        (FACTOR, [1, 1.0, 2**53], [0.5, 0.0, -1, math.inf, math.nan, True]),
        (SECONDS, [0.0, -1, math.nan, 1e11], [math.inf, -math.inf, 1e300, "1"]),
    ],
)
def test_what_a_value_may_be(kind, good, bad):
    assert [value for value in good if not kind.holds(value)] == []
    assert [value for value in bad if kind.holds(value)] == []


def test_the_first_value_that_is_wrong_is_named():
    listed = (Column("a", COUNT, needed=True), Column("b", COUNT))
    assert first_wrong({"a": 1, "c": "anything"}, listed) is None
    assert first_wrong({"a": 1, "b": None}, listed) is None
    assert first_wrong({"a": None}, listed) == "a"
    assert first_wrong({"a": 0}, listed) == "a"
    assert first_wrong({"a": 1, "b": True}, listed) == "b"
    assert first_wrong([1], listed) == "it"


@pytest.mark.parametrize("ended", [None, "now"])
def test_every_column_of_an_epoch_reaches_the_tables(ended, new_writer, epoch_row, tmp_path):
    values = {TEXT: "text", NAME: "text", FLAG: True}
    row = epoch_row(1) | {column.name: values.get(column.kind, 1) for column in EPOCHS[1:]}
    state = Checkpoint({}, row)
    state.save(tmp_path / "state.npz")
    assert Checkpoint.load(tmp_path / "state.npz") == state
    writer = new_writer(tmp_path / "sweep")
    writer.epoch("00000", row, False)
    writer.end("00000", "completed")
    writer.finish(ended=ended)
    [found] = load_sweep(tmp_path / "sweep").epochs.to_dict("records")
    assert found == row | {"trial_id": "00000"}


if __name__ == "__main__":
    print(markdown(), end="")
