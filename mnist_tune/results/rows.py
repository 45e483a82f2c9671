"""Parse the epochs' rows of a journal into columns: as dictionaries they take several times the time and the memory."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow.json import ParseOptions, ReadOptions, read_json

from mnist_tune.columns import COUNT, EPOCHS, FLAG, LARGEST, NUMBER, Column

Event = dict[str, Any] | None
"""An event of a journal; None for a line that holds none."""

BEGINS = b'{"kind": "epoch"'
"""How a sweep writes the line of an epoch."""

_TYPES = {COUNT: pa.int64(), NUMBER: pa.float64(), FLAG: pa.bool_()}
SCHEMA = pa.schema([(column.name, _TYPES.get(column.kind, pa.string())) for column in EPOCHS])
_TEXT_TYPE = pd.Series(["text"]).dtype
_OPTIONS = ParseOptions(SCHEMA.append(pa.field("kind", pa.string())), unexpected_field_behavior="ignore")


class Rows:
    """The rows of a journal, which is read in blocks of lines.

    Each value goes to its place in its column at once. Joining blocks in the end would take twice the memory.

    Args:
        most: the most rows that there can be. Memory is taken as it is filled.
    """

    def __init__(self, most: int) -> None:
        self._columns: dict[str, np.ndarray] = {column.name: np.empty(most, _stored(column)) for column in EPOCHS}
        self._texts: dict[str | None, int] = {None: 0}
        self._count = 0

    def add(self, lines: Sequence[bytes], parse: Callable[[bytes], Event]) -> dict[int, Event]:
        """Take up the rows in these lines. Return what `parse` finds in the lines that hold none, by their position."""
        rows, at = _parsed(lines)
        others = {i: parse(lines[i]) for i in sorted(set(range(len(lines))).difference(at.tolist()))}
        more = {i: event for i, event in others.items() if event is not None and event["kind"] == "epoch"}
        if more:
            all_rows = pa.concat_tables([rows, _encoded(pa.Table.from_pylist(list(more.values()), SCHEMA))])
            rows = all_rows.take(pa.array(np.argsort([*at, *more])))
        self._fill(rows)
        return {i: event for i, event in others.items() if i not in more}

    def _fill(self, rows: pa.Table) -> None:
        part = slice(self._count, self._count + len(rows))
        for name, column in self._columns.items():
            values = rows[name].combine_chunks()
            if isinstance(values, pa.DictionaryArray):
                codes = [self._texts.setdefault(text, len(self._texts)) for text in values.dictionary.to_pylist()]
                column[part] = np.array([*codes, 0])[values.indices.fill_null(-1).to_numpy(zero_copy_only=False)]
            else:  # what is missing is NaN, or None
                column[part] = values.to_numpy(zero_copy_only=False)
        self._count = part.stop

    def table(self) -> pd.DataFrame:
        """Return all rows in order. They leave this object, so that no more than one column is there twice."""
        texts, found = np.array(list(self._texts), object), {}
        for name in list(self._columns):
            values = self._columns.pop(name)[: self._count]
            if values.dtype == np.int32:
                found[name] = pd.Series(texts[values], dtype=_TEXT_TYPE)
            else:  # without gaps, objects are True or False
                found[name] = pd.Series(values, copy=False).infer_objects()
        return pd.DataFrame(found, copy=False)


def _stored(column: Column) -> type:
    """Return how the values of a column are held until all rows are there: texts as numbers."""
    if column.kind is FLAG:
        return bool if column.needed else object
    if column.kind is COUNT:
        return np.int64 if column.needed else np.float64
    return np.float64 if column.kind is NUMBER else np.int32


def _parsed(lines: Sequence[bytes]) -> tuple[pa.Table, np.ndarray]:
    """Return the rows that are surely valid, and the positions of their lines.

    A row in a line that looks unlike what a sweep writes, or with an infinite loss, may be valid, but not surely.
    """
    at = [i for i, line in enumerate(lines) if line.startswith(BEGINS) and line.endswith(b"}\n") and line.isascii()]
    content = b"".join([lines[i] for i in at])
    try:
        reading = ReadOptions(use_threads=False, block_size=len(content) + 1)
        rows = _encoded(read_json(io.BytesIO(content), reading, _OPTIONS).select(SCHEMA.names))
    except pa.ArrowInvalid:  # there is no line, or one is damaged
        at = []
    if not at or len(rows) != len(at):
        return _encoded(SCHEMA.empty_table()), np.array([], int)
    sure = np.logical_and.reduce([_fits(column, rows[column.name]) for column in EPOCHS])
    return (rows if sure.all() else rows.filter(pa.array(sure))), np.array(at)[sure]


def _encoded(rows: pa.Table) -> pa.Table:
    """Return rows whose texts, the ids of trials and the names of machines, are each stored once."""
    columns = [column.combine_chunks() for column in rows.columns]
    texts = [column.dictionary_encode() if pa.types.is_string(column.type) else column for column in columns]
    return pa.table(texts, names=SCHEMA.names)


def _fits(column: Column, values: pa.ChunkedArray) -> np.ndarray:
    """Return which values surely fit a column."""
    if column.kind is COUNT or column.kind is NUMBER:
        numbers = values.to_numpy()  # with NaN for what is missing
        found = ~(np.abs(numbers) >= LARGEST)  # one more than `LARGEST` has been rounded down
        if column.kind is COUNT:
            found &= ~(numbers < 1)
    elif column.kind is FLAG:
        found = np.ones(len(values), bool)
    else:
        [chunk] = values.chunks
        fit = [column.kind.holds(text) and text.isprintable() for text in chunk.dictionary.to_pylist()]
        found = np.array([*fit, True])[chunk.indices.fill_null(-1).to_numpy()]
    return np.asarray(found & values.is_valid().to_numpy() if column.needed else found)
