"""The last batch of an epoch, which may be smaller than the others."""

from __future__ import annotations

from collections.abc import Iterable

SMALL = 1 / 4
"""A last batch of less than this share of a batch is worth a word. Its gradient is then
twice as noisy as the others', or more, and its step is as large."""


def small_last_batch(epochs: Iterable[tuple[int, int, bool]]) -> str:
    """Return what follows from a small last batch, in a sentence; empty if no epoch has
    one. An epoch is how many examples there are to train on, the batch size, and
    whether the last batch is left out if it is smaller."""
    small = set()
    for images, size, dropped in epochs:
        last = images % size
        if images > size and not dropped and 0 < last < SMALL * size:
            small.add((size, last))
    if not small:
        return ""
    batches = " or ".join(f"{last} of {size}" for size, last in sorted(small))
    return (
        f"the last batch of an epoch has {batches} examples; its step is as large as the others', but its gradient is "
        "noisy, which can make high learning rates oscillate; --drop-last leaves it out"
    )
