"""Tables of curves in files: CSV, Parquet and JSON lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import IO, Any

import pandas as pd
import pyarrow.parquet as pq

from mnist_tune import storage
from mnist_tune.errors import UserError
from mnist_tune.storage import Place


def read_file(where: Place) -> pd.DataFrame:
    """Return the table in a file. What is missing is None, and a number that was logged
    as NaN is the text `nan`: it says something of the run.

    Raises:
        UserError: the file can't be read.
    """
    ending = str(where).partition("?")[0].rpartition(".")[2].lower()
    if ending not in READERS:
        kinds = ", ".join(READERS)
        raise UserError(f"can't tell what {where} holds; its name must end in {kinds}")
    try:
        with storage.open_file(where, links=True) as file:
            return READERS[ending](file)
    except FileNotFoundError:
        raise UserError(f"there is no file {where}; name the table of curves") from None
    except OSError as error:
        raise UserError(f"can't read {where}: {storage.reason(error)}") from None
    except (ValueError, RecursionError) as error:  # also those of Arrow and pandas
        why = " ".join(str(error).split())[:200]
        raise UserError(f"{where} is no table in {ending} ({why})") from None


def _csv(file: IO[bytes]) -> pd.DataFrame:
    table = pd.read_csv(
        file, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False
    )
    return table.astype(object).where(table.ne(""), None)


def _parquet(file: IO[bytes]) -> pd.DataFrame:
    table = pq.read_table(file)
    values = {
        name: [_logged(value) for value in table[name].to_pylist()]
        for name in table.column_names
    }
    return pd.DataFrame(values, dtype=object)


def _logged(value: Any) -> Any:
    return "nan" if value != value else value


def _json_lines(file: IO[bytes]) -> pd.DataFrame:
    records = []
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        record = json.loads(line, parse_constant=str)
        if not isinstance(record, dict):
            raise ValueError(f"line {number} is no object")
        records.append(record)
    return pd.json_normalize(records, sep="/").astype(object)


READERS: dict[str, Callable[[IO[bytes]], pd.DataFrame]] = {
    "csv": _csv,
    "parquet": _parquet,
    "jsonl": _json_lines,
    "ndjson": _json_lines,
}
"""What reads a file, by the end of its name."""
