"""Open the folder of a new sweep. Bad input is refused here, before anything is started."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from mnist_tune import storage
from mnist_tune.data.dataset import Dataset, check_counts, load_dataset
from mnist_tune.errors import redacted
from mnist_tune.own_code.loading import names_in, sources
from mnist_tune.regimes.last_batch import small_last_batch
from mnist_tune.results.folder import new_folder
from mnist_tune.results.provenance import describe_environment
from mnist_tune.results.writer import SweepWriter
from mnist_tune.runtime.ray_session import check_session, start_ray
from mnist_tune.terminal import announce
from mnist_tune.training.architectures import architecture, kind_of
from mnist_tune.training.optimizers import check_optimizer
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.network_check import check_networks
from mnist_tune.tuning.options import SweepOptions


def open_new(
    name: str,
    trials: dict[str, TrialConfig],
    options: SweepOptions,
    search: bool = False,
    templates: Sequence[TrialConfig] = (),
    code: Any = None,
) -> tuple[SweepWriter, list[Dataset]]:
    """Check everything that can be checked, then create the sweep's folder.

    `templates` are what a search will propose, but for the learning rates. `code` has the names of the networks and
    optimisers that it may propose, by flag.

    The data set is returned in a list. The caller pops it once Ray has it: the driver needs no copy.
    """
    check_session(options.cluster(), options.dashboard)
    checked = [*trials.values(), *templates]
    for trial in checked:
        kind_of(trial.architecture)
        check_optimizer(trial.optimizer)
    dataset = load_dataset(
        options.dataset, options.data_dir, not options.quiet, options.standardize, options.train_images
    )
    asked = options.values() | {"address": options.cluster(), "dataset": dataset.source}
    meta = {
        "name": name,
        "command": redacted(shlex.join(sys.argv)),
        "options": {name: plain(value) for name, value in asked.items()},
        "dataset": _describe(dataset),
        "trials": {i: trial.to_dict() for i, trial in trials.items()},
        "search": search,
        "started": datetime.now(UTC).isoformat(),
        "ended": None,
    }
    check_counts(checked, dataset)
    for network in {trial.architecture for trial in checked}:
        architecture(network, dataset.spec)
    _note(checked, dataset, partial(announce, quiet=options.quiet))
    meta["code"] = sources(names_in(code, *checked))
    if options.cluster() or options.lanes or meta["code"]:  # these may be refused, so check before anything is written
        start_ray(options.cluster(), options.max_concurrent, options.dashboard)
    if options.cluster():
        from mnist_tune.runtime.placement import refuse_unholdable

        refuse_unholdable(options.cpus_per_trial, options.execution)
    if meta["code"]:
        check_networks(checked, dataset)
    if options.lanes:
        from mnist_tune.runtime.device import find_device
        from mnist_tune.runtime.placement import lanes_that_fit

        lanes_that_fit(checked, dataset.spec, options.lanes, find_device(quiet=True), options.measures() is not None)
    where = storage.place(options.output or new_folder(Path("results") / name, f"{datetime.now():%Y-%m-%d_%H-%M-%S}"))
    meta["environment"] = describe_environment()
    return SweepWriter(storage.absolute(where), meta, say=partial(announce, quiet=options.quiet)), [dataset]


def _describe(dataset: Dataset) -> dict[str, Any]:
    spec = dataset.spec
    counts = {"label_counts": list(spec.label_counts), "test_images": spec.test_images, "shape": list(spec.shape)}
    said = {name: getattr(dataset, name) for name in ("name", "target", "note", "checksums")}
    return said | counts


def plain(value: Any) -> Any:
    """Return an option as JSON."""
    return redacted(str(value)) if isinstance(value, (str, Path)) else value


def _note(trials: Sequence[TrialConfig], dataset: Dataset, say: Callable[[str], None]) -> None:
    """Say where the last batch of an epoch is small, and where a trial ends before its warm-up."""
    images = len(dataset.train_images)
    if said := small_last_batch((images - trial.holdout, trial.batch_size, trial.drop_last) for trial in trials):
        say(f"note: {said}")
    for trial in trials:
        steps = trial.epochs * trial.steps(images - trial.holdout)
        if trial.warmup_steps >= steps:
            say(f"note: a trial has {steps} steps, and warms up for {trial.warmup_steps}; its rate stays below")
            return
