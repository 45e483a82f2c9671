"""The seeds to train with, where no command here trains."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import count, islice

from mnist_tune.judged import Judged

FRESH = 5
"""How many fresh seeds a setting is to be trained with at a time: one more than the
fewest after which a decision may settle."""

FIRST_SEEDS = "first_seeds"
"""The option of a decision that lists the seeds which its settings had before."""


def fresh_seeds(used: Collection[int], size: int = FRESH) -> list[int]:
    """Return the first seeds that are not used."""
    unused = (seed for seed in count() if seed not in used)
    return list(islice(unused, size))


def seeds_to_train(sweep: Judged, used: Iterable[int]) -> dict[str, list[int]]:
    """Return the seeds with which settings are to be trained elsewhere, as what a step
    is given: neither used now, nor before a decision."""
    before = sweep.record.options.get(FIRST_SEEDS, ())
    return {"seeds": fresh_seeds({*used, *before})}
