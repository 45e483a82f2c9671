"""Open the folder of a sweep again, to go on with it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

from mnist_tune import storage
from mnist_tune.data.dataset import Dataset
from mnist_tune.data.task_data import TaskData
from mnist_tune.data_spec import ARRAYS
from mnist_tune.errors import UserError
from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.judged import judge
from mnist_tune.machine import changed_versions
from mnist_tune.numbers import counted
from mnist_tune.own_code.loading import check_again
from mnist_tune.results.folder import fetched
from mnist_tune.results.journal import read_journal
from mnist_tune.results.meta import read_meta
from mnist_tune.results.signs import is_being_written, last_sign
from mnist_tune.results.sweep_meta import SweepKind, SweepMeta
from mnist_tune.results.writer import SweepWriter
from mnist_tune.storage import Place
from mnist_tune.trial import RETRIED, TrialConfig, retriable
from mnist_tune.tuning.checks import check_names, check_trials
from mnist_tune.tuning.opened import Opened, Wanted, plain_options
from mnist_tune.tuning.options import AUTO, SweepOptions
from mnist_tune.tuning.past import Past, holding_out
from mnist_tune.tuning.tasks import load_data


def open_again(
    where: Place,
    options: SweepOptions,
    wanted: Wanted,
    kind: SweepKind,
    data: Dataset | TaskData | None,
    templates: Sequence[TrialConfig],
    check: Callable[[TrialConfig], None],
) -> Opened:
    """Open the folder of a sweep that is resumed. The arguments are as in
    `open_sweep`."""
    say, path = options.say, fetched(where)
    # once it is fetched: what another process writes since refuses this one
    if isinstance(where, str):
        _note_writer(where, options.resume == AUTO, say)
    meta = read_meta(path)
    record = SweepMeta.of(meta)
    _refuse_other_kind(path, record.kind, kind)
    before = record.options
    if before.get("address") not in (None, options.cluster()):
        now_on = (
            f"the cluster at {options.cluster()}"
            if options.cluster()
            else "this machine"
        )
        hint = f"--address {shlex.quote(str(before['address']))}"
        say(f"note: on {now_on}; before, it ran on a Ray cluster: {hint}")
    check_again(record.code, where, say)
    how = "give it with --dataset or --data-dir, or from Python with SweepOptions(dataset=...)"
    if isinstance(options.dataset, str) and options.dataset == ARRAYS:
        raise UserError(f"{path} was trained on arrays from Python; {how}")
    # a search may have proposed none yet
    trained = read_journal(path).known_trials(meta) if options.task else {}
    dataset = data or load_data(options, [*trained.values()] or [TrialConfig()])
    if dataset.checksums != record.dataset["checksums"]:
        raise UserError(
            f"{path} was trained on other data ({record.dataset['name']}); {how}"
        )
    holdout = record.holdout
    for template in holding_out(holdout, templates):
        check(template)
    for package, version in changed_versions(record.environment).items():
        say(
            f"note: {package} is {version}; the last bits of the resumed trials may differ"
        )
    # it may not be reached, so before it is written that the sweep runs there
    if options.cluster():
        options.start_ray()
    with ExitStack() as held:
        writer = held.enter_context(
            SweepWriter(where, meta, judge, resume=True, say=say)
        )
        journal = read_journal(writer.path)
        known = journal.known_trials(meta)
        more = wanted(known, holdout)
        new = [trial for trial_id, trial in more.items() if trial_id not in known]
        check_names(new, options)
        rows = sum(trial.epochs for trial in (known | dict(more)).values())
        code = check_trials(new, dataset, options, rows, record.code)
        meta["code"] = [*record.code, *code]
        meta["trials"] |= {
            trial_id: trial.to_dict() for trial_id, trial in more.items()
        }
        # only now: what is refused must not be asked for again
        plain = plain_options(options, dataset, holdout).items()
        # One file: after a kill, either all is recorded that is asked for, or nothing.
        writer.update_options(
            **{
                name: value
                for name, value in plain
                if name in before or name == "address"
            }
        )
        failed = sorted(
            name for name, end in journal.ends.items() if end["stop_reason"] == "error"
        )
        if options.retry_errored and failed:
            writer.update_options(**{RETRIED: sorted({*record.retried, *failed})})
            for trial_id in failed:
                # so that it is resumed after another kill, too
                writer.end(trial_id, "interrupted")
                journal.ends[trial_id] = {"stop_reason": "interrupted"}
        past = Past.of(journal, meta)
        if more:
            asked_for = more.keys() & known.keys()
            longer, stopped = (
                len(asked_for & past.open.keys()),
                len(asked_for & past.ended.keys() - past.failed),
            )
            also = f"; {stopped} that were stopped early do not" * bool(stopped)
            say(
                f"{len(more) - len(asked_for)} trials are added, {longer} train for more epochs{also}"
            )
        if again := retriable(
            journal.ends[trial_id].get("error") for trial_id in past.failed
        ):
            say(
                f"{counted(again)} ended in an error; --retry-errored trains what failed again"
            )
        writer.last_epochs = {
            trial_id: past.histories.last_epoch(trial_id) for trial_id in past.trials
        }
        saved = writer.saved()
        _remove_states_without_rows(writer, past, saved & past.open.keys())
        # What was proposed but never recorded goes: other trials will get these ids.
        for trial_id in saved - past.trials.keys():
            storage.remove(writer.state(trial_id))
        held.pop_all()
    return Opened(options, writer, past, [dataset])


def _refuse_other_kind(path: Path, kind: SweepKind, asked: SweepKind) -> None:
    """Raise a `UserError` if a sweep of this kind can't be resumed as one that was
    asked for."""
    if kind is asked:
        return
    if asked is not SweepKind.SWEEP:
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
            taken = f"stop it first, or take it over with --resume {shlex.quote(where)}"
            raise UserError(
                f"a sweep on {host} is writing to {where}; wait for it, {taken}"
            )
        say(
            f"note: a sweep on {host} is writing to {where}; this one takes over, and that one ends"
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
            if state and state.row["epoch"] > past.histories.last_epoch(trial_id) + 1:
                storage.remove(writer.state(trial_id))

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(check, trials))
