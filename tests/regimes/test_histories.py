"""The epochs of running trials, in few bytes."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from memory import peak_mb

from mnist_tune.columns import EPOCHS
from mnist_tune.regimes.histories import COLUMNS, Histories


def table(rows):
    return pd.DataFrame(rows, columns=[column.name for column in EPOCHS])


def test_a_history_has_the_columns_of_its_rows(epoch_row):
    first = epoch_row(1, 1.0, above_since=None)
    second = epoch_row(2, 1 / 2, above_since=2)
    third = epoch_row(3, 1 / 3, above_since=2)
    rows = [first, second, third]
    histories = Histories()
    for row in rows:
        histories.add("a", row, repeated=True)  # it isn't known
    columns = histories.columns("a")
    expected = table(rows).astype({"above_since": float})
    for name in COLUMNS:
        np.testing.assert_array_equal(columns[name], expected[name])
    assert histories.last_epoch("a") == 3
    assert len(columns["epoch"]) == 3
    assert len(histories.columns("b")["epoch"]) == 0
    # who keeps one does not keep all
    assert all(column.base is None for column in columns.values())
    histories.add("a", second, repeated=True)
    assert histories.last_epoch("a") == 3
    histories.add("a", second)
    assert histories.last_epoch("a") == 2


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 6)), max_size=20))
def test_a_table_of_rows_makes_the_same_histories_as_row_after_row(epoch_row, epochs):
    """A trial that was killed repeats epochs. The rows after them count no more."""
    rows = []
    expected = Histories()
    for number, (trial, epoch) in enumerate(epochs):
        row = {"trial_id": trial, **epoch_row(epoch, number)}
        rows.append(row)
        if trial != "c":
            expected.add(trial, row)
    histories = Histories.of(table(rows), {"a", "b"})
    for trial in "abc":
        columns = histories.columns(trial)
        losses = expected.columns(trial)["train_loss"]
        assert columns["train_loss"].tolist() == losses.tolist()
        assert (np.diff(columns["epoch"]) > 0).all()


def test_a_row_takes_less_than_200_bytes(epoch_row):
    row = epoch_row(1)
    histories = Histories()

    def run():
        for trial in range(50):
            for epoch in range(1, 201):
                histories.add(f"{trial:05d}", row | {"epoch": epoch})

    assert peak_mb(run) < 200 * 10_000 / 1e6
