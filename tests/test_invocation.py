"""Commands that are printed work where they are read."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

from mnist_tune import invocation
from mnist_tune.invocation import COMMANDS, arguments, called, command, module_of, started_by

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("argv", "folder", "printed"),
    [
        ("/venv/bin/mnist-tune", ROOT, "mnist-tune seeds"),
        ("/venv/bin/mnist-tune", "empty", "mnist-tune seeds"),
        ("sweeps/lr_regimes.py", ROOT, "python sweeps/seeds.py"),
        ("lr_regimes.py", ROOT / "sweeps", f"python {ROOT}/sweeps/seeds.py"),
        (f"{ROOT}/sweeps/lr_regimes.py", "empty", f"python {ROOT}/sweeps/seeds.py"),
        ("my_script.py", "empty", "mnist-tune seeds"),
        ("my_script.py", ROOT, "python sweeps/seeds.py"),
        ("", ROOT, "python sweeps/seeds.py"),
    ],
)
def test_a_printed_command_works_where_it_is_read(argv, folder, printed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path if folder == "empty" else folder)
    monkeypatch.setattr(sys, "argv", [argv, "x"])
    assert command("seeds") == printed


@pytest.mark.parametrize("given", [["--address", "192.0.2.1:6379"], ["--address=192.0.2.1:6379"]])
def test_what_follows_a_sweep_on_a_cluster_is_to_run_there_too(given, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["sweeps/lr_regimes.py", "--smoke", *given])
    assert command("decide") == "python sweeps/decide.py --address 192.0.2.1:6379"
    assert command("summarize") == "python analysis/summarize.py"


def test_an_installed_command_reads_its_arguments_after_its_name(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/venv/bin/mnist-tune", "seeds", "--seeds", "1"])
    assert (called(), arguments()) == ("mnist-tune seeds", ["--seeds", "1"])
    monkeypatch.setattr(sys, "argv", ["sweeps/my seeds.py", "--seeds", "1"])
    assert (called(), arguments()) == ("python 'sweeps/my seeds.py'", ["--seeds", "1"])


def test_every_command_has_a_module_and_every_script_a_command():
    scripts = {script for script, _ in COMMANDS.values() if script}
    assert scripts == {f"{path.parent.name}/{path.name}" for path in ROOT.glob("[sa][wn][ea]*s/*.py")}
    assert all(callable(import_module(module_of(name)).main) for name in COMMANDS)


def test_a_sweep_has_the_name_of_the_script_that_starts_it():
    assert started_by("lr_regimes") == "regimes"
    assert [started_by(name) for name in ("summarize", "mine", "")] == [None] * 3
    assert invocation.PROGRAM not in COMMANDS
