"""A sweep's folder, opened for a new sweep or for one that goes on: what can be refused is refused here."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from mnist_tune import storage
from mnist_tune.data.dataset import Dataset, load_dataset
from mnist_tune.errors import UserError, redacted
from mnist_tune.execution.checkpoint import saved_epochs
from mnist_tune.results.folder import fetched, new_folder
from mnist_tune.results.journal import OPEN_REASONS, known_trials, read_journal
from mnist_tune.results.meta import read_meta
from mnist_tune.results.provenance import changed_versions, describe_environment
from mnist_tune.results.upload import await_silence
from mnist_tune.results.writer import SweepWriter
from mnist_tune.runtime.ray_session import check_session, start_ray
from mnist_tune.storage import Place
from mnist_tune.terminal import announce
from mnist_tune.training.architectures import architecture
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.options import SweepOptions
from mnist_tune.tuning.stopping import finite_loss

KEPT = ("scheduler", "grace_period", "cpus_per_trial", "train_evaluation", "target")
"""Options on which a sweep's numbers, stops and labels depend."""

CHANGEABLE = ("address", "execution", "lanes", "trials_per_gpu", "max_concurrent", "time_budget")
"""Options of how a sweep runs, which may be given anew."""


def open_new(
    name: str, trials: dict[str, TrialConfig], options: SweepOptions, search: bool = False
) -> tuple[SweepWriter, list[Dataset]]:
    """Checks everything that can be checked, then creates the sweep's folder. The data set is in a list, to be
    taken out of it once Ray has it: the driver needs no copy."""
    check_session(options.address, options.dashboard)
    for trial in trials.values():
        architecture(trial.architecture)
    meta = {
        "name": name,
        "command": redacted(shlex.join(sys.argv)),
        "options": {option.name: _plain(getattr(options, option.name)) for option in fields(options)},
        "trials": {i: trial.to_dict() for i, trial in trials.items()},
        "search": search,
        "started": datetime.now(UTC).isoformat(),
        "ended": None,
    }
    dataset = load_dataset(options.dataset, options.data_dir, progress=not options.quiet)
    meta["dataset"] = _describe(dataset)
    _check_counts(list(trials.values()), dataset)
    if options.address or options.lanes:  # what may be refused, before anything is written
        start_ray(options.address, options.max_concurrent, options.dashboard)
    if options.lanes:
        from mnist_tune.runtime.device import find_device
        from mnist_tune.runtime.placement import lanes_that_fit

        lanes_that_fit(list(trials.values()), options.lanes, find_device(quiet=True))
    where = storage.place(options.output or new_folder(Path("results") / name, f"{datetime.now():%Y-%m-%d_%H-%M-%S}"))
    return SweepWriter(_absolute(where), meta | {"environment": describe_environment()}, say=_say(options)), [dataset]


def open_again(where: Place, options: SweepOptions, search: bool) -> tuple[SweepWriter, list[Dataset], SweepOptions]:
    """The folder of a sweep that goes on, its data, and the options that it goes on with."""
    where = _absolute(where)
    if isinstance(where, str):
        try:
            await_silence(where, _say(options))
        except OSError as error:
            raise UserError(f"can't read {where}: {storage.reason(error)}") from None
    path = fetched(where)
    if not (path / "sweep.json").exists():
        raise UserError(f"nothing to resume: {path} holds no sweep.json")
    meta = read_meta(path)
    if meta.get("search", False) != search:
        how = "run_search with SweepOptions(resume=...) and the same space, scheduler and searcher, from Python"
        raise UserError(f"{path} is {'no search' if search else f'a search; go on with {how}'}")
    before, asked = meta["dataset"], meta.get("options", {})
    options = as_before(options, asked)
    check_session(options.address, options.dashboard)
    dataset = load_dataset(before["name"], options.data_dir or _path(asked.get("data_dir")))
    if dataset.checksums != before["checksums"]:
        raise UserError(f"{path} was trained on other data ({before['name']}); give its folder with --data-dir")
    for name, version in changed_versions(meta).items():
        announce(f"note: {name} is {version}; trials that go on may differ in their last bits", options.quiet)
    writer = SweepWriter(where, meta | {"ended": None}, resume=True, say=_say(options))
    left, _, failed = left_and_over(writer)
    if options.retry_errored:
        for trial_id in sorted(failed):
            writer.end(trial_id, "interrupted")  # so that it goes on after another kill, too
    elif failed:
        announce(f"{len(failed)} trials ended in an error; --retry-errored trains them again", options.quiet)
    _forget_lost_epochs(writer, left.keys() | (failed if options.retry_errored else set()))
    return writer, [dataset], options


