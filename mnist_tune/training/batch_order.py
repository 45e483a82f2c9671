"""The order in which an epoch goes through the training images: a pure function of seed and epoch."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=32)
def batch_order(data_seed: int, epoch: int, count: int) -> np.ndarray:
    """The order of the images in an epoch (0-based): draw `epoch + 1` of `RandomState(data_seed).permutation(count)`.

    A pure function of its arguments, as in the notebook's `data_stream`, so that the position in the batch
    order needs no state but the epoch. int32 [count].
    """
    rng = _streams.pop((data_seed, epoch, count), None)
    if rng is None:
        rng = np.random.RandomState(data_seed)
        for _ in range(epoch):
            rng.permutation(count)
    order = rng.permutation(count).astype(np.int32)
    _streams[data_seed, epoch + 1, count] = rng
    return order


_streams: dict[tuple[int, int, int], np.random.RandomState] = {}
