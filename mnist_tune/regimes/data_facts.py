"""What labels need to know of a data set: its counts, what guessing reaches, what its networks reach."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mnist_tune.regimes.divergence import MNIST_CHANCE, guessing


@dataclass(frozen=True)
class DataFacts:
    """Of a data set. The defaults are MNIST's."""

    train_images: int = 60_000
    """Of the training set, held-out ones among them."""
    test_images: int = 10_000
    chance: float = MNIST_CHANCE
    """Share of the most frequent label."""
    label_entropy: float = 2.3010
    """Loss of the best constant guess, nats."""
    target: float | None = 0.95
    """Accuracy of a network that learned it; None where the best sibling is the measure."""
    classes: int = 10
    evaluated: int | None = None
    """Training images that are evaluated after an epoch, at most; None is all."""

    def evaluated_of(self, trained: int) -> int:
        """How many of the images that a trial trains on are evaluated: the first."""
        return min(trained, self.evaluated or trained)

    @property
    def uniform_loss(self) -> float:
        """Loss of a network that finds all classes equally likely, about that of an untrained one, nats."""
        return max(self.label_entropy, math.log(self.classes))


MNIST = DataFacts()
"""Its best dense networks reach 0.98 of the test images; of the notebook's curves, those that failed ended below
0.87."""

DATA = {
    "mnist": MNIST,
    "fashion-mnist": DataFacts(chance=0.1, label_entropy=math.log(10), target=0.87),
    "mnist-5k": DataFacts(4_000, 1_000, chance=0.104, label_entropy=2.302, target=0.91),
}
"""Where `sweep.json` does not say more; `docs/regimes.md` says what each target rests on (Fashion-MNIST is not measured
here)."""


def data_facts(meta: Mapping[str, Any]) -> DataFacts:
    """Of the data set of a sweep, from its `sweep.json`; `--target` is there in the options."""
    said, options = meta.get("dataset", {}), meta.get("options", {})
    facts = DATA.get(said.get("name", ""), replace(MNIST, target=None))
    if said.get("label_counts"):
        chance, entropy = guessing(said["label_counts"])
        counts = {"train_images": sum(said["label_counts"]), "classes": len(said["label_counts"])}
        facts = replace(facts, chance=chance, label_entropy=entropy, **counts)
    if said.get("test_images"):
        facts = replace(facts, test_images=said["test_images"])
    if options.get("train_evaluation"):
        facts = replace(facts, evaluated=options["train_evaluation"])
    return replace(facts, target=options["target"]) if options.get("target") else facts
