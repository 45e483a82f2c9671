"""A sweep: trials in, `Sweep` out, with Ray Tune between."""

from __future__ import annotations

import json
import math
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_tune.data.dataset import Dataset, load_dataset
from mnist_tune.errors import UserError
from mnist_tune.results.journal import OPEN_REASONS, known_trials, read_journal
from mnist_tune.results.provenance import changed_versions, describe_environment
from mnist_tune.results.writer import SweepWriter, new_folder
from mnist_tune.training.architectures import architecture
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.options import SweepOptions
from mnist_tune.tuning.plan import Plan
from mnist_tune.tuning.progress import ProgressView, announce
from mnist_tune.tuning.ray_session import QUIET, check_session, start_ray, stop_ray, variables
from mnist_tune.tuning.stopping import finite_loss, scheduler_name

if TYPE_CHECKING:
    from mnist_tune.results.tables import Sweep


def run_sweep(name: str, trials: Sequence[TrialConfig], options: SweepOptions, keep_ray: bool = True) -> Sweep:
    """Trains these trials under Ray Tune and returns their tables.

    Args:
        name: of the sweep; its results go to results/<name>/<time> unless `options.output` says otherwise.
        trials: in the order in which they are started.
        options: how to run them.
        keep_ray: leave Ray running, for the next sweep of this process.

    Returns:
        The sweep. After Ctrl-C or a spent time budget it holds what was reached, with the reason in `stop_reason`.

    Raises:
        UserError: bad trials or options, data that can't be had, a folder that can't be written. Nothing was
            started then.
    """
    if not trials:
        raise UserError("a sweep needs at least one trial; the list of values is empty")
    named = {f"{i:05d}": trial for i, trial in enumerate(trials)}
    writer, data = _open(name, named, options)
    return _run(writer, Plan.of(named), data, options, keep_ray)


def run_search(
    name: str,
    space: Mapping[str, Any],
    samples: int,
    options: SweepOptions,
    scheduler: Any = None,
    search_alg: Any = None,
) -> Sweep:
    """Trains trials that Tune proposes.

    Args:
        name: as in `run_sweep`.
        space: fields of `TrialConfig`, values or Tune's distributions, such as
            `{"learning_rate": tune.loguniform(1e-3, 1)}`.
        samples: trials to propose.
        options: as in `run_sweep`; `auto` trains in processes on CPUs.
        scheduler: a Tune scheduler in place of `options.scheduler`, such as population based training with
            `hyperparam_mutations={"trial": {"learning_rate": ...}}`, with `metric="scheduler_loss"`,
            `mode="min"`, `time_attr="epoch"`.
        search_alg: a Tune searcher; by default values are drawn independently.

    Returns:
        The sweep. In `epochs`, `learning_rate` is the one that was used, also where a scheduler changed it.

    A search that was interrupted goes on when it is called again with `options.resume` naming its folder: trials that
    had not ended continue with the values that they had then, the searcher is told of those that had, and proposes
    what is missing.
    """
    if options.resume is None:
        writer, data = _open(name, {}, options, search=True)
        return _run(writer, Plan(dict(space), {}, samples, scheduler, search_alg), data, options)
    writer, data, options = _open_again(options.resume, options, search=True)
    left, ended = _left_and_ended(writer)
    missing = max(samples - len(ended) - len(left), 0)
    if search_alg is None and missing:
        from mnist_tune.tuning.known_trials import drawn  # here, since it imports Ray

        new = drawn(space, missing)
        for trial_id, trial in new.items():
            writer.trial(trial_id, trial)
        left |= new
    if search_alg is None:
        plan = replace(Plan.of(left), scheduler=scheduler, in_a_grid=True)
    else:
        plan = Plan(dict(space), left, len(left) + missing, scheduler, search_alg, finished=tuple(ended.values()))
    if not plan.samples:
        return writer.finish(ended=writer.meta["ended"] or _now())
    return _run(writer, plan, data, options)


