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
    *_, last = tries.values()
    arguments = json.dumps([OTHER, imports, last, tries])
    done = subprocess.run(
        [sys.executable, "-c", TRIES, arguments],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=LONG_S,
    )
    assert done.returncode == 0, done.stderr
    last_line = done.stdout.splitlines()[-1]
    return json.loads(last_line)


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
        tries = {}
        for name in ("private", "shy", "open"):
            load = f"mnist_tune.load_sweep({str(place / name)!r})"
            tries[name] = f"{load}.trials['stop_reason'].tolist()"
        outcomes = as_another("mnist_tune", tries)
    assert outcomes["open"] == "done: ['running', 'waiting']"
    assert outcomes["shy"] == "done: ['unknown', 'unknown']"
    assert outcomes["private"].startswith("UserError: can't read ")
    assert set(load_sweep(place / "shy").trials["stop_reason"]) == {"interrupted"}


@pytest.mark.promise(
    "Another user of the machine reads nothing of our Ray, replaces nothing and joins nothing"
)
@pytest.mark.ray
def test_another_user_reads_nothing_replaces_nothing_and_joins_nothing(place, one_core):
    from ray._private import worker

    cache = place / "cache"
    settings = WorkerSettings("states", threads=None, cache_dir=str(cache))
    with private_files():
        configure_jax(settings)
    node = worker._global_node
    token = Path.home() / ".ray" / "auth_token"
    session = node.get_session_dir_path()
    socket = node.raylet_socket_name
    programs = str(cache / "xla")
    address = node.gcs_address
    tries = {
        "list the session": f"os.listdir('{session}')",
        "reach the raylet": f"connect('{socket}')",
        "replace its socket": f"os.rename('{socket}', '{session}/x')",
        "replace the session": f"os.rename('{session}', '{session}x')",
        "read the token": f"Path('{token}').read_text()",
        "write a program": f"Path('{programs}/x').write_text('')",
        "replace the programs": f"os.rename('{programs}', '{programs}x')",
        "join": f"mnist_tune.runtime.ray_session._connect('{address}')",
    }
    outcomes = as_another("ray, mnist_tune.runtime.ray_session", tries)
    joined = outcomes.pop("join")
    refused = f"UserError: the Ray cluster at {address} requires its token"
    assert joined.startswith(refused), outcomes
    assert outcomes.keys() == tries.keys() - {"join"}
    for attempt, outcome in outcomes.items():
        assert outcome.partition(":")[0] == "PermissionError", attempt
