"""Bad input to a sweep's command: one line that names the mistake, exit code 2, and nothing is started or changed."""

import importlib.util
import os
import runpy
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
from idx_files import small_mnist, write
from waiting import LONG_S

import mnist_tune.tuning.sweep
from mnist_tune import cli
from mnist_tune.commands.lr_regimes import LearningRateRegimes

SCRIPT = Path(__file__).parent.parent / "sweeps" / "lr_regimes.py"
IMAGES = "train-images-idx3-ubyte"
MISTYPED = "error: Unrecognized options: --learning-rate, 0.1; did you mean --learning-rates?; --help lists all flags\n"


class Started(Exception):
    """The command got as far as starting a sweep."""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working folder. It has data sets of 200 images, a regular file, and a folder that holds a sweep."""
    files = small_mnist(200, 50)
    write(tmp_path / "data", files)
    write(tmp_path / "truncated", files | {IMAGES: files[IMAGES][:-5]})
    write(tmp_path / "sweep", {"sweep.json": b'{"ended": null}', "journal.jsonl": b'{"kind"'})
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(here, monkeypatch, capsys):
    """A function that runs the command in this process and returns its exit code, stdout and stderr."""

    def start(writer, *arguments):
        writer.finish()
        raise Started

    monkeypatch.setattr(mnist_tune.tuning.sweep, "run_plan", start)

    def run(*flags):
        usual = ["--architecture", "mlp-4-tanh", "--dataset", "fashion-mnist", "--data-dir", "data", "--output", "new"]
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *usual, *flags])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        return ended.value.code, *capsys.readouterr()

    return run


def contents(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


BAD = {
    "--learning-rates -1": "learning_rate must be a finite number above 0, got -1.0",
    "--learning-rates 0.1 -0.1": "learning_rate must be a finite number above 0, got -0.1",
    "--learning-rates 0": "learning_rate must be a finite number above 0, got 0.0",
    "--learning-rates nan": "learning_rate must be a finite number above 0, got nan",
    "--learning-rates 1e999": "learning_rate must be a finite number above 0, got inf",
    "--learning-rates abc": "--learning-rates can't be 'abc'; write numbers, such as 0.1 1, or a range FIRST:LAST:",
    "--learning-rates 1:2": "--learning-rates can't be '1:2'; write numbers, such as 0.1 1, or a range FIRST:LAST:",
    "--learning-rates": " needs at least one value; the list is empty",
    "--seeds": " needs at least one value; the list is empty",
    "--seeds -1": "seed must be a whole number of at least 0 and at most 4294967295, got -1",
    "--seeds 0.5": "--seeds: Could not find valid parse for arguments: ['0.5']",
    "--epochs 0": "epochs must be a whole number of at least 1, got 0",
    "--epochs 1.5": "--epochs: invalid literal for int() with base 10: '1.5'",
    "--epochs": "Missing value for argument '--epochs'",
    "--architecture resnet": "unknown architecture 'resnet'; known are mlp-1024-128-tanh, convnet, stax-mlp",
    "--architecture convnett": "unknown architecture 'convnett'; did you mean 'convnet'?",
    "--architecture mlp-4-tahn": "architecture 'mlp-4-tahn': write mlp-<widths>-<activation>[-glorot|he|he0], such",
    "--optimizer adamm": "unknown optimizer 'adamm'; did you mean 'adam'?",
    "--momentum 1": "momentum must be in [0, 1), got 1.0",
    "--nesterov": "nesterov needs momentum above 0",
    "--batch-size 0": "batch_size must be a whole number of at least 1, got 0",
    "--batch-size 201": "fashion-mnist has 200 training images; batch_size=201,",
    "--label-noise 201": "fashion-mnist has 200 training images; batch_size=128, label_noise=201",
    "--holdout 200": "fashion-mnist has 200 training images; batch_size=128, label_noise=0 and holdout=200",
    "--holdout 101 --label-noise 100": "batch_size=128, label_noise=100 and holdout=101 don't fit",
    "--scheduler ahsa": "invalid choice 'ahsa' for argument '--scheduler'. Expected one of ('regimes', 'asha', 'fifo')",
    "--dataset mnits": "there is no data set 'mnits'; did you mean 'mnist'?",
    "--max-concurrent 0": "--max-concurrent must be above 0, got 0",
    "--cpus-per-trial 0": "--cpus-per-trial must be above 0, got 0",
    "--sharpness-every 0": "--sharpness-every must be above 0, got 0",
    "--train-evaluation 0": "--train-evaluation must be above 0, got 0",
    "--address ray://head:10001": "run the sweep on the cluster: ray job submit",
    "--grace-period 0": "--grace-period must be above 0, got 0",
    "--trials-per-gpu 0": "--trials-per-gpu must be above 0, got 0",
    "--time-budget -1": "--time-budget must be above 0, got -1.0",
    "--time-budget nan": "--time-budget must be above 0, got nan",
    "--lr 0.1": "Unrecognized options: --lr, 0.1; did you mean --learning-rates?;",
    "--learning-rates 0.1,0.2": "--learning-rates can't be '0.1,0.2'; did you mean 0.1 0.2?",
    "--seeds 0-4": "did you mean 0 1 2 3 4?;",
    "--seeds=0,1": "did you mean 0 1?;",
    "--learning-rate 0.1": "Unrecognized options: --learning-rate, 0.1; did you mean --learning-rates?;",
    "--schedular fifo": "Unrecognized options: --schedular, fifo; did you mean --scheduler?;",
    "--zzz --learning-rate 2": "; did you mean --learning-rates?;",
    "stray": "Unrecognized options: stray",
    "--output file/below": "can't write results to {here}/file/below: Not a directory; name another --output",
    "--output file": "can't write results to {here}/file: ",
    "--output sweep": "{here}/sweep already holds a sweep; name another --output or resume with --resume {here}/sweep",
    "--retry-errored": "--retry-errored resumes a sweep; name its folder: --resume DIR --retry-errored",
    "--resume data": "--resume data goes on in that folder, and --output names another one; leave --output out",
    "--resume data --output data": "no sweep in {here}/data (no sweep.json there)",
    "--resume nowhere --output nowhere": "no sweep in {here}/nowhere (no sweep.json there)",
    "--data-dir nowhere": "there is no folder nowhere; name one that holds train-images-idx3-ubyte",
    "--data-dir sweep": "sweep must hold four IDX files of one data set; such as train-images-idx3-ubyte",
    "--data-dir truncated": "truncated/train-images-idx3-ubyte: expected 156816 bytes, as its header promises 200 x 28",
    "--dataset mnist": "checksum of data/train-images-idx3-ubyte is ",
    "--dataset mnist-5k": "mnist-5k comes with a package and reads no folder, got data; drop --data-dir",
}


@pytest.mark.parametrize("flags", BAD)
def test_bad_input_is_one_line_and_starts_nothing(flags, here, command):
    before = contents(here)
    code, stdout, stderr = command(*flags.split())
    assert (code, stdout) == (2, "")
    assert stderr.startswith("error: ")
    assert BAD[flags].format(here=here) in stderr
    assert stderr.count("\n") == 1
    assert stderr.endswith("\n")
    assert contents(here) == before


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


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("--lrs 0.1", "--learning-rates"),
        ("-lr=0.1", "--learning-rates"),
        ("--seeds 2..4", "2 3 4"),
        ("--seeds 0-99", " ".join(map(str, range(100)))),
        ("--seeds 0-100", ""),
        ("--seeds 4-2", ""),
        ("--seeds 3-3", ""),
        ("--output 2026-11", ""),
        ("--epochs 3", ""),
    ],
)
def test_what_was_likely_meant(words, meant):
    assert cli.suggestion(words.split()) == (f"did you mean {meant}?" if meant else "")


def test_a_cache_folder_that_cannot_be_written_is_one_line_and_starts_nothing(here, command, monkeypatch):
    before = contents(here)
    monkeypatch.setenv("MNIST_TUNE_CACHE", str(here / "file" / "below"))
    code, stdout, stderr = command()
    assert (code, stdout, contents(here)) == (2, "", before)
    assert stderr.startswith(f"error: can't write to $MNIST_TUNE_CACHE, {here}/file/below: Not a directory; set it to ")
    assert stderr.count("\n") == 1


def test_a_dashboard_that_is_not_installed_is_one_line_and_starts_nothing(here, command, monkeypatch):
    before = contents(here)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "aiohttp_cors" else find(name))
    code, stdout, stderr = command("--dashboard")
    assert (code, stdout, contents(here)) == (2, "", before)
    assert stderr == "error: Ray's dashboard is not installed; to install it: python -m pip install 'ray[default]'\n"


def test_a_narrow_terminal_gets_the_same_line(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert command("--learning-rate", "0.1") == (2, "", MISTYPED)


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


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1), (130, 130)])
def test_a_command_ends_with_what_its_main_function_returns(returned, code):
    with pytest.raises(SystemExit) as ended:
        cli.run(lambda: returned)
    assert ended.value.code == code


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_every_flag_and_starts_nothing(here, command, flag):
    before = contents(here)
    code, stdout, stderr = command(flag)
    assert (code, stderr) == (0, "")
    assert "Train one architecture at many learning rates and say which of them" in stdout
    flags = ("--learning-rates", "--architecture", "--epochs", "--data-dir", "--time-budget", "--resume")
    assert [flag in stdout for flag in flags] == [True] * len(flags)
    order = [stdout.index(f"{flag} ") for flag in ("--learning-rates", "--epochs", "--data-dir", "--resume")]
    assert order == sorted(order)  # what is trained first, how it runs after
    assert stdout.count(f"    python {SCRIPT}") == 5  # examples
    assert contents(here) == before


def run_python(here, *arguments, **environment):
    command = [sys.executable, *arguments]
    environment = os.environ | environment
    return subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, timeout=LONG_S)


def test_a_reader_that_stops_early_gets_no_traceback():
    code = "from mnist_tune import cli; cli.run(lambda: print('x' * 10**7))"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdout=pipe, stderr=pipe) as printing:
        assert printing.stdout.read(1) == b"x"
        printing.stdout.close()
        assert printing.stderr.read() == b""
        assert printing.wait(60) == cli.PIPE_CLOSED


def test_the_error_line_does_not_depend_on_the_encoding(here):
    before = contents(here)
    done = run_python(here, SCRIPT, "--learning-rate", "0.1", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", MISTYPED)
    assert contents(here) == before


_PRINTS_WHETHER_RAY_IS_IMPORTED = """
import atexit, runpy, sys
atexit.register(lambda: print("ray" in sys.modules))
sys.argv[:] = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_bad_input_does_not_wait_for_ray(here):
    done = run_python(here, "-c", _PRINTS_WHETHER_RAY_IS_IMPORTED, SCRIPT, "--learning-rates", "-1")
    assert (done.returncode, done.stdout) == (2, "False\n")


def test_an_early_interrupt_is_one_line(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.run(Mock(side_effect=KeyboardInterrupt))
    assert ended.value.code == 130
    assert capsys.readouterr().err.count("\n") == 1


def test_a_terminal_that_lacks_a_character_loses_no_result(here):
    code = "from mnist_tune import cli; cli.run(lambda: print('0.9… – ok'))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert (done.returncode, done.stdout) == (0, b"0.9? ? ok\n"), done.stderr
