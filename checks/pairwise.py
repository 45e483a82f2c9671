"""A small table of rows in which every two values of any two options meet."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from itertools import chain, combinations, product

Row = dict[str, int]
"""For each option, the number of its value."""

Pair = frozenset[tuple[str, int]]
"""Two options, each with the number of a value."""


def pairs(row: Row) -> set[Pair]:
    """Return every pair of values that meet in a row."""
    return {frozenset(pair) for pair in combinations(row.items(), 2)}


def every_pair(counts: Mapping[str, int]) -> set[Pair]:
    """Return all pairs of values of options that have so many values."""
    kinds = [[(name, i) for i in range(count)] for name, count in counts.items()]
    return {
        frozenset(pair)
        for one, other in combinations(kinds, 2)
        for pair in product(one, other)
    }


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
    random_, missing, rows = random.Random(seed), every_pair(counts), []
    while missing:
        pair = dict(random_.choice(sorted(map(sorted, missing))))
        greedy = _filled(pair, counts, missing, random_)
        others = (_redrawn(greedy, pair, counts, random_) for _ in range(tries))
        accepted = next(
            (row for row in chain([greedy], others) if not refused(row)), None
        )
        rows.append(accepted or greedy)
        missing -= pairs(accepted or pair)
    return [{name: row[name] for name in counts} for row in rows]


def _filled(
    pair: Row, counts: Mapping[str, int], missing: set[Pair], random_: random.Random
) -> Row:
    row = dict(pair)

    def gain(one: tuple[str, int]) -> int:
        return sum(frozenset([one, other]) in missing for other in row.items())

    for name in random_.sample(list(counts), len(counts)):
        if name not in pair:
            row |= [
                max(
                    random_.sample(
                        [(name, i) for i in range(counts[name])], counts[name]
                    ),
                    key=gain,
                )
            ]
    return row


def _redrawn(
    row: Row, pair: Row, counts: Mapping[str, int], random_: random.Random
) -> Row:
    return {
        name: i if random_.random() < 0.7 else random_.randrange(counts[name])
        for name, i in row.items()
    } | pair
