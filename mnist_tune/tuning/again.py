"""Open the folder of a sweep again, to go on with it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from mnist_tune import storage
from mnist_tune.data.dataset import Dataset
from mnist_tune.data.task_data import TaskData
from mnist_tune.data_spec import ARRAYS
from mnist_tune.errors import UserError
from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.judged import judge
from mnist_tune.machine import changed_versions
from mnist_tune.numbers import counted
from mnist_tune.own_code.loading import names_in, refuse_unloaded, sources
from mnist_tune.own_code.recorded import files_of, refuse_other_calls, sign
from mnist_tune.results.folder import fetched
from mnist_tune.results.journal import Journal, read_journal
from mnist_tune.results.meta import read_meta
from mnist_tune.results.signs import is_being_written, last_sign
from mnist_tune.results.sweep_meta import SweepKind, SweepMeta
from mnist_tune.results.writer import SweepWriter
from mnist_tune.storage import Place
from mnist_tune.terminal import note
from mnist_tune.trial import RETRIED, TrialConfig, retriable
from mnist_tune.tuning.checks import check_names, check_trials
from mnist_tune.tuning.opened import Opened, Wanted, plain_options
from mnist_tune.tuning.options import AUTO, SweepOptions
from mnist_tune.tuning.past import Past, holding_out
from mnist_tune.tuning.tasks import GIVE_DATA, load_data, refuse_other_data


def open_again(
    where: Place,
    options: SweepOptions,
    lacking: Wanted,
    kind: SweepKind,
    data: Dataset | TaskData | None,
    templates: Sequence[TrialConfig],
    check: Callable[[TrialConfig], None],
) -> Opened:
    """Open the folder of a sweep that is resumed. The arguments are as in
    `open_sweep`."""
    path = fetched(where)
    # once it is fetched: what another process writes since refuses this one
    if isinstance(where, str):
        _note_writer(where, options.resume == AUTO, options.say)
    meta = read_meta(path)
    record = SweepMeta.of(meta)
    _refuse_other_kind(path, record.kind, kind)
    _note_machine(record, options)
    _refuse_code(record, where, options, meta["trials"].values())
    dataset = _same_data(path, meta, options, data)
    for template in holding_out(record.holdout, templates):
        check(template)
    for package, version in changed_versions(record.environment).items():
        options.say(
            note(
                f"{package} is {version}; the last bits of the resumed trials may differ"
            )
        )
    # it may not be reached, so before it is written that the sweep runs there
    if options.cluster():
        options.start_ray()
    with ExitStack() as ownership:
        writer = ownership.enter_context(
            SweepWriter(where, meta, judge, resume=True, say=options.say)
        )
        journal = read_journal(writer.path, record.dataset.get("scores", ()))
        before = journal.known_trials(meta)
        _refuse_code(record, where, options, before.values())
        additions = {
            trial_id: trial.reporting(dataset.spec.train_images, options.report_every)
            for trial_id, trial in lacking(before, record.holdout).items()
        }
        _add(writer, before, additions, dataset, options)
        if options.retry_errored:
            _open_failed(writer, journal)
        past = Past.of(journal, meta)
        if additions:
            options.say(_what_is_added(past, before, additions))
        _note_failed(journal, past, options.say)
        _match_states(writer, past)
        # It is this process's own from here on: see `Opened.owned`.
        ownership.pop_all()
    return Opened(options, writer, past, dataset)


def _refuse_code(
    record: SweepMeta, where: Place, options: SweepOptions, trials: Iterable[Any]
) -> None:
    """Raise a `UserError` if trials of the folder call code that is not loaded, or in
    another way than the user has signed."""
    # A search may have proposed nothing yet.
    recorded = [{code["flag"]: code["name"]} for code in record.code]
    calls = [options, *trials]
    refuse_other_calls(record.own_code, where, calls, options.trust_code)
    refuse_unloaded(where, record.code, *recorded, *calls)


def _note_machine(record: SweepMeta, options: SweepOptions) -> None:
    """Say where the sweep goes on, if it ran on another cluster before."""
    cluster = options.cluster()
    address = record.options.get("address")
    if address in (None, cluster):
        return
    machine = "this machine"
    if cluster:
        machine = f"the cluster at {cluster}"
    hint = f"--address {shlex.quote(str(address))}"
    options.say(note(f"on {machine}; before, it ran on a Ray cluster: {hint}"))


def _same_data(
    path: Path,
    meta: dict[str, Any],
    options: SweepOptions,
    data: Dataset | TaskData | None,
) -> Dataset | TaskData:
    """Return the data of the sweep, which are loaded unless they are given. Raises
    `UserError` if these are others than those that it was trained on."""
    if isinstance(options.dataset, str) and options.dataset == ARRAYS:
        raise UserError(f"{path} was trained on arrays from Python; {GIVE_DATA}")
    if data is None:
        trials: list[TrialConfig] = []
        if options.own:
            trials = list(read_journal(path).known_trials(meta).values())
        # a search may have proposed none yet
        data = load_data(options, trials or [TrialConfig()])
    refuse_other_data(data, path, SweepMeta.of(meta))
    return data


def _add(
    writer: SweepWriter,
    before: Mapping[str, TrialConfig],
    additions: Mapping[str, TrialConfig],
    dataset: Dataset | TaskData,
    options: SweepOptions,
) -> None:
    """Record the trials that a resume adds or trains longer, and its options. Raises
    `UserError` if they can't train."""
    record = writer.record
    new = [trial for trial_id, trial in additions.items() if trial_id not in before]
    check_names(new, options)
    trials = dict(before) | dict(additions)
    check_trials(new, dataset, options, record.code)
    # A search may propose later what no trial has named so far.
    names = [{code["flag"]: code["name"]} for code in record.code]
    names += [trial.named(dataset.spec.flag) for trial in trials.values()]
    meta = writer.meta
    meta["code"] = sources(names_in(*names))
    writer.keep(files_of(meta["code"]))
    sign(meta, [options, *trials.values()], options.say)
    for trial_id, trial in additions.items():
        meta["trials"][trial_id] = trial.to_dict()
    # Only now: what is refused must not be asked for again. And in one file: after a
    # kill, either all is recorded that is asked for, or nothing.
    values = plain_options(options, dataset, record.holdout)
    recorded = record.options.keys() | {"address"}
    changed = {name: value for name, value in values.items() if name in recorded}
    writer.update_options(**changed)


