"""The portable tests under emulation: what is asked of qemu, here a script, and what becomes of its answer."""

import sys

import pytest

from checks.other_processor import OtherProcessor, run_tests
from mnist_tune import UserError

HELP = """\
Available CPUs:
  Haswell               (alias configured by machine type)
  SandyBridge-v1        Intel Xeon E312xx (Sandy Bridge)

Recognized CPUID flags:
  avx avx2
"""


@pytest.fixture
def qemu(tmp_path, monkeypatch):
    """A function that puts a script in qemu's place: `then` is what it does when it is given tests."""

    def install(then):
        script = tmp_path / "qemu-x86_64"
        script.write_text(f"#!/bin/sh\n[ $2 = help ] && {{ cat <<'EOF'\n{HELP}EOF\nexit 1; }}\n{then}\n")
        script.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    return install


def test_a_missing_emulator_is_named_with_its_package(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"no qemu-x86_64 .*; apt-get install qemu-user"):
        run_tests(OtherProcessor())


def test_this_interpreter_runs_the_portable_tests_on_one_thread(qemu, capfd):
    qemu('echo "$PJRT_NPROC $@"')
    assert run_tests(OtherProcessor()) == 0
    told = capfd.readouterr().out
    assert told.startswith(f"1 -cpu Haswell {sys.executable} -m pytest -v -n 0 -m portable ")
    assert "tests/whole/test_portable.py" in told
    assert "test_sweep.py" not in told


def test_pytests_exit_code_and_errors_come_through(qemu, capfd):
    qemu('echo "qemu: warning: TCG doesn\'t support requested feature" >&2; echo failed >&2; exit 3')
    assert run_tests(OtherProcessor()) == 3
    assert capfd.readouterr().err == "failed\n"


def test_tests_that_take_too_long_are_ended(qemu):
    qemu("exec sleep 60")
    with pytest.raises(UserError, match=r"more than 0\.2 s; give more with --timeout-s"):
        run_tests(OtherProcessor(timeout_s=0.2))
