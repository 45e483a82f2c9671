"""Write the folder of a running sweep.

The folder holds `sweep.json` (the options, the environment and the trials),
`journal.jsonl` (one line per event), `states/` (the trials' saved states) and, once the
sweep has ended, `trials.parquet` and `epochs.parquet`. After a kill at any moment,
`load_sweep` can read the folder.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_tune import object_storage, storage
from mnist_tune.epoch_row import EpochRow
from mnist_tune.errors import UserError, redacted
from mnist_tune.invocation import words
from mnist_tune.object_storage import ChangedError
from mnist_tune.results.folder import (
    JOURNAL,
    META,
    TABLES,
    exists,
    locked,
    refuse_links,
    working_folder,
)
from mnist_tune.results.journal import mend_last_line
from mnist_tune.results.remote import Remote
from mnist_tune.results.signs import WriterTurn
from mnist_tune.results.sweep_meta import SweepMeta
from mnist_tune.storage import Place
from mnist_tune.trial import COMPLETED_REASONS, UNFINISHED_REASONS, TrialConfig

if TYPE_CHECKING:
    import pandas as pd

    from mnist_tune.results.tables import Tables

    Judge = Callable[[Tables], tuple[Tables, Callable[[], list[str]]]]

TOKEN = "token"

KEPT_BYTES = 2**28
"""The most that the states of completed trials may take, together, unless those of the
best take more."""


class SweepWriter(AbstractContextManager["SweepWriter"]):
    """The only writer of a sweep's folder, which it owns: its lock and, in object
    storage, its upload and its signs of life. They end with `finish`, or where the
    context is left without it. Raises `UserError` if the folder can't be written,
    another process is writing it, or (without `resume`) it holds a sweep.

    A sweep in object storage is written in a local folder, `path`, and uploaded from
    there. Only the states of the trials are written to object storage directly, by the
    processes that train them. A sweep that is resumed there is taken over from its
    former writer. Lines about uploads go to `say`. What `sweep.json` refers to, such as
    own code, is in `files`, by their names in the folder.
    """

    def __init__(
        self,
        where: Place,
        meta: dict[str, Any],
        judge: Judge,
        resume: bool = False,
        say: Callable[[str], None] = lambda line: None,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        self.where = where
        self.meta = meta
        self._files = files or {}
        self.path = working_folder(where)
        self.failure: UserError | None = None
        self.token = uuid.uuid4().hex
        """Also written to a file in `states`. A node that does not find it there sees
        another folder."""
        self._remote: Remote | None = None
        self._unsynced = False
        self._released = threading.Event()
        self._say = say
        self._judge = judge
        self._turn: WriterTurn | None = None
        own: list[str] = []
        if isinstance(where, str):
            self._remote = Remote(self.path, where, self.token, say)
            # With the token, two writers' files differ, by which each knows its own.
            # Each writer's processes have their own folders, too: those of a writer
            # that was taken for dead may still write to theirs.
            meta |= {"writer": meta.get("writer", 0) + 1, "token": self.token}
            own = [str(meta["writer"])]
        else:  # it may be a copy of one in object storage
            meta.pop("writer", None)
        self.states = storage.join(where, "states", *own)
        """The folder of the trials' states."""
        self.tunes = storage.join(where, ".ray", *own)
        """The folder of Tune's own files."""
        with (
            ExitStack() as self._held,
            storage.attempt(f"write results to {where}", "; name another --output"),
        ):
            try:
                self._begin(resume)
            except ChangedError:
                raise UserError(
                    f"another process has just written to {where}; try again"
                ) from None
            self.last_epochs: dict[str, int] = {}
            """The epoch that each trial recorded last. A resumed sweep takes it from
            its past."""
            self._held = self._held.pop_all()

    def __exit__(self, *exception: Any) -> None:
        self.release()

    def release(self) -> None:
        """Write nothing more, and let others go on from here, however the sweep ended.
        Rows stay where they are."""
        with suppress(OSError):  # what could not be written has been said
            self._held.close()

    def _begin(self, resume: bool) -> None:
        """Lock the folder, remove what must not stay from before, and write the files
        that a sweep begins with."""
        if not resume:
            self._refuse_older()
        self.path.mkdir(parents=True, exist_ok=True)
        for parent in self.path.parents:
            storage.sync_folder(parent)
        refuse_links(self.path, self.path / "states", self.path / "code")
        self._held.enter_context(locked(self.path, self.where))
        if self._remote:
            self._held.callback(self._remote.withdraw)
            if resume:
                self._remote.look()
        else:
            self._turn = WriterTurn(self.path, self._say)
            self._held.callback(self._turn.end)
            (self.path / "states").mkdir(exist_ok=True)
            for folder in (self.path, self.path / "states"):
                storage.remove_parts(folder)
        if not resume:
            # left by a sweep whose `sweep.json` is gone
            for name in (JOURNAL, *TABLES):
                (self.path / name).unlink(missing_ok=True)
        self._open_journal()
        self._held.callback(lambda: self._journal.close())
        self.keep(self._files)
        self._write_meta()
        if self._remote:
            self._take_over(self._remote, resume)
        self._remove_tunes_files(storage.join(self.where, ".ray"))
        storage.write(storage.join(self.states, TOKEN), self.token.encode())
        if self._remote:
            self._remote.start()
        thread = threading.Thread(target=self._sync_on, daemon=True)
        thread.start()
        self._held.callback(thread.join)
        self._held.callback(self._released.set)

    def _refuse_older(self) -> None:
        """Raise a `UserError` if the folder of a new sweep holds one."""
        if exists(self.where):
            problem = f"{self.where} already holds a sweep; name another --output"
            raise UserError(f"{problem} or resume with {words('resume', self.where)}")
        if any(name.endswith(".npz") for name in self._all_states()):
            states = storage.join(self.where, "states")
            raise UserError(
                f"{states} has the states of a sweep whose {META} is gone; name another --output, or remove them"
            )

    def _sync_on(self) -> None:
        while not self._released.wait(storage.SYNC_S):
            try:
                self._sync()
                if self._turn:
                    self._turn.go_on()
            except UserError as error:
                self.failure = error
                return
            except OSError as error:
                # The disk has lost rows, which a later sync would not bring back.
                self.failure = self._cannot_write(error)
                return

    def _sync(self) -> None:
        """Put the rows, and the names of the states, on the disk. Raises OSError."""
        if self._unsynced:
            self._unsynced = False
            os.fsync(self._journal.fileno())
            if isinstance(self.states, Path):
                storage.sync_folder(self.states)

    def _open_journal(self) -> None:
        mend_last_line(self.path / JOURNAL)
        self._journal = storage.open_to_append(self.path / JOURNAL)

    def _take_over(self, remote: Remote, resume: bool) -> None:
        """Become the writer, take the states of a former one, and change each file that
        it may write next. Raises OSError, ChangedError.

        The former writer may still run. So the states come first: none is ahead of the
        rows then.
        """
        remote.claim()
        former: list[str] = []
        if resume:
            former = self._take_states()
            # those of before are none of a sweep that runs
            for name in TABLES:
                self._write(name, f"writer {self.meta['writer']}".encode())
        else:
            remote.clear()

        def begin() -> None:
            self._journal.close()  # it may have been replaced
            self._open_journal()
            # By the token, the journal differs from one that another sweep has left in
            # the local folder.
            number = self.meta["writer"]
            self._append({"kind": "writer", "number": number, "token": self.token})

        remote.take_over(begin)
        object_storage.remove(*former)

    def _take_states(self) -> list[str]:
        """Copy the newest state of each trial that former writers saved, and return all
        of theirs."""
        number = self.meta["writer"]
        root = storage.join(str(self.where), "states")
        # Each former writer has a folder, by its number.
        former: list[tuple[int, str]] = []
        for name in self._all_states():
            folder, _, _ = name.partition("/")
            if folder.isdecimal() and int(folder) < number:
                former.append((int(folder), name))
        newest: dict[str, str] = {}
        for _, name in sorted(former):
            _, _, file = name.rpartition("/")
            newest[file] = name
        sources = [storage.join(root, name) for name in newest.values()]
        targets = [storage.join(root, str(number), file) for file in newest]
        with ThreadPoolExecutor(16) as threads:
            list(threads.map(object_storage.copy, sources, targets))
        return [storage.join(root, name) for _, name in former]

    def _all_states(self) -> Sequence[str]:
        """Return the names of all files in the folder of states and, in object storage,
        in those below."""
        folder = storage.join(self.where, "states")
        if isinstance(folder, Path):
            return list(storage.sizes(folder))
        return object_storage.below(folder)

    @property
    def record(self) -> SweepMeta:
        """What `sweep.json` records, with types."""
        return SweepMeta.of(self.meta)

    def state(self, trial_id: str) -> Place:
        """Return the file of a trial's saved state."""
        return storage.join(self.states, f"{trial_id}.npz")

    def saved(self) -> set[str]:
        """Return the trials that have a saved state."""
        return {
            name.removesuffix(".npz")
            for name in storage.sizes(self.states)
            if name.endswith(".npz")
        }

    def keep(self, files: Mapping[str, bytes]) -> None:
        """Write files that `sweep.json` will refer to, by their names in the folder."""
        with storage.attempt(f"write results to {self.where}"):
            for name, content in files.items():
                place = storage.join(self.where, *name.split("/"))
                if isinstance(place, Path):
                    place.parent.mkdir(exist_ok=True)
                storage.write(place, content, sync=True)

    def update_options(self, **options: Any) -> None:
        """Record the options whose values depend on the machine."""
        self.meta["options"] = self.meta.get("options", {}) | options
        self._write_meta()

    def record_resumption(self, at: str) -> None:
        """Record when trials of a resumed sweep begin to run again."""
        times = [*self.meta.get("resumed", []), at]
        self.meta |= {"ended": None, "resumed": times}
        self._write_meta()

    def trial(self, trial_id: str, config: TrialConfig, changed: bool = False) -> None:
        """Record a trial that `sweep.json` lacks: proposed by a searcher, or changed by
        population based training."""
        self._append(
            {
                "kind": "trial",
                "trial_id": trial_id,
                "config": config.to_dict(),
                "changed": changed,
            }
        )

    def epoch(self, trial_id: str, row: EpochRow, repeated: bool) -> bool:
        """Record an epoch's row, and return whether it was recorded: rows that a
        resumed trial repeats only if lost."""
        if repeated and row.epoch <= self.last_epochs.get(trial_id, 0):
            return False
        self.last_epochs[trial_id] = row.epoch
        self._append({"kind": "epoch", "trial_id": trial_id, **row.stored()})
        return True

    def end(
        self, trial_id: str, stop_reason: str, error: str = "", error_kind: str = ""
    ) -> None:
        """Record that a trial ended, and why; `error_kind` is an `ErrorKind`, or
        empty."""
        self._append(
            {
                "kind": "end",
                "trial_id": trial_id,
                "stop_reason": stop_reason,
                "error": redacted(error),
                "error_kind": str(error_kind),
            }
        )

    def finish(self, **meta: Any) -> Tables:
        """Write the tables and return them; `meta` is added to `sweep.json`. Raises
        `UserError` if they can't be written. The journal keeps every event."""
        # imports pandas, which would delay the start of a sweep
        from mnist_tune.results.tables import journal_tables

        try:
            if self.failure:
                raise self.failure
            self._journal.flush()
            self._sync()
            self.meta |= meta
            sweep, leading = self._judge(journal_tables(self.path, self.meta))
            for name, table in zip(TABLES, (sweep.trials, sweep.epochs), strict=True):
                self._write(name, table.to_parquet(index=False))
            self._write_meta(final=True)
            if self._remote:
                self._remote.close()
            self._tidy(sweep.trials, leading)
            if self._remote:
                self._remote.withdraw()  # others may go on from here
                shutil.rmtree(self.path, ignore_errors=True)
        except OSError as error:
            raise self._cannot_write(error) from None
        finally:
            self.release()
        return replace(sweep, path=self.where)

    def _tidy(
        self, trials: pd.DataFrame, leading_trials: Callable[[], list[str]]
    ) -> None:
        """Remove Tune's files, and the states that nobody needs. Those of trials that
        have not ended stay, and those of the best. Those of other completed trials stay
        while all together are small: a resume that asks for more epochs goes on from
        them."""
        thread_count = 16  # object storage answers slowly
        if isinstance(self.where, Path):
            thread_count = 1
        needed = set[str]()
        with suppress(OSError), ThreadPoolExecutor(thread_count) as threads:
            sizes = storage.sizes(self.states)
            room = KEPT_BYTES
            leading = leading_trials()
            reasons = trials["stop_reason"]
            completed = trials["trial_id"][reasons.isin(COMPLETED_REASONS)]
            for trial_id in dict.fromkeys([*leading, *completed]):
                for name in _names(trial_id):
                    room -= sizes.get(name, 0)
                if room >= 0 or trial_id in leading:
                    needed.add(trial_id)
            ended = set(trials["trial_id"][~reasons.isin(UNFINISHED_REASONS)])
            states = list[Place]()
            for trial_id in ended - needed:
                for name in sizes.keys() & _names(trial_id):
                    states.append(storage.join(self.states, name))
            list(threads.map(storage.remove, states))
            self._remove_tunes_files(self.tunes)

    def _remove_tunes_files(self, folder: Place) -> None:
        """Tune's files are pickles. Tune must never load those of an earlier run, which
        anybody may have written."""
        if isinstance(folder, Path):
            shutil.rmtree(folder, ignore_errors=True)
        else:
            object_storage.remove_tunes(folder)

    def _write_meta(self, final: bool = False) -> None:
        """Write `sweep.json`. In object storage, a resumed sweep has not ended: its
        tables are none any more."""
        content = self.meta
        if self._remote and not final:
            content = self.meta | {"ended": None}
        self._write(META, _in_lines(content).encode())

    def _write(self, name: str, content: bytes) -> None:
        storage.write(self.path / name, content, sync=True)
        if self._remote:
            self._remote.files[name] = content

    def _append(self, event: dict[str, Any]) -> None:
        if self._remote and self._remote.refused:
            self.failure = self._remote.refused
        if self.failure:
            raise self.failure
        try:
            self._journal.write(json.dumps(event) + "\n")
            self._journal.flush()
            self._unsynced = True
        except OSError as error:
            self.failure = self._cannot_write(error)
            raise self.failure from None

    def _cannot_write(self, error: OSError) -> UserError:
        why = storage.reason(error)
        hint = f"fix that, then {words('resume', self.where)}"
        return UserError(f"can't write to {self.path}: {why}; {hint}")


def _names(trial_id: str) -> set[str]:
    """Return the names of the files with a trial's state and its best parameters."""
    return {f"{trial_id}.npz", trial_id + storage.BEST}


def _in_lines(values: Any, depth: int = 2) -> str:
    """Return JSON with a line for each entry of the outer mappings, so that a trial has
    one. With `indent=`, 10,000 trials would take four times as long."""
    if depth == 0 or not isinstance(values, dict) or not values:
        return json.dumps(values)
    lines = []
    for name, value in values.items():
        lines.append(f"{json.dumps(name)}: {_in_lines(value, depth - 1)}")
    return "{\n" + ",\n".join(lines) + "\n}"
