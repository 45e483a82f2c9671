"""The facts about a data set that the labels need: its counts, what guessing reaches,
and its target accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mnist_tune.regimes.divergence import chance_of, guess_loss
from mnist_tune.regimes.ranking import Ranking

EVALUATED = 10_000
"""By default, so many training images are evaluated. An accuracy of 0.97 then has a
standard error of 0.0017, as on MNIST's test set. On MNIST, the other 50,000 took a
quarter of a sweep's time."""


@dataclass(frozen=True)
class DataFacts:
    """The facts about a data set."""

    train_images: int
    """Images in the training set, including those that are held out."""
    test_images: int
    chance: float
    """Share of the most frequent label."""
    guess_losses: Mapping[str, float]
    """The loss of the best constant guess, by the name of the loss, or of the task."""
    target: float | None
    """Accuracy of a network that has learned the data set. If it is None, the target
    follows from the best sibling."""
    evaluated: int | None = None
    """Training images that are evaluated after an epoch, at most; None means all."""
    name: str = ""
    """The built-in data set that `target` was measured on; empty if it was asked
    for."""
    by_accuracy: bool = True
    """Whether labels follow accuracy. If not, they follow the share of a task's loss
    that was learned."""
    flag: str = "architecture"
    """The option that names what is trained: architecture, task or loop."""
    rank_by: str | None = None
    """What trials are compared by, as `--rank-by` names it."""
    positions: int = 1
    """Labels of an example: more than one are those of its tokens."""
    own_steps: bool = False
    """Whether each step is a task's own, so that its loss does not compare with
    evaluated ones."""

    @property
    def of_networks(self) -> bool:
        """Whether it is a data set that networks are trained on, and not that of tasks
        or loops."""
        return self.flag == "architecture"

    @property
    def ranking(self) -> Ranking:
        """What trials are compared by."""
        return Ranking.of(self.by_accuracy, self.rank_by)

    @classmethod
    def of(
        cls, label_counts: Sequence[int], test_images: int, target: float | None = None
    ) -> DataFacts:
        """Return the facts that follow from the number of training images of each
        class."""
        guesses = {
            loss: guess_loss(label_counts, loss) for loss in ("cross-entropy", "mse")
        }
        return cls(
            sum(label_counts), test_images, chance_of(label_counts), guesses, target
        )

    @classmethod
    def of_task(cls, data: Mapping[str, Any]) -> DataFacts:
        """Return the facts of a task, as `sweep.json` records them. The target, if one
        was asked for, is a loss."""
        chance = data.get("chance")
        return cls(
            data["train_images"],
            data["test_images"],
            chance or 0.0,
            data.get("guesses") or {},
            target=None,
            by_accuracy=chance is not None,
            flag="task",
            own_steps=bool(data.get("own_step")),
        )

    @property
    def compares_tasks(self) -> bool:
        """Whether trials of several tasks are compared with each other. Their losses
        may have other scales."""
        return self.of_networks or not self.ranking.is_loss

    def learned(self, accuracy: Any) -> Any:
        """Return how much of what can be learned an accuracy a is: `(a - chance) / (1 -
        chance)`."""
        return (accuracy - self.chance) / (1 - self.chance)

    def guess(self, trial: Any) -> float:
        """Return the loss of the best constant guess for a trial, or for its settings;
        infinite if it is not known."""
        name = trial.loss
        if not self.of_networks:
            name = trial.architecture
        return self.guess_losses.get(name, math.inf)

    def with_wrong_labels(self, count: int) -> DataFacts:
        """Return the facts if so many training images have random labels. Their share s
        weakens the mean gradient by 1 - s and leaves its noise, so the target is that
        of (1 - s)² as many images, unless it was asked for."""
        if not count or not self.name:
            return self
        right = 1 - count / self.train_images
        images = self.train_images * right**2
        return replace(self, target=target(self.name, images))


TARGETS = {
    "mnist": {4_000: 0.91, 60_000: 0.95},
    "fashion-mnist": {20_000: 0.83, 60_000: 0.84},
    "mnist-5k": {4_000: 0.91},
    "digits": {300: 0.92, 1_500: 0.955},
}
"""The targets of the built-in data sets, by the number of training images.
`docs/labels.md` says what they rest on."""


def target(name: str, train_images: float) -> float | None:
    """Return the target of a built-in data set of which so many images are trained on;
    between the numbers in `TARGETS` it is linear in their logarithm. None if it was
    measured for more images only, or not at all."""
    measured = TARGETS.get(name, {})
    if train_images < min(measured, default=math.inf):
        return None
    counts = np.log([*measured])
    accuracy = np.interp(math.log(train_images), counts, [*measured.values()])
    return round(float(accuracy), 4)


_COUNTS = {
    "mnist": ((5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949), 10_000),
    "fashion-mnist": ((6_000,) * 10, 10_000),
    "mnist-5k": ((399, 394, 408, 400, 399, 399, 387, 406, 410, 398), 1_000),
    "digits": ((151, 157, 142, 155, 143, 157, 151, 148, 151, 145), 297),
}

DATA = {
    name: replace(
        DataFacts.of(labels, test_images, target(name, sum(labels))), name=name
    )
    for name, (labels, test_images) in _COUNTS.items()
}
"""The facts about the built-in data sets."""

MNIST = DATA["mnist"]


def data_facts(meta: Mapping[str, Any]) -> DataFacts:
    """Return the facts about a sweep's data set, as its `sweep.json` records them;
    `--target` overrides the target."""
    data, options = meta["dataset"], meta.get("options", {})
    evaluated = options.get("train_evaluation")
    if evaluated == "all":
        evaluated = None
    if "train_images" in data:
        facts = DataFacts.of_task(data)
        # curves of others have an accuracy to reach, too
        target = data.get("target")
        if not facts.by_accuracy:
            target = options.get("target_loss")
        flag = "loop" if options.get("loop") else "task"
        rank_by = options.get("rank_by")
        return replace(
            facts, evaluated=evaluated, target=target, flag=flag, rank_by=rank_by
        )
    name, target = data["name"], data.get("target")
    if options.get("target"):
        name, target = "", options["target"]
    positions = data.get("positions") or 1
    facts = DataFacts.of(data["label_counts"], data["test_images"], target)
    return replace(
        facts,
        evaluated=evaluated,
        train_images=facts.train_images // positions,
        name=name,
        positions=positions,
    )
