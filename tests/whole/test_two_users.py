"""What another user of the same machine can do with a sweep, its Ray and its programs:
nothing."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from waiting import LONG_S

from mnist_tune import load_sweep
from mnist_tune.execution.process_setup import WorkerSettings, configure_jax
from mnist_tune.runtime.ray_session import private_files

OTHER = 65534

TRIES = """
import json, os, socket, sys
from pathlib import Path

def refused(attempt):
    try:
        return f"done: {attempt()}"
    except BaseException as error:
        return type(error).__name__ + ": " + str(error)

def connect(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(path)

other, imports, first, tries = json.loads(sys.argv[1])
exec("import " + imports)
# imports the rest, while this Python's own files may be read
refused(lambda: eval(first))
os.setgroups([])
os.setgid(other)
os.setuid(other)
print(json.dumps({name: refused(lambda: eval(tried)) for name, tried in tries.items()}))
"""


def as_another(imports, tries):
    """Return what became of some expressions that another user's process tries. It may
    try the last one before, too."""
    environment = os.environ | {
        "HOME": "/nonexistent",
        "MNIST_TUNE_CACHE": "/tmp/mnist_tune-another",
    }
    command = [
        sys.executable,
        "-c",
        TRIES,
        json.dumps([OTHER, imports, [*tries.values()][-1], tries]),
    ]
    done = subprocess.run(
        command,
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=LONG_S,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


pytestmark = pytest.mark.skipif(
    os.getuid() != 0, reason="only root can be another user"
)


@pytest.fixture
def place():
    """A folder that others can reach, as in /tmp: pytest's own are private."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.promise(
    "Trials are `unknown` where another user lets nobody look, and nobody is told to resume them"
)
def test_a_sweep_of_another_is_running_or_unknown_and_not_to_be_resumed(
    place, new_writer, epoch_row
):
    with (
        new_writer(place / "open") as writer,
        new_writer(place / "shy") as shy,
        private_files(),
    ):
        new_writer(place / "private").release()
        writer.epoch("00000", epoch_row(1), repeated=False)
        (shy.path / ".lock").chmod(0o600)
        load = "mnist_tune.load_sweep({!r}).trials['stop_reason'].tolist()"
        names = ("private", "shy", "open")
        found = as_another(
            "mnist_tune", {name: load.format(str(place / name)) for name in names}
        )
    assert found["open"] == "done: ['running', 'waiting']"
    assert found["shy"] == "done: ['unknown', 'unknown']"
    assert found["private"].startswith("UserError: can't read ")
    assert set(load_sweep(place / "shy").trials["stop_reason"]) == {"interrupted"}


@pytest.mark.promise(
    "Another user of the machine reads nothing of our Ray, replaces nothing and joins nothing"
)
@pytest.mark.ray
def test_another_user_reads_nothing_replaces_nothing_and_joins_nothing(place, one_core):
    from ray._private import worker

    with private_files():
        configure_jax(
            WorkerSettings("states", threads=None, cache_dir=str(place / "cache"))
        )
    node, token = worker._global_node, Path.home() / ".ray" / "auth_token"
    session = node.get_session_dir_path()
    programs = str(place / "cache" / "xla")
    tries = {
        "list the session": f"os.listdir({session!r})",
        "reach the raylet": f"connect({node.raylet_socket_name!r})",
        "replace its socket": f"os.rename({node.raylet_socket_name!r}, {session + '/x'!r})",
        "replace the session": f"os.rename({session!r}, {session + 'x'!r})",
        "read the token": f"Path({str(token)!r}).read_text()",
        "write a program": f"Path({programs + '/x'!r}).write_text('')",
        "replace the programs": f"os.rename({programs!r}, {programs + 'x'!r})",
        "join": f"mnist_tune.runtime.ray_session._connect({node.gcs_address!r})",
    }
    found = as_another("ray, mnist_tune.runtime.ray_session", tries)
    assert found.pop("join").startswith(
        f"UserError: the Ray cluster at {node.gcs_address} requires its token"
    ), found
    assert {
        name: said.partition(":")[0] for name, said in found.items()
    } == dict.fromkeys(found, "PermissionError")
