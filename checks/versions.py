"""Does it work with other versions of Python and of the libraries?

    python checks/versions.py --python python3.13
    python checks/versions.py --libraries lowest
    python checks/versions.py --libraries unbounded

It makes a fresh environment, with the newest or the lowest releases that
`pyproject.toml` allows, or with the newest there are. Then it runs a small sweep, and
the tests that don't start Ray. It prints the versions and what broke. The exit code is
1 if something did.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from benchmarks.processes import REPOSITORY
from mnist_tune import cli
from mnist_tune.errors import UserError

SWEEP = ["sweeps/lr_regimes.py", "--smoke", "--dataset", "mnist-5k"]


@dataclass(frozen=True, kw_only=True)
class Versions:
    """Tries other versions of Python and of the libraries, and says what broke."""

    python: str = sys.executable
    """The Python to try."""
    libraries: Literal["newest", "lowest", "unbounded"] = "newest"
    """Which releases of what pyproject.toml names."""
    keep: tuple[str, ...] = ()
    """Libraries that keep their bounds with --libraries unbounded, such as jax."""
    ray: bool = False
    """Also run the tests that start Ray, which take minutes."""

    def requirements(self) -> list[str]:
        """Return what the package and its tests need."""
        project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
        needed: list[str] = list(project["dependencies"])
        needed += project["optional-dependencies"]["test"]
        if self.libraries != "unbounded":
            return needed
        unbounded = []
        for requirement in needed:
            if package(requirement) in self.keep:
                unbounded.append(requirement)
            else:
                unbounded.append(name(requirement))
        return unbounded


def name(requirement: str) -> str:
    """Return the name of a requirement, with its extras: `ray[tune]`."""
    return re.split(r"[<>=!~; ]", requirement)[0]


def package(requirement: str) -> str:
    """Return the name of a requirement without its extras: `ray`."""
    return name(requirement).partition("[")[0]


def broke(python: str, what: str, arguments: list[str]) -> bool:
    """Run a command of the new environment, and print what broke."""
    variables = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [python, *arguments]
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, env=variables
    )
    if not done.returncode:
        print(f"{what}: as before", flush=True)
        return False
    print(f"{what}: broke", flush=True)
    lines = (done.stdout + done.stderr).splitlines()
    failed = [line for line in lines if re.match("FAILED|ERROR|error", line)]
    for line in failed or lines[-15:]:
        print(f"    {line}", flush=True)
    return True


def main() -> int:
    config = cli.parse(Versions)
    if find_spec("uv") is None:
        raise UserError(
            "uv makes the environments, and is not installed: python -m pip install -e '.[dev]'"
        )
    with TemporaryDirectory(prefix="versions-") as folder:
        python = str(Path(folder, "bin", "python"))
        uv = [sys.executable, "-m", "uv"]
        needed = config.requirements()
        resolution = "highest"
        if config.libraries == "lowest":
            resolution = "lowest-direct"
        new = ["venv", "--quiet", "--clear", "--python", config.python, folder]
        subprocess.run([*uv, *new], check=True)
        install = [*uv, "pip", "install", "--quiet", "--python", python]
        subprocess.run([*install, "--resolution", resolution, *needed], check=True)
        # the command, mnist-tune
        own = ["--no-deps", "--editable", str(REPOSITORY)]
        subprocess.run([*install, *own], check=True)
        freeze = [*uv, "pip", "freeze", "--python", python]
        frozen = subprocess.run(freeze, check=True, capture_output=True, text=True)
        packages = {package(requirement) for requirement in needed}
        versions = [
            version
            for version in frozen.stdout.split()
            if version.partition("==")[0] in packages
        ]
        print("with " + ", ".join(versions), flush=True)
        tests = ["-m", "pytest", "-q"]
        if not config.ray:
            tests += ["-m", "not ray"]
        sweep = [*SWEEP, "--output", str(Path(folder, "sweep"))]
        sweep_broke = broke(python, "a small sweep", sweep)
        tests_broke = broke(python, "the tests", tests)
    return int(sweep_broke or tests_broke)


if __name__ == "__main__":
    cli.run(main)