def _open(
    name: str, trials: dict[str, TrialConfig], options: SweepOptions, search: bool = False
) -> tuple[SweepWriter, list[Dataset]]:
    """Checks everything that can be checked, then creates the sweep's folder. The data set is in a list, to be
    taken out of it once Ray has it: the driver needs no copy."""
    check_session(options.address, options.dashboard)
    for trial in trials.values():
        architecture(trial.architecture)
    meta = {
        "name": name,
        "command": shlex.join(sys.argv),
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
        from mnist_tune.tuning.placement import find_device, lanes_that_fit

        lanes_that_fit(list(trials.values()), options.lanes, find_device(quiet=True))
    path = options.output or new_folder(Path("results") / name, f"{datetime.now():%Y-%m-%d_%H-%M-%S}")
    return SweepWriter(path.absolute(), meta | {"environment": describe_environment()}), [dataset]


def resume_sweep(path: Path, options: SweepOptions | None = None, keep_ray: bool = True) -> Sweep:
    """Goes on with an interrupted sweep: trials that had not ended continue from their last finished epoch.

    Args:
        path: its folder, from which what was asked for is read.
        options: of these only where and how it runs counts (`TAKEN_UP`); by default as before.
        keep_ray: as in `run_sweep`.

    Raises:
        UserError: there is no sweep, or the data is not what it was.
    """
    writer, data, options = _open_again(path, options or SweepOptions(), search=False)
    left, ended = _left_and_ended(writer)
    announce(f"resuming {writer.path}: {len(ended)} trials had ended, {len(left)} go on", options.quiet)
    if not left:
        return writer.finish(ended=writer.meta["ended"] or _now())
    return _run(writer, Plan.of(left), data, options, keep_ray)


def _open_again(path: Path, options: SweepOptions, search: bool) -> tuple[SweepWriter, list[Dataset], SweepOptions]:
    """The folder of a sweep that goes on, its data, and the options that it goes on with."""
    path = Path(path).absolute()
    if not (path / "sweep.json").exists():
        raise UserError(f"nothing to resume: {path} holds no sweep.json")
    meta = json.loads((path / "sweep.json").read_text())
    if not {"dataset", "options", "trials"} <= set(meta):
        raise UserError(f"nothing to resume: {path / 'sweep.json'} is not a sweep's; start the sweep anew")
    if meta.get("search", False) != search:
        how = "run_search with SweepOptions(resume=...) and the same space, scheduler and searcher, from Python"
        raise UserError(f"{path} is {'no search' if search else f'a search; go on with {how}'}")
    before, asked = meta["dataset"], meta["options"]
    options = as_before(options, asked)
    check_session(options.address, options.dashboard)
    dataset = load_dataset(before["name"], options.data_dir or _path(asked["data_dir"]))
    if dataset.checksums != before["checksums"]:
        raise UserError(f"{path} was trained on other data ({before['name']}); give its folder with --data-dir")
    for name, version in changed_versions(meta).items():
        announce(f"note: {name} is {version}; trials that go on may differ in their last bits", options.quiet)
    return SweepWriter(path, meta | {"ended": None}, resume=True), [dataset], options


def _left_and_ended(writer: SweepWriter) -> tuple[dict[str, TrialConfig], dict[str, tuple[TrialConfig, float]]]:
    """The trials that go on, and those that had ended with their last loss."""
    events = read_journal(writer.path)
    trials = known_trials(writer.meta, events)
    losses = {event["trial_id"]: event["train_loss"] for event in events if event["kind"] == "epoch"}
    ends = {event["trial_id"]: event["stop_reason"] for event in events if event["kind"] == "end"}
    over = {i for i, reason in ends.items() if reason not in OPEN_REASONS}
    left = {i: trial for i, trial in trials.items() if i not in over}
    return left, {i: (trials[i], finite_loss(losses.get(i, math.inf))) for i in trials if i in over}


KEPT = ("scheduler", "grace_period", "cpus_per_trial", "train_evaluation", "target")
"""Options on which a sweep's numbers, stops and labels depend."""

TAKEN_UP = ("address", "execution", "lanes", "trials_per_gpu", "max_concurrent", "time_budget")
"""Options of how a sweep runs, which may be given anew."""


def as_before(options: SweepOptions, asked: Mapping[str, Any]) -> SweepOptions:
    """The options that a resumed sweep runs with: as it ran, but for what is given anew."""
    default = SweepOptions()
    unsaid = [name for name in TAKEN_UP if getattr(options, name) == getattr(default, name)]
    return replace(options, **{name: asked[name] for name in (*KEPT, *unsaid) if name in asked})


def run_or_resume(name: str, trials: Callable[[], Sequence[TrialConfig]], options: SweepOptions) -> Sweep:
    """What a script does: `resume_sweep` where `options.resume` names a folder, else `run_sweep` of its trials."""
    if options.resume is not None:
        return resume_sweep(options.resume, options, keep_ray=False)
    return run_sweep(name, trials(), options, keep_ray=False)


def _run(writer: SweepWriter, plan: Plan, data: list[Dataset], options: SweepOptions, keep_ray: bool = True) -> Sweep:
    trials = plan.trials
    rows = [event for event in read_journal(writer.path) if event["kind"] == "epoch"]
    total = sum(trial.epochs for trial in trials.values()) + (plan.samples - len(trials)) * plan.epochs
    done = sum(row["trial_id"] in trials for row in rows)
    start = time.monotonic()
    with variables(QUIET), ProgressView(plan.samples, total, done, options.quiet) as view:
        # Beside Ray's start, which waits for its processes. Not the other way round: those die with their thread.
        with ThreadPoolExecutor(1) as thread:
            imported = thread.submit(import_module, "mnist_tune.tuning.tuner")
            start_ray(options.address, options.max_concurrent, options.dashboard)
            imported.result()
        from mnist_tune.tuning.recorder import Recorder
        from mnist_tune.tuning.tuner import fit

        recorder = Recorder(writer, view, trials, rows, scheduler_name(plan.scheduler, options.scheduler))
        try:
            fit(writer, plan, data, options, rows, recorder)
        finally:
            spent = options.time_budget is not None and time.monotonic() - start >= options.time_budget
            recorder.close("time_budget" if spent else "interrupted")
            if not keep_ray:
                stop_ray()  # beside the tables
            sweep = writer.finish(ended=_now(), driver=recorder.cost())
    return sweep


def _describe(dataset: Dataset) -> dict[str, Any]:
    """What `sweep.json` says of a data set; labels follow from its counts (`mnist_tune.results.data_facts`)."""
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


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _path(value: str | None) -> Path | None:
    return None if value is None else Path(value)