def _open_failed(writer: SweepWriter, journal: Journal) -> None:
    """Have the trials train again that ended in an error."""
    failed = [
        trial_id
        for trial_id, end in journal.ends.items()
        if end["stop_reason"] == "error"
    ]
    if not failed:
        return
    again = sorted({*writer.record.retried, *failed})
    writer.update_options(**{RETRIED: again})
    for trial_id in sorted(failed):
        # so that it is resumed after another kill, too
        writer.end(trial_id, "interrupted")
        journal.ends[trial_id] = {"stop_reason": "interrupted"}


def _what_is_added(
    past: Past, before: Mapping[str, TrialConfig], additions: Mapping[str, TrialConfig]
) -> str:
    """Return how many trials a resume adds, and how many it trains for more epochs."""
    longer = additions.keys() & before.keys()
    go_on = len(longer & past.open.keys())
    stopped = len(longer & past.ended.keys() - past.failed)
    added = len(additions) - len(longer)
    line = f"{added} trials are added, {go_on} train for more epochs"
    if stopped:
        line += f"; {stopped} that were stopped early do not"
    return line


def _note_failed(journal: Journal, past: Past, say: Callable[[str], None]) -> None:
    """Say how many trials failed that may do better if they are trained again."""
    kinds = [journal.ends[trial_id].get("error_kind") for trial_id in past.failed]
    count = retriable(kinds)
    if count:
        say(
            f"{counted(count)} ended in an error; --retry-errored trains what failed again"
        )


def _match_states(writer: SweepWriter, past: Past) -> None:
    """Have saved states and recorded rows fit each other."""
    for trial_id in past.trials:
        writer.last_epochs[trial_id] = past.histories.last_epoch(trial_id)
    saved = writer.saved()
    _remove_states_without_rows(writer, past, saved & past.open.keys())
    # What was proposed but never recorded goes: other trials will get these ids.
    for trial_id in saved - past.trials.keys():
        storage.remove(writer.state(trial_id))


def _refuse_other_kind(path: Path, kind: SweepKind, resumed_as: SweepKind) -> None:
    """Raise a `UserError` if a sweep of this kind can't be resumed as one of
    another."""
    if kind is resumed_as:
        return
    if resumed_as is not SweepKind.SWEEP:
        raise UserError(f"{path} is not a search")
    how = "run_search with resume=... and the same space, scheduler and searcher, from Python"
    raise UserError(f"{path} is a search; resume it by {how}")


def _note_writer(where: str, auto: bool, say: Callable[[str], None]) -> None:
    """Say that a sweep has a writer, which loses it to a resume that names this place.
    `--resume auto` is refused, else two launchers would take one sweep from each other
    for ever."""
    with storage.attempt(f"read {where}"):
        writer = last_sign(where).writer
    if writer and is_being_written(where):
        host = writer["host"]
        if auto:
            takeover = f"--resume {shlex.quote(where)}"
            raise UserError(
                f"a sweep on {host} is writing to {where}; wait for it, stop it first, or take it over with {takeover}"
            )
        say(
            note(
                f"a sweep on {host} is writing to {where}; this one takes over, and that one ends"
            )
        )


def _remove_states_without_rows(
    writer: SweepWriter, past: Past, trials: Set[str]
) -> None:
    """Remove saved states that are more than one epoch ahead of the journal, so that
    every epoch gets its row.

    The rows in between were lost with the driver's machine, so the trial trains again
    from its first epoch. If the state is one epoch ahead, the trial itself reports the
    missing row.
    """

    def check(trial_id: str) -> None:
        with suppress(UserError):  # the trial itself reports a damaged state
            state = Checkpoint.load(writer.state(trial_id))
            if state and state.row.epoch > past.histories.last_epoch(trial_id) + 1:
                storage.remove(writer.state(trial_id))

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(check, trials))
