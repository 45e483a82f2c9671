"""The list of columns, and what is made from it."""

import math

import pytest

from mnist_tune.columns import (
    COUNT,
    EPOCHS,
    FLAG,
    ID,
    LARGEST,
    NAME,
    NUMBER,
    RATE,
    TEXT,
    TRIALS,
    WHOLE,
    Column,
    first_wrong,
)
from mnist_tune.epoch_row import FIELDS_OF_ROW, EpochRow
from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.results.writer import SweepWriter
from mnist_tune.sweep import load_sweep


@pytest.mark.parametrize("table", [EPOCHS, TRIALS])
def test_each_column_is_listed_once_with_a_sentence(table):
    assert len({column.name for column in table}) == len(table)
    assert all(column.about.endswith(".") for column in table)


HOLDS = {}
"""Values that a kind of column holds."""
HOLDS[ID] = ["1", "b-C_9", "a" * 64]
HOLDS[TEXT] = ["", "a/b", "a\n", "é", "a" * 2**20]
HOLDS[NAME] = ["", "..", "a" * 2**14]
HOLDS[FLAG] = [True, False]
HOLDS[COUNT] = [1, LARGEST]
HOLDS[WHOLE] = [0, LARGEST]
HOLDS[NUMBER] = [0, -LARGEST, 5e-324, math.inf, -math.inf, math.nan]
HOLDS[RATE] = [5e-324, 1, 1.7e308]

REFUSES = {}
"""Values that it refuses."""
REFUSES[ID] = ["", "a/b", "..", "a\n", "é", "a" * 65, 1]
REFUSES[TEXT] = ["a" * (2**20 + 1), 1, None]
REFUSES[NAME] = ["a" * (2**14 + 1), None]
REFUSES[FLAG] = [0, 1, "True", None]
REFUSES[COUNT] = [0, -1, LARGEST + 1, 1.0, True, "1"]
REFUSES[WHOLE] = [-1, LARGEST + 1, 0.0, False]
REFUSES[NUMBER] = [LARGEST + 1, True, "1", None, [1]]
REFUSES[RATE] = [0, 0.0, -1.0, math.inf, math.nan, True]


@pytest.mark.parametrize("kind", HOLDS)
def test_what_each_kind_of_column_holds(kind):
    assert [value for value in HOLDS[kind] if not kind.holds(value)] == []
    assert [value for value in REFUSES[kind] if kind.holds(value)] == []


NEEDED = Column("a", COUNT, needed=True)
OPTIONAL = Column("b", COUNT)


@pytest.mark.parametrize("row", [{"a": 1, "c": "any"}, {"a": 1, "b": None}])
def test_a_row_may_hold_more_and_lack_what_is_optional(row):
    assert first_wrong(row, (NEEDED, OPTIONAL)) is None


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        ({"a": None}, "a"),
        ({}, "a"),
        ({"a": 0}, "a"),
        ({"a": 1, "b": True}, "b"),
        ({"b": 0}, "a"),
        ([1], "it"),
        (None, "it"),
    ],
)
def test_the_first_value_that_is_wrong_is_named(row, wrong):
    assert first_wrong(row, (NEEDED, OPTIONAL)) == wrong


@pytest.mark.parametrize("ended", [None, "now"])
def test_every_column_of_an_epoch_reaches_the_tables(
    ended, new_writer, epoch_row, tmp_path
):
    row = dict.fromkeys((column.name for column in EPOCHS[1:]), 1)
    for column in EPOCHS[1:]:
        if column.kind.type is str:
            row[column.name] = "text"
        elif column.kind.type is bool:
            row[column.name] = True
    row["sharpness_steps"] = ((0, 1.5, 0.0, 1e-05), (10, math.inf, 2.0, 3))
    epoch = EpochRow.of(row | {"scores": {"kl": 0.25}})
    state = tmp_path / "state.npz"
    Checkpoint({}, epoch).save(state)
    assert Checkpoint.load(state).row == epoch
    assert EpochRow.reported(epoch.report()) == epoch
    writer = new_writer(tmp_path / "sweep")
    writer.meta["dataset"]["scores"] = ["kl"]
    SweepWriter.epoch(writer, "00000", epoch, False)
    writer.end("00000", "completed")
    writer.finish(ended=ended)
    [record] = load_sweep(tmp_path / "sweep").epochs.to_dict("records")
    row["sharpness_steps"] = "[[0, 1.5, 0.0, 1e-05], [10, Infinity, 2.0, 3.0]]"
    assert record == row | {"trial_id": "00000", "score_kl": 0.25}


def test_a_row_has_a_field_for_each_column_of_the_table():
    columns = {column.name for column in EPOCHS[1:]}
    assert {*FIELDS_OF_ROW} == columns | {"scores"}
