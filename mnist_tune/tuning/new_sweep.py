"""Open the folder of a new sweep."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from mnist_tune import storage
from mnist_tune.columns import OWN_SCORE
from mnist_tune.data.dataset import Dataset
from mnist_tune.data.holdout import default_holdout
from mnist_tune.data.task_data import TaskData
from mnist_tune.data_spec import TaskSpec
from mnist_tune.errors import UserError, redacted
from mnist_tune.judged import judge
from mnist_tune.machine import describe_environment
from mnist_tune.results.folder import new_folder
from mnist_tune.results.sweep_meta import SweepKind
from mnist_tune.results.writer import SweepWriter
from mnist_tune.trial import TrialConfig, closest
from mnist_tune.tuning.checks import check_names, check_trials
from mnist_tune.tuning.opened import Opened, Wanted, now, plain_options
from mnist_tune.tuning.options import SweepOptions
from mnist_tune.tuning.past import Past, holding_out
from mnist_tune.tuning.tasks import load_data


def open_new(
    name: str,
    options: SweepOptions,
    wanted: Wanted,
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
    trials = dict(wanted({}, None))
    checked = [*trials.values(), *templates]
    check_names(checked, options)
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
    used = check_trials(
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
        "options": plain_options(options, dataset, holdout) | dict(recorded or {}),
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
