"""Open the folder of a sweep to resume it. Bad input is refused here, before anything is started."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from mnist_tune import storage
from mnist_tune.data.dataset import DATASETS, Dataset, load_dataset
from mnist_tune.errors import UserError
from mnist_tune.execution.checkpoint import saved_epochs
from mnist_tune.own_code.loading import check_again
from mnist_tune.results.folder import fetched
from mnist_tune.results.journal import OPEN_REASONS, Journal
from mnist_tune.results.meta import ARRAYS, read_meta
from mnist_tune.results.provenance import changed_versions
from mnist_tune.results.remote import await_silence
from mnist_tune.results.writer import SweepWriter
from mnist_tune.runtime.ray_session import check_session
from mnist_tune.storage import Place
from mnist_tune.terminal import announce
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.extension import CHANGEABLE, additions, extended
from mnist_tune.tuning.options import SweepOptions
from mnist_tune.tuning.plan import Finished
from mnist_tune.tuning.stopping import finite_loss

KEPT = (
    "scheduler",
    "grace_period",
    "cpus_per_trial",
    "train_evaluation",
    "sharpness",
    "sharpness_every",
    "sharpness_images",
    "target",
    "standardize",
    "train_images",
)
"""Options that a resumed sweep keeps: its numbers, stops and labels depend on them."""


def open_again(where: Place, options: SweepOptions, search: bool) -> tuple[SweepWriter, list[Dataset], SweepOptions]:
    """Open the folder of a sweep to resume it. Return its writer, its data (as in `open_new`) and its options."""
    where, say = storage.absolute(where), partial(announce, quiet=options.quiet)
    seen = None
    if isinstance(where, str):
        try:
            seen = await_silence(where, say)
        except OSError as error:
            raise UserError(f"can't read {where}: {storage.reason(error)}") from None
    path = fetched(where)
    if not (path / "sweep.json").exists():
        raise UserError(f"nothing to resume: {path} has no sweep.json")
    meta = read_meta(path)
    if meta.get("search", False) != search:
        how = "run_search with SweepOptions(resume=...) and the same space, scheduler and searcher, from Python"
        raise UserError(f"{path} is {'not a search' if search else f'a search; resume it by {how}'}")
    before, asked = meta["dataset"], meta.get("options", {})
    wanted = [] if search else _wanted(options, asked, where)
    options = as_before(options, asked)
    check_session(options.cluster(), options.dashboard)
    _hint_at_cluster(asked.get("address"), options.cluster(), say)
    check_again(meta.get("code", []), where, say)
    dataset = _same_data(before, options, asked, path)
    for name, version in changed_versions(meta).items():
        say(f"note: {name} is {version}; the last bits of the resumed trials may differ")
    meta["options"] = asked | {"address": options.cluster()}
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
    return writer, [dataset], options


def _hint_at_cluster(before: Any, now: str | None, say: Callable[[str], None]) -> None:
    if before and before != now:
        where = f"the cluster at {now}" if now else "this machine"
        say(f"note: on {where}; before, it ran on a Ray cluster: --address {shlex.quote(str(before))}")


def _wanted(options: SweepOptions, asked: Mapping[str, Any], where: Place) -> list[TrialConfig]:
    """Return the trials that a sweep is to have; none if the options do not make them, as those from Python."""
    options = extended(options, asked, where)
    known = {field.name for field in fields(options)} & asked.keys()
    if not hasattr(options, "trials") or not {"epochs", "learning_rates", "seeds"} & known:
        return []
    trials: list[TrialConfig] = options.trials()
    return trials


def _extend(writer: SweepWriter, wanted: Sequence[TrialConfig], say: Callable[[str], None]) -> None:
    """Record the trials that a resume adds, or that it trains for more epochs."""
    known = _journal(writer).known_trials(writer.meta)
    more = additions(known, wanted)
    for trial_id, trial in more.items():
        writer.trial(trial_id, trial)
    if more:
        names = ("epochs", "learning_rate", "seed")
        epochs, rates, seeds = (
            sorted({getattr(trial, name) for trial in {**known, **more}.values()}) for name in names
        )
        writer.update_options(epochs=max(epochs), learning_rates=rates, seeds=seeds)
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


def as_before(options: SweepOptions, asked: Mapping[str, Any]) -> SweepOptions:
    """Return the options of a resumed sweep: the recorded ones, except for `CHANGEABLE` ones that were given anew."""
    default = SweepOptions()
    unchanged = [name for name in CHANGEABLE if getattr(options, name) == getattr(default, name)]
    return replace(options, **{name: asked[name] for name in (*KEPT, *unchanged) if name in asked})


def _same_data(before: Mapping[str, Any], options: SweepOptions, asked: Mapping[str, Any], path: Path) -> Dataset:
    """Load the data of a resumed sweep: a built-in set by its name, the user's from where it was or is said to be."""
    data_dir, name = options.data_dir or asked.get("data_dir"), before["name"]
    how = "give its folder with --data-dir"
    if name not in DATASETS:
        name = asked.get("dataset") if options.dataset is None else options.dataset
        how = "give it with --dataset, or from Python with SweepOptions(dataset=...)"
        if name is None or name == ARRAYS:
            raise UserError(f"{path} was trained on arrays from Python; {how}")
    folder = None if data_dir is None else Path(data_dir)
    dataset = load_dataset(name, folder, True, options.standardize, options.train_images)
    if dataset.checksums != before["checksums"]:
        raise UserError(f"{path} was trained on other data ({before['name']}); {how}")
    return dataset
