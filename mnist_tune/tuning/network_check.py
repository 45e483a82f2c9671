"""The networks and optimisers of some trials are tried before a sweep starts, in a process of Ray's."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from mnist_tune.data.dataset import Dataset
from mnist_tune.data_spec import DataSpec
from mnist_tune.errors import UserError
from mnist_tune.own_code.loading import own_code, register_own
from mnist_tune.trial import TrialConfig

CHECKED = 8
"""Images that go to the process in which networks are tried."""


def check_networks(trials: Iterable[TrialConfig], dataset: Dataset) -> None:
    """Try the networks and optimisers of some trials on a few images, in a process of their own: JAX in this one would
    take a GPU's memory. Ray must be running.

    Raises:
        UserError: one of them can't train on this data.
    """
    import ray

    different = {(trial.architecture, trial.optimizer, trial.schedule, trial.loss): trial for trial in trials}
    images, labels = (part[:CHECKED] for part in (dataset.train_images, dataset.train_labels))
    task = ray.remote(num_cpus=1, max_calls=1)(_refused)
    said = ray.get(task.remote(own_code(), list(different.values()), dataset.spec, images, labels))
    if said:
        raise UserError(said)


def _refused(code: Any, trials: list[TrialConfig], data: DataSpec, images: Any, labels: Any) -> str:
    """Return what is wrong with the first trial that can't train, empty if all can. Runs in a process of Ray's."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    from mnist_tune.training.network_check import check

    register_own(code)
    try:
        for trial in trials:
            check(trial, data, images, labels)
    except UserError as error:
        return str(error)
    return ""
