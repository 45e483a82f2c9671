"""The journal as a table: damaged lines are left out, and change no other."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_tune.columns import EPOCHS
from mnist_tune.results import journal
from mnist_tune.results.journal import read_journal

PLAIN = '{"kind": "epoch", %s'


def line(epoch_row, form=PLAIN, **values):
    row = {"trial_id": "00000", **epoch_row(1)} | values
    return (form % json.dumps(row)[1:] + "\n").encode()


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    path = tmp_path_factory.mktemp("journal")

    def read(lines, scores=()):
        (path / "journal.jsonl").write_bytes(b"".join(lines))
        return read_journal(path, scores)

    return read


WRONG = [
    {"trial_id": "../x"},
    {"trial_id": None},
    {"trial_id": 1},
    {"epoch": None},
    {"epoch": "1"},
    {"epoch": 10**30},
    {"learning_rate": None},
    {"train_loss": "1"},
    {"train_loss": [1]},
    {"diverged": 1},
    {"node": 1},
    {"node": "\ud800"},
    {"lanes": 0.5},
    {"sharpness_steps": [1]},
    {"form": '{"kind": "epoch"} {"kind": "epoch", %s'},
    {"form": '{"kind": "epoch", "a": [%s'},
]
RIGHT = [
    {"train_loss": math.nan},
    {"train_loss": -math.inf},
    {"train_loss": 1},
    {"lanes": None},
    {"above_since": 3},
    {"form": '{"kind": "epoch", "of another version": {"a": [NaN, {}]}, %s'},
]


def test_rows_that_no_sweep_writes_are_left_out_and_change_no_other(
    read, epoch_row, caplog
):
    good = [line(epoch_row, epoch=epoch) for epoch in (1, 2)]
    before = read(good).epochs
    assert list(before) == [column.name for column in EPOCHS]
    for values in WRONG:
        wrong = line(epoch_row, **values)
        epochs = read([good[0], wrong, good[1]]).epochs
        pd.testing.assert_frame_equal(epochs, before, check_exact=True)
    assert len(caplog.messages) == 1
    assert "skipped 1 damaged line (line 2)" in caplog.text
    for values in RIGHT:
        right = line(epoch_row, epoch=7, **values)
        epochs = read([good[0], right, good[1]]).epochs
        assert epochs["epoch"].tolist() == [1, 7, 2]
    epochs = read([line(epoch_row, node="\x1b[2J"), good[0]]).epochs
    assert epochs["node"].tolist() == ["\\x1b[2J", "here"]


@settings(max_examples=60)
@given(data=st.data())
def test_damaged_bytes_change_no_other_row(read, epoch_row, data):
    good = [line(epoch_row, trial_id="good", epoch=epoch) for epoch in (1, 2, 3)]
    whole = line(epoch_row)
    start = data.draw(st.integers(0, len(whole) - 2))
    length = data.draw(st.sampled_from([0, 1, 9]))
    damage = data.draw(st.binary(max_size=length + 1)).replace(b"\n", b"")
    end = whole[start + length : -1]
    damaged = whole[:start] + damage + end + b"\n"
    epochs = read([good[0], good[1], damaged, good[2]]).epochs
    good_epochs = epochs.loc[epochs["trial_id"] == "good", "epoch"]
    assert good_epochs.tolist() == [1, 2, 3]
    assert len(epochs) <= 4


def test_rows_stay_in_order_also_in_blocks_and_where_a_loss_is_infinite(
    read, epoch_row, monkeypatch
):
    monkeypatch.setattr(journal, "BLOCK_LINES", 2)
    losses = [0.5, math.inf, 0.3, math.nan, -math.inf, 0.2, 0.1]
    lines = [
        line(epoch_row, epoch=epoch, train_loss=loss)
        for epoch, loss in enumerate(losses, start=1)
    ]
    epochs = read([*lines, lines[0]]).epochs
    assert epochs["epoch"].tolist() == [1, 2, 3, 4, 5, 6, 7, 1]
    np.testing.assert_array_equal(epochs["train_loss"], [*losses, losses[0]])


OLDER = {
    "scores": '{"kl": 0.25, "nan": NaN}',
    "sharpness_steps": "[[0, 1.5, 0.0, 1e-05], [10, NaN, NaN, NaN]]",
}
TODAY = {name: json.loads(text) for name, text in OLDER.items()}


def test_a_row_holds_no_text_of_json_and_those_of_older_versions_are_read(
    read, epoch_row, new_writer, tmp_path
):
    writer = new_writer(tmp_path / "sweep")
    writer.epoch("00000", epoch_row(1, **TODAY), False)
    written = json.loads((tmp_path / "sweep" / "journal.jsonl").read_bytes())
    assert written["scores"]["kl"] == 0.25
    assert written["sharpness_steps"][0][1] == 1.5
    writer.release()
    second = line(epoch_row, epoch=2)
    third = line(epoch_row, epoch=3, scores={"b": 1.0})
    names = ["b", "kl", "nan"]
    older = read([line(epoch_row, **OLDER), second, third], names).epochs
    today = read([line(epoch_row, **TODAY), second, third], names).epochs
    pd.testing.assert_frame_equal(older, today, check_exact=True)
    measured = older["sharpness_steps"].dropna()
    assert measured.to_dict() == {0: OLDER["sharpness_steps"]}
    assert older["score_kl"].fillna(-1).tolist() == [0.25, -1, -1]
    assert older["score_nan"].fillna(-1).tolist() == [-1, -1, -1]
    assert older["score_b"].fillna(-1).tolist() == [-1, -1, 1]


@pytest.mark.parametrize(("length", "rows"), [(0, 29), (1, 3), (60, 3), (-1, 4)])
def test_a_journal_may_grow_while_it_is_read(
    epoch_row, tmp_path, monkeypatch, caplog, length, rows
):
    """A row that was being written is the last that is looked at."""
    lines = [line(epoch_row, epoch=epoch) for epoch in range(1, 30)]
    whole = b"".join(lines)
    begun = lines[3][:length]
    before = b"".join(lines[:3]) + begun
    file = tmp_path / "journal.jsonl"
    file.write_bytes(before)
    lines_of = journal._lines

    def growing(opened):
        for text in lines_of(opened):
            if text == (begun or lines[2]):
                with file.open("ab") as grown:
                    grown.write(whole.removeprefix(before))
            yield text

    monkeypatch.setattr(journal, "_lines", growing)
    epochs = read_journal(tmp_path).epochs["epoch"]
    assert epochs.tolist() == list(range(1, rows + 1))
    monkeypatch.undo()
    assert len(read_journal(tmp_path).epochs) == 29
    assert caplog.text == ""
