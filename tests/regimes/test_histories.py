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
    rows = [
        epoch_row(epoch, 1 / epoch, above_since=2 if epoch > 1 else None)
        for epoch in (1, 2, 3)
    ]
    histories = Histories()
    for row in rows:
        histories.add("a", row, repeated=True)  # it isn't known
    found, expected = histories.columns("a"), table(rows).astype({"above_since": float})
    for name in COLUMNS:
        np.testing.assert_array_equal(found[name], expected[name])
    assert (
        histories.last_epoch("a"),
        len(found["epoch"]),
        len(histories.columns("b")["epoch"]),
    ) == (3, 3, 0)
    # who keeps one does not keep all
    assert all(column.base is None for column in found.values())
    histories.add("a", rows[1], repeated=True)
    assert histories.last_epoch("a") == 3
    histories.add("a", rows[1])
    assert histories.last_epoch("a") == 2


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 6)), max_size=20))
def test_a_table_of_rows_makes_the_same_histories_as_row_after_row(epoch_row, epochs):
    """A trial that was killed repeats epochs. The rows after them count no more."""
    rows = [
        {"trial_id": trial, **epoch_row(epoch, number)}
        for number, (trial, epoch) in enumerate(epochs)
    ]
    expected = Histories()
    for row in rows:
        if row["trial_id"] != "c":
            expected.add(row["trial_id"], row)
    found = Histories.of(table(rows), {"a", "b"})
    for trial in "abc":
        assert (
            found.columns(trial)["train_loss"].tolist()
            == expected.columns(trial)["train_loss"].tolist()
        )
        assert (np.diff(found.columns(trial)["epoch"]) > 0).all()


def test_a_row_takes_less_than_200_bytes(epoch_row):
    row, histories = epoch_row(1), Histories()

    def run():
        for trial in range(50):
            for epoch in range(1, 201):
                histories.add(f"{trial:05d}", row | {"epoch": epoch})

    assert peak_mb(run) < 200 * 10_000 / 1e6
