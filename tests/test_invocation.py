"""Commands that are printed work where they are read."""

import shlex
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from kept_texts import assert_kept

from mnist_tune import invocation
from mnist_tune.invocation import COMMANDS, arguments, called, command, module_of, started_by, words

ROOT = Path(__file__).parent.parent


ARGV = [
    ("/venv/bin/mnist-tune seeds --seeds 1", ROOT),
    ("/venv/bin/mnist-tune", "empty"),
    ("/venv/bin/mnist-tune regimes --address 192.0.2.1:6379", "empty"),
    ("sweeps/lr_regimes.py --smoke", ROOT),
    ("lr_regimes.py x", ROOT / "sweeps"),
    (f"{ROOT}/sweeps/lr_regimes.py x", "empty"),
    ("my_script.py x", "empty"),
    ("my_script.py x", ROOT),
    ("'my sweeps/seeds.py' --seeds 1", ROOT),
    ("'' x", ROOT),
    ("sweeps/lr_regimes.py --smoke --address 192.0.2.1:6379", ROOT),
    ("sweeps/lr_regimes.py --address=auto;ls", ROOT),
]
VALUES: list[tuple[Any, ...]] = [
    ("output",),
    ("data_dir", "a b"),
    ("seeds", 1, 2),
    ("resume", "-x", "-y"),
    ("x", "", "-"),
]


def test_a_printed_command_works_where_it_is_read(tmp_path, monkeypatch):
    lines = []
    for argv, folder in ARGV:
        monkeypatch.chdir(tmp_path if folder == "empty" else folder)
        monkeypatch.setattr(sys, "argv", shlex.split(argv))
        said = [command(name) for name in ("seeds", "show", "resume")]
        lines += ["", f"{argv} in {folder}: {called()} | {arguments()}", *said]
    lines += ["", *(words(*values) for values in VALUES)]
    assert_kept("printed commands", "\n".join(lines).replace(str(ROOT), "CLONE") + "\n")


def test_every_command_has_a_module_and_every_script_a_command():
    scripts = {script for script, _ in COMMANDS.values() if script} | {"analysis/summarize.py"}
    assert scripts == {f"{path.parent.name}/{path.name}" for path in ROOT.glob("[sa][wn][ea]*s/*.py")}
    assert all(callable(import_module(module_of(name)).main) for name in COMMANDS)


def test_a_sweep_has_the_name_of_the_script_that_starts_it():
    assert started_by("lr_regimes") == "regimes"
    assert [started_by(name) for name in ("show", "mine", "")] == [None] * 3
    assert invocation.PROGRAM not in COMMANDS
