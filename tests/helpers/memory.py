"""The memory that a call needs."""

import tracemalloc


def peak_mb(call):
    """Return the most memory that Python and NumPy allocated during a call, in MB."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()
