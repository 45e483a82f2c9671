"""The facts about a data set that the labels need: its counts, what guessing reaches, and its target accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mnist_tune.regimes.divergence import MNIST_CHANCE, guessing


@dataclass(frozen=True)
class DataFacts:
    """The facts about a data set; the defaults are MNIST's."""

    train_images: int = 60_000
    """Images in the training set, including those that are held out."""
    test_images: int = 10_000
    chance: float = MNIST_CHANCE
    """Share of the most frequent label."""
    label_entropy: float = 2.3010
    """Loss of the best constant guess, nats."""
    target: float | None = 0.95
    """Accuracy of a network that has learned the data set. If it is None, the target follows from the best sibling."""
    classes: int = 10
    evaluated: int | None = None
    """Training images that are evaluated after an epoch, at most; None means all."""

    def evaluated_of(self, trained: int) -> int:
        """Return how many of the images that a trial trains on are evaluated; these are the first ones."""
        return min(trained, self.evaluated or trained)

    @property
    def uniform_loss(self) -> float:
        """Loss of a network that gives all classes the same probability, nats. An untrained one has about this loss."""
        return max(self.label_entropy, math.log(self.classes))


MNIST = DataFacts()
"""The best dense networks reach 0.98 on the test images. The notebook's curves that failed ended below 0.87."""

DATA = {
    "mnist": MNIST,
    "fashion-mnist": DataFacts(chance=0.1, label_entropy=math.log(10), target=0.87),
    "mnist-5k": DataFacts(4_000, 1_000, chance=0.104, label_entropy=2.302, target=0.91),
}
"""The facts that hold unless `sweep.json` says otherwise. `docs/regimes.md` says what each target is based on
(Fashion-MNIST was not measured here)."""


def data_facts(meta: Mapping[str, Any]) -> DataFacts:
    """Return the facts about a sweep's data set, given its `sweep.json`, whose options include `--target`."""
    dataset, options = meta.get("dataset", {}), meta.get("options", {})
    facts = DATA.get(dataset.get("name", ""), replace(MNIST, target=None))
    if label_counts := dataset.get("label_counts"):
        chance, entropy = guessing(label_counts)
        counts = {"train_images": sum(label_counts), "classes": len(label_counts)}
        facts = replace(facts, chance=chance, label_entropy=entropy, **counts)
    if dataset.get("test_images"):
        facts = replace(facts, test_images=dataset["test_images"])
    if options.get("train_evaluation"):
        facts = replace(facts, evaluated=options["train_evaluation"])
    return replace(facts, target=options["target"]) if options.get("target") else facts
