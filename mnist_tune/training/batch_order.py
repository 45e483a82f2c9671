"""The order of the training images in an epoch: a pure function of seed and epoch."""

from __future__ import annotations

import numpy as np


def batch_order(data_seed: int, epoch: int, count: int) -> np.ndarray:
    """Return the order of the images in an epoch (0-based), int32 [count].

    It is draw `epoch + 1` of `RandomState(data_seed).permutation(count)`, as in the
    notebook's `data_stream`. A trial that resumes needs to know only its epoch.
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
