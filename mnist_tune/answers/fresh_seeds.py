"""The seeds to train with, where no command here trains."""

from __future__ import annotations

from collections.abc import Collection
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


def seeds_to_train(sweep: Judged) -> dict[str, list[int]]:
    """Return the seeds with which settings are to be trained elsewhere, as what a step
    is given; nothing if it is not known which are used."""
    options = sweep.record.options
    if not options["has_seeds"]:
        return {}
    used = {*sweep.trials["seed"], *options.get(FIRST_SEEDS, ())}
    return {"seeds": fresh_seeds(used)}
