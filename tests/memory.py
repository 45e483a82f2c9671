"""What a call takes of memory."""

import tracemalloc


def peak_mb(call):
    """The most memory that Python and numpy held for a call, MB."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()
