"""`ray job submit` on a head with a dashboard and a token: the same command resumes a
stopped job."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
import requests
from journals import recorded
from waiting import LONG_S, wait_until

from mnist_tune import load_sweep

pytestmark = pytest.mark.ray

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
EPOCHS = 50


class Head(NamedTuple):
    """A Ray head with its own ports."""

    gcs: str
    dashboard: str
    environment: dict[str, str]
    clone: Path
    """What jobs need of the repository. All of it takes a second to pack."""


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for free_socket in sockets:
            free_socket.bind(("127.0.0.1", 0))
        return [free_socket.getsockname()[1] for free_socket in sockets]


@pytest.fixture(scope="module")
def head():
    gcs, dashboard, client, agent = free_ports(4)
    environment = os.environ | {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    # a socket's path may have 107 bytes
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        start = "start --head --block --num-cpus=1 --include-dashboard=true"
        ports = f"--port={gcs} --dashboard-port={dashboard}"
        ports += f" --ray-client-server-port={client}"
        ports += f" --dashboard-agent-listen-port={agent}"
        flags = [*start.split(), *ports.split(), f"--temp-dir={folder}"]
        with open(f"{folder}/log", "w") as log:
            process = subprocess.Popen(
                [BIN / "ray", *flags],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            clone = Path(folder, "clone")
            ignored = shutil.ignore_patterns("__pycache__")
            for name in ("mnist_tune", "sweeps"):
                shutil.copytree(ROOT / name, clone / name, ignore=ignored)
            wait_for_port(dashboard, process)
            address = f"127.0.0.1:{gcs}"
            yield Head(address, f"http://127.0.0.1:{dashboard}", environment, clone)
        finally:
            end(process)


def wait_for_port(port, process):
    def listens():
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port), timeout=1),
        ):
            return True

    wait_until(listens, "the dashboard does not listen", process)


def end(process):
    """Stop the head and the processes that it started, and no other Ray."""
    family = [process, *psutil.Process(process.pid).children(recursive=True)]
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=20)
    for member in family:
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            member.kill()
    process.wait(timeout=LONG_S)


def ray(head, *arguments):
    command = [BIN / "ray", *arguments]
    return subprocess.Popen(
        command,
        env=head.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def submit(head, name, output):
    job = f"--address {head.dashboard} --submission-id {name}"
    data = "--dataset mnist-5k --architecture mlp-8-tanh --learning-rates 0.05 0.1 0.2"
    length = f"--epochs {EPOCHS} --scheduler fifo"
    words = ["job", "submit", *job.split(), "--working-dir", head.clone, "--"]
    words += ["python", "sweeps/lr_regimes.py", "--address", "auto"]
    words += [*data.split(), *length.split()]
    return ray(head, *words, "--output", str(output), "--resume", "auto")


@pytest.mark.promise("The same command resumes a job that was stopped")
def test_a_stopped_job_resumes_when_it_is_submitted_again(head, tmp_path):
    output = tmp_path / "sweep"
    first = submit(head, "first", output)
    wait_until(lambda: recorded(output) > 12, "no epoch was recorded", first)
    # as `ray job stop` asks, which takes seconds to start: the sweep would end
    # meanwhile
    token = {"Authorization": f"Bearer {head.environment['RAY_AUTH_TOKEN']}"}
    url = f"{head.dashboard}/api/jobs/first/stop"
    stopped = requests.post(url, headers=token, timeout=LONG_S)
    assert stopped.json() == {"stopped": True}
    first.communicate(timeout=LONG_S)
    before = load_sweep(output)
    assert 0 < len(before.epochs) < 3 * EPOCHS
    second = submit(head, "second", output)
    printed, _ = second.communicate(timeout=LONG_S)
    assert second.returncode == 0, printed
    after = load_sweep(output)
    assert set(after.trials["stop_reason"]) == {"completed"}
    assert not after.epochs.duplicated(["trial_id", "epoch"]).any()
    assert len(after.epochs) == 3 * EPOCHS


@pytest.mark.promise("Joining a cluster without its token ends with one line")
@pytest.mark.parametrize(
    "wrong", [{"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN": "another"}]
)
def test_joining_a_cluster_without_its_token_fails_with_one_line(head, tmp_path, wrong):
    script = ROOT / "sweeps" / "lr_regimes.py"
    flags = ["--smoke", "--dataset", "mnist-5k", "--address", head.gcs]
    done = subprocess.run(
        [sys.executable, script, *flags],
        cwd=tmp_path,
        env=head.environment | wrong,
        capture_output=True,
        text=True,
        timeout=LONG_S,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH" in done.stderr
    assert list(tmp_path.iterdir()) == []
