"""Do trials train the same on another processor?

    python checks/other_processor.py --cpu Haswell
    python checks/other_processor.py --cpu SandyBridge

It runs the tests marked `portable` on a processor that qemu emulates, in one process
with one thread. The tests compare with numbers computed in float64, and so compare
processors with each other. Output and exit code are pytest's, and the third line names
the processor that the tests saw. qemu does not emulate AVX-512. jaxlib needs AVX, which
SandyBridge is the first processor to have. It takes 4 to 6 minutes on a core of an AMD
EPYC, 18 s without emulation.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from benchmarks.comparison import Recorded, describe_machine, write_record
from benchmarks.processes import REPOSITORY
from mnist_tune import UserError, cli
from mnist_tune.errors import closest

QEMU = "qemu-x86_64"
TEST_TIMEOUT_S = 600
"""Seconds a test may take, in place of the 240 of pyproject.toml."""
ONE_THREAD = {"PJRT_NPROC": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True, kw_only=True)
class OtherProcessor(Recorded):
    """Runs the portable tests on an emulated x86-64 processor."""

    cpu: str = "Haswell"
    """Processor to emulate, one of those that `qemu-x86_64 -cpu help` lists. Haswell
    has AVX2, SandyBridge only AVX."""
    timeout_s: float = 1800
    """The most seconds that the tests may take."""


def run_tests(config: OtherProcessor) -> int:
    """Run the tests, and return pytest's exit code."""
    qemu = shutil.which(QEMU)
    if qemu is None:
        raise UserError(
            f"there is no {QEMU} to emulate a processor with; apt-get install qemu-user"
        )
    emulated = processors(qemu)
    if config.cpu not in emulated:
        hint = closest(config.cpu, emulated)
        raise UserError(f"{QEMU} emulates no processor {config.cpu!r}{hint}")
    files = []
    for path in sorted((REPOSITORY / "tests").rglob("test_*.py")):
        if has_portable_tests(path):
            files.append(str(path))
    pytest = (
        f"-m pytest -v -n 0 -m portable -p no:cacheprovider -o timeout={TEST_TIMEOUT_S}"
    )
    python = [sys.executable, *pytest.split()]
    command = [qemu, "-cpu", config.cpu, *python, *files]
    with TemporaryFile("w+") as errors:
        try:
            ended = subprocess.run(
                command,
                cwd=REPOSITORY,
                env=os.environ | ONE_THREAD,
                stderr=errors,
                timeout=config.timeout_s,
            )
        except subprocess.TimeoutExpired:
            raise UserError(
                f"the tests took more than {config.timeout_s:g} s; give more with --timeout-s"
            ) from None
        finally:
            errors.seek(0)
            for line in errors:
                if "warning: TCG doesn't support" not in line:
                    sys.stderr.write(line)
    if ended.returncode < 0:
        raise UserError(f"{QEMU} was ended by signal {-ended.returncode}")
    return ended.returncode


def processors(qemu: str) -> list[str]:
    """Return the names that `-cpu` accepts."""
    # exits with 1
    done = subprocess.run([qemu, "-cpu", "help"], capture_output=True, text=True)
    listed, _, _ = done.stdout.partition("\n\n")  # the flags follow
    # older versions begin each line with x86
    return re.findall(r"^(?:x86)?\s+(\S+)", listed, re.MULTILINE)


def has_portable_tests(path: Path) -> bool:
    """Return whether a file has portable tests. pytest would import the others, too,
    which takes half a minute."""
    return "mark.portable" in path.read_text()


def main() -> int:
    config = cli.parse(OtherProcessor)
    machine = describe_machine()
    start = time.perf_counter()
    exit_code = run_tests(config)
    wall_s = time.perf_counter() - start
    print(f"{config.cpu}, emulated: exit code {exit_code} after {wall_s:.0f} s")
    figures = {"exit_code": exit_code, "wall_s": wall_s}
    results = {"rounds": {config.cpu: [figures]}, "targets": []}
    write_record(config, machine, {"portable tests": results})
    return exit_code


if __name__ == "__main__":
    cli.run(main)
