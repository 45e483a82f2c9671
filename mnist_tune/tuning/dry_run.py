"""What a sweep would do and about how long it would take, without starting it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mnist_tune.cache import cache_folder
from mnist_tune.data.dataset import check_counts
from mnist_tune.data.holdout import default_holdout
from mnist_tune.data.last_batch import small_last_batch
from mnist_tune.errors import UserError
from mnist_tune.execution.process_setup import WorkerSettings, configure_jax, make_pool
from mnist_tune.machine import usable_cpus
from mnist_tune.numbers import counted, spoken
from mnist_tune.own_code.loading import own_code
from mnist_tune.terminal import note
from mnist_tune.tuning.past import holding_out
from mnist_tune.tuning.tasks import load_data

START_S = 8
"""About what Ray takes to start, and the first processes that train."""


def dry_run(options: Any) -> Iterator[str]:
    """Say what a sweep with these options would do, line by line: its trials, their
    steps, and how long it takes at most. For that, an epoch of each network is trained
    in this process. No folder is created. Raises `UserError` as `run_sweep` does, or if
    a sweep is to be resumed."""
    if options.resume is not None:
        raise UserError("--dry-run says what a new sweep would do; leave --resume out")
    trials, threads = options.trials(), options.cpus_per_trial or 1
    measured = {
        "sharpness": options.measures(),
        "train_evaluation": options.train_evaluation,
    }
    settings = WorkerSettings(
        threads=threads, cache_dir=str(cache_folder()), own_code=own_code(), **measured
    )
    configure_jax(settings)
    data = load_data(options, trials, here=True)
    holdout, held_out = default_holdout(data, trials)
    trials = holding_out(holdout, trials)
    check_counts(trials, data)
    yield f"{counted(len(trials))}, each of at most {counted(options.epochs, 'epoch')}, on {data.spec.name}"
    if held_out:
        yield held_out
    pool, total, images = (
        make_pool(data, settings),
        0.0,
        data.spec.train_images - trials[0].held_out,
    )
    # and equally many
    equally_fast = {
        (one.architecture, one.optimizer, one.batch_size): one for one in trials
    }
    for name, one in equally_fast.items():
        pool.attach("one", one)
        row = pool.run(["one"])["one"]
        seconds, last = row.train_s + row.eval_s, images % one.batch_size
        total += seconds * options.epochs * len(trials) / len(equally_fast)
        batches = f"{one.steps(images)} steps an epoch; the last batch has {last or one.batch_size} examples"
        yield f"{', '.join(map(str, name))}: {batches}{' and is left out' * (one.drop_last and bool(last))}"
        yield f"  measured: an epoch takes {seconds:.2g} s with its evaluation; compiling took {row.compile_s:.2g} s"
    if said := small_last_batch(
        (images, one.batch_size, one.drop_last) for one in trials
    ):
        yield note(said)
    import jax  # which the pool has configured

    if jax.default_backend() == "gpu":
        yield f"at most {spoken(START_S + total)} on this machine, one trial at a time; on a GPU many train together"
        return
    slots = max(
        min(
            usable_cpus() // threads, options.max_concurrent or len(trials), len(trials)
        ),
        1,
    )
    said = spoken(START_S + total / slots)
    yield f"about {said} on this machine, {slots} at a time; less if trials are stopped early"
