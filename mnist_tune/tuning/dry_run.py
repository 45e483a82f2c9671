"""What a sweep would do and about how long it would take, without starting it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mnist_tune.cache import cache_folder
from mnist_tune.data.dataset import check_counts, load_dataset
from mnist_tune.errors import UserError
from mnist_tune.execution.process_setup import WorkerSettings, make_pool
from mnist_tune.machine import usable_cpus
from mnist_tune.numbers import counted
from mnist_tune.own_code.loading import load_own, own_code
from mnist_tune.trial import TrialConfig, small_last_batch

START_S = 8
"""About what Ray takes to start, and the first processes that train."""

KIND = ("architecture", "optimizer", "batch_size", "drop_last", "loss", "holdout")
"""Trials that are equal in these train as fast as each other."""


def dry_run(options: Any) -> Iterator[str]:
    """Say what a sweep with these options would do, line by line: its trials, their steps, and how long it takes at
    most. For that, an epoch of each kind of trial is trained in this process. No folder is created.

    Raises:
        UserError: as in `run_sweep`; or a sweep is to be resumed.
    """
    if options.resume is not None:
        raise UserError("--dry-run says what a new sweep would do; leave --resume out")
    load_own(options)
    trials: list[TrialConfig] = options.trials()
    data = load_dataset(options.dataset, options.data_dir, not options.quiet, options.standardize, options.train_images)
    check_counts(trials, data)
    kinds = Counter(tuple(getattr(one, name) for name in KIND) for one in trials)
    yield f"{counted(len(trials))}, each of at most {counted(options.epochs, 'epoch')}, on {data.name}"
    threads = options.cpus_per_trial or 1
    settings = WorkerSettings(
        Path(), threads=threads, cache_dir=str(cache_folder()), train_evaluation=options.train_evaluation,
        sharpness=options.measures(), own_code=own_code(),
    )  # fmt: skip
    pool, total = make_pool(data, settings), 0.0
    for kind, count in kinds.items():
        one = next(one for one in trials if kind == tuple(getattr(one, name) for name in KIND))
        images = len(data.train_labels) - one.holdout
        steps, last = one.steps(images), images % one.batch_size
        said = f"{one.architecture}: {steps} steps an epoch, of {one.batch_size} images"
        yield said + f"; the last batch has {last}{', and is left out' * one.drop_last}" * bool(last)
        if small := small_last_batch([(images, one.batch_size, one.drop_last)]):
            yield f"note: {small}"
        pool.attach("one", one)
        row = pool.run(["one"])["one"]
        seconds = row["train_s"] + row["eval_s"]
        total += count * options.epochs * seconds
        yield f"  measured: an epoch takes {seconds:.2g} s with its evaluation; compiling took {row['compile_s']:.2g} s"
    slots = max(min(usable_cpus() // threads, options.max_concurrent or len(trials), len(trials)), 1)
    yield (
        f"about {START_S + total / slots:.0f} s on this machine, {slots} at a time; less if trials are stopped early"
    )
