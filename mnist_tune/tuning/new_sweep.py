"""Open the folder of a new sweep."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from mnist_tune import storage
from mnist_tune.data.dataset import Dataset
from mnist_tune.data.evaluation import default_evaluation
from mnist_tune.data.holdout import default_holdout
from mnist_tune.data.task_data import TaskData
from mnist_tune.errors import UserError, redacted
from mnist_tune.judged import judge
from mnist_tune.machine import describe_environment
from mnist_tune.own_code.recorded import files_of, sign
from mnist_tune.results.folder import new_folder
from mnist_tune.results.sweep_meta import SweepKind
from mnist_tune.results.writer import SweepWriter
from mnist_tune.storage import Place
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.checks import check_names, check_scores, check_trials
from mnist_tune.tuning.opened import Opened, Wanted, now, plain_options
from mnist_tune.tuning.options import SweepOptions
from mnist_tune.tuning.past import Past, holding_out
from mnist_tune.tuning.tasks import load_data


def open_new(
    name: str,
    options: SweepOptions,
    lacking: Wanted,
    kind: SweepKind,
    templates: Sequence[TrialConfig],
    recorded: Mapping[str, Any] | None,
    data: Dataset | TaskData | None,
    check: Callable[[TrialConfig], None],
) -> Opened:
    """Open the folder of a new sweep. The arguments are as in `open_sweep`."""
    if options.retry_errored and options.resume is None:
        raise UserError(
            "--retry-errored resumes a sweep; name its folder: --resume DIR --retry-errored"
        )
    trials = dict(lacking({}, None))
    all_trials = [*trials.values(), *templates]
    check_names(all_trials, options)
    dataset = data or load_data(options, all_trials)
    evaluated = default_evaluation(dataset, options.train_evaluation)
    options = replace(options, train_evaluation=evaluated)
    # How many examples are held out by default is known only with the data.
    holdout, held_out = default_holdout(dataset, all_trials)
    for trial_id, trial in trials.items():
        trials[trial_id] = trial.holding_out(holdout)
    templates = holding_out(holdout, templates)
    for template in templates:
        check(template)
    check_scores(options, dataset)
    # Ray may refuse it, and so may lanes, so ask before anything is written.
    _check_cluster(options)
    all_trials = [*trials.values(), *templates]
    code = check_trials(all_trials, dataset, options)
    _check_lanes(all_trials, dataset, options)
    dataset_record = {
        "target": dataset.target,
        "note": dataset.note,
        "checksums": dataset.checksums,
    }
    values = plain_options(options, dataset, holdout)
    meta: dict[str, Any] = {
        "name": name,
        "command": [redacted(word) for word in sys.argv],
        "options": values | dict(recorded or {}),
        "dataset": dataset_record | asdict(dataset.spec),
        "trials": {trial_id: trial.to_dict() for trial_id, trial in trials.items()},
        "kind": kind,
        "started": now(),
        "ended": None,
        "code": code,
        "environment": describe_environment(),
    }
    # A resume runs the code that the folder has if the user signed it.
    sign(meta, [options, *all_trials], options.say)
    place = _new_place(name, options)
    writer = SweepWriter(place, meta, judge, say=options.say, files=files_of(code))
    if held_out:
        options.say(held_out)
    return Opened(options, writer, Past(trials, open=trials), dataset)


def _check_cluster(options: SweepOptions) -> None:
    """Raise a `UserError` if the options name a cluster that can't run a trial."""
    if not options.cluster():
        return
    from mnist_tune.runtime.placement import refuse_unholdable

    options.start_ray()
    refuse_unholdable(options.cpus_per_trial, options.execution)


def _check_lanes(
    trials: Sequence[TrialConfig], dataset: Dataset | TaskData, options: SweepOptions
) -> None:
    """Raise a `UserError` if the options ask for more lanes than a device holds."""
    if not options.lanes:
        return
    from mnist_tune.runtime.placement import find_device, lanes_that_fit

    options.start_ray()
    device = find_device(quiet=True)
    measured = options.measures() is not None
    lanes_that_fit(trials, dataset.spec, options.lanes, device, measured)


def _new_place(name: str, options: SweepOptions) -> Place:
    """Return where the sweep goes: where the options say, or to a new folder."""
    folder = options.output
    if not folder:
        time = f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
        folder = new_folder(Path("results") / name, time)
    return storage.absolute(storage.place(folder))
