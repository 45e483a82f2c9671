"""Parse the epochs' rows of a journal into a table: one by one they take ten times as
long."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.json import ParseOptions, ReadOptions, read_json

from mnist_tune.columns import EPOCHS, ID, OWN_SCORE, Column
from mnist_tune.epoch_row import NESTED, measured_text, without_texts
from mnist_tune.errors import escaped

BEGINS = b'{"kind": "epoch"'
"""How a sweep writes the line of an epoch."""

ROOM = 2**18
"""How many rows there is room for at first. It takes no memory until it is filled."""

SCORES, MEASURED = NESTED
OLDER = [f'"{name}": "'.encode() for name in NESTED]
"""What is in lines of older versions, which stored texts of JSON."""

_TYPES = {int: pa.int64(), bool: pa.bool_(), float: pa.float64(), str: pa.string()}
_NEEDED = [column.name for column in EPOCHS if column.needed]


class Rows:
    """The rows of a journal, of tasks with these own scores. Their columns have room
    for more: put together from blocks, they take twice the memory."""

    def __init__(self, scores: Sequence[str] = ()) -> None:
        self._scores = {OWN_SCORE + name: name for name in scores}
        kinds = {column.name: _TYPES[column.kind.type] for column in EPOCHS}
        self._kinds = kinds | dict.fromkeys(self._scores, pa.float64())
        kinds[MEASURED] = pa.list_(pa.list_(pa.float64()))
        if scores:
            kinds[SCORES] = pa.struct([(name, pa.float64()) for name in scores])
        self._stored = pa.schema(kinds)
        texts = [name for name, kind in self._kinds.items() if kind == pa.string()]
        self._texts: dict[str, list[pa.Array]] = {name: [] for name in texts}
        numbers = [name for name in self._kinds if name not in texts]
        self._numbers = {name: np.empty(ROOM) for name in numbers}
        self._count = 0

    def add(self, lines: Mapping[int, bytes]) -> list[int]:
        """Add the rows in lines, which are given by their numbers. Return the numbers
        of those that hold none."""
        rows = self._parsed(list(lines.values()))
        numbers = list(lines)
        if rows is None and len(lines) < 2:
            return numbers
        if rows is None:
            # Look in each half for the lines that are no rows.
            half = len(lines) // 2
            damaged = list[int]()
            for part in (numbers[:half], numbers[half:]):
                damaged += self.add({number: lines[number] for number in part})
            return damaged
        valid = _are_valid(rows)
        self._append(rows.filter(valid))
        is_valid = zip(numbers, valid.to_pylist(), strict=True)
        return [number for number, valid in is_valid if not valid]

    def _parsed(self, lines: Sequence[bytes]) -> pa.Table | None:
        """Return the rows in these lines; None if one of them holds none."""
        content = b"".join(lines)
        if any(mark in content for mark in OLDER):
            content = b"".join(map(_as_of_today, lines))
        if not content.isascii():
            return None
        reading = ReadOptions(use_threads=False, block_size=len(content) + 1)
        parsing = ParseOptions(self._stored, unexpected_field_behavior="ignore")
        try:
            rows = read_json(io.BytesIO(content), reading, parsing)
        except pa.ArrowInvalid:
            return None
        if len(rows) != len(lines):  # two rows may stand in a line
            return None
        return rows

    def _append(self, rows: pa.Table) -> None:
        columns = dict(zip(rows.column_names, rows.columns, strict=True))
        texts: list[str | None] = []
        for steps in rows[MEASURED].to_pylist():
            if steps is None:
                texts.append(None)
            else:
                texts.append(measured_text(steps))
        columns[MEASURED] = pa.chunked_array([texts], pa.string())
        for column, name in self._scores.items():
            columns[column] = pc.struct_field(rows[SCORES], name)
        end = self._count + len(rows)
        for name, numbers in self._numbers.items():
            if len(numbers) < end:
                self._numbers[name] = np.empty(2 * end)
                self._numbers[name][: self._count] = numbers[: self._count]
            values = columns[name].cast(pa.float64()).to_numpy()
            self._numbers[name][self._count : end] = values
        self._count = end
        for name, blocks in self._texts.items():
            blocks += columns[name].dictionary_encode().chunks

    def table(self) -> pd.DataFrame:
        """Return all rows. They leave this object, so that no more than one column is
        there twice."""
        columns = {}
        for name, kind in self._kinds.items():
            if name in self._texts:
                encoded = pa.dictionary(pa.int32(), kind)
                texts = pa.chunked_array(self._texts.pop(name), encoded)
                columns[name] = texts.cast(kind).to_pandas()
                continue
            columns[name] = numbers = self._numbers.pop(name)[: self._count]
            gaps = np.isnan(numbers)
            if kind == pa.bool_():
                columns[name] = pa.array(numbers, mask=gaps).cast(kind).to_pandas()
            elif kind == pa.int64() and not gaps.any():
                columns[name] = numbers.astype(np.int64)
        return without_effects(pd.DataFrame(columns, copy=False), EPOCHS)


def _as_of_today(line: bytes) -> bytes:
    """Return the line of a row, which an older version may have written, as this
    version writes it."""
    with suppress(ValueError):
        return json.dumps(without_texts(json.loads(line))).encode() + b"\n"
    return line


def _are_valid(rows: pa.Table) -> pa.ChunkedArray:
    """Return which rows have an id, and all values that resumes and schedulers
    need."""
    ids = [text for text in pc.unique(rows["trial_id"]).to_pylist() if ID.holds(text)]
    valid = pc.is_in(rows["trial_id"], pa.array(ids, pa.string()))
    for name in _NEEDED:
        valid = pc.and_(valid, rows[name].is_valid())
    return valid


def without_effects(table: pd.DataFrame, columns: Iterable[Column]) -> pd.DataFrame:
    """Return the table with every unprintable character in the texts of these columns
    replaced by its escape sequence."""
    for column in columns:
        if column.kind.type is str and column.name in table:
            texts = table[column.name].dropna().unique()
            escapes = {text: escaped(text) for text in texts if not text.isprintable()}
            if escapes:
                table[column.name] = table[column.name].replace(escapes)
    return table
