"""Which seeds to train where no command here trains."""

from __future__ import annotations

from collections.abc import Collection
from itertools import count, islice

from mnist_tune.judged import Judged

FRESH = 5
"""How many fresh seeds a setting is to be trained with at a time: one more than the
fewest after which a decision may settle."""


def fresh_seeds(used: Collection[int], size: int = FRESH) -> list[int]:
    """Return the first seeds that were not used."""
    unused = (seed for seed in count() if seed not in used)
    return list(islice(unused, size))


def seeds_to_train(sweep: Judged) -> list[int]:
    """Return the fresh seeds with which a sweep's settings are to be trained."""
    return fresh_seeds({*sweep.trials["seed"], *sweep.record.first_seeds})
