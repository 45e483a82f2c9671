"""Tables of curves in files: CSV, Parquet, JSON lines, and the folder of an experiment of
Ray Tune."""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO

import pandas as pd

from mnist_tune import storage
from mnist_tune.errors import UserError
from mnist_tune.storage import Place

TUNES_ROWS = "result.json"
"""The file with the reports of a trial of Ray Tune."""

TUNES_OWN = """
    checkpoint_dir_name date done experiment_tag hostname iterations_since_restore node_ip
    pid should_checkpoint time_since_restore time_this_iter_s time_total_s timestamp
""".split()
"""What Ray Tune itself writes into a report, and no curve is made of."""

REASONS = "regimes.jsonl"
"""The file in which our scheduler says why it stopped trials of others."""


def read_file(where: Place) -> pd.DataFrame:
    """Return the table in a file, or of an experiment of Ray Tune in its folder. Raises
    `UserError` if there is none."""
    if isinstance(where, Path) and where.is_dir():
        return _tune(where)
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


def _tune(folder: Path) -> pd.DataFrame:
    """Return the reports of all trials of an experiment of Ray Tune. Of its files only
    these are opened: nothing is unpickled."""
    tables = []
    for path in sorted(folder.glob(f"*/{TUNES_ROWS}")):
        with storage.attempt(f"read {path}"), storage.open_file(path) as file:
            tables.append(_json_lines(file))
    if not tables:
        raise UserError(
            f"no trial of Ray Tune has a {TUNES_ROWS} in {folder}; name the experiment's folder, or a table"
        )
    rows = pd.concat(tables, ignore_index=True)
    # A trial that was restored has reports twice.
    rows = rows.drop_duplicates(["trial_id", "training_iteration"], keep="last")
    rows = rows.drop(columns=TUNES_OWN, errors="ignore")
    reasons = folder / REASONS
    if reasons.is_file():
        with storage.open_file(reasons) as file:
            ends = _json_lines(file).dropna(subset="reason").set_index("trial")
        rows["stop_reason"] = rows["trial_id"].map(ends["stopped"])
    return rows


def _csv(file: IO[bytes]) -> pd.DataFrame:
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    # of more values than names, pandas takes the first for an index
    if not isinstance(table.index, pd.RangeIndex):
        raise ValueError("its rows have more values than its head")
    return table


def _json_lines(file: IO[bytes]) -> pd.DataFrame:
    rows = [json.loads(line) for line in file if line.strip()]
    return pd.json_normalize(rows, sep="/")


READERS = {"csv": _csv, "parquet": pd.read_parquet, "jsonl": _json_lines}
"""What reads a file, by the end of its name."""
