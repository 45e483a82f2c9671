"""The tables of an ended sweep as they were stored, read: they may come from anywhere."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
from pyarrow import types
from pyarrow.parquet import ParquetFile

from mnist_tune.errors import UserError
from mnist_tune.results.validation import printable

MOST_ROWS = 10**7
MOST_BYTES = 2**30
"""Of a table; a small file may claim to hold terabytes. That of 10,000 trials x 200 epochs takes half a gigabyte."""

TEXT = frozenset(
    "trial_id label architecture regime regime_evidence curve_regime stop_reason node device dataset error".split()
)
WHOLE = ("above_since", "guessing_since", "diverged_at_step")
"""Columns of whole numbers with gaps."""

KNOWN = frozenset(
    """
    trial_id label architecture learning_rate momentum nesterov batch_size label_noise holdout seed data_seed epochs_run
    epochs_asked regime regime_evidence curve_regime stop_reason best_epoch dataset error epoch step
    """.split()
)
"""Columns without gaps."""


def read_table(source: Path | BinaryIO, name: str, columns: Collection[str]) -> pd.DataFrame:
    """A table that a sweep stored.

    Args:
        source: the file, by its path or open.
        name: of the file, for errors.
        columns: to be read; of those that may have gaps some may be missing.

    Raises:
        UserError: it is damaged, or not what a sweep stores.
    """
    try:
        with ParquetFile(source) as file:
            _check_size(file.metadata)
            there = [column for column in columns if column in KNOWN or column in file.schema_arrow.names]
            for column in there:
                _check_type(column, file.schema_arrow.field(column).type)
            table = file.read(there).replace_schema_metadata(None)
        gaps = [column for column in there if column in KNOWN and table[column].null_count]
        if gaps:
            raise ValueError(f"{gaps[0]} has gaps")
        found = table.to_pandas().astype({name: "Int64" for name in WHOLE if name in there})
        for column in TEXT & set(there):
            found[column] = found[column].map({text: printable(text) for text in found[column].dropna().unique()})
    except Exception as error:  # of whatever kind Arrow has for what it can't read
        raise UserError(f"{name} is not a table of a sweep ({error})") from None
    return found


def _check_size(metadata: Any) -> None:
    size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if metadata.num_rows > MOST_ROWS or size > MOST_BYTES:
        raise ValueError(f"it claims to hold {metadata.num_rows} rows in {size} bytes")


def _check_type(column: str, kind: Any) -> None:
    text = types.is_string(kind) or types.is_large_string(kind)
    number = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
    empty = types.is_null(kind) and column not in KNOWN
    if not (empty or (text if column in TEXT else number)):
        raise ValueError(f"{column} is of type {kind}")
