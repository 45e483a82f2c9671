"""`mnist-tune NAME ...`, which an installed package has in place of scripts."""

import importlib.metadata
import re
import sys
from importlib import import_module

import pytest
from kept_texts import assert_kept

from mnist_tune import UserError
from mnist_tune.commands import lr_regimes, main, resume
from mnist_tune.invocation import COMMANDS, RESUMED, module_of
from mnist_tune.machine import NEWEST_TRIED
from validation.notebook import Notebook


@pytest.fixture
def program(tmp_path, monkeypatch, capsys):
    """A function that runs `mnist-tune` in an empty folder, and returns its exit code,
    stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["/venv/bin/mnist-tune", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main.main()
        return ended.value.code, *capsys.readouterr()

    return run


def test_without_a_name_it_lists_the_commands(program):
    code, stdout, stderr = program()
    assert code == 0
    assert stderr == ""
    assert_kept("commands", stdout)
    assert program("--help") == (code, stdout, stderr)
    assert program("-h") == (code, stdout, stderr)


def test_the_version_is_that_of_the_installed_package(program, monkeypatch):
    versions = {"mnist_tune": "1.2.3", "ray": "2.60.0", "jax": "99.1"}
    monkeypatch.setattr(importlib.metadata, "version", versions.__getitem__)
    newer = f"note: jax 99.1 is newer than what was tried, {NEWEST_TRIED['jax']}\n"
    assert program("--version") == (0, f"mnist-tune 1.2.3\n{newer}", "")


MISTAKES = (
    "regime",
    "qqq",
    "regimes --lr 0.1",
    "decide --lr 0.1",
    "edge --lr 0.1",
    "resume",
    "resume .",
    "resume --x",
    "edge --expected 1:2",
    "export --to csv",
    "predict new.npy .",
)


def test_a_mistake_is_one_line(program):
    lines = []
    for words in MISTAKES:
        code, stdout, stderr = program(*words.split())
        assert code == 2
        assert stdout == ""
        assert stderr.count("\n") == 1
        lines.append(f"{words}: {stderr}")
    assert_kept("refused by the one command", "".join(lines))


@pytest.mark.parametrize(
    ("name", "seed", "flag", "meant"),
    [
        ("decide", "--seed", "--sweep", "--sweep"),
        ("edge", "--seed", "--sweep", "--sweep"),
        ("range", "--seeds", "--sweep", "--sweep"),
        ("regimes", "--seeds", "--output", "mnist-tune resume"),
    ],
)
def test_a_bare_folder_of_a_sweep_is_taken_for_that_of_the_flag(
    program, name, seed, flag, meant, new_writer, tmp_path
):
    new_writer(tmp_path / "my sweep").finish()
    question = f"did you mean {meant} 'my sweep'?"
    for words in (["my sweep"], [seed, "1", "my sweep"]):
        _, _, stderr = program(name, *words)
        assert stderr.endswith(f"; {question}; --help lists all flags\n")
    for words in (["nothing"], [flag, "my sweep", "nothing"]):
        _, _, stderr = program(name, *words)
        assert "did you mean" not in stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name, program):
    code, stdout, _ = program(name, "--help")
    assert code == 0
    assert stdout.startswith(f"usage: mnist-tune {name} ")


def test_each_command_that_starts_sweeps_has_what_a_resume_calls():
    for name, (file, _) in COMMANDS.items():
        module = import_module(module_of(name))
        starts_sweeps = hasattr(module, "OPTIONS") and name != "resume"
        assert (name in RESUMED) == starts_sweeps
        if starts_sweeps:
            assert file == module.OPTIONS.NAME
            assert callable(module.run)
            assert callable(module.finish)


def test_the_table_names_commands_that_work_here(
    program, new_writer, epoch_row, tmp_path
):
    writer = new_writer(tmp_path / "sweep")
    writer.epoch("00000", epoch_row(1), False)
    writer.end("00000", "interrupted")
    writer.finish(ended="now")
    code, stdout, _ = program("show", "sweep")
    assert code == 0
    assert "resume with: mnist-tune resume sweep" in stdout
    assert "python" not in stdout


def test_resume_goes_on_with_the_command_that_started_the_sweep(
    program, new_writer, tmp_path, monkeypatch
):
    defaults = vars(lr_regimes.OPTIONS())
    new_writer(tmp_path / "sweep").finish(name="lr_regimes", options=defaults)
    resumed = []
    monkeypatch.setattr(lr_regimes, "finish", resumed.append)
    code, _, _ = program("resume", "sweep", "--retry-errored")
    assert code == 0
    [options] = resumed
    assert str(options.resume) == "sweep"
    assert options.retry_errored


def test_the_help_of_a_resume_shows_what_it_takes(program, new_writer, tmp_path):
    defaults = vars(lr_regimes.OPTIONS())
    new_writer(tmp_path / "sweep").finish(name="lr_regimes", options=defaults)
    code, stdout, _ = program("resume", "sweep", "--help")
    assert code == 0
    flags = set(re.findall(r"--[a-z][a-z-]*", stdout))
    assert flags >= {"--epochs", "--seeds", "--architecture", "--changed-code"}
    assert flags >= {"--quiet", "--time-budget", "--trust-code"}
    assert flags.isdisjoint({"--momentum", "--output", "--scheduler", "--smoke"})
    _, stdout, _ = program("resume", "--help")
    assert "RESULTS --help" in stdout


def test_a_sweep_of_a_script_goes_on_with_it(program, new_writer, tmp_path):
    options = vars(Notebook(epochs=3)) | {"dataset": None, "output": "there"}
    new_writer(tmp_path / "sweep").finish(name="notebook", options=options)
    goes_on = "sweep goes on with its script: python sweeps/notebook.py --resume sweep"
    for words in (["sweep"], ["sweep", "--epochs", "5"], ["sweep", "--help"]):
        assert program("resume", *words) == (2, "", f"error: {goes_on}\n")
    with pytest.raises(UserError, match=goes_on):
        resume.resume_sweep("sweep", epochs=5)


def test_a_sweep_from_python_may_have_the_name_of_a_script(
    program, new_writer, tmp_path
):
    new_writer(tmp_path / "sweep").finish(name="notebook", options={})
    code, stdout, _ = program("resume", "sweep", "--help")
    assert code == 0
    assert "--learning-rates" in stdout
