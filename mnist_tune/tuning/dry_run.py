"""What a sweep would do and about how long it would take, without starting it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from mnist_tune.cache import cache_folder
from mnist_tune.data.dataset import check_counts
from mnist_tune.data.evaluation import default_evaluation
from mnist_tune.data.holdout import default_holdout
from mnist_tune.data.last_batch import small_last_batch
from mnist_tune.errors import UserError
from mnist_tune.execution.process_setup import WorkerSettings, configure_jax, make_pool
from mnist_tune.machine import usable_cpus
from mnist_tune.numbers import counted, spoken
from mnist_tune.terminal import note
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.checks import check_reports
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
    trials = options.trials()
    threads = options.cpus_per_trial or 1
    settings = WorkerSettings(
        threads=threads, cache_dir=str(cache_folder()), sharpness=options.measures()
    )
    configure_jax(settings)
    data = load_data(options, trials, here=True)
    evaluated = default_evaluation(data, options.train_evaluation)
    options = replace(options, train_evaluation=evaluated)
    settings = replace(settings, train_evaluation=options.evaluated)
    holdout, held_out = default_holdout(data, trials)
    trials = holding_out(holdout, trials)
    check_counts(trials, data)
    check_reports(trials, data.spec.train_images, options.report_every)
    epochs = counted(options.epochs, "epoch")
    yield f"{counted(len(trials))}, each of at most {epochs}, on {data.spec.name}"
    if held_out:
        yield held_out
    pool = make_pool(data, settings)
    images = data.spec.train_images - trials[0].held_out
    # Trials that differ otherwise take as long. There are equally many of each kind.
    samples = {
        (trial.architecture, trial.optimizer, trial.batch_size): trial
        for trial in trials
    }
    epoch_s = []
    for names, trial in samples.items():
        pool.attach("sample", trial)
        row = pool.run(["sample"])["sample"]
        reports = trial.reporting(data.spec.train_images, options.report_every).reports
        evaluations = "its evaluation"
        if reports > 1:
            evaluations = f"its {reports} evaluations"
        seconds = row.train_s + reports * row.eval_s
        epoch_s.append(seconds)
        yield f"{', '.join(map(str, names))}: {_batches_text(trial, images)}"
        yield f"  measured: an epoch takes {seconds:.2g} s with {evaluations}; compiling took {row.compile_s:.2g} s"
    batches = [(images, trial.batch_size, trial.drop_last) for trial in trials]
    small_batch = small_last_batch(batches)
    if small_batch:
        yield note(small_batch)
    import jax  # which the pool has configured

    total_s = sum(epoch_s) * options.epochs * len(trials) / len(samples)
    if jax.default_backend() == "gpu":
        yield f"at most {spoken(START_S + total_s)} on this machine, one trial at a time; on a GPU many train together"
        return
    most = options.max_concurrent or len(trials)
    slots = max(min(usable_cpus() // threads, most, len(trials)), 1)
    yield f"about {spoken(START_S + total_s / slots)} on this machine, {slots} at a time; less if trials are stopped early"


def _batches_text(trial: TrialConfig, images: int) -> str:
    """Return how many batches an epoch of a trial has, and how large the last one
    is."""
    remainder = images % trial.batch_size
    last = remainder or trial.batch_size
    text = f"{trial.steps(images)} steps an epoch; the last batch has {last} examples"
    if trial.drop_last and remainder:
        text += " and is left out"
    return text
