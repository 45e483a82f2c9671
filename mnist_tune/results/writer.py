"""What is written while a sweep runs.

A folder holds `sweep.json` (what was asked, where and with which versions), `journal.jsonl` (an append-only
line per event, the truth at any moment), `states/` (the trials' saved states) and, once the sweep has ended,
`trials.parquet` and `epochs.parquet`. A kill at any moment leaves a folder that `load_sweep` reads.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from mnist_tune.errors import UserError
from mnist_tune.results.journal import OPEN_REASONS, mend_last_line, read_journal
from mnist_tune.trial import TrialConfig

if TYPE_CHECKING:
    import pandas as pd

    from mnist_tune.results.tables import Sweep


class SweepWriter:
    """Writes a sweep's folder while it runs: its only writer, by a lock that ends with this process.

    Raises:
        UserError: the folder can't be written, another process writes it, or (without `resume`) it holds a sweep.
    """

    def __init__(self, path: Path, meta: dict[str, Any], resume: bool = False) -> None:
        self.path, self.meta = path, meta
        if not resume and (path / "sweep.json").exists():
            raise UserError(f"{path} holds a sweep already; name another --output or go on with --resume {path}")
        try:
            (path / "states").mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(path / ".lock", timeout=0)
            self._lock.acquire()
            mend_last_line(path / "journal.jsonl")
            self._journal = (path / "journal.jsonl").open("a", encoding="utf-8")
            write_atomically(path / "sweep.json", json.dumps(meta, indent=1).encode())
        except Timeout:
            raise UserError(f"{path} is being written by a sweep that runs; wait for it, or end it first") from None
        except OSError as error:
            raise UserError(f"can't write results to {path}: {error.strerror}; name another --output") from None
        self._rows = {(event["trial_id"], event["epoch"]) for event in read_journal(path) if event["kind"] == "epoch"}

    @property
    def states(self) -> Path:
        return self.path / "states"

    def update_options(self, **options: Any) -> None:
        """Records what was decided of `options` once the machine was known."""
        self.meta["options"] = self.meta.get("options", {}) | options
        write_atomically(self.path / "sweep.json", json.dumps(self.meta, indent=1).encode())

    def trial(self, trial_id: str, config: TrialConfig) -> None:
        """Records what the plan in `sweep.json` does not hold: a trial that a searcher proposed, values that population
        based training changed."""
        self._append({"kind": "trial", "trial_id": trial_id, "config": config.to_dict()})

    def epoch(self, trial_id: str, row: Mapping[str, Any], repeated: bool) -> None:
        """Records an epoch's row; one that a continued trial repeats is kept only if it had been lost."""
        if repeated and (trial_id, row["epoch"]) in self._rows:
            return
        self._rows.add((trial_id, row["epoch"]))
        self._append({"kind": "epoch", "trial_id": trial_id, **row})

    def end(self, trial_id: str, stop_reason: str, error: str = "") -> None:
        self._append({"kind": "end", "trial_id": trial_id, "stop_reason": stop_reason, "error": error})

    def finish(self, **meta: Any) -> Sweep:
        """Writes the tables and returns them."""
        self._journal.flush()
        os.fsync(self._journal.fileno())
        self._journal.close()
        self.meta |= meta
        from mnist_tune.results.tables import tables  # here: a sweep starts sooner without pandas

        sweep = tables(self.path, self.meta)
        write_atomically(self.path / "trials.parquet", sweep.trials.to_parquet(index=False))
        write_atomically(self.path / "epochs.parquet", sweep.epochs.to_parquet(index=False))
        write_atomically(self.path / "sweep.json", json.dumps(self.meta, indent=1).encode())
        self._tidy(sweep.trials)
        self._lock.release()
        return sweep

    def _tidy(self, trials: pd.DataFrame) -> None:
        """Removes what only a resumed sweep needs: states of trials that ended, Tune's own files."""
        for trial_id in trials["trial_id"][~trials["stop_reason"].isin(OPEN_REASONS)]:
            (self.states / f"{trial_id}.npz").unlink(missing_ok=True)
        shutil.rmtree(self.path / ".ray", ignore_errors=True)

    def _append(self, event: dict[str, Any]) -> None:
        try:
            self._journal.write(json.dumps(event) + "\n")
            self._journal.flush()
        except OSError as error:
            raise UserError(
                f"can't write to {self._journal.name}: {error.strerror}; then --resume {self.path}"
            ) from None


def new_folder(parent: Path, name: str) -> Path:
    """A folder that nobody else has: `name` there, or `name-2` and so on where another process came first.

    Raises:
        UserError: `parent` can't be written.
    """
    for count in itertools.count(1):
        path = parent / (name if count == 1 else f"{name}-{count}")
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"can't write results to {path}: {error.strerror}; name another --output") from None
    raise AssertionError("unreachable")


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces a file so that a kill leaves the former one or the new one, whole."""
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
