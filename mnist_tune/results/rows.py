"""Parse the epochs' rows of a journal into columns: as dictionaries they take several times the time and the memory."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow.json import ParseOptions, ReadOptions, read_json

from mnist_tune.columns import EPOCHS, LARGEST, Column

Event = dict[str, Any] | None
"""An event of a journal; None for a line that holds none."""

BEGINS = b'{"kind": "epoch"'
"""How a sweep writes the line of an epoch."""

_TYPES = {int: pa.int64(), bool: pa.bool_(), float: pa.float64(), str: pa.string()}
_KINDS = [(column.name, _TYPES[column.kind.type]) for column in EPOCHS]
SCHEMA = pa.schema(_KINDS)
_OPTIONS = ParseOptions(SCHEMA.append(pa.field("kind", pa.string())), unexpected_field_behavior="ignore")

_STORED = {pa.int64(): np.int64, pa.bool_(): np.int8, pa.string(): np.int32}
_MISSING = -1
"""What stands for a whole number, flag or text that a row lacks; in floats it is NaN."""


def rows_in(lines: Sequence[bytes], parse: Callable[[bytes], Event]) -> tuple[pa.Table, dict[int, Event]]:
    """Return the rows in these lines, and what `parse` finds in the lines that hold none, by their position."""
    rows, at = _parsed(lines)
    others = {i: parse(lines[i]) for i in sorted(set(range(len(lines))).difference(at.tolist()))}
    more = {i: event for i, event in others.items() if event is not None and event["kind"] == "epoch"}
    if more:
        all_rows = pa.concat_tables([rows, _encoded(pa.Table.from_pylist(list(more.values()), SCHEMA))])
        rows = all_rows.take(pa.array(np.argsort([*at, *more])))
    return rows, {i: event for i, event in others.items() if i not in more}


class Rows:
    """The rows of all blocks, in order, in columns with room for all.

    Kept block by block, small columns would lie between the parser's buffers, and the process would take twice the
    memory.
    """

    def __init__(self) -> None:
        self._count = 0
        self._columns = {name: np.empty(0, _STORED.get(kind, float)) for name, kind in _KINDS}
        self._texts: dict[str, dict[str, int]] = {name: {} for name, kind in _KINDS if pa.types.is_string(kind)}

    def add(self, rows: pa.Table, more: int) -> None:
        """Append the rows that `rows_in` returned, of which about so many more will follow."""
        start, self._count = self._count, self._count + len(rows)
        for name, column in self._columns.items():
            if len(column) < self._count:
                room = np.empty(self._count + more + more // 16, column.dtype)  # takes no memory until it is filled
                room[:start] = column[:start]
                self._columns[name] = column = room
            column[start : self._count] = self._stored(name, rows[name].combine_chunks())

    def frame(self) -> pd.DataFrame:
        """Return all rows. They leave this object, so that no more than one column is there twice."""
        return pd.DataFrame({name: self._taken(name, kind) for name, kind in _KINDS}, copy=False)

    def _stored(self, name: str, values: pa.Array) -> np.ndarray:
        if name in self._texts:
            known = self._texts[name]
            codes = [known.setdefault(text, len(known)) for text in values.dictionary.to_pylist()]
            found: np.ndarray = np.array([*codes, _MISSING])[values.indices.fill_null(len(codes))]
            return found
        if not pa.types.is_floating(values.type):
            values = values.cast(pa.int64()).fill_null(_MISSING)
        return np.asarray(values)

    def _taken(self, name: str, kind: pa.DataType) -> pd.Series | np.ndarray:
        column = self._columns.pop(name)[: self._count]
        if name in self._texts:
            codes, texts = pa.array(column, mask=column == _MISSING), pa.array(list(self._texts.pop(name)), kind)
            return pa.DictionaryArray.from_arrays(codes, texts).cast(kind).to_pandas()
        if pa.types.is_floating(kind) or not (missing := column == _MISSING).any():
            return column.astype(kind.to_pandas_dtype(), copy=False)
        return pa.array(column, mask=missing).cast(kind).to_pandas()


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
    sure = np.logical_and.reduce([fits(column, rows[column.name].combine_chunks(), True) for column in EPOCHS])
    return (rows if sure.all() else rows.filter(pa.array(sure))), np.array(at)[sure]


def _encoded(rows: pa.Table) -> pa.Table:
    """Return rows whose texts, the ids of trials and the names of machines, are each stored once."""
    columns = [column.combine_chunks() for column in rows.columns]
    texts = [column.dictionary_encode() if pa.types.is_string(column.type) else column for column in columns]
    return pa.table(texts, names=SCHEMA.names)


def fits(column: Column, values: pa.Array, from_json: bool = False) -> np.ndarray:
    """Return which values fit a column. Texts are encoded as a dictionary.

    What is `from_json` only counts if it surely fits: Arrow has rounded large numbers, and unprintable characters are
    still to be replaced.
    """
    if pa.types.is_dictionary(values.type):
        texts = values.dictionary.to_pylist()
        fit = [column.kind.holds(text) and (text.isprintable() or not from_json) for text in texts]
        found = np.array([*fit, True])[values.indices.fill_null(-1).to_numpy()]
    elif pa.types.is_boolean(values.type) or pa.types.is_null(values.type):
        found = np.ones(len(values), bool)
    else:
        numbers = values.to_numpy(zero_copy_only=False)  # with NaN for what is missing
        most = LARGEST - 1 if from_json else np.inf
        found = ~(numbers < max(column.kind.low, -most)) & ~(numbers > min(column.kind.high, most))
        if not column.kind.nan:
            found &= ~np.isnan(numbers) | values.is_null().to_numpy(zero_copy_only=False)
    needed = column.needed if from_json else not column.gaps
    return np.asarray(found & values.is_valid().to_numpy(zero_copy_only=False) if needed else found)
