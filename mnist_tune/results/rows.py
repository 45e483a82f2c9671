"""Parse the epochs' rows of a journal into tables: line by line they take ten times as
long."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.json import ParseOptions, ReadOptions, read_json

from mnist_tune.columns import EPOCHS, LARGEST, NUMBER, OWN_SCORE, Column
from mnist_tune.epoch_row import NESTED, ROW, measured_text

Event = dict[str, Any] | None
"""An event of a journal; None for a line that holds none."""

BEGINS = b'{"kind": "epoch"'
"""How a sweep writes the line of an epoch."""

ROOM = 2**18
"""How many rows there is room for once there are many. It takes no memory until it is
filled."""

_TYPES = {int: pa.int64(), bool: pa.bool_(), float: pa.float64(), str: pa.string()}
SCHEMA = pa.schema([(column.name, _TYPES[column.kind.type]) for column in EPOCHS])

SCORES, MEASURED = (column.name for column in NESTED)
MEASUREMENTS = NESTED[1].kind
_MEASURED = pa.list_(pa.list_(pa.float64()))
_PLAIN = [column for column in ROW if column not in NESTED]


def table_schema(scores: Sequence[str]) -> pa.Schema:
    """Return the columns of rows, of tasks with these own scores."""
    own = [pa.field(OWN_SCORE + name, pa.float64()) for name in scores]
    return pa.schema([*SCHEMA, *own])


def _stored_schema(scores: Sequence[str]) -> pa.Schema:
    """Return how a journal holds rows."""
    fields = [pa.field(column.name, _TYPES[column.kind.type]) for column in _PLAIN]
    fields.append(pa.field(MEASURED, _MEASURED))
    if scores:
        own = pa.struct([pa.field(name, pa.float64()) for name in scores])
        fields.append(pa.field(SCORES, own))
    return pa.schema(fields)


def rows_in(
    lines: Sequence[bytes], parse: Callable[[bytes], Event], scores: Sequence[str] = ()
) -> tuple[pa.Table, dict[int, Event]]:
    """Return the rows in these lines, and what `parse` finds in the lines that hold
    none, by their position. If a row is not as a sweep writes it, `parse` is asked
    about all lines. The rows have columns for these own scores of tasks."""
    schema = _stored_schema(scores)
    rows = {
        i
        for i, line in enumerate(lines)
        if line.startswith(BEGINS) and line.endswith(b"}\n") and line.isascii()
    }
    table = _parsed([lines[i] for i in sorted(rows)], schema)
    events = {
        i: parse(line) for i, line in enumerate(lines) if table is None or i not in rows
    }
    if not any(map(_is_row, events.values())):
        table = schema.empty_table() if table is None else table
        return _flat(table, scores), events
    events = {i: parse(line) for i, line in enumerate(lines)}
    table = pa.Table.from_pylist(list(filter(_is_row, events.values())), schema)
    others = {i: event for i, event in events.items() if not _is_row(event)}
    return _flat(table, scores), others


def _flat(rows: pa.Table, scores: Sequence[str]) -> pa.Table:
    """Return rows as a table has them: with measurements as text, and a column for each
    score."""
    measured = rows[MEASURED]
    texts = pa.nulls(len(rows), pa.string())
    if measured.null_count < len(rows):
        values = measured.to_pylist()
        texts = [None if steps is None else measured_text(steps) for steps in values]
    columns = {name: rows[name] for name in rows.column_names if name != SCORES}
    columns[MEASURED] = pa.array(texts, pa.string())
    for name in scores:
        columns[OWN_SCORE + name] = pc.struct_field(rows[SCORES], name)
    schema = table_schema(scores)
    return pa.table({name: columns[name] for name in schema.names}, schema)


class Rows:
    """The rows of all blocks, in columns that have room for more. Kept block by block,
    they take twice the memory."""

    def __init__(self, scores: Sequence[str] = ()) -> None:
        self._count, self._schema = 0, table_schema(scores)
        self._numbers: dict[str, np.ndarray] = {}
        self._texts: dict[str, list[pa.Array]] = {}
        for column in self._schema:
            if column.type == pa.string():
                self._texts[column.name] = []
            else:
                self._numbers[column.name] = np.empty(0)

    def add(self, rows: pa.Table) -> None:
        """Append rows that `rows_in` returned."""
        end = self._count + len(rows)
        for name, column in self._numbers.items():
            if len(column) < end:
                room = np.empty(max(2 * end, ROOM if self._count else 0))
                room[: self._count] = column[: self._count]
                self._numbers[name] = column = room
            column[self._count : end] = rows[name].cast(pa.float64())
        for name, blocks in self._texts.items():
            blocks.append(rows[name].combine_chunks().dictionary_encode())
        self._count = end

    def taken(self) -> pd.DataFrame:
        """Return all rows. They leave this object, so that no more than one column is
        there twice."""
        columns = {column.name: self._taken(column) for column in self._schema}
        return pd.DataFrame(columns, copy=False)

    def _taken(self, field: pa.Field) -> pd.Series | np.ndarray:
        if field.type == pa.string():
            encoded = pa.chunked_array(
                self._texts.pop(field.name), pa.dictionary(pa.int32(), field.type)
            )
            return encoded.cast(field.type).to_pandas()
        column = self._numbers.pop(field.name)[: self._count]
        if field.type == pa.float64():
            return column
        return pa.array(column, mask=np.isnan(column)).cast(field.type).to_pandas()


def _is_row(event: Event) -> bool:
    return event is not None and event["kind"] == "epoch"


def _parsed(lines: Sequence[bytes], schema: pa.Schema) -> pa.Table | None:
    """Return the rows in these lines; None if one of them may not be valid."""
    content = b"".join(lines)
    try:
        reading = ReadOptions(use_threads=False, block_size=len(content) + 1)
        with_kind = schema.append(pa.field("kind", pa.string()))
        parsing = ParseOptions(with_kind, unexpected_field_behavior="ignore")
        rows = read_json(io.BytesIO(content), reading, parsing).select(schema.names)
    except pa.ArrowInvalid:  # there is no line, or one is damaged
        return None
    sure = len(rows) == len(lines) and all(
        fits(column, rows[column.name].combine_chunks(), True).all()
        for column in _PLAIN
    )
    return rows if sure and _nested_fit(rows) else None


def _nested_fit(rows: pa.Table) -> bool:
    """Return whether what is nested in rows surely is as a sweep writes it."""
    if SCORES in rows.column_names:
        own = rows[SCORES].combine_chunks()
        for field in own.type:
            values = pc.struct_field(own, field.name)
            if not fits(Column(field.name, NUMBER), values, True).all():
                return False
    measured = rows[MEASURED].drop_null().to_pylist()
    return all(_is_measured(value) for steps in measured for value in steps)


def _is_measured(value: list[float | None] | None) -> bool:
    """Return whether this is a measurement, whose steps Arrow has made a float."""
    if not value or value[0] is None or not value[0].is_integer():
        return False
    return MEASUREMENTS.holds([[int(value[0]), *value[1:]]])


def fits(column: Column, values: pa.Array, from_json: bool = False) -> np.ndarray:
    """Return which values fit a column. Texts may be encoded as a dictionary.

    What is `from_json` only counts if it surely fits: Arrow has rounded large numbers,
    and unprintable characters are still to be replaced.
    """
    if pa.types.is_string(values.type):
        values = values.dictionary_encode()
    if pa.types.is_dictionary(values.type):
        texts = values.dictionary.to_pylist()
        fit = [
            column.kind.holds(text) and (text.isprintable() or not from_json)
            for text in texts
        ]
        found = np.array([*fit, True])[values.indices.fill_null(-1).to_numpy()]
    elif pa.types.is_boolean(values.type) or pa.types.is_null(values.type):
        found = np.ones(len(values), bool)
    else:
        numbers = values.to_numpy(zero_copy_only=False)  # with NaN for what is missing
        found = ~(numbers < column.kind.low) & ~(numbers > column.kind.high)
        if from_json:
            found &= ~(np.abs(numbers) >= LARGEST) | np.isinf(numbers)
        if not column.kind.nan:
            found &= ~np.isnan(numbers) | values.is_null().to_numpy(
                zero_copy_only=False
            )
    needed = column.needed if from_json else not column.gaps
    return np.asarray(
        found & values.is_valid().to_numpy(zero_copy_only=False) if needed else found
    )
