"""`mnist-tune NAME ...`, which an installed package has in place of scripts."""

import sys

import pytest

from mnist_tune.commands import lr_regimes, main
from mnist_tune.invocation import COMMANDS


@pytest.fixture
def program(tmp_path, monkeypatch, capsys):
    """A function that runs `mnist-tune` in an empty folder, and returns its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["/venv/bin/mnist-tune", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main.main()
        return ended.value.code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_without_a_name_it_lists_the_commands(words, program):
    code, stdout, _ = program(*words)
    assert code == 0
    for name, (_, question) in COMMANDS.items():
        assert f"mnist-tune {name} " in stdout
        assert question in stdout


def test_a_mistyped_name_is_one_line(program):
    assert program("regime") == (2, "", "error: there is no command 'regime'; did you mean 'regimes'?\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name, program):
    code, stdout, _ = program(name, "--help")
    assert code == 0
    assert stdout.startswith(f"usage: mnist-tune {name} ")


def test_a_mistake_is_one_line(program):
    code, stdout, stderr = program("seeds", "--lr", "0.1")
    assert (code, stdout) == (2, "")
    assert stderr.startswith("error: Unrecognized options: --lr, 0.1; ")


def test_the_table_names_commands_that_work_here(program, new_writer, epoch_row, tmp_path):
    writer = new_writer(tmp_path / "sweep")
    writer.epoch("00000", epoch_row(1), False)
    writer.end("00000", "interrupted")
    writer.finish(ended="now")
    code, stdout, _ = program("summarize", "sweep")
    assert code == 0
    assert "resume with: mnist-tune regimes --resume sweep" in stdout
    assert "python" not in stdout


def test_resume_goes_on_with_the_command_that_started_the_sweep(program, new_writer, tmp_path, monkeypatch):
    new_writer(tmp_path / "sweep").finish()
    seen = []
    monkeypatch.setattr(lr_regimes, "main", lambda: seen.extend(sys.argv[1:]))
    assert program("resume", "sweep", "--retry-errored")[0] == 0
    assert seen == ["regimes", "--resume", "sweep", "--retry-errored"]


@pytest.mark.parametrize(
    ("words", "said"), [([], "name the folder of a sweep first"), (["."], "no sweep.json there"), (["--x"], "name the")]
)
def test_a_resume_of_nothing_is_one_line(words, said, program):
    code, stdout, stderr = program("resume", *words)
    assert (code, stdout) == (2, "")
    assert said in stderr
    assert stderr.count("\n") == 1
