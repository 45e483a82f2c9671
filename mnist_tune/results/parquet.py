"""Read and check the stored tables of a finished sweep. The files may come from an untrusted source."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
from pyarrow import types
from pyarrow.parquet import ParquetFile

from mnist_tune.columns import COUNT, Column
from mnist_tune.errors import UserError
from mnist_tune.terminal import printable

MOST_ROWS = 10**7
MOST_BYTES = 2**30
"""The largest table that is read: a small file may claim to hold terabytes. The epochs of 10,000 trials x 200 epochs
take half a gigabyte."""


def read_table(source: Path | BinaryIO, name: str, columns: Iterable[Column]) -> pd.DataFrame:
    """Return a table that a sweep stored.

    Args:
        source: path of the file, or the open file.
        name: name of the file in errors.
        columns: the columns to read. Those with `gaps` may be missing.

    Raises:
        UserError: the file is damaged, or a sweep did not write it.
    """
    try:
        with ParquetFile(source) as file:
            _check_size(file.metadata)
            there = [column for column in columns if not column.gaps or column.name in file.schema_arrow.names]
            for column in there:
                _check_type(column, file.schema_arrow.field(column.name).type)
            table = file.read([column.name for column in there]).replace_schema_metadata(None)
        found = with_kinds(table.to_pandas(), there)
        for column in there:
            if not column.gaps and table[column.name].null_count:
                raise ValueError(f"{column.name} has gaps")
            if column.kind.stored == "text":
                texts = found[column.name]
                found[column.name] = texts.map({text: printable(text) for text in texts.dropna().unique()})
    except Exception as error:  # Arrow raises many kinds of errors
        raise UserError(f"{name} is not a table of a sweep ({error})") from None
    return found


def _check_size(metadata: Any) -> None:
    size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if metadata.num_rows > MOST_ROWS or size > MOST_BYTES:
        raise ValueError(f"it claims to hold {metadata.num_rows} rows in {size} bytes")


def _check_type(column: Column, kind: Any) -> None:
    text = types.is_string(kind) or types.is_large_string(kind)
    number = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
    if not ((types.is_null(kind) and column.gaps) or (text if column.kind.stored == "text" else number)):
        raise ValueError(f"{column.name} is of type {kind}")


def with_kinds(table: pd.DataFrame, columns: Iterable[Column]) -> pd.DataFrame:
    """Return the table with counts that have gaps as nullable integers; pandas would make them floats."""
    return table.astype({one.name: "Int64" for one in columns if one.kind is COUNT and one.gaps and one.name in table})
