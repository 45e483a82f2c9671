"""The data of a sweep: loaded, or made by its tasks, which are tried in a process of
their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from mnist_tune.data.dataset import Dataset
from mnist_tune.data.task_data import TaskData
from mnist_tune.data_spec import DataSpec
from mnist_tune.errors import UserError
from mnist_tune.own_code.loading import own_code, register_own
from mnist_tune.sweep import Sweep
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.options import Data, SweepOptions, refuse_beside_task

CHECKED = 8
"""The examples on which networks are tried."""


Loaded = TypeVar("Loaded", bound=Dataset | TaskData)


def load_data(
    options: SweepOptions, trials: Sequence[TrialConfig], sweep: Sweep | None = None
) -> Dataset | TaskData:
    """Load the data of a sweep, or have its tasks make them, once they were tried with
    the optimisers of some trials; Ray holds them then. JAX does not start in this
    process, which may fork. Raises `UserError` if they can't be loaded, differ from
    those of another `sweep`, or a task can't train."""
    if not options.task:
        return _as_in(sweep, options.load())
    refuse_beside_task(options)
    options.start_ray()
    given = (
        options.task,
        _different(trials),
        options.train_images,
        options.measures() is not None,
    )
    without_examples, held = apart(_checked, *given, returns=2)
    found: TaskData = returned(without_examples)[0]
    return _as_in(sweep, replace(found, held=held))


def load_here(
    options: Data, trials: Sequence[TrialConfig], sweep: Sweep | None = None
) -> Dataset | TaskData:
    """Load the data, as `load_data`, and try what is trained in this process, where JAX
    may start."""
    if options.task:
        from mnist_tune.training.task_check import check_tasks

        refuse_beside_task(options)
        return _as_in(
            sweep, check_tasks(options.task, _different(trials), options.train_images)
        )
    data = _as_in(sweep, options.load())
    _try(*_few(trials, data))
    return data


def _as_in(sweep: Sweep | None, data: Loaded) -> Loaded:
    if sweep and data.checksums != sweep.record.dataset["checksums"]:
        other = sweep.record.dataset["name"]
        raise UserError(
            f"{sweep.path} was trained on other data ({other}); give it with --dataset or --data-dir"
        )
    return data


def _different(trials: Sequence[TrialConfig]) -> list[TrialConfig]:
    """Return a trial for each optimiser and schedule. How often a step calls
    `tx.update`, which a schedule counts, may depend on the batch size."""
    different = {}
    for trial in trials:
        is_scheduled = trial.schedule != "constant" or trial.warmup_steps > 0
        size = trial.batch_size if is_scheduled else None
        different[trial.optimizer, trial.schedule, size] = trial
    return list(different.values())


def _checked(
    names: Sequence[str],
    trials: list[TrialConfig],
    train_images: int | None,
    measured: bool,
) -> tuple[TaskData, TaskData]:
    """Return the data of tasks without the examples, and with them. Their lanes take
    more memory if sharpness is `measured`. Raises `UserError`, as `check_tasks`."""
    from mnist_tune.execution.executor import lane_bytes
    from mnist_tune.training.program import Program
    from mnist_tune.training.task_check import check_tasks

    found = check_tasks(names, trials, train_images)
    programs = {
        Program.of(replace(trial, architecture=name), found.spec)
        for trial in trials
        for name in names
    }
    found = replace(
        found, spec=replace(found.spec, lane_bytes=lane_bytes(programs, measured))
    )
    return replace(found, train=None, test=None), found


def check_networks(trials: Iterable[TrialConfig], dataset: Dataset) -> None:
    """Try the networks and optimisers of some trials on a few examples. Ray must be
    running. Raises `UserError` if one of them can't train on this data."""
    returned(apart(_try, *_few(trials, dataset)))


def _few(
    trials: Iterable[TrialConfig], dataset: Dataset
) -> tuple[list[TrialConfig], DataSpec, Any, Any]:
    """Return a trial for each network and optimiser, and the data on which `_try` tries
    them."""
    different = {
        (
            trial.architecture,
            trial.optimizer,
            trial.schedule,
            trial.warmup_steps > 0,
            trial.loss,
        ): trial
        for trial in trials
    }
    return (
        list(different.values()),
        dataset.spec,
        dataset.train_images[:CHECKED],
        dataset.train_labels[:CHECKED],
    )


def _try(trials: list[TrialConfig], data: DataSpec, images: Any, labels: Any) -> None:
    from mnist_tune.training.network_check import check  # imports JAX

    for trial in trials:
        check(trial, data, images, labels)


def apart(function: Callable[..., Any], *given: Any, returns: int = 1) -> Any:
    """Have a function called that needs JAX, in a process of Ray's that ends with it:
    JAX in this one would take a GPU's memory. What Ray holds of `given` is fetched
    there. Return Ray's reference to what it returns, or one for each of several
    things."""
    import ray

    remote = ray.remote(num_cpus=1, max_calls=1, num_returns=returns)(_apart).remote
    return remote(own_code(), returns, function, given)


def _apart(
    code: Any, returns: int, function: Callable[..., Any], given: Sequence[Any]
) -> Any:
    import ray

    os.environ["JAX_PLATFORMS"] = "cpu"
    from mnist_tune.training.convolutions_in_loops import speed_up_convolutions

    speed_up_convolutions()
    register_own(code)
    try:
        # Only now, since the types of a task's batch may be the user's own. Ray fetches
        # no references in a tuple.
        return function(
            *(ray.get(one) if isinstance(one, ray.ObjectRef) else one for one in given)
        )
    except UserError as error:  # if it were raised, Ray would print a traceback
        return error if returns == 1 else [error] * returns


def returned(*calls: Any) -> list[Any]:
    """Return what `apart` has returned. Raises the `UserError` of the first call that
    raised one."""
    import ray

    found: list[Any] = ray.get([*calls])
    for error in found:
        if isinstance(error, UserError):
            raise error
    return found
