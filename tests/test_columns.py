"""The list of columns, and everything that is made from it."""

import math
from pathlib import Path

import pytest
from kept_texts import assert_kept

from mnist_tune.columns import (
    COUNT,
    EPOCHS,
    FACTOR,
    FLAG,
    ID,
    LARGEST,
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


KINDS = {"ID": ID, "TEXT": TEXT, "NAME": NAME, "FLAG": FLAG, "COUNT": COUNT, "WHOLE": WHOLE, "NUMBER": NUMBER}
KINDS |= {"SECONDS": SECONDS, "RATE": RATE, "FACTOR": FACTOR}
LIMITS = (0, 1, LARGEST, LARGEST + 1, -1, -LARGEST, -LARGEST - 1)
FLOATS = (0.0, 0.5, 1.0, 9007199254740992.0, 9007199254740994.0, 1e11, 1.1e11, -1e11, -1.1e11, 5e-324, -1.0, 1.7e308)
VALUES = (
    *LIMITS,
    *FLOATS,
    math.inf,
    -math.inf,
    math.nan,
    True,
    False,
    None,
    "",
    "1",
    "b-C_9",
    "a/b",
    "..",
    "a\n",
    "é",
    [1],
)
LONG = {f"{count} characters": "a" * count for count in (64, 65, 2**14, 2**14 + 1, 2**20, 2**20 + 1)}


def test_what_columns_and_their_kinds_are():
    lines = []
    for name, kind in KINDS.items():
        taken = [repr(value) for value in VALUES if kind.holds(value)]
        taken += [text for text, value in LONG.items() if kind.holds(value)]
        lines += [f"{name}: {kind.wanted}, {kind.low} to {kind.high}", f"  {' '.join(taken)}"]
    for title, table in (("epochs", EPOCHS), ("trials", TRIALS)):
        groups = {name: [one.name for one in table if one.kind is kind] for name, kind in KINDS.items()}
        groups |= {about: [one.name for one in table if getattr(one, about)] for about in ("needed", "curve")}
        lines += [f"{title}, {name}: {' '.join(those)}" for name, those in groups.items() if those]
    listed = (Column("a", COUNT, needed=True), Column("b", COUNT))
    values = (
        {"a": 1, "c": "any"},
        {"a": 1, "b": None},
        {"a": None},
        {},
        {"a": 0},
        {"a": 1, "b": True},
        {"b": 0},
        [1],
        None,
    )
    lines += [f"{value}: {first_wrong(value, listed)} is wrong" for value in values]
    text = "\n".join(line.rstrip() for line in lines).replace(str(LARGEST), "2**53")
    assert_kept("columns", text + "\n")


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
