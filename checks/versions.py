"""Does it work with other versions of Python, Ray, JAX and the other libraries?

    python checks/versions.py
    python checks/versions.py --ray-version lowest --jax-version lowest --only sweep
    python checks/versions.py --libraries lowest --only tests
    python checks/versions.py --python python3.13 --ray-version 2.55.1 --jax-version newest

For each pair of versions of Ray and JAX it makes a fresh environment, with the newest
or the lowest releases of the other libraries that `pyproject.toml` allows. There it
runs a small sweep, whose lines on standard error are counted as noise; sweeps that are
killed and resumed; lanes; a search; two nodes, one joined with a token; and the tests
that don't start Ray. It prints a table, and what broke. The exit code is 1 if something
did.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

import tyro

from benchmarks.processes import REPOSITORY
from mnist_tune import cli
from mnist_tune.errors import UserError

LOWEST, NEWEST = "lowest", "newest"
"""Words for the release of Ray or JAX that `pyproject.toml` allows."""

KILLS = ("driver", "worker", "server", "raylet")

CHECKS = {
    "sweep": ["sweeps/lr_regimes.py", "--smoke", "--dataset", "mnist-5k", "--quiet"],
    **{kind: ["checks/chaos.py", "--kill", kind, "--moments", "2"] for kind in KILLS},
    "lanes": [
        *("-m", "mnist_tune", "regimes", "--dataset", "digits", "--quiet"),
        *("--execution", "lanes", "--epochs", "3"),
    ],
    "search": [
        *("-m", "mnist_tune", "search", "--dataset", "digits", "--quiet"),
        *("--trials", "4", "--epochs", "2"),
    ],
    "nodes": [
        *("-m", "pytest", "-q", "-n", "0", "-m", "ray"),
        # Ray warns of what will change in itself, and of files that it leaves open.
        *("-W", "default"),
        *("tests/runtime/test_nodes.py", "tests/runtime/test_ray_session.py"),
    ],
    "tests": ["-m", "pytest", "-q", "-m", "not ray"],
}
"""What is run in each environment: the arguments of its Python, by name."""

WRITES = ("sweep", "lanes", "search")
"""Checks that write a sweep to a folder that they are told."""

SILENT = ("sweep",)
"""Checks that print nothing to standard error unless something is wrong."""


@dataclass(frozen=True, kw_only=True)
class Versions:
    """Tries other versions of Python and of the libraries, and says what broke."""

    python: str = sys.executable
    """The Python to try."""
    ray_version: tuple[str, ...] = (LOWEST, "2.55.1", NEWEST)
    """Releases of Ray, or lowest or newest."""
    jax_version: tuple[str, ...] = (LOWEST, NEWEST)
    """Releases of JAX; each is tried with each of Ray."""
    libraries: Literal["newest", "lowest"] = "newest"
    """Which releases of the other libraries that pyproject.toml names."""
    only: Annotated[
        tuple[str, ...], tyro.conf.arg(metavar="{" + ",".join(CHECKS) + "}")
    ] = ()
    """Run these checks alone."""


@dataclass(frozen=True)
class Pair:
    """A release of Ray with one of JAX, each as pip writes it."""

    ray: str
    jax: str

    def requirements(self, with_tests: bool) -> list[str]:
        """Return what the package, or its tests, need with this Ray and this JAX."""
        project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
        extras = project["optional-dependencies"]
        needed = list(project["dependencies"])
        for name in ("data", "search", "sharpness", "storage"):
            needed += extras[name]
        if with_tests:
            needed += extras["test"]
        chosen = {"ray": self.ray, "jax": self.jax, "jaxlib": self.jax}
        requirements = []
        for requirement in needed:
            package = package_of(requirement)
            if package == "mnist_tune":
                continue
            if package in chosen:
                requirement = release(requirement, chosen[package])
            requirements.append(requirement)
        return requirements


@dataclass
class Environment:
    """An environment with some versions, and what was tried in it."""

    python: str
    folder: Path
    versions: dict[str, str]
    broke: list[str] = field(default_factory=list)
    noise: int = 0
    """Lines on standard error of checks that should print none there."""

    def run(self, name: str) -> None:
        """Run a check, and print what broke."""
        arguments = [self.python, *CHECKS[name]]
        if name in WRITES:
            arguments += ["--output", str(self.folder / name)]
        variables = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        done = subprocess.run(
            arguments, cwd=REPOSITORY, capture_output=True, text=True, env=variables
        )
        if name in SILENT:
            self.noise += len(done.stderr.splitlines())
        if not done.returncode:
            print(f"  {name}: as before", flush=True)
            return
        self.broke.append(name)
        print(f"  {name}: broke", flush=True)
        for line in _reasons(done.stdout + done.stderr):
            print(f"    {line}", flush=True)

    def row(self, names: list[str]) -> str:
        """Return the outcome as a row of a table."""
        versions = [self.versions.get(name, "–") for name in ("python", "ray", "jax")]
        outcome = "passed"
        if self.broke:
            outcome = "broke: " + ", ".join(self.broke)
        return f"| {' | '.join(versions)} | {', '.join(names)} | {outcome} | {self.noise} |"


def package_of(requirement: str) -> str:
    """Return the name of a requirement without its extras and bounds: `ray`."""
    return re.split(r"[\[<>=!~; ]", requirement)[0]


def release(requirement: str, version: str) -> str:
    """Return a requirement that only this release fulfils; the lowest is that of its
    bound."""
    name = re.split(r"[<>=!~; ]", requirement)[0]
    if version == NEWEST:
        return name
    if version == LOWEST:
        version = requirement.partition(">=")[2].split(",")[0] + ".0"
    return f"{name}=={version}"


def _reasons(output: str) -> list[str]:
    """Return the lines that say what broke."""
    lines = output.splitlines()
    failed = [line for line in lines if re.match("FAILED|ERROR|error", line)]
    return failed or lines[-15:]


def environments(
    config: Versions, with_tests: bool, folder: Path
) -> Iterator[Environment]:
    """Make the environments, one after the other."""
    uv = [sys.executable, "-m", "uv"]
    resolution = "highest"
    if config.libraries == "lowest":
        resolution = "lowest-direct"
    for ray in config.ray_version:
        for jax in config.jax_version:
            place = folder / f"ray-{ray}-jax-{jax}"
            python = str(place / "bin" / "python")
            new = ["venv", "--quiet", "--python", config.python, str(place)]
            subprocess.run([*uv, *new], check=True)
            install = [*uv, "pip", "install", "--quiet", "--python", python]
            needed = Pair(ray, jax).requirements(with_tests)
            subprocess.run([*install, "--resolution", resolution, *needed], check=True)
            # the command, mnist-tune
            own = ["--no-deps", "--editable", str(REPOSITORY)]
            subprocess.run([*install, *own], check=True)
            yield Environment(python, place, _versions(uv, python))


def _versions(uv: list[str], python: str) -> dict[str, str]:
    """Return the versions of Python and of all packages of an environment."""
    freeze = [*uv, "pip", "freeze", "--python", python]
    frozen = subprocess.run(freeze, check=True, capture_output=True, text=True)
    answer = subprocess.run(
        [python, "--version"], check=True, capture_output=True, text=True
    )
    versions = {"python": answer.stdout.split()[-1]}
    for line in frozen.stdout.split():
        name, _, version = line.partition("==")
        versions[name] = version
    return versions


def main() -> int:
    config = cli.parse(Versions)
    if find_spec("uv") is None:
        raise UserError(
            "uv makes the environments, and is not installed: python -m pip install -e '.[dev]'"
        )
    unknown = set(config.only) - CHECKS.keys()
    if unknown:
        raise UserError(
            f"there is no check {unknown.pop()!r}; known are {', '.join(CHECKS)}"
        )
    names = [name for name in CHECKS if name in config.only or not config.only]
    with_tests = not set(names) <= set(WRITES)
    rows = []
    broke = False
    with TemporaryDirectory(prefix="versions-") as folder:
        for environment in environments(config, with_tests, Path(folder)):
            versions = environment.versions
            print(f"Ray {versions['ray']}, JAX {versions['jax']}:", flush=True)
            for name in names:
                environment.run(name)
            rows.append(environment.row(names))
            broke = broke or bool(environment.broke) or environment.noise > 0
    print("\n| Python | Ray | JAX | tried | outcome | lines of noise |")
    print("|---|---|---|---|---|---|")
    print("\n".join(rows))
    return int(broke)


if __name__ == "__main__":
    cli.run(main)
