"""What is written while a sweep runs.

A folder holds `sweep.json` (what was asked, where and with which versions), `journal.jsonl` (an append-only
line per event, the truth at any moment), `states/` (the trials' saved states) and, once the sweep has ended,
`trials.parquet` and `epochs.parquet`. A kill at any moment leaves a folder that `load_sweep` reads.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_tune import storage
from mnist_tune.errors import UserError, redacted
from mnist_tune.results.folder import JOURNAL, exists, locked, working_folder
from mnist_tune.results.journal import UNFINISHED_REASONS, mend_last_line, read_journal
from mnist_tune.results.upload import Upload
from mnist_tune.storage import Place
from mnist_tune.trial import TrialConfig

if TYPE_CHECKING:
    import pandas as pd

    from mnist_tune.results.tables import Sweep

TOKEN = "token"


class SweepWriter:
    """Writes a sweep's folder while it runs: its only writer, by a lock that ends with this process.

    A sweep in object storage is written in a local folder, `path`, and uploaded from there; only the trials' states go
    there directly, from wherever they train.

    Raises:
        UserError: the folder can't be written, another process writes it, or (without `resume`) it holds a sweep.
    """

    def __init__(
        self, where: Place, meta: dict[str, Any], resume: bool = False, say: Callable[[str], None] = lambda line: None
    ) -> None:
        self.where, self.meta, self._upload = where, meta, None
        self.path = working_folder(where)
        if not resume and exists(where):
            raise UserError(f"{where} holds a sweep already; name another --output or go on with --resume {where}")
        self.failure: UserError | None = None
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = locked(self.path, where)
            if resume:
                _refuse_links(self.path)
            self._remove_tunes_files()
            if isinstance(where, Path):
                (self.path / "states").mkdir(exist_ok=True)
            elif not resume:
                (self.path / JOURNAL).unlink(missing_ok=True)  # of a sweep that was there once
            mend_last_line(self.path / JOURNAL)
            storage.write(storage.join(self.states, TOKEN), self.token.encode())
            self._write_meta()
            self._journal = (self.path / JOURNAL).open("a", encoding="utf-8")
            if isinstance(where, str):
                self._upload = Upload(self.path, where, say)
        except OSError as error:
            raise UserError(f"can't write results to {where}: {storage.reason(error)}; name another --output") from None
        self._rows = {
            (event["trial_id"], event["epoch"]) for event in read_journal(self.path) if event["kind"] == "epoch"
        }

    @property
    def states(self) -> Place:
        """Where the trials' states are."""
        return storage.join(self.where, "states")

    @cached_property
    def token(self) -> str:
        """In a file of `states`: a node that does not find it there sees another folder."""
        return uuid.uuid4().hex

    def update_options(self, **options: Any) -> None:
        """Records what was decided of `options` once the machine was known."""
        self.meta["options"] = self.meta.get("options", {}) | options
        self._write_meta()

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
        self._append({"kind": "end", "trial_id": trial_id, "stop_reason": stop_reason, "error": redacted(error)})

    def finish(self, **meta: Any) -> Sweep:
        """Writes the tables and returns them.

        Raises:
            UserError: the folder, or object storage, does not take what is left; what is in the journal stays.
        """
        from mnist_tune.results.tables import tables  # here: a sweep starts sooner without pandas

        try:
            with self._journal:
                self._journal.flush()
                os.fsync(self._journal.fileno())
            self.meta |= meta
            sweep = tables(self.path, self.meta)
            storage.write(self.path / "trials.parquet", sweep.trials.to_parquet(index=False), sync=True)
            storage.write(self.path / "epochs.parquet", sweep.epochs.to_parquet(index=False), sync=True)
            self._write_meta()
            if self._upload:
                self._upload.close()
                shutil.rmtree(self.path, ignore_errors=True)
            self._tidy(sweep.trials)
        except OSError as error:
            raise self._cannot_write(error) from None
        finally:
            self._lock.release()
        return replace(sweep, path=self.where)

    def _tidy(self, trials: pd.DataFrame) -> None:
        """Removes what only a resumed sweep needs: states of trials that ended, Tune's own files."""
        ended = trials["trial_id"][~trials["stop_reason"].isin(UNFINISHED_REASONS)]
        unneeded = [storage.join(self.states, f"{trial_id}.npz") for trial_id in ended]
        with suppress(OSError), ThreadPoolExecutor(1 if isinstance(self.where, Path) else 16) as threads:
            list(threads.map(storage.remove, unneeded))
            self._remove_tunes_files()

    def _remove_tunes_files(self) -> None:
        """They are pickles: Tune must not find those of a former run, whoever wrote them."""
        storage.remove_folder(storage.join(self.where, ".ray"))

    def _write_meta(self) -> None:
        storage.write(self.path / "sweep.json", json.dumps(self.meta, indent=1).encode(), sync=True)

    def _append(self, event: dict[str, Any]) -> None:
        try:
            self._journal.write(json.dumps(event) + "\n")
            self._journal.flush()
        except OSError as error:
            self.failure = self._cannot_write(error)
            raise self.failure from None

    def _cannot_write(self, error: OSError) -> UserError:
        return UserError(f"can't write to {self.path}: {storage.reason(error)}; mend that, then --resume {self.where}")


def _refuse_links(path: Path) -> None:
    """Through a link in a folder that came from elsewhere a sweep would write anywhere."""
    found = [file for file in path.iterdir() if file.is_symlink()]
    if found:
        raise UserError(f"{found[0]} is a link, through which a sweep would write elsewhere; remove it")
