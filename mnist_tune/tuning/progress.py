"""Show the progress of a running sweep: on the terminal, and on its page, which a
browser follows.

The page costs little: it is written at most every half minute, and less often the
longer writing takes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from mnist_tune import storage
from mnist_tune.errors import why
from mnist_tune.numbers import spoken
from mnist_tune.results.writer import SweepWriter
from mnist_tune.sweep import Sweep
from mnist_tune.terminal import note

PLAIN_INTERVAL_S = 15.0
"""Seconds between two lines if standard error is not a terminal."""


INTERVAL_S = 30.0
"""The least time between two pages of a running sweep."""

SHARE = 1 / 25
"""The largest share of one core's time that writing pages may take."""


class ProgressView:
    """Shows how many trials are done, running and waiting, their ends and regimes, the
    answer so far and the time left. On a terminal this is a live bar, elsewhere a line
    every `PLAIN_INTERVAL_S`."""

    def __init__(self, trials: int, epochs: int, epochs_done: int, quiet: bool) -> None:
        self._trials = trials
        self._epochs = epochs
        self._done = epochs_done
        self._done_before = epochs_done
        self._ends: Counter[str] = Counter()
        self._regimes: Counter[str] = Counter()
        self._running: set[str] = set()
        self.answer = ""
        """The headline of the page, which is written meanwhile, and after how many
        trials it was."""
        self._first = 0.0
        self._printed = 0.0
        self._console = Console(stderr=True, quiet=quiet)
        self._has_bar = self._console.is_terminal and not quiet
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[left]}"),
        )
        self._task = self._bar.add_task("epochs", left="")
        self._live = Live(
            console=self._console, transient=True, get_renderable=self._drawn
        )

    def __enter__(self) -> ProgressView:
        if self._has_bar:
            self._live.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._live.stop()

    def epoch(self, trial_id: str, further: int = 1) -> None:
        """Show that a trial finished an epoch, and is so many epochs further than
        before."""
        self._first = self._first or time.monotonic()
        self._running.add(trial_id)
        self._done += further
        self._print()

    def end(self, trial_id: str, reason: str, epochs_not_run: int, regime: str) -> None:
        """Show that a trial ended. The epochs that it did not run no longer count. A
        regime may be empty: not known."""
        self._running.discard(trial_id)
        self._ends[reason] += 1
        if regime:
            self._regimes[regime] += 1
        self._epochs -= epochs_not_run
        self._print()

    def _print(self) -> None:
        if self._has_bar:
            return
        now = time.monotonic()
        if now - self._printed > PLAIN_INTERVAL_S:
            self._printed = now
            line = f"{self.said()}; {self._left()}"
            self._console.print(line, soft_wrap=True, markup=False)

    def _drawn(self) -> Group:
        """Return what a terminal shows. It asks four times a second, however many rows
        there are."""
        self._bar.update(
            self._task, completed=self._done, total=self._epochs, left=self._left()
        )
        return Group(Text(self.said()), self._bar)

    def said(self) -> str:
        """Return how far the sweep is."""
        if not self._running and not self._ends:
            return "starting Ray and the first trials ..."
        done = sum(self._ends.values())
        running = len(self._running)
        waiting = max(self._trials - done - running, 0)
        done_text = f"{done} done"
        if self._ends:
            done_text += f" ({_counts_text(self._ends)})"
        text = f"trials: {done_text}, {running} running, {waiting} waiting"
        if self._regimes:
            text += f"; curves: {_counts_text(self._regimes)}"
        if self.answer:
            text += f"; {self.answer}"
        return text

    def _left(self) -> str:
        """Return how many epochs are done, and how long the others take, once that can
        be said."""
        text = f"{self._done}/{self._epochs} epochs"
        # what came before the first is starting and compiling
        fresh = self._done - self._done_before - 1
        if fresh < 2 * max(len(self._running), 1):
            return text
        epoch_s = (time.monotonic() - self._first) / fresh
        seconds = epoch_s * (self._epochs - self._done)
        return f"{text}, at most {spoken(seconds)} left"


def _counts_text(counts: Counter[str]) -> str:
    texts = [f"{count} {name}" for name, count in sorted(counts.items())]
    return ", ".join(texts)


class LivePage:
    """Has the page of a running sweep written, by a process of its own, says so, and
    gives the view its headline. One that can't be written ends no sweep."""

    def __init__(
        self, writer: SweepWriter, say: Callable[[str], None], view: ProgressView
    ) -> None:
        self._folder = writer.path
        self._say = say
        self._view = view
        self._place = storage.join(writer.where, "report.html")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._process: subprocess.Popen[str] | None = None
        self._failing = False
        self.pages = 0
        """How many were written while the sweep ran."""

    def __enter__(self) -> LivePage:
        self._thread.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop writing: the sweep has ended, or is about to."""
        self._ended.set()
        if self._process is not None:
            self._process.kill()  # a page is replaced whole, or not at all
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL_S):
            try:
                self._follow()
                problem = "its process died"
                if self._ended.is_set():
                    problem = ""
                self._tell(problem)
            except Exception as error:  # of whatever kind: the rows are safe, and a page can be written again later
                self._tell(why(error))

    def _follow(self) -> None:
        """Start the process that writes pages, and read what it says until it ends."""
        # Modules are found as by this process, but none in the current folder, which
        # may hold any.
        paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        line = [sys.executable, "-P", "-m", "mnist_tune.reports.live"]
        line += [str(self._folder), str(self._place), str(INTERVAL_S), str(SHARE)]
        pipes: dict[str, Any] = {
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.DEVNULL,
        }
        # In a session of its own, it is not ended by Ctrl-C, but by the end of its
        # input.
        with subprocess.Popen(
            line, env=os.environ | paths, text=True, start_new_session=True, **pipes
        ) as process:
            self._process = process
            if self._ended.is_set():
                process.kill()
            for news in process.stdout or ():
                self._take_up(**json.loads(news))

    def _take_up(self, why: str, answer: str = "") -> None:
        """Take up that a page was written, with this headline, or why it was not."""
        self._tell(why)
        if answer:
            self._view.answer = answer
        if why:
            return
        self.pages += 1
        if self.pages == 1:
            self._say(
                f"page: {self._place} (a browser that shows it follows the sweep)"
            )

    def last(self, sweep: Sweep) -> None:
        """Write the page of the sweep that has ended: here, since nothing else runs any
        more."""
        try:
            sweep.report(self._place)
        except Exception as error:  # as above
            self._tell(why(error))

    def _tell(self, why: str) -> None:
        if why and not self._failing:
            self._say(note(f"the page of this sweep was not written ({why})"))
        self._failing = bool(why)
