"""A small table of rows in which every two values of any two options meet."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from itertools import chain, combinations

Row = dict[str, int]
"""For each option, the number of its value."""

Pair = frozenset[tuple[str, int]]
"""Two options, each with the number of a value."""


def pairs(row: Row) -> set[Pair]:
    """Return every pair of values that meet in a row."""
    return {frozenset(pair) for pair in combinations(row.items(), 2)}


def every_pair(counts: Mapping[str, int]) -> set[Pair]:
    """Return all pairs of values of options that have so many values."""
    kinds = [(name, i) for name, count in counts.items() for i in range(count)]
    every = set()
    for first, second in combinations(kinds, 2):
        # A pair is of two options.
        if first[0] != second[0]:
            every.add(frozenset([first, second]))
    return every


def pairwise(
    counts: Mapping[str, int],
    refused: Callable[[Row], bool],
    seed: int = 0,
    tries: int = 300,
) -> list[Row]:
    """Return rows in which every two values of any two options meet.

    A row begins with a pair that is missing. The other options, in random order, take
    the value that adds the most missing pairs. If that row is refused, some of its
    values are drawn anew.

    Args:
        counts: how many values each option has.
        refused: whether a row can't be. A pair all of whose rows are refused gets one
            of them. That row stands for no other pair.
        seed: seed of the random choices.
        tries: how often values are drawn anew for a pair.
    """
    random_ = random.Random(seed)
    missing = every_pair(counts)
    rows = []
    while missing:
        pair = dict(random_.choice(sorted(map(sorted, missing))))
        greedy = _filled(pair, counts, missing, random_)
        redrawn = (_redrawn(greedy, pair, counts, random_) for _ in range(tries))
        candidates = chain([greedy], redrawn)
        accepted = next((row for row in candidates if not refused(row)), None)
        rows.append(accepted or greedy)
        missing -= pairs(accepted or pair)
    return [{name: row[name] for name in counts} for row in rows]


def _filled(
    pair: Row, counts: Mapping[str, int], missing: set[Pair], random_: random.Random
) -> Row:
    """Return a row with a pair whose other values add the most missing pairs."""
    row = dict(pair)

    def gain(kind: tuple[str, int]) -> int:
        return sum(frozenset([kind, present]) in missing for present in row.items())

    for name in random_.sample(list(counts), len(counts)):
        if name in pair:
            continue
        # Of kinds that gain as much, the first of a random order is taken.
        kinds = [(name, i) for i in range(counts[name])]
        shuffled = random_.sample(kinds, len(kinds))
        _, row[name] = max(shuffled, key=gain)
    return row


def _redrawn(
    row: Row, pair: Row, counts: Mapping[str, int], random_: random.Random
) -> Row:
    """Return a row with a pair, and some of its other values drawn anew."""
    redrawn = {}
    for name, i in row.items():
        redrawn[name] = i
        if random_.random() >= 0.7:
            redrawn[name] = random_.randrange(counts[name])
    return redrawn | pair
