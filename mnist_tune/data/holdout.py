"""How many training examples a sweep holds out where nobody says so: the best is then
chosen without the test set."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mnist_tune.data.dataset import Dataset
from mnist_tune.data.last_batch import SMALL
from mnist_tune.data.task_data import LoopData, TaskData
from mnist_tune.invocation import words
from mnist_tune.terminal import note
from mnist_tune.trial import TrialConfig

SHARE = 10
"""One of so many training examples is held out."""

FEWEST = 20
"""The fewest examples that are held out: what guesses between two classes has an
accuracy of up to 0.84 on so many (`chance_ceiling`)."""

BLOCKS = 8
"""The blocks of held-out examples from which the noise of a task's loss follows
(`learned_share.FEWEST`)."""


NONE = "no examples are held out, so the test set chooses the best"


def default_holdout(
    data: Dataset | TaskData, trials: Sequence[TrialConfig]
) -> tuple[int, str]:
    """Return how many training examples are held out by those of some trials that do
    not say how many: a tenth. Also return a line that says so, or why it is none;
    nothing if all trials say how many, or of MNIST.

    MNIST is trained on as in the notebook, so none of it is held out. What would be a
    small last batch of an epoch is held out as well, up to half as many more.
    """
    if data.name == "mnist":
        return 0, ""
    if isinstance(data, LoopData):
        return data.loop.validation_examples or 0, ""
    count, why = _tenth(data, trials)
    if all(trial.holdout is not None for trial in trials):
        return count, ""
    if why:
        return 0, note(f"{NONE}: {why}")
    choice = f"{count} of {data.spec.train_images} training examples are held out, and choose the best"
    return count, f"{choice}; {words('holdout', 0)} holds out none"


def _tenth(data: Dataset | TaskData, trials: Sequence[TrialConfig]) -> tuple[int, str]:
    """Return how many examples about a tenth is, or why none can be held out."""
    images = data.spec.train_images
    count = images // SHARE
    sizes = [trial.batch_size for trial in trials if not trial.drop_last]
    largest = max(sizes, default=1)
    # what would be a small last batch is held out, too
    last = (images - count) % largest
    if last < SMALL * largest and last <= count // 2:
        count += last
    count -= count % max(data.whole, 1)
    if count < max(FEWEST, BLOCKS * data.whole):
        return 0, f"a tenth of {images} training examples is too few"
    if isinstance(data, TaskData) and not data.spec.by_accuracy:
        held_out = math.ceil(count / data.block)
        test = math.ceil(data.spec.test_images / data.block)
        if held_out < BLOCKS <= test:
            blocks = f"{BLOCKS} blocks, {data.block} examples each"
            why = f"of {blocks}, the noise is known; give the task a smaller block"
            return 0, why
    if data.order_note:
        return 0, "the training examples are in order of class; shuffle them"
    needed = max((_needed(trial) for trial in trials), default=0)
    if needed > images - count:
        return 0, f"a trial needs {needed} of the {images} training examples"
    return count, ""


def _needed(trial: TrialConfig) -> int:
    """Return how many training examples a trial can't do without."""
    if trial.drop_last:
        return max(trial.label_noise, trial.batch_size)
    return trial.label_noise
