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


@pytest.mark.parametrize(
    ("kind", "held", "refused"),
    [
        (ID, ["1", "b-C_9", "a" * 64], ["", "a/b", "..", "a\n", "é", "a" * 65, 1]),
        (TEXT, ["", "a/b", "a\n", "é", "a" * 2**20], ["a" * (2**20 + 1), 1, None]),
        (NAME, ["", "..", "a" * 2**14], ["a" * (2**14 + 1), None]),
        (FLAG, [True, False], [0, 1, "True", None]),
        (COUNT, [1, LARGEST], [0, -1, LARGEST + 1, 1.0, True, "1"]),
        (WHOLE, [0, LARGEST], [-1, LARGEST + 1, 0.0, False]),
        (
            NUMBER,
            [0, -LARGEST, 5e-324, math.inf, -math.inf, math.nan],
            [LARGEST + 1, True, "1", None, [1]],
        ),
        (RATE, [5e-324, 1, 1.7e308], [0, 0.0, -1.0, math.inf, math.nan, True]),
    ],
)
def test_what_each_kind_of_column_holds(kind, held, refused):
    assert [value for value in held if not kind.holds(value)] == []
    assert [value for value in refused if kind.holds(value)] == []


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        ({"a": 1, "c": "any"}, None),
        ({"a": 1, "b": None}, None),
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
    assert (
        first_wrong(row, (Column("a", COUNT, needed=True), Column("b", COUNT))) == wrong
    )


@pytest.mark.parametrize("ended", [None, "now"])
def test_every_column_of_an_epoch_reaches_the_tables(
    ended, new_writer, epoch_row, tmp_path
):
    values = {str: "text", bool: True}
    row = {column.name: values.get(column.kind.type, 1) for column in EPOCHS[1:]}
    row["sharpness_steps"] = ((0, 1.5, 0.0, 1e-05), (10, math.inf, 2.0, 3))
    epoch = EpochRow.of(row | {"scores": {"kl": 0.25}})
    Checkpoint({}, epoch).save(tmp_path / "state.npz")
    assert Checkpoint.load(tmp_path / "state.npz").row == epoch
    assert EpochRow.reported(epoch.report()) == epoch
    writer = new_writer(tmp_path / "sweep")
    writer.meta["dataset"]["scores"] = ["kl"]
    SweepWriter.epoch(writer, "00000", epoch, False)
    writer.end("00000", "completed")
    writer.finish(ended=ended)
    [found] = load_sweep(tmp_path / "sweep").epochs.to_dict("records")
    row["sharpness_steps"] = "[[0, 1.5, 0.0, 1e-05], [10, Infinity, 2.0, 3.0]]"
    assert found == row | {"trial_id": "00000", "score_kl": 0.25}


def test_a_row_has_a_field_for_each_column_of_the_table():
    columns = {column.name for column in EPOCHS[1:]}
    assert {*FIELDS_OF_ROW} == columns | {"scores"}
