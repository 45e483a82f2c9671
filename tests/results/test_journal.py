"""The journal as columns: what a line-by-line reader finds, in less time."""

import json
import math

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_tune.columns import EPOCHS, LARGEST
from mnist_tune.epoch_row import measured_text
from mnist_tune.results import journal, rows
from mnist_tune.results.journal import parse_event, read_journal

NAMES = [column.name for column in EPOCHS]
ODD = (
    None,
    True,
    0,
    -1,
    3.0,
    1e300,
    2**53,
    2**53 + 1,
    10**30,
    math.nan,
    math.inf,
    -math.inf,
    "1",
    "\x1b[2J",
    "é",
    [1],
    {},
    [[0, 1.5, 0.0, 1e-05]],
    [[0, 1.5, None, 1.0]],
    [[0, 1.5, 1.0]],
    [None],
    "[[0, 1.5, 0.0, 1e-05], [10, NaN, NaN, NaN]]",
)
PLAIN = '{"kind": "epoch", %s'
FORMS = (
    PLAIN,
    '{"above_since": 1, "kind": "epoch", %s',
    '{"kind": "epoch", "kind": "epoch", %s',
    '{"kind": "epoch", "epoch": 7, %s',
    '{"kind": "epoch", "of another version": {"a": [NaN, {}]}, %s',
    '{"kind":"epoch", %s',
    '{"kind": "epoch"} {"kind": "epoch", %s',
)


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


@st.composite
def odd_lines(draw, epoch_row):
    """Draw the line of an epoch in which a value, the form, or some bytes are not as a
    sweep writes them."""
    values = draw(
        st.dictionaries(st.sampled_from(NAMES), st.sampled_from(ODD), max_size=2)
    )
    found = line(epoch_row, form=draw(st.sampled_from((PLAIN,) * 3 + FORMS)), **values)
    place, length = (
        draw(st.integers(0, len(found) - 2)),
        draw(st.sampled_from([0, 0, 1, 9])),
    )
    changed = found[:place] + draw(st.binary(max_size=length)) + found[place + length :]
    return changed.replace(b"\n", b"") + b"\n"


def as_tabled(event):
    measured = event.get("sharpness_steps")
    text = None if measured is None else measured_text(measured)
    return event | {"sharpness_steps": text}


def check(read, lines):
    """Check that the columns hold what each line says, or nothing for a line that is
    not valid."""
    found = read(lines).epochs
    expected = [as_tabled(event) for event in map(parse_event, lines) if event]
    assert list(found) == NAMES
    pd.testing.assert_frame_equal(
        found.astype(object).where(found.notna(), None),
        pd.DataFrame(expected, columns=NAMES)
        .astype(object)
        .where(lambda table: table.notna(), None),
        check_dtype=False,
        check_exact=True,
    )


@pytest.mark.parametrize(
    "name", {(one.kind, one.needed): one.name for one in EPOCHS}.values()
)
def test_a_value_that_no_sweep_writes_is_taken_or_refused_as_in_a_line(
    read, epoch_row, name
):
    for value in ODD:
        check(
            read, [line(epoch_row), line(epoch_row, **{name: value}), line(epoch_row)]
        )


@settings(max_examples=60)
@given(data=st.data())
def test_columns_hold_what_each_line_says(read, epoch_row, data):
    lines = data.draw(st.lists(odd_lines(epoch_row), max_size=4))
    lines.insert(
        data.draw(st.integers(0, len(lines))),
        line(epoch_row, trial_id="good", train_loss=math.nan),
    )
    check(read, lines)


def test_rows_stay_in_order_also_in_blocks_and_where_a_loss_is_infinite(
    read, epoch_row, monkeypatch
):
    monkeypatch.setattr(journal, "BLOCK_BYTES", 1500)
    monkeypatch.setattr(rows, "ROOM", 3)
    losses = [0.5, math.inf, 0.3, math.nan, -math.inf, 0.2, 0.1]
    lines = [
        line(epoch_row, epoch=epoch, train_loss=loss)
        for epoch, loss in enumerate(losses, start=1)
    ]
    found = read([*lines, lines[0]]).epochs
    assert found["epoch"].tolist() == [1, 2, 3, 4, 5, 6, 7, 1]
    assert found["train_loss"].fillna(-1).tolist() == [
        0.5,
        math.inf,
        0.3,
        -1,
        -math.inf,
        0.2,
        0.1,
        0.5,
    ]


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
    assert (written["scores"]["kl"], written["sharpness_steps"][0][1]) == (0.25, 1.5)
    writer.release()
    rows_after = [line(epoch_row, epoch=2), line(epoch_row, epoch=3, scores={"b": 1.0})]
    columns = [
        read([line(epoch_row, **values), *rows_after], ["b", "kl", "nan"]).epochs
        for values in (OLDER, TODAY)
    ]
    pd.testing.assert_frame_equal(*columns, check_exact=True)
    measured = columns[0]["sharpness_steps"].dropna()
    assert measured.to_dict() == {0: OLDER["sharpness_steps"]}
    scores = columns[0][["score_kl", "score_nan", "score_b"]].fillna(-1)
    assert scores.to_numpy().tolist() == [[0.25, -1, -1], [-1, -1, -1], [-1, -1, 1]]


@pytest.mark.parametrize(("begun", "found"), [(0, 29), (1, 3), (60, 3), (-1, 4)])
def test_a_journal_may_grow_while_it_is_read(
    epoch_row, tmp_path, monkeypatch, caplog, begun, found
):
    """A row that was being written is the last that is looked at."""
    lines, file = (
        [line(epoch_row, epoch=epoch) for epoch in range(1, 30)],
        tmp_path / "journal.jsonl",
    )
    begun = lines[3][:begun]
    file.write_bytes(b"".join(lines[:3]) + begun)
    rows_in = rows.rows_in

    def grow(block, *how):
        if block[-1:] == [begun or lines[2]]:
            with file.open("ab") as grown:
                grown.write(b"".join(lines[3:])[len(begun) :])
        return rows_in(block, *how)

    monkeypatch.setattr(rows, "rows_in", grow)
    monkeypatch.setattr(journal, "BLOCK_BYTES", 1)
    assert read_journal(tmp_path).epochs["epoch"].tolist() == list(range(1, found + 1))
    monkeypatch.undo()
    assert len(read_journal(tmp_path).epochs) == 29
    assert caplog.text == ""


def test_a_line_that_is_no_text_is_damaged_and_one_in_another_language_is_read(
    read, epoch_row
):
    whole = line(epoch_row)
    foreign = whole.replace(b'"here"', '"hieré"'.encode())
    lines = [whole, foreign, whole.replace(b'"here"', b'"her\xff"'), whole]
    check(read, lines)
    assert read(lines).epochs["node"].tolist() == ["here", "hieré", "here"]


@pytest.mark.parametrize("from_json", [False, True])
def test_a_column_holds_its_least_and_its_largest_value(from_json):
    for column in EPOCHS:
        limits = [
            one for one in (column.kind.low, column.kind.high) if abs(one) < LARGEST
        ]
        assert rows.fits(column, pa.array(limits, pa.float64()), from_json).all(), (
            column.name
        )
