"""Bad input to a sweep's command: one line that names the mistake, exit code 2, and
nothing is started or changed."""

import importlib.util
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
from idx_files import small_mnist, write
from kept_texts import assert_kept
from waiting import LONG_S

import mnist_tune.tuning.sweep
from mnist_tune import cli, invocation
from mnist_tune.commands.lr_regimes import LearningRateRegimes
from mnist_tune.errors import InterruptedSweepError

SCRIPT = Path(__file__).parent.parent / "sweeps" / "lr_regimes.py"
IMAGES = "train-images-idx3-ubyte"
MISTYPED = "error: Unrecognized options: --learning-rate, 0.1; did you mean --learning-rates?; --help lists all flags\n"
NO_DASHBOARD = "error: Ray's dashboard is not installed; to install it: python -m pip install 'ray[default]'\n"


class Started(Exception):
    """The command got as far as starting a sweep."""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working folder. It has data sets of 200 images, a regular file, and a folder
    that holds a sweep."""
    files = small_mnist(200, 50)
    write(tmp_path / "data", files)
    write(tmp_path / "truncated", files | {IMAGES: files[IMAGES][:-5]})
    sweep = {"sweep.json": b'{"ended": null}', "journal.jsonl": b'{"kind"'}
    write(tmp_path / "sweep", sweep)
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(here, monkeypatch, capsys):
    """A function that runs the command in this process and returns its exit code,
    stdout and stderr."""

    def start(opened, plan):
        opened.writer.finish()
        raise Started

    monkeypatch.setattr(mnist_tune.tuning.sweep, "run_plan", start)

    usual = "--architecture mlp-4-tanh --dataset fashion-mnist --data-dir data"
    usual += " --output new"

    def run(*flags):
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *usual.split(), *flags])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        return ended.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def keeps_here(here):
    """A function that compares a text with the one that is kept under a name."""

    def compare(name, text):
        assert_kept(name, text.replace(str(here), "HERE"))

    return compare


def contents(folder):
    """Return the bytes of each file, and None for a folder."""
    paths = list(folder.rglob("*"))
    files = {path: path.read_bytes() for path in paths if path.is_file()}
    return dict.fromkeys(paths) | files


BAD = [
    "--learning-rates -1",
    "--learning-rates 0.1 -0.1",
    "--learning-rates 0",
    "--learning-rates nan",
    "--learning-rates 1e999",
    "--learning-rates abc",
    "--learning-rates 1:2",
    "--learning-rates",
    "--seeds",
    "--seeds -1",
    "--seeds 0.5",
    "--epochs 0",
    "--epochs 1.5",
    "--epochs",
    "--architecture resnet",
    "--architecture convnett",
    "--architecture mlp-4-tahn",
    "--optimizer adamm",
    "--momentum 1",
    "--nesterov",
    "--batch-size 0",
    "--batch-size 201",
    "--label-noise 201",
    "--holdout 200",
    "--holdout 101 --label-noise 100",
    "--scheduler ahsa",
    "--dataset mnits",
    "--max-concurrent 0",
    "--cpus-per-trial 0",
    "--sharpness-every 0",
    "--train-evaluation 0",
    "--address ray://head:10001",
    "--grace-period 0",
    "--trials-per-gpu 0",
    "--time-budget -1",
    "--time-budget nan",
    "--time-budget inf",
    "--lr 0.1",
    "--learning-rates 0.1,0.2",
    "--seeds 0-4",
    "--seeds=0,1",
    "--learning-rate 0.1",
    "--schedular fifo",
    "--zzz --learning-rate 2",
    "stray",
    "--output file/below",
    "--output file",
    "--output sweep",
    "--retry-errored",
    "--resume data",
    "--resume data --output data",
    "--resume nowhere --output nowhere",
    "--data-dir nowhere",
    "--data-dir sweep",
    "--data-dir truncated",
    "--dataset mnist",
    "--dataset mnist-5k",
]


def test_bad_input_is_one_line_and_starts_nothing(here, command, keeps_here):
    before = contents(here)
    lines = []
    for flags in BAD:
        code, stdout, stderr = command(*flags.split())
        assert (code, stdout) == (2, ""), flags
        assert stderr.startswith("error: "), flags
        assert stderr.count("\n") == 1, flags
        assert stderr[-1] == "\n", flags
        lines.append(f"{flags}\n    {stderr.removeprefix('error: ')}")
    assert contents(here) == before
    keeps_here("refused command lines", "".join(lines))


@pytest.mark.parametrize(
    "flags",
    [
        "",
        "--learning-rates 0.1 0.2 --epochs 1 --batch-size 200",
        "--holdout 100 --label-noise 100",
        "--smoke",
    ],
)
def test_good_input_starts_a_sweep(flags, here, command):
    with pytest.raises(Started):
        command(*flags.split())
    assert (here / "new" / "sweep.json").exists()


MEANT = [
    "--lrs 0.1",
    "--lr",
    "-lr=0.1",
    "--seeds 2..4",
    "--seeds=0,1",
    "--learning-rates 0.1,1e-3",
    "--seeds 0-99",
    "--seeds 0-100",
    "--seeds 4-2",
    "--seeds 3-3",
    "--output 2026-11",
    "--epochs 3",
    "--epochs 0.1,0.2 --lr",
]


RATES = ["epochs", "learning_rates"]


def test_what_was_likely_meant(keeps_here):
    lines = []
    for words in MEANT:
        suggestion = cli.suggestion(words.split(), RATES)
        lines.append(f"{words}: {suggestion}\n")
    keeps_here("meant on a command line", "".join(lines))


def test_a_cache_folder_that_cannot_be_written_is_one_line_and_starts_nothing(
    here, command, monkeypatch
):
    before = contents(here)
    monkeypatch.setenv("MNIST_TUNE_CACHE", str(here / "file" / "below"))
    code, stdout, stderr = command()
    assert (code, stdout) == (2, "")
    assert contents(here) == before
    problem = f"can't write to $MNIST_TUNE_CACHE, {here}/file/below: Not a directory"
    assert stderr.startswith(f"error: {problem}; set it to ")
    assert stderr.count("\n") == 1


def test_a_dashboard_that_is_not_installed_is_one_line_and_starts_nothing(
    here, command, monkeypatch
):
    before = contents(here)
    find = importlib.util.find_spec

    def find_no_dashboard(name):
        return None if name == "aiohttp_cors" else find(name)

    monkeypatch.setattr(importlib.util, "find_spec", find_no_dashboard)
    code, stdout, stderr = command("--dashboard")
    assert (code, stdout) == (2, "")
    assert contents(here) == before
    assert stderr == NO_DASHBOARD


def test_a_mistyped_flag_shows_no_secret(command):
    code, _, stderr = command("--outptu", "s3://key:hidden@bucket/x")
    assert (code, "hidden" in stderr) == (2, False)
    assert "s3://***@bucket/x" in stderr


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_gets_the_script_that_completes_flags(capsys, shell):
    with pytest.raises(SystemExit) as ended:
        cli.parse(LearningRateRegimes, ["--tyro-print-completion", shell])
    out, err = capsys.readouterr()
    assert "learning-rates" in out
    assert (ended.value.code or 0, err) == (0, "")


def test_what_sigterm_ended_has_its_own_code():
    invocation.TERMINATED.set()
    with pytest.raises(SystemExit) as ended:
        cli.run(lambda: 130)
    assert ended.value.code == 143


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1), (130, 130)])
def test_a_command_ends_with_what_its_main_function_returns(returned, code):
    with pytest.raises(SystemExit) as ended:
        cli.run(lambda: returned)
    assert ended.value.code == code


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_every_flag_and_starts_nothing(flag, here, command, keeps_here):
    """What is trained comes first, and flags stand as they were written. Titles, flags
    and examples are kept."""
    before = contents(here)
    code, stdout, stderr = command(flag)
    assert (code, stderr) == (0, "")
    assert contents(here) == before
    assert stdout.startswith(f"usage: python {SCRIPT} ")
    assert (
        "Train one architecture at many learning rates and say which of them" in stdout
    )
    title_or_flag = r"^[ │╭─]*([a-z][a-z ]* options|--[\w-]+)\b"
    lines = re.findall(title_or_flag, stdout, re.MULTILINE)
    _, first, examples = stdout.partition("16 rates")
    listed = "\n".join([*lines, first])
    keeps_here("help", listed + examples.replace(str(SCRIPT), "SCRIPT"))


def run_python(here, *arguments, **environment):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=here,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=LONG_S,
    )


@pytest.mark.parametrize(
    "printed", ["[print('x' * 99, flush=True) for _ in range(10**5)]", "print('x')"]
)
def test_a_reader_that_stops_early_gets_no_traceback(printed):
    """Also if Python would flush what is left, or all of it, at exit."""
    code = f"import sys; from mnist_tune import cli; sys.stdin.read(); cli.run(lambda: {printed})"
    command = [sys.executable, "-c", code]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    buffered = dict(os.environ)
    buffered.pop("PYTHONUNBUFFERED", None)
    with subprocess.Popen(command, env=buffered, **pipes) as printing:
        printing.stdout.close()
        printing.stdin.close()
        assert printing.stderr.read() == b""
        assert printing.wait(60) == cli.PIPE_CLOSED


def test_the_error_line_does_not_depend_on_the_encoding_and_the_width(here):
    before = contents(here)
    done = run_python(
        here, SCRIPT, "--learning-rate", "0.1", PYTHONIOENCODING="ascii", COLUMNS="40"
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", MISTYPED)
    assert contents(here) == before


_PRINTS_WHETHER_RAY_IS_IMPORTED = """
import atexit, runpy, sys
atexit.register(lambda: print("ray" in sys.modules))
sys.argv[:] = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_bad_input_does_not_wait_for_ray(here):
    done = run_python(
        here, "-c", _PRINTS_WHETHER_RAY_IS_IMPORTED, SCRIPT, "--learning-rates", "-1"
    )
    assert (done.returncode, done.stdout) == (2, "False\n")


@pytest.mark.parametrize(
    ("command", "interrupt", "line"),
    [
        (
            "regimes",
            InterruptedSweepError("mnist-tune resume DIR"),
            "interrupted; nothing was lost, resume with: mnist-tune resume DIR\n",
        ),
        ("regimes", KeyboardInterrupt, "interrupted; nothing was lost\n"),
        ("export", KeyboardInterrupt, "interrupted\n"),
    ],
)
def test_an_early_interrupt_is_one_line(capsys, monkeypatch, command, interrupt, line):
    monkeypatch.setattr(sys, "argv", ["mnist-tune", command])
    with pytest.raises(SystemExit) as ended:
        cli.run(Mock(side_effect=interrupt))
    assert ended.value.code == 130
    assert capsys.readouterr() == ("", line)


def test_what_a_full_disk_has_no_room_for_is_one_line(here):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mnist_tune"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    line = "error: can't write the output: No space left on device\n"
    assert done.stderr == line


def test_a_terminal_that_lacks_a_character_loses_no_result(here):
    code = "from mnist_tune import cli; cli.run(lambda: print('0.9… – ok'))"
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=environment
    )
    assert (done.returncode, done.stdout) == (0, b"0.9? ? ok\n"), done.stderr
