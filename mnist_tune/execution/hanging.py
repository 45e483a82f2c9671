"""An epoch that hangs: when it does, and the end of its process, which alone ends what
hangs."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future, wait
from statistics import median
from typing import Any, TypeVar

from mnist_tune.execution.program_error import DeviceError

FACTOR = 20
"""An epoch that hangs takes so many times as long as the median of its trial's epochs,
or longer."""

WAITS = 100
"""Into how many waits a limit is divided."""

ANSWER_S = 5.0
"""Seconds in which a process in which an epoch hangs can still say so."""

Result = TypeVar("Result")


class HungError(DeviceError):
    """An epoch hangs, and its process ends. Another one may do better."""


def limit_s(epochs: int, seconds: Collection[float], least_s: float) -> float:
    """Return after how many seconds a trial's next epoch hangs, given how many it has
    trained, and what some of the last ones took. Before the third epoch, or if
    `least_s` is 0, none does."""
    if epochs < 2 or not seconds or not least_s:
        return math.inf
    return max(least_s, FACTOR * median(seconds))


def watched(
    call: Callable[[], Result],
    limit_s: float,
    pauses: Callable[[], bool] = lambda: False,
) -> Result:
    """Return what a call returns, or raise what it raises. If there is a limit, the
    call runs in a thread of its own. If it takes longer, not counting the time in which
    it `pauses`, HungError is raised, and this process ends after `ANSWER_S`.

    The limit is that of many short waits, not of a clock. So a machine that sleeps, or
    a process that is stopped, does not hang: nobody waits meanwhile.
    """
    if limit_s == math.inf:
        return call()
    result: Future[Result] = Future()
    threading.Thread(target=fulfil, args=(result, call), daemon=True).start()
    waits = 0
    while waits < WAITS:
        if wait([result], min(limit_s / WAITS, threading.TIMEOUT_MAX)).done:
            return result.result()
        waits += not pauses()
    threading.Timer(ANSWER_S, os._exit, (1,)).start()
    raise HungError(
        f"an epoch still ran after {limit_s / 60:.3g} minutes (--hang-minutes says how many it may take)"
    )


def fulfil(future: Future[Any], function: Callable[[], Any]) -> None:
    """Set a future to what a function returns or raises, unless the future was
    cancelled."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function())
    except Exception as error:
        future.set_exception(error)


def returned_or_raised(outcome: Any) -> Any:
    """Raise an exception; return anything else."""
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
