"""Write the folder of a running sweep.

The folder holds `sweep.json` (the options, the environment and the trials), `journal.jsonl` (one line per event),
`states/` (the trials' saved states) and, once the sweep has ended, `trials.parquet` and `epochs.parquet`. After a kill
at any moment, `load_sweep` can read the folder.
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
from mnist_tune.results.claim import claimed
from mnist_tune.results.folder import JOURNAL, META, exists, is_as_fetched, locked, refuse_links, working_folder
from mnist_tune.results.journal import UNFINISHED_REASONS, Journal, mend_last_line, read_journal
from mnist_tune.results.sign_of_life import SignOfLife, refuse_another_sign
from mnist_tune.results.upload import Upload
from mnist_tune.storage import Place
from mnist_tune.trial import TrialConfig

if TYPE_CHECKING:
    import pandas as pd

    from mnist_tune.results.tables import Tables

TOKEN = "token"

KEPT_BYTES = 2**28
"""The most that the states of completed trials may take, together."""


def _size(file: Place) -> float:
    """Return the size of a state; infinite in object storage, where none is kept."""
    if not isinstance(file, Path):
        return float("inf")
    return file.stat().st_size if file.exists() else 0


class SweepWriter:
    """The only writer of a sweep's folder, which it keeps locked until its process ends.

    A sweep in object storage is written in a local folder, `path`, and uploaded from there. Only the states of the
    trials are written to object storage directly, by the processes that train them.

    Args:
        where: the folder, or the URI.
        meta: the content of `sweep.json`.
        resume: whether the sweep is there already.
        say: called with a line when uploads fail, and when they work again.
        seen: of a resumed sweep in object storage: the last sign of life of its former writer (`await_silence`).

    Raises:
        UserError: the folder can't be written, another process is writing it, or (without `resume`) it holds a sweep.
    """

    def __init__(
        self,
        where: Place,
        meta: dict[str, Any],
        resume: bool = False,
        say: Callable[[str], None] = lambda line: None,
        seen: dict[str, Any] | None = None,
    ) -> None:
        self.where, self.meta, self._upload = where, meta, None
        self.path = working_folder(where)
        self.failure: UserError | None = None
        try:
            if isinstance(where, str):
                self._sign = SignOfLife(where)
                with claimed(where) as check:
                    if resume:
                        refuse_another_sign(where, seen)
                    self._begin(resume)
                    check()
                    storage.write(storage.join(where, META), (self.path / META).read_bytes())
                    self._sign.give()
            else:
                self._begin(resume)
            self._journal = storage.open_to_append(self.path / JOURNAL)
            if isinstance(where, str):
                self._sign.renew()
                self._upload = Upload(self.path, where, self._sign, say, resume)
        except OSError as error:
            raise UserError(f"can't write results to {where}: {storage.reason(error)}; name another --output") from None
        self.journal: Journal | None = read_journal(self.path) if resume else None
        """What was recorded before a resume, until that takes it: it holds all rows."""
        self.last_epochs: dict[str, int] = {}
        """The epoch that each trial recorded last. A resumed sweep takes it from its past."""

    def _begin(self, resume: bool) -> None:
        """Lock the folder, remove what must not stay from before, and write the files that a sweep begins with."""
        if not resume and exists(self.where):
            raise UserError(
                f"{self.where} already holds a sweep; name another --output or resume with --resume {self.where}"
            )
        if not resume and self.saved():
            raise UserError(
                f"{self.states} has the states of a sweep whose {META} is gone; name another --output, or remove them"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        refuse_links(self.path, self.path / "states")
        self._lock = locked(self.path, self.where)
        if resume and isinstance(self.where, str) and not is_as_fetched(self.where, self.path):
            self._lock.release()
            raise UserError(f"another process has just written to {self.where}; try again")
        self._remove_tunes_files()
        if isinstance(self.where, Path):
            (self.path / "states").mkdir(exist_ok=True)
            for folder in (self.path, self.path / "states"):
                storage.remove_parts(folder)
        elif not resume:
            (self.path / JOURNAL).unlink(missing_ok=True)  # left by an earlier sweep
        mend_last_line(self.path / JOURNAL)
        storage.write(storage.join(self.states, TOKEN), self.token.encode())
        self._write_meta()

    @property
    def states(self) -> Place:
        """The folder of the trials' states."""
        return storage.join(self.where, "states")

    def state(self, trial_id: str) -> Place:
        """Return the file of a trial's saved state."""
        return storage.join(self.states, f"{trial_id}.npz")

    def saved(self) -> set[str]:
        """Return the trials that have a saved state."""
        names = storage.names(self.states)
        return {name.removesuffix(".npz") for name in names if name.endswith(".npz")}

    @cached_property
    def token(self) -> str:
        """A random text, also written to a file in `states`. A node that does not find it there sees another folder."""
        return uuid.uuid4().hex

    def update_options(self, **options: Any) -> None:
        """Record the options whose values depend on the machine."""
        self.meta["options"] = self.meta.get("options", {}) | options
        self._write_meta()

    def goes_on(self, at: str) -> None:
        """Record when trials of a resumed sweep begin to run again."""
        self.meta |= {"ended": None, "resumed": [*self.meta.get("resumed", []), at]}
        self._write_meta()

    def trial(self, trial_id: str, config: TrialConfig) -> None:
        """Record a trial that `sweep.json` lacks: proposed by a searcher, or changed by population based training."""
        self._record({"kind": "trial", "trial_id": trial_id, "config": config.to_dict()})

    def epoch(self, trial_id: str, row: Mapping[str, Any], repeated: bool) -> bool:
        """Record an epoch's row, and return whether it was recorded: rows that a resumed trial repeats only if lost."""
        if repeated and row["epoch"] <= self.last_epochs.get(trial_id, 0):
            return False
        self.last_epochs[trial_id] = row["epoch"]
        known = {name: value for name, value in row.items() if value is not None}
        self._append({"kind": "epoch", "trial_id": trial_id, **known})
        return True

    def end(self, trial_id: str, stop_reason: str, error: str = "") -> None:
        """Record that a trial ended, and why."""
        self._record({"kind": "end", "trial_id": trial_id, "stop_reason": stop_reason, "error": redacted(error)})

    def finish(self, **meta: Any) -> Tables:
        """Write the tables and return them; `meta` is added to `sweep.json`.

        Raises:
            UserError: the folder or the object storage can't be written. The journal keeps every event.
        """
        from mnist_tune.results.tables import tables  # imports pandas, which would delay the start of a sweep

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
            self._tidy(sweep.trials)
            if self._upload:  # others may go on from here
                self._sign.withdraw()
                shutil.rmtree(self.path, ignore_errors=True)
        except OSError as error:
            raise self._cannot_write(error) from None
        finally:
            self._lock.release()
        return replace(sweep, path=self.where)

    def _tidy(self, trials: pd.DataFrame) -> None:
        """Remove the states of trials that ended, and Tune's files. Those of completed trials stay, if they are small:
        a resume that asks for more epochs goes on from them."""
        files = {trial_id: self.state(trial_id) for trial_id in trials["trial_id"]}
        completed = set(trials["trial_id"][trials["stop_reason"] == "completed"])
        if sum(_size(files[trial_id]) for trial_id in completed) > KEPT_BYTES:
            completed = set()
        needed = completed | set(trials["trial_id"][trials["stop_reason"].isin(UNFINISHED_REASONS)])
        unneeded = [file for trial_id, file in files.items() if trial_id not in needed]
        with suppress(OSError), ThreadPoolExecutor(1 if isinstance(self.where, Path) else 16) as threads:
            list(threads.map(storage.remove, unneeded))
            self._remove_tunes_files()

    def _remove_tunes_files(self) -> None:
        """Tune's files are pickles. Tune must never load those of an earlier run, which anybody may have written."""
        storage.remove_folder(storage.join(self.where, ".ray"))

    def _write_meta(self) -> None:
        storage.write(self.path / META, json.dumps(self.meta, indent=1).encode(), sync=True)

    def _record(self, event: dict[str, Any]) -> None:
        self._append(event)

    def _append(self, event: dict[str, Any]) -> None:
        if self._upload and self._upload.refused:
            self.failure = self._upload.refused
            raise self.failure
        try:
            self._journal.write(json.dumps(event) + "\n")
            self._journal.flush()
        except OSError as error:
            self.failure = self._cannot_write(error)
            raise self.failure from None

    def _cannot_write(self, error: OSError) -> UserError:
        return UserError(f"can't write to {self.path}: {storage.reason(error)}; fix that, then --resume {self.where}")
