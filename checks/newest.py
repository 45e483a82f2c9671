"""What breaks with the newest releases of the libraries?

    python checks/newest.py

It makes a fresh virtual environment and installs the newest releases of all dependencies, without the bounds of
`pyproject.toml`. Then it runs a small sweep, and the tests that don't start Ray. It prints the versions and what
broke. The exit code is 1 if something did.
"""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
import venv
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.processes import REPOSITORY
from mnist_tune import cli

SWEEP = ["sweeps/lr_regimes.py", "--smoke", "--dataset", "mnist-5k"]


@dataclass(frozen=True, kw_only=True)
class Newest:
    """Tries the newest releases of the libraries, and says what broke."""

    keep: tuple[str, ...] = ()
    """Libraries that keep their bounds, such as jax."""
    pre: bool = False
    """Also try releases that are not final."""
    ray: bool = False
    """Also run the tests that start Ray, which take minutes."""


def requirements(keep: tuple[str, ...]) -> list[str]:
    """Return what the package and its tests need, without bounds but for those to keep."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    return [one if name(one).partition("[")[0] in keep else name(one) for one in needed]


def name(requirement: str) -> str:
    """Return the name of a requirement, with its extras: `ray[tune]`."""
    return re.split(r"[<>=!~; ]", requirement)[0]


def broke(python: str, what: str, arguments: list[str]) -> bool:
    """Run a command of the new environment, and print what broke."""
    variables = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([python, *arguments], cwd=REPOSITORY, capture_output=True, text=True, env=variables)
    print(f"{what}: {'broke' if done.returncode else 'as before'}", flush=True)
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()
        failed = [line for line in lines if re.match("FAILED|ERROR|error", line)]
        print("\n".join(f"    {line}" for line in failed or lines[-15:]), flush=True)
    return bool(done.returncode)


def main() -> int:
    config = cli.parse(Newest)
    with TemporaryDirectory(prefix="newest-") as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder, "bin", "python"))
        pip = [python, "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--quiet", *["--pre"] * config.pre, *requirements(config.keep)], check=True)
        frozen = subprocess.run([*pip, "list", "--format=freeze"], check=True, capture_output=True, text=True).stdout
        wanted = {name(one).partition("[")[0] for one in requirements(config.keep)}
        print("with " + ", ".join(line for line in frozen.split() if line.partition("==")[0] in wanted), flush=True)
        marks = [] if config.ray else ["-m", "not ray"]
        tried = [
            broke(python, "a small sweep", [*SWEEP, "--output", str(Path(folder, "sweep"))]),
            broke(python, "the tests", ["-m", "pytest", "-q", *marks]),
        ]
    return int(any(tried))


if __name__ == "__main__":
    cli.run(main)
