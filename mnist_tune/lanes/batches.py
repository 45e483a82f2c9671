"""Which lanes run in one call: batches of `2**k` lanes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Literal

Execution = Literal["loop", "shared", "vmap"]
"""`shared` is vmap over lanes of one batch order; `vmap` gives each lane an order of its own."""

PADDING = {"shared": 1 / 8, "vmap": 1.0}
"""Share of a batch that may be padding: a CPU pays for lanes that nobody asked for, a GPU hardly does."""


@dataclass(frozen=True)
class Batch:
    """Lanes that run in one call of `size` lanes; `size` - len(members) of them are padding."""

    members: tuple[str, ...]
    size: int
    shared: bool = False


def plan_batches(streams: Mapping[str, Hashable], capacity: int, execution: Execution) -> list[Batch]:
    """Cuts the lanes that ask into batches of `2**k` lanes, so that at most log2(capacity) + 1 sizes compile.

    Args:
        streams: for each lane what it must share under `shared`: its batch order and epoch.
        capacity: the most lanes of a batch, rounded down to a power of two.
        execution: how they run.
    """
    if execution == "loop":
        return [Batch((lane,), 1) for lane in streams]
    companies = defaultdict(list)
    for lane, stream in streams.items():
        companies[stream if execution == "shared" else None].append(lane)
    batches = []
    for company in companies.values():
        while company:
            size = _size(len(company), capacity, execution)
            batches.append(Batch(tuple(company[:size]), size, shared=execution == "shared" and size > 1))
            company = company[size:]
    return batches


def _size(count: int, capacity: int, execution: Literal["shared", "vmap"]) -> int:
    most = 1 << (capacity.bit_length() - 1)
    above = min(1 << (count - 1).bit_length(), most)
    return above if above - count <= PADDING[execution] * above else above // 2
