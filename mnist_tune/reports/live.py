"""Write the page of a running sweep, in a process of its own: what draws it has settings that a notebook shares.

For each line on standard input the page is written again. A line of JSON says the CPU seconds that it took, the
headline of the page, and why it was not written, if so.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from mnist_tune import storage
from mnist_tune.errors import why
from mnist_tune.reports.answer import answer
from mnist_tune.reports.page import write_page
from mnist_tune.results.meta import read_meta
from mnist_tune.results.tables import tables


def main(folder: Path, place: str) -> None:
    begun = 0.0
    for _ in sys.stdin:
        failed, said = "", {}
        try:
            sweep = tables(folder, read_meta(folder), running=True)
            said["answer"] = answer(sweep).headline
            write_page([sweep], storage.place(place))
        except Exception as error:  # of whatever kind: the rows are safe, and a page can be written again later
            failed = why(error)
        spent = time.process_time()
        print(json.dumps(said | {"cpu_s": spent - begun, "why": failed}), flush=True)
        begun = spent


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
