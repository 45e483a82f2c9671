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
        needed: list[str] = [
            *project["dependencies"],
            *project["optional-dependencies"]["test"],
        ]
        if self.libraries != "unbounded":
            return needed
        return [
            one if name(one).partition("[")[0] in self.keep else name(one)
            for one in needed
        ]


def name(requirement: str) -> str:
    """Return the name of a requirement, with its extras: `ray[tune]`."""
    return re.split(r"[<>=!~; ]", requirement)[0]


def broke(python: str, what: str, arguments: list[str]) -> bool:
    """Run a command of the new environment, and print what broke."""
    variables = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [python, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        env=variables,
    )
    print(f"{what}: {'broke' if done.returncode else 'as before'}", flush=True)
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()
        failed = [line for line in lines if re.match("FAILED|ERROR|error", line)]
        print("\n".join(f"    {line}" for line in failed or lines[-15:]), flush=True)
    return bool(done.returncode)


def main() -> int:
    config = cli.parse(Versions)
    if find_spec("uv") is None:
        raise UserError(
            "uv makes the environments, and is not installed: python -m pip install -e '.[dev]'"
        )
    with TemporaryDirectory(prefix="versions-") as folder:
        python = str(Path(folder, "bin", "python"))
        uv, needed = [sys.executable, "-m", "uv"], config.requirements()
        how = "lowest-direct" if config.libraries == "lowest" else "highest"
        subprocess.run(
            [*uv, "venv", "--quiet", "--clear", "--python", config.python, folder],
            check=True,
        )
        install = [*uv, "pip", "install", "--quiet", "--python", python]
        subprocess.run([*install, "--resolution", how, *needed], check=True)
        # the command, mnist-tune
        subprocess.run(
            [*install, "--no-deps", "--editable", str(REPOSITORY)], check=True
        )
        frozen = subprocess.run(
            [*uv, "pip", "freeze", "--python", python],
            check=True,
            capture_output=True,
            text=True,
        )
        wanted = {name(one).partition("[")[0] for one in needed}
        print(
            "with "
            + ", ".join(
                one for one in frozen.stdout.split() if one.partition("==")[0] in wanted
            ),
            flush=True,
        )
        marks = [] if config.ray else ["-m", "not ray"]
        tried = [
            broke(
                python,
                "a small sweep",
                [*SWEEP, "--output", str(Path(folder, "sweep"))],
            ),
            broke(python, "the tests", ["-m", "pytest", "-q", *marks]),
        ]
    return int(any(tried))


if __name__ == "__main__":
    cli.run(main)
