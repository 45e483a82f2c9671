"""What do the wheel and the sdist hold, and does the wheel work far from the clone?

    python checks/installed.py --python /usr/bin/python3

It builds both and lists their files. Then it installs the wheel in an empty
environment, and runs the commands of the docs and the tour in an empty folder. If this
user is root, another user runs them. The exit code is 1 if one fails.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.processes import REPOSITORY
from mnist_tune import UserError, cli

DATA = """
import numpy as np
x = np.random.default_rng(0).normal(size=(600, 5))
np.savez("data.npz", x_train=x[:500], y_train=x[:500, 0] > 0, x_test=x[500:], y_test=x[500:, 0] > 0)
"""

TOUR = """
import nbformat, nbclient
nbclient.NotebookClient(nbformat.read("tour.ipynb", 4)).execute()
"""

COMMANDS = """
mnist-tune --version
mnist-tune regimes --smoke --dataset mnist-5k --output results/smoke
mnist-tune show results/smoke --page page.html
mnist-tune show results/smoke --picture curves.png
mnist-tune export results/smoke --to csv
mnist-tune range --architecture mlp-16-relu-glorot --dataset mnist-5k
mnist-tune decide --architecture mlp-16-relu --learning-rates 0.1 0.4 --dataset mnist-5k --epochs 1 --trials 8
mnist-tune edge --architecture mlp-16-relu-glorot --dataset mnist-5k --epochs 1 --trials 8
mnist-tune search --by random --widths 16 --trials 2 --epochs 1 --dataset mnist-5k
python make_data.py
mnist-tune regimes --architecture net.py:mlp --dataset data.npz --learning-rates 0.1 1 --epochs 2 --output results/own
mnist-tune resume results/own --epochs 3
mnist-tune predict results/own data.npz --array x_test
python tour.py
""".strip().splitlines()
"""What is run, in this order."""

INSTALLED_FOR_THEM = ("nbclient", "ipykernel")


@dataclass(frozen=True, kw_only=True)
class Installed:
    """Builds the wheel and the sdist, and tries the wheel in an empty environment."""

    python: str = sys.executable
    """The Python to install it for, which the other user must be able to run."""
    user: str = "nobody"
    """Who runs the commands, if this user is root."""


def listed(built: Path) -> set[str]:
    """Print what a wheel or an sdist holds, and return its files."""
    if built.suffix == ".whl":
        with zipfile.ZipFile(built) as wheel:
            names = wheel.namelist()
    else:
        with tarfile.open(built) as sdist:
            names = [name.partition("/")[2] for name in sdist.getnames()]
    resources = sorted(name for name in names if not name.endswith(".py"))
    size_kb = built.stat().st_size / 1000
    modules = len(names) - len(resources)
    print(f"{built.name}: {size_kb:.0f} kB, {modules} Python files, and")
    print("\n".join(f"    {name}" for name in resources), flush=True)
    return set(names)


def refuse_what_differs(names: Iterable[str]) -> None:
    """Raise a `UserError` if files of the package are missing, or there are others."""
    tracked = ["git", "ls-files", "mnist_tune"]
    listing = subprocess.run(
        tracked, cwd=REPOSITORY, check=True, capture_output=True, text=True
    )
    in_clone = set(listing.stdout.split())
    in_package = {name for name in names if name.startswith("mnist_tune/")}
    wrong = in_clone ^ in_package
    if wrong:
        raise UserError(
            f"only in the clone, or only in what was built: {sorted(wrong)}"
        )


def main() -> int:
    config = cli.parse(Installed)
    with TemporaryDirectory(prefix="installed-") as name:
        folder = Path(name)
        build = [sys.executable, "-m", "build", "-o", name, str(REPOSITORY)]
        subprocess.run(build, check=True, capture_output=True)
        for built in sorted(folder.glob("mnist_tune-*")):
            refuse_what_differs(listed(built))
        [wheel] = folder.glob("*.whl")
        python = install(config.python, wheel, folder / "env")
        far = folder / "far"
        write_files(far)
        path = f"{python.parent}:{os.environ['PATH']}"
        options: dict[str, Any] = {"cwd": far, "capture_output": True, "text": True}
        options["env"] = {"PATH": path, "HOME": str(far)}
        if os.getuid() == 0:
            folder.chmod(0o755)
            shutil.chown(far, config.user)
            options["user"] = config.user
        failed = 0
        for command in COMMANDS:
            done = subprocess.run(command.split(), **options)
            if done.returncode:
                failed += 1
                print(f"FAILED {command}", flush=True)
                print_lines(done.stdout + done.stderr, 30)
            else:
                print(f"ok     {command}", flush=True)
                print_lines(done.stdout, 1)
    return int(failed > 0)


def install(base: str, wheel: Path, environment: Path) -> Path:
    """Install the wheel in an empty environment, and return its Python."""
    uv = [sys.executable, "-m", "uv"]
    new = ["venv", "--quiet", "--python", base, str(environment)]
    subprocess.run([*uv, *new], check=True)
    python = environment / "bin" / "python"
    flags = ["--quiet", "--compile-bytecode", "--link-mode", "copy"]
    flags += ["--python", str(python)]
    packages = [str(wheel), *INSTALLED_FOR_THEM]
    subprocess.run([*uv, "pip", "install", *flags, *packages], check=True)
    return python


def write_files(folder: Path) -> None:
    """Write what the commands need: data, the tour, and the network of the docs."""
    folder.mkdir()
    (folder / "make_data.py").write_text(DATA)
    (folder / "tour.py").write_text(TOUR)
    shutil.copy(REPOSITORY / "docs" / "tour.ipynb", folder)
    page = (REPOSITORY / "docs" / "own_network.md").read_text()
    [network, *_] = re.findall(r"```python\n(# net.py\n.*?)```", page, re.S)
    (folder / "net.py").write_text(network)


def print_lines(output: str, count: int) -> None:
    """Print the last lines of an output, indented."""
    lines = output.strip().splitlines()[-count:]
    print("\n".join(f"         {line}" for line in lines), flush=True)


if __name__ == "__main__":
    cli.run(main)
