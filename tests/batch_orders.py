"""Clear the cache of batch orders, as in a new process."""

from mnist_tune.training.batch_order import _streams, batch_order


def forget():
    """Clear what `batch_order` keeps between calls."""
    batch_order.cache_clear()
    _streams.clear()
