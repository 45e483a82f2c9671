"""Write the page of a running sweep, in a process of its own: what draws it has
settings that a notebook shares.

The page is written again and again until the standard input ends. Each time a line of
JSON says the headline of the page, after how many trials, since more may have ended
when it is read, and why it was not written, if so.
"""

from __future__ import annotations

import json
import select
import sys
import time
from pathlib import Path

from mnist_tune import storage
from mnist_tune.errors import why
from mnist_tune.judged import judged
from mnist_tune.numbers import counted
from mnist_tune.reports.answer import answer
from mnist_tune.reports.page import write_page
from mnist_tune.results.meta import read_meta
from mnist_tune.results.tables import journal_tables
from mnist_tune.trial import LIVE_REASONS


def main(folder: Path, place: str, interval: float, share: float) -> None:
    """Write the page every so many seconds, or less often, so that it takes at most
    this share of a core's time."""
    spent = wait = 0.0
    while not select.select([sys.stdin], [], [], wait)[0]:
        line = {"why": ""}
        try:
            sweep = judged(journal_tables(folder, read_meta(folder), running=True))
            is_live = sweep.trials["stop_reason"].isin(LIVE_REASONS)
            ended = int((~is_live).sum())
            headline = ""
            if ended:
                headline = f"after {counted(ended)}: {answer(sweep).headline}"
            line["answer"] = headline
            write_page([sweep], storage.place(place))
        except Exception as error:  # of whatever kind: the rows are safe, and a page can be written again later
            line["why"] = why(error)
        print(json.dumps(line), flush=True)
        before, spent = spent, time.process_time()
        wait = max(interval, (spent - before) / share)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], *map(float, sys.argv[3:]))
