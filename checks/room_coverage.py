"""Which lines and branches of each room do the tests pass?

    python checks/room_coverage.py                 all tests, in all processes that they start
    python checks/room_coverage.py -m 'not ray'    what follows is for pytest

There is no threshold: what no test passes is a question, and what one passes is no promise.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.processes import REPOSITORY


def room_of(file: str) -> str:
    """Return the folder of the package that a file is in, or the package for the files at its top."""
    package, *rooms, _ = Path(file).parts
    return "/".join([package, *rooms[:1]])


def main() -> int:
    with TemporaryDirectory(prefix="coverage-") as folder:
        variables = os.environ | {"COVERAGE_FILE": str(Path(folder, "data"))}

        def coverage(*words: str, check: bool = True) -> int:
            line = [sys.executable, "-m", "coverage", *words]
            return subprocess.run(line, cwd=REPOSITORY, env=variables, check=check).returncode

        failed = coverage("run", "-m", "pytest", *sys.argv[1:], check=False)
        coverage("combine", "--quiet")
        coverage("json", "--quiet", "-o", str(Path(folder, "report.json")))
        files = json.loads(Path(folder, "report.json").read_text())["files"]
    rooms = defaultdict[str, Counter[str]](Counter)
    for file, found in files.items():
        rooms[room_of(file)].update({key: n for key, n in found["summary"].items() if isinstance(n, int)})
    print(f"{'room':28} {'lines':>7} {'branches':>9}")
    for room, n in sorted(rooms.items()):
        lines, branches = n["covered_lines"] / n["num_statements"], n["covered_branches"] / (n["num_branches"] or 1)
        print(f"{room:28} {lines:7.1%} {branches:9.1%}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
