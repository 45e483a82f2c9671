"""What is checked of a sweep's trials before anything is started or written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mnist_tune.columns import OWN_SCORE
from mnist_tune.data.dataset import Dataset, check_counts
from mnist_tune.data.last_batch import small_last_batch
from mnist_tune.data.task_data import ON_HOST, TaskData
from mnist_tune.errors import UserError, closest, library
from mnist_tune.own_code.loading import names_in, sources
from mnist_tune.regimes.noise import window_images
from mnist_tune.terminal import note
from mnist_tune.training.architectures import architecture, kind_of
from mnist_tune.training.optimizers import check_optimizer
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.options import SweepOptions
from mnist_tune.tuning.tasks import check_networks


def check_names(trials: Sequence[TrialConfig], options: SweepOptions) -> None:
    """Raise a `UserError` if there is no such network or optimiser, before the data are
    loaded."""
    if options.loop:
        return  # what an optimizer means to it is its own
    for trial in trials:
        if not options.task:
            kind_of(trial.architecture)
        check_optimizer(trial.optimizer)


def check_scores(options: SweepOptions, dataset: Dataset | TaskData) -> None:
    """Raise a `UserError` if the options ask for a measure that the data, or the task,
    do not have."""
    spec = dataset.spec
    if options.measures():
        library("matfree", "--sharpness")
    if spec.own_step and options.measures():
        raise UserError(
            f"--sharpness is that of a loss, and {spec.name} makes steps of its own; leave it out"
        )
    column, _, _ = (options.rank_by or "").partition(":")
    ranked = column.removeprefix(OWN_SCORE)
    if ranked and ranked not in dataset.shared:
        hint = "; only a task's score may return it"
        if dataset.shared:
            hint = closest(ranked, dataset.shared)
        raise UserError(
            f"--rank-by {options.rank_by}: not every trial of {spec.name} has this score{hint}"
        )
    if options.target_loss is not None and spec.by_accuracy:
        raise UserError(
            "--target-loss is for tasks without an accuracy; leave it out (networks have --target)"
        )


def check_trials(
    trials: Sequence[TrialConfig],
    dataset: Dataset | TaskData,
    options: SweepOptions,
    listed: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    """Return what `sweep.json` keeps of the own code of some trials, but for code that
    it `listed` before. Say what is worth a word. Raises `UserError` if the trials can't
    train on the data."""
    check_counts(trials, dataset, options.evaluated)
    check_reports(trials, dataset.spec.train_images, options.report_every)
    schedules = {trial.schedule for trial in trials}
    if options.patience and schedules - {"constant"}:
        raise UserError(
            "--patience would end trials before the end of their schedule, where scores rise; leave one of them out"
        )
    if not options.loop:
        note_of_trials(trials, dataset, options.say)
    if isinstance(dataset, Dataset):
        for network in {trial.architecture for trial in trials}:
            architecture(network, dataset.spec)
    names = [trial.named(dataset.spec.flag) for trial in trials]
    before = {(code["flag"], code["name"]) for code in listed}
    new = [
        code
        for code in sources(names_in(*names))
        if (code["flag"], code["name"]) not in before
    ]
    if new and isinstance(dataset, Dataset):
        options.start_ray()
        check_networks(trials, dataset)
    return new


def check_reports(
    trials: Sequence[TrialConfig], images: int, every: int | None
) -> None:
    """Raise a `UserError` if a trial can't report after so many steps, given how many
    images there are."""
    if every is None:
        return
    for trial in trials:
        size = trial.batch_size
        steps = trial.steps(images - trial.held_out)
        # a report has two windows of losses, whose noise is known, and a rest has one
        least = 2 * window_images(size) // size
        if not least <= every <= steps:
            raise UserError(
                f"--report-every {every}: at batch size {size} it can be {least} (losses of fewer steps are noise) to {steps} (an epoch)"
            )


def note_of_reports(every: int | None) -> str:
    """Return what an epoch of tables and texts is, if it is a report."""
    if every is None:
        return ""
    return f"an epoch here is a report, after every {every} steps; step of sweep.epochs has its own"


def note_of_trials(
    trials: Sequence[TrialConfig],
    dataset: Dataset | TaskData,
    say: Callable[[str], None],
) -> None:
    """Say where the last batch of an epoch is small, where a trial ends before its
    warm-up, which examples a score of whole blocks leaves out, and that items are read
    once."""
    images = dataset.spec.train_images
    batches = [
        (images - trial.held_out, trial.batch_size, trial.drop_last) for trial in trials
    ]
    small_batch = small_last_batch(batches)
    if small_batch:
        say(note(small_batch))
    if isinstance(dataset, TaskData) and dataset.of_items:
        once = "the items that data() returns are read once, before training"
        say(note(f"{once}; augmentation that is new in each epoch needs {ON_HOST}"))
    if isinstance(dataset, TaskData) and dataset.of_blocks:
        _note_of_blocks(trials, dataset, say)
    if isinstance(dataset, Dataset):
        _note_of_linear_networks(trials, say)
    for trial in trials:
        steps = trial.epochs * trial.steps(images - trial.held_out)
        if trial.warmup_steps >= steps:
            say(
                note(
                    f"a trial has {steps} steps, and warms up for {trial.warmup_steps}; its rate stays below"
                )
            )
            return


def _note_of_blocks(
    trials: Sequence[TrialConfig], dataset: TaskData, say: Callable[[str], None]
) -> None:
    block = dataset.whole or dataset.block
    scores = " and ".join(dataset.of_blocks)
    counts = {dataset.spec.test_images} | {trial.held_out for trial in trials}
    remainders = list[str]()
    for count in sorted(counts):
        if count % block:
            remainders.append(f"{count % block} of {count}")
    if remainders:
        remainder = " and ".join(remainders)
        what = f"a value of {scores} is of {block} examples"
        remedy = "give the task a smaller block, or return one value for each example"
        left_out = f"evaluations leave out {remainder} held-out or test examples"
        say(note(f"{what}; {left_out}; {remedy}"))


def _note_of_linear_networks(
    trials: Sequence[TrialConfig], say: Callable[[str], None]
) -> None:
    for name in sorted({trial.architecture for trial in trials}):
        kind, parts, _ = kind_of(name)
        if kind == "mlp" and not parts[0].isdecimal():
            say(
                note(
                    f"{name} has no hidden layer, so it is linear; mlp-128-{parts[0]} has one of 128 units"
                )
            )
