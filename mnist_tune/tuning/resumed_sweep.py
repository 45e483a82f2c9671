"""Open the folder of a sweep to resume it. Bad input is refused here, before anything is started."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from mnist_tune import storage
from mnist_tune.data.dataset import Dataset, load_dataset
from mnist_tune.data_spec import ARRAYS
from mnist_tune.errors import UserError
from mnist_tune.execution.checkpoint import saved_epochs
from mnist_tune.own_code.loading import check_again
from mnist_tune.results.folder import fetched
from mnist_tune.results.journal import OPEN_REASONS, Journal
from mnist_tune.results.meta import read_meta
from mnist_tune.results.provenance import changed_versions
from mnist_tune.results.sign_of_life import await_silence
from mnist_tune.results.writer import SweepWriter
from mnist_tune.runtime.ray_session import check_session
from mnist_tune.storage import Place
from mnist_tune.terminal import announce
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.new_sweep import plain
from mnist_tune.tuning.options import SweepOptions
from mnist_tune.tuning.plan import Finished
from mnist_tune.tuning.stopping import finite_loss
from mnist_tune.tuning.wanted import additions, trials_of


def open_again(
    where: Place, options: SweepOptions, search: bool, trials: Sequence[TrialConfig] = ()
) -> tuple[SweepWriter, list[Dataset]]:
    """Open the folder of a sweep to resume it. Return its writer and its data, as in `open_new`.

    `options` are those of `wanted.resumed`. The sweep gets what these make of trials, and `trials`, as far as it lacks
    them.
    """
    where, say = storage.absolute(where), partial(announce, quiet=options.quiet)
    seen = None
    if isinstance(where, str):
        try:
            seen = await_silence(where, say)
        except OSError as error:
            raise UserError(f"can't read {where}: {storage.reason(error)}") from None
    path = fetched(where)
    meta = read_meta(path)
    if meta.get("search", False) != search:
        how = "run_search with resume=... and the same space, scheduler and searcher, from Python"
        raise UserError(f"{path} is {'not a search' if search else f'a search; resume it by {how}'}")
    asked = meta.get("options", {})
    check_session(options.cluster(), options.dashboard)
    _hint_at_cluster(asked.get("address"), options.cluster(), say)
    check_again(meta.get("code", []), where, say)
    dataset = _same_data(meta["dataset"], options, asked, path)
    for name, version in changed_versions(meta).items():
        say(f"note: {name} is {version}; the last bits of the resumed trials may differ")
    wanted = [*trials_of(options, asked), *trials]
    now = options.values() | {"address": options.cluster(), "dataset": dataset.source}
    meta["options"] = asked | {name: plain(value) for name, value in now.items() if name in asked}
    writer = SweepWriter(where, meta, resume=True, say=say, seen=seen)
    _extend(writer, wanted, say)
    left, over, failed = left_and_over(writer)
    if options.retry_errored:
        for trial_id in sorted(failed):
            writer.end(trial_id, "interrupted")  # so that it is resumed after another kill, too
    elif failed:
        say(f"{len(failed)} trials ended in an error; --retry-errored trains them again")
    saved = writer.saved()
    _remove_states_without_rows(writer, saved & (left.keys() | (failed.keys() if options.retry_errored else set())))
    # What was proposed but never recorded goes: other trials will get these ids.
    for trial_id in saved - left.keys() - over.keys() - failed.keys():
        storage.remove(writer.state(trial_id))
    return writer, [dataset]


def _hint_at_cluster(before: Any, now: str | None, say: Callable[[str], None]) -> None:
    if before and before != now:
        where = f"the cluster at {now}" if now else "this machine"
        say(f"note: on {where}; before, it ran on a Ray cluster: --address {shlex.quote(str(before))}")


def _extend(writer: SweepWriter, wanted: Sequence[TrialConfig], say: Callable[[str], None]) -> None:
    """Record the trials that a resume adds, or that it trains for more epochs."""
    known = _journal(writer).known_trials(writer.meta)
    more = additions(known, wanted)
    for trial_id, trial in more.items():
        writer.trial(trial_id, trial)
    if more:
        longer = len(more.keys() & known.keys())
        say(f"{len(more) - longer} trials are added, {longer} train for more epochs")


def _remove_states_without_rows(writer: SweepWriter, trials: Set[str]) -> None:
    """Remove saved states that are more than one epoch ahead of the journal, so that every epoch gets its row.

    The rows in between were lost with the driver's machine, so the trial trains again from its first epoch. If the
    state is one epoch ahead, the trial itself reports the missing row.
    """
    recorded = _journal(writer).last_epochs()

    def check(trial_id: str) -> None:
        state = writer.state(trial_id)
        with suppress(UserError):  # the trial itself reports a damaged state
            if saved_epochs(state) > recorded.get(trial_id, 0) + 1:
                storage.remove(state)

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(check, trials))


def left_and_over(writer: SweepWriter) -> tuple[dict[str, TrialConfig], dict[str, Finished], dict[str, Finished]]:
    """Return the trials to resume, those that have ended, and those that failed, with their last rows for searchers."""
    journal = _journal(writer)
    rows = journal.last_rows()
    ends = {trial_id: end["stop_reason"] for trial_id, end in journal.ends.items()}
    left: dict[str, TrialConfig] = {}
    over: dict[str, Finished] = {}
    failed: dict[str, Finished] = {}
    for i, trial in journal.known_trials(writer.meta).items():
        recorded = rows[i]["epoch"] if i in rows else 0  # 0: its only row is a damaged line
        asked_for_more = ends.get(i) == "completed" and recorded < trial.epochs
        if asked_for_more or ends.get(i, "interrupted") in OPEN_REASONS:
            left[i] = trial
            continue
        row = rows.get(i, {}) | {"stop_reason": ends[i]}
        row["scheduler_loss"] = finite_loss(row.get("train_loss", math.inf))
        (failed if ends[i] == "error" else over)[i] = trial, row
    return left, over, failed


def _journal(writer: SweepWriter) -> Journal:
    assert writer.journal, "the sweep is not resumed, or its trials have started"
    return writer.journal


def _same_data(before: Mapping[str, Any], options: SweepOptions, asked: Mapping[str, Any], path: Path) -> Dataset:
    """Load the data of a resumed sweep from where they were or are said to be now. Checksums say that they are it."""
    how = "give it with --dataset or --data-dir, or from Python with SweepOptions(dataset=...)"
    name, folder = options.dataset, options.data_dir
    if "dataset" not in options.given:
        name, folder = asked.get("dataset"), folder or asked.get("data_dir")
        if name == ARRAYS:
            raise UserError(f"{path} was trained on arrays from Python; {how}")
    elif "data_dir" not in options.given:
        folder = None
    dataset = load_dataset(name, folder and Path(folder), True, options.standardize, options.train_images)
    if dataset.checksums != before["checksums"]:
        raise UserError(f"{path} was trained on other data ({before['name']}); {how}")
    return dataset