def _forget_lost_epochs(writer: SweepWriter, trials: Set[str]) -> None:
    """Removes the states of those trials that are further than the journal, whose last rows were lost with their
    driver's machine: such a trial trains anew, so that no epoch lacks its row. One epoch further is no loss: it is
    reported again."""
    events = read_journal(writer.path)
    recorded = {event["trial_id"]: event["epoch"] for event in events if event["kind"] == "epoch"}

    def check(trial_id: str) -> None:
        state = storage.join(writer.states, f"{trial_id}.npz")
        with suppress(UserError):  # a damaged state is its trial's to tell
            if saved_epochs(state) > recorded.get(trial_id, 0) + 1:
                storage.remove(state)

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(check, trials))


def left_and_over(
    writer: SweepWriter,
) -> tuple[dict[str, TrialConfig], dict[str, tuple[TrialConfig, Mapping[str, Any]]], set[str]]:
    """The trials that go on; those that had ended, with their last row, as searchers see it; those that ended in an
    error."""
    events = read_journal(writer.path)
    trials = known_trials(writer.meta, events)
    rows = {event["trial_id"]: event for event in events if event["kind"] == "epoch"}
    ends = {event["trial_id"]: event["stop_reason"] for event in events if event["kind"] == "end"}
    failed = {i for i, reason in ends.items() if reason == "error"}
    left = {i: trial for i, trial in trials.items() if ends.get(i, "interrupted") in OPEN_REASONS}
    over = trials.keys() - left.keys() - failed
    ended = {i: rows.get(i, {}) for i in trials if i in over}
    seen = {i: row | {"scheduler_loss": finite_loss(row.get("train_loss", math.inf))} for i, row in ended.items()}
    return left, {i: (trials[i], row) for i, row in seen.items()}, failed


def as_before(options: SweepOptions, asked: Mapping[str, Any]) -> SweepOptions:
    """The options that a resumed sweep runs with: as it ran, but for what is given anew."""
    default = SweepOptions()
    unsaid = [name for name in CHANGEABLE if getattr(options, name) == getattr(default, name)]
    return replace(options, **{name: asked[name] for name in (*KEPT, *unsaid) if name in asked})


def _describe(dataset: Dataset) -> dict[str, Any]:
    """What `sweep.json` says of a data set; labels follow from its counts (`mnist_tune.regimes.data_facts`)."""
    counts = {"label_counts": np.bincount(dataset.train_labels).tolist(), "test_images": len(dataset.test_labels)}
    return {"name": dataset.name, "note": dataset.note, "checksums": dataset.checksums, **counts}


def _check_counts(trials: Sequence[TrialConfig], dataset: Dataset) -> None:
    count = len(dataset.train_images)
    for trial in trials:
        if trial.holdout + trial.label_noise > count or trial.holdout >= count or trial.batch_size > count:
            raise UserError(
                f"{dataset.name} has {count} training images; batch_size={trial.batch_size}, "
                f"label_noise={trial.label_noise} and holdout={trial.holdout} don't fit"
            )


def _say(options: SweepOptions) -> Callable[[str], None]:
    return lambda line: announce(line, options.quiet)


def _absolute(where: Place) -> Place:
    return where.absolute() if isinstance(where, Path) else where


def _plain(value: Any) -> Any:
    return redacted(str(value)) if isinstance(value, (str, Path)) else value


def _path(value: str | None) -> Path | None:
    return None if value is None else Path(value)
