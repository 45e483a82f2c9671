"""Which errors are the program's, and where they say that they come from: kept to the letter."""

from kept_texts import assert_kept
from ray.exceptions import RayActorError, RayTaskError

from mnist_tune import UserError
from mnist_tune.execution import program_error as module
from mnist_tune.execution.hanging import HungError
from mnist_tune.execution.lane_client import LaneLostError
from mnist_tune.execution.program_error import ProgramError, program_error

LIBRARIES = ("/usr/lib/python3.11", "/home/me/mnist_tune/.venv/lib")
"""The second is in a clone of ours, as CONTRIBUTING.md has it."""
OWN, STANDARD, LIBRARY = "/home/me/net.py", f"{LIBRARIES[0]}/json/decoder.py", f"{LIBRARIES[1]}/jax/api.py"
CLONED, INSTALLED = "/home/me/mnist_tune/mnist_tune/trial.py", f"{LIBRARIES[1]}/mnist_tune/trial.py"


class XlaRuntimeError(Exception):
    pass


class JaxRuntimeError(Exception):
    pass


class WrappedError(Exception):
    def __init__(self, cause):
        super().__init__("around it")
        self.cause = cause


ERRORS = {
    "a bug": ValueError("a bug"),
    "two lines": ValueError("\n a bug \nof two lines"),
    "no word": KeyError(),
    "a refusal": UserError("it does not fit"),
    "one of a lane server": WrappedError(ValueError("inside")),
    "one of Ray": RayTaskError("epoch", "Traceback: ...", ValueError("a bug")).as_instanceof_cause(),
    "one that was told": WrappedError(ProgramError("TypeError", "a bug", "net.py:7")),
    "a disk": OSError("no space"),
    "a file": FileNotFoundError("data"),
    "memory": MemoryError(),
    "a dead actor": RayActorError(),
    "a lost lane": LaneLostError("taken over"),
    "an epoch that hangs": HungError("it hangs"),
    "the machine's in a lane server": WrappedError(OSError("no space")),
    "a device": XlaRuntimeError("INTERNAL"),
    "a device, by its new name": JaxRuntimeError("INTERNAL"),
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
    """Return an error as if raised on the third line of the last of these files, each called by the one before."""
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
    text = "".join(f"{name}: {program_error(raised(error, [OWN]))}\n" for name, error in ERRORS.items())
    for name, files in PLACES.items():
        text += f"{name}: {program_error(raised(ValueError('a bug'), files)).key}\n"
    assert_kept("errors", f"{text}one that was never raised: {program_error(ValueError('a bug'))}\n")
