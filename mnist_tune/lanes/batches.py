"""Which lanes run in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Batch:
    """Lanes that run in one call of `size` lanes; `size` - len(members) of them are padding."""

    members: tuple[str, ...]
    size: int


class StateLostError(Exception):
    """The device ran out of memory in a call that had been given the stacked state: its lanes are gone."""


def cut_batches(lanes: Sequence[str], largest: int) -> list[Batch]:
    """Cuts the lanes that ask into batches of one or of `largest` lanes, so that two sizes compile: a GPU hardly
    pays for padding, but waits for every compilation."""
    parts = [tuple(lanes[i : i + largest]) for i in range(0, len(lanes), largest)]
    return [Batch(part, largest if len(part) > 1 else 1) for part in parts]
