"""Tables of curves in files: CSV, Parquet and JSON lines."""

from __future__ import annotations

import json
from typing import IO

import pandas as pd

from mnist_tune import storage
from mnist_tune.errors import UserError
from mnist_tune.storage import Place


def read_file(where: Place) -> pd.DataFrame:
    """Return the table in a file. Raises `UserError` if there is none."""
    kind = str(where).rpartition(".")[2].lower()
    if kind not in READERS:
        kinds = ", ".join(READERS)
        raise UserError(f"can't tell what {where} holds; its name must end in {kinds}")
    try:
        with storage.open_file(where, links=True) as file:
            return READERS[kind](file)
    except OSError as error:
        why = storage.reason(error)
        raise UserError(f"can't read {where}: {why}; name a table of curves") from None
    except ValueError as error:  # also those of Arrow
        why = " ".join(str(error).split())
        raise UserError(f"{where} is no table in {kind}: {why}; mend it") from None


def _csv(file: IO[bytes]) -> pd.DataFrame:
    return pd.read_csv(file, dtype=str, keep_default_na=False, index_col=False)


def _json_lines(file: IO[bytes]) -> pd.DataFrame:
    return pd.json_normalize(
        [json.loads(line) for line in file if line.strip()], sep="/"
    )


READERS = {"csv": _csv, "parquet": pd.read_parquet, "jsonl": _json_lines}
"""What reads a file, by the end of its name."""
