"""Whose an error is, and where those of the program say that they come from: kept to
the letter."""

import subprocess
import sys

import pytest
from kept_texts import assert_kept
from ray.exceptions import RayActorError

from mnist_tune import UserError
from mnist_tune.execution import program_error as module
from mnist_tune.execution.hanging import HungError
from mnist_tune.execution.program_error import classified

LIBRARIES = ("/usr/lib/python3.11", "/home/me/mnist_tune/.venv/lib")
"""The second is in a clone of ours, as CONTRIBUTING.md has it."""
OWN = "/home/me/net.py"
STANDARD = f"{LIBRARIES[0]}/json/decoder.py"
LIBRARY = f"{LIBRARIES[1]}/jax/api.py"
CLONED = "/home/me/mnist_tune/mnist_tune/trial.py"
INSTALLED = f"{LIBRARIES[1]}/mnist_tune/trial.py"


class XlaRuntimeError(Exception):
    pass


class JaxRuntimeError(Exception):
    pass


CALLED_BACK = f"""INTERNAL: CpuCallback error calling callback: Traceback (most recent call last):
  File "{INSTALLED}", line 9, in run
  File "{LIBRARY}", line 71, in __call__
  File "{OWN}", line 5, in host
net.TooLargeError: RESOURCE_EXHAUSTED is no word of mine
and more
"""
WITHOUT_A_MESSAGE = CALLED_BACK.replace(": RESOURCE_EXHAUSTED is no word of mine", "")


ERRORS = {
    "a bug": ValueError("a bug"),
    "two lines": ValueError("\n a bug \nof two lines"),
    "no word": KeyError(),
    "a refusal": UserError("it does not fit"),
    "a disk": OSError("no space"),
    "a file": FileNotFoundError("data"),
    "memory": MemoryError(),
    "a dead actor": RayActorError(),
    "an epoch that hangs": HungError("it hangs"),
    "no device": RuntimeError("Unable to initialize backend 'cuda': no GPU"),
    "lanes that are lost": RuntimeError(
        "Array has been deleted with shape=float32[4,3]."
    ),
    "lanes that are lost, as a call says": ValueError(
        "INVALID_ARGUMENT: Invalid buffer: Buffer has been deleted."
    ),
    "a device": XlaRuntimeError(
        "INTERNAL: CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access\nwas encountered"
    ),
    "a device, by its new name": JaxRuntimeError("UNKNOWN"),
    "memory of a device": JaxRuntimeError(
        "RESOURCE_EXHAUSTED: Out of memory allocating 1 byte"
    ),
    "memory, by CUDA's word": JaxRuntimeError(
        "INTERNAL: CUDA_ERROR_OUT_OF_MEMORY: out of memory"
    ),
    "what no device can do": JaxRuntimeError("UNIMPLEMENTED: convolutions of strings"),
    "own code that XLA calls": JaxRuntimeError(CALLED_BACK),
    "own code that computes with JAX there": JaxRuntimeError(
        CALLED_BACK.replace(
            "net.TooLargeError: RESOURCE_EXHAUSTED is no word of mine",
            "jax.errors.JaxRuntimeError: INVALID_ARGUMENT: Disallowed host-to-device transfer: aval=int32[]",
        )
    ),
    "own code without a message": JaxRuntimeError(WITHOUT_A_MESSAGE),
}
PLACES = {
    "own code": [OWN],
    "a library that own code calls": [OWN, LIBRARY],
    "Python that own code calls": [OWN, STANDARD],
    "own code that a library calls": [LIBRARY, OWN],
    "the package that is installed": [OWN, INSTALLED, LIBRARY],
    "a clone of the package": [OWN, CLONED, LIBRARY],
    "what Python has frozen": [OWN, "<frozen importlib._bootstrap>"],
    "libraries alone": [LIBRARY, STANDARD],
}


def raised(error, files):
    """Return an error as if raised on the third line of the last of these files, each
    called by the one before."""
    names = {"error": error}
    code = compile("\n\nraise error", files[-1], "exec")
    for file in reversed(files[:-1]):
        names = {"code": code, "names": names}
        code = compile("\n\nexec(code, names)", file, "exec")
    try:
        exec(code, names)
    except type(error):
        return error.with_traceback(error.__traceback__.tb_next)  # without this frame


def test_errors_of_the_program(monkeypatch):
    monkeypatch.setattr(module, "_LIBRARIES", LIBRARIES)
    monkeypatch.setattr(module, "_PACKAGE", f"{LIBRARIES[1]}/mnist_tune")
    text = ""
    for name, error in ERRORS.items():
        text += f"{name}: {said(raised(error, [INSTALLED]))}\n"
    for name, files in PLACES.items():
        text += f"{name}: {said(raised(ValueError('a bug'), files))}\n"
        text += f"    {said(raised(OSError('no file'), files))}\n"
    text += f"one that was never raised: {said(ValueError('a bug'))}\n"
    assert_kept("errors", text)


def said(error):
    kind = classified(error)
    return f"{type(kind).__name__}: {kind}"


def test_what_trains_imports_ray_only_where_it_runs():
    """A dry run, and the tests that train, would take 0.2 CPU seconds and 43 MB for
    it."""
    code = "import mnist_tune.execution.pool, sys; print('ray' in sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "False\n"


def test_what_is_installed_elsewhere_is_a_library(tmp_path):
    """As with a folder of packages that the environment only refers to."""
    text = "def fail():\n    raise ValueError('no')\n"
    names = {}
    exec(compile(text, "/elsewhere/site-packages/theirs.py", "exec"), names)
    with pytest.raises(ValueError, match="no") as raised:
        names["fail"]()
    error = classified(raised.value)
    assert str(error).startswith(f"ValueError: no ({__file__}:")
