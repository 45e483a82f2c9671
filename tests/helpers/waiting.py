"""Waiting for what another process or thread does: long, since the machine may be slow
and busy."""

import time

LONG_S = 300


def wait_until(condition, message="it did not happen", process=None, every=0.05):
    """Wait for a true result of a function, and return it; fail if this process ends
    before."""
    deadline = time.monotonic() + LONG_S
    while not (answer := condition()):
        assert time.monotonic() < deadline, message() if callable(message) else message
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(every)
    return answer
