"""Open the folder of a sweep, a new one or one to resume. Bad input is refused here,
before anything is started."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mnist_tune import storage
from mnist_tune.cli import OPENED
from mnist_tune.columns import OWN_SCORE
from mnist_tune.continuation import resume_command
from mnist_tune.data.dataset import Dataset, check_counts
from mnist_tune.data.holdout import default_holdout
from mnist_tune.data.task_data import TaskData
from mnist_tune.data_spec import ARRAYS, TaskSpec
from mnist_tune.errors import UserError, redacted
from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.judged import judge
from mnist_tune.machine import changed_versions, describe_environment
from mnist_tune.numbers import counted
from mnist_tune.own_code.loading import check_again, names_in, sources
from mnist_tune.results.folder import fetched, new_folder
from mnist_tune.results.journal import read_journal
from mnist_tune.results.meta import read_meta
from mnist_tune.results.signs import is_being_written, last_sign
from mnist_tune.results.sweep_meta import SweepKind, SweepMeta
from mnist_tune.results.tables import MOST_ROWS
from mnist_tune.results.writer import SweepWriter
from mnist_tune.runtime.ray_session import check_session
from mnist_tune.storage import Place
from mnist_tune.training.architectures import architecture, kind_of
from mnist_tune.training.optimizers import check_optimizer
from mnist_tune.trial import RETRIED, TrialConfig, closest, retriable, small_last_batch
from mnist_tune.tuning.options import AUTO, SweepOptions
from mnist_tune.tuning.past import Past, holding_out
from mnist_tune.tuning.tasks import check_networks, load_data

HELD_OUT = 6
"""One of so many training images is held out by searches and decisions, where they are
given no number. They compare settings that lie closer to each other than those of a
sweep."""


Wanted = Callable[[Mapping[str, TrialConfig], int | None], Mapping[str, TrialConfig]]
"""Returns the trials that a sweep lacks, by id, given those that are known, and how
many examples are held out by those that do not say how many; None before the data are
loaded."""


@dataclass
class Opened:
    """A sweep whose folder this process owns, ready to run."""

    options: Any
    """How it is run: a `SweepOptions`."""
    writer: SweepWriter
    past: Past
    """What it did before it was resumed. Its trials are open if it is new."""
    data: list[Any]
    """The data set, in a list: who hands it to Ray pops it, as the driver needs no
    copy."""

    def __post_init__(self) -> None:
        OPENED.append(resume_command(self.writer.record, self.writer.where))

    @property
    def holdout(self) -> int:
        """How many training examples are held out by trials that do not say how
        many."""
        return self.writer.record.holdout


def open_sweep(
    name: str,
    options: SweepOptions,
    wanted: Wanted = lambda known, holdout: {},
    kind: SweepKind = SweepKind.SWEEP,
    templates: Sequence[TrialConfig] = (),
    recorded: Mapping[str, Any] | None = None,
    data: Dataset | TaskData | None = None,
    check: Callable[[TrialConfig], None] = lambda template: None,
) -> Opened:
    """Open the folder of a sweep: a new one, or the one that the options resume.
    Everything that can be checked is checked before anything is written.

    `wanted` returns the trials to add, or to train longer. `templates` are what a
    search will propose, as far as it is known. What is `recorded` stands beside the
    options of a new sweep. The `data` are loaded unless they are given. `check` is
    called with each template, once it is known how many examples it holds out, and may
    raise a `UserError`.
    """
    check_session(options.cluster(), options.dashboard)
    where = options.place_to_resume()
    if where is not None:
        return _open_again(
            storage.absolute(where), options, wanted, kind, data, templates, check
        )
    if options.retry_errored and options.resume is None:
        raise UserError(
            "--retry-errored resumes a sweep; name its folder: --resume DIR --retry-errored"
        )
    trials = dict(wanted({}, None))
    checked = [*trials.values(), *templates]
    _check_names(checked, options)
    dataset = data or load_data(options, checked)
    holdout, held_out = default_holdout(dataset, checked)
    trials = {
        trial_id: trial.holding_out(holdout) for trial_id, trial in trials.items()
    }
    templates = holding_out(holdout, templates)
    checked = [*trials.values(), *templates]
    for template in templates:
        check(template)
    spec = dataset.spec
    if isinstance(spec, TaskSpec) and spec.own_step and options.measures():
        raise UserError(
            f"--sharpness is that of a loss, and {spec.name} makes steps of its own; leave it out"
        )
    ranked = (options.rank_by or "").partition(":")[0].removeprefix(OWN_SCORE)
    if ranked and ranked not in dataset.shared:
        known = (
            closest(ranked, dataset.shared)
            if dataset.shared
            else "; only a task's score may return it"
        )
        raise UserError(
            f"--rank-by {options.rank_by}: not every trial of {spec.name} has this score{known}"
        )
    if options.target_loss is not None and spec.by_accuracy:
        raise UserError(
            "--target-loss is for tasks without an accuracy; leave it out (networks have --target)"
        )
    # it may be refused, and so may lanes, so check before anything is written
    if options.cluster():
        from mnist_tune.runtime.placement import refuse_unholdable

        options.start_ray()
        refuse_unholdable(options.cpus_per_trial, options.execution)
    used = _check(
        checked, dataset, options, sum(trial.epochs for trial in trials.values())
    )
    if options.lanes:
        from mnist_tune.runtime.placement import find_device, lanes_that_fit

        options.start_ray()
        lanes_that_fit(
            checked,
            spec,
            options.lanes,
            find_device(quiet=True),
            options.measures() is not None,
        )
    folder = options.output or new_folder(
        Path("results") / name, f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    )
    meta = {
        "name": name,
        "command": [redacted(word) for word in sys.argv],
        "options": _plain(options, dataset, holdout) | dict(recorded or {}),
        "dataset": {
            name: getattr(dataset, name) for name in ("target", "note", "checksums")
        }
        | asdict(spec),
        "trials": {i: trial.to_dict() for i, trial in trials.items()},
        "kind": kind,
        "started": now(),
        "ended": None,
        "code": used,
        "environment": describe_environment(),
    }
    writer = SweepWriter(
        storage.absolute(storage.place(folder)), meta, judge, say=options.say
    )
    if held_out:
        options.say(held_out)
    return Opened(options, writer, Past(trials, open=trials), [dataset])


def _check_names(trials: Sequence[TrialConfig], options: SweepOptions) -> None:
    """Raise a `UserError` if there is no such network or optimiser, before the data are
    loaded."""
    for trial in trials:
        if not options.task:
            kind_of(trial.architecture)
        check_optimizer(trial.optimizer)


def _check(
    trials: Sequence[TrialConfig],
    dataset: Dataset | TaskData,
    options: SweepOptions,
    rows: int,
    known: Any = (),
) -> list[dict[str, Any]]:
    """Return what `sweep.json` keeps of the own code of some trials, but for code that
    it has, which is `known`. Say what is worth a word. Raises `UserError` if the trials
    can't train on the data, or the whole sweep has too many `rows`, which are its
    epochs."""
    check_counts(trials, dataset, options.train_evaluation)
    if rows > MOST_ROWS:
        raise UserError(
            f"{rows:,} epochs in all; at most {MOST_ROWS:,} can be read again: make several sweeps of them"
        )
    _note(trials, dataset, options.say)
    if isinstance(dataset, Dataset):
        for network in {trial.architecture for trial in trials}:
            architecture(network, dataset.spec)
    named = (
        {dataset.spec.flag: one.architecture, "optimizer": one.optimizer}
        for one in trials
    )
    listed = {(one["flag"], one["name"]) for one in known}
    code = [
        one
        for one in sources(names_in(*named))
        if (one["flag"], one["name"]) not in listed
    ]
    if code and isinstance(dataset, Dataset):
        options.start_ray()
        check_networks(trials, dataset)
    return code


def now() -> str:
    """Return the time, as `sweep.json` keeps it."""
    return datetime.now(UTC).isoformat()


def _plain(
    options: SweepOptions, dataset: Dataset | TaskData, holdout: int
) -> dict[str, Any]:
    """Return the options as `sweep.json` keeps them, with how many examples are held
    out by default."""
    values = vars(options) | {"address": options.cluster(), "dataset": dataset.source}
    if values.get("holdout") is None:
        values["holdout"] = holdout
    return {
        name: redacted(str(one)) if isinstance(one, (str, Path)) else one
        for name, one in values.items()
    }


def _note(
    trials: Sequence[TrialConfig],
    dataset: Dataset | TaskData,
    say: Callable[[str], None],
) -> None:
    """Say where the last batch of an epoch is small, where a trial ends before its
    warm-up, and which examples a score of whole blocks leaves out."""
    images = dataset.spec.train_images
    if said := small_last_batch(
        (images - trial.held_out, trial.batch_size, trial.drop_last) for trial in trials
    ):
        say(f"note: {said}")
    whole, counts = (
        dataset.whole,
        {dataset.spec.test_images, *(trial.held_out for trial in trials)},
    )
    if left := " and ".join(
        f"{n % whole} of {n}" for n in sorted(counts) if whole and n % whole
    ):
        say(
            f"note: score is one number for {whole} examples; evaluations leave out {left} held-out or test examples"
        )
    for name in sorted(
        {trial.architecture for trial in trials} if isinstance(dataset, Dataset) else ()
    ):
        kind, parts, _ = kind_of(name)
        if kind == "mlp" and not parts[0].isdecimal():
            say(
                f"note: {name} has no hidden layer, so it is linear; mlp-128-{parts[0]} has one of 128 units"
            )
    for trial in trials:
        steps = trial.epochs * trial.steps(images - trial.held_out)
        if trial.warmup_steps >= steps:
            say(
                f"note: a trial has {steps} steps, and warms up for {trial.warmup_steps}; its rate stays below"
            )
            return


def _open_again(
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
        _check_names(new, options)
        rows = sum(trial.epochs for trial in (known | dict(more)).values())
        code = _check(new, dataset, options, rows, record.code)
        meta["code"] = [*record.code, *code]
        meta["trials"] |= {
            trial_id: trial.to_dict() for trial_id, trial in more.items()
        }
        # only now: what is refused must not be asked for again
        plain = _plain(options, dataset, holdout).items()
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
