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
    others = sorted(name for name in names if not name.endswith(".py"))
    print(
        f"{built.name}: {built.stat().st_size / 1000:.0f} kB, {len(names) - len(others)} Python files, and"
    )
    print("\n".join(f"    {name}" for name in others), flush=True)
    return set(names)


def refuse_what_differs(names: Iterable[str]) -> None:
    """Raise a `UserError` if files of the package are missing, or there are others."""
    tracked = ["git", "ls-files", "mnist_tune"]
    known = set(
        subprocess.run(
            tracked, cwd=REPOSITORY, check=True, capture_output=True, text=True
        ).stdout.split()
    )
    if wrong := known ^ {name for name in names if name.startswith("mnist_tune/")}:
        raise UserError(
            f"only in the clone, or only in what was built: {sorted(wrong)}"
        )


def main() -> int:
    config = cli.parse(Installed)
    with TemporaryDirectory(prefix="installed-") as name:
        folder, far = Path(name), Path(name, "far")
        subprocess.run(
            [sys.executable, "-m", "build", "-o", name, str(REPOSITORY)],
            check=True,
            capture_output=True,
        )
        for built in sorted(folder.glob("mnist_tune-*")):
            refuse_what_differs(listed(built))
        [wheel], python = folder.glob("*.whl"), folder / "env" / "bin" / "python"
        uv = [sys.executable, "-m", "uv"]
        subprocess.run(
            [*uv, "venv", "--quiet", "--python", config.python, str(folder / "env")],
            check=True,
        )
        install = [
            *uv,
            "pip",
            "install",
            "--quiet",
            "--compile-bytecode",
            "--link-mode",
            "copy",
        ]
        subprocess.run(
            [*install, "--python", str(python), str(wheel), *INSTALLED_FOR_THEM],
            check=True,
        )
        far.mkdir()
        (far / "make_data.py").write_text(DATA)
        (far / "tour.py").write_text(TOUR)
        shutil.copy(REPOSITORY / "docs" / "tour.ipynb", far)
        shown = (REPOSITORY / "docs" / "own_network.md").read_text()
        (far / "net.py").write_text(
            re.findall(r"```python\n(# net.py\n.*?)```", shown, re.S)[0]
        )
        how: dict[str, Any] = {"cwd": far, "capture_output": True, "text": True}
        how["env"] = {"PATH": f"{python.parent}:{os.environ['PATH']}", "HOME": str(far)}
        if os.getuid() == 0:
            folder.chmod(0o755)
            shutil.chown(far, config.user)
            how["user"] = config.user
        failed = 0
        for command in COMMANDS:
            done = subprocess.run(command.split(), **how)
            failed += bool(done.returncode)
            said = (
                (done.stdout + done.stderr * bool(done.returncode)).strip().splitlines()
            )
            print(f"{'FAILED' if done.returncode else 'ok':6} {command}", flush=True)
            print(
                "\n".join(
                    f"         {line}"
                    for line in (said[-30:] if done.returncode else said[-1:])
                ),
                flush=True,
            )
    return int(failed > 0)


if __name__ == "__main__":
    cli.run(main)
