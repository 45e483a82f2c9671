"""The list of columns, and what is made from it."""

import math

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
