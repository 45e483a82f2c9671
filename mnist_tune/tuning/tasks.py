"""A task that a sweep trains: checked, and its data made, in a process of their own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mnist_tune.data.task_data import TaskData
from mnist_tune.errors import UserError
from mnist_tune.own_code.loading import load_own, own_code, register_own
from mnist_tune.trial import TrialConfig


def task_data(name: str, trials: Sequence[TrialConfig], train_images: int | None = None) -> TaskData:
    """Return the data of a task, which Ray holds, once it was tried with the optimisers of some trials. JAX does not
    start in this process, which may fork. Ray must be running. Raises `UserError` if the task can't train."""
    import ray

    load_own({"task": name})
    different = list({(one.optimizer, one.schedule): one for one in trials}.values())
    call = ray.remote(num_cpus=1, max_calls=1, num_returns=2)(_checked)
    facts, held = call.remote(own_code(), name, different, train_images)
    found = ray.get(facts)
    if isinstance(found, str):
        raise UserError(found)
    spec, checksums = found
    return TaskData(spec, checksums=checksums, held=held)


def _checked(code: Any, name: str, trials: list[TrialConfig], train_images: int | None) -> tuple[Any, TaskData | None]:
    """Return what a task is, or what is wrong with it, and its data. Runs in a process of Ray's."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    from mnist_tune.execution.executor import lane_bytes
    from mnist_tune.training.program import Program
    from mnist_tune.training.task_check import check_task

    register_own(code)
    try:
        found = check_task(name, trials, train_images)
    except UserError as error:
        return str(error), None
    programs = {Program.of(replace(trial, architecture=name), found.spec) for trial in trials}
    spec = replace(found.spec, lane_bytes=lane_bytes(programs))
    return (spec, found.checksums), TaskData(spec, found.train, found.test, found.checksums)
