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
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


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
        command = [
            BIN / "ray",
            "start",
            "--head",
            "--block",
            "--num-cpus=1",
            "--include-dashboard=true",
        ]
        ports = [
            f"--port={gcs}",
            f"--dashboard-port={dashboard}",
            f"--ray-client-server-port={client}",
        ]
        ports += [f"--dashboard-agent-listen-port={agent}", f"--temp-dir={folder}"]
        with open(f"{folder}/log", "w") as log:
            process = subprocess.Popen(
                [*command, *ports],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            clone = Path(folder, "clone")
            for name in ("mnist_tune", "sweeps"):
                shutil.copytree(
                    ROOT / name,
                    clone / name,
                    ignore=shutil.ignore_patterns("__pycache__"),
                )
            wait_for_port(dashboard, process)
            yield Head(
                f"127.0.0.1:{gcs}", f"http://127.0.0.1:{dashboard}", environment, clone
            )
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
    for each in family:
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            each.kill()
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
    sweep = [
        "--dataset",
        "mnist-5k",
        "--architecture",
        "mlp-8-tanh",
        "--learning-rates",
        "0.05",
        "0.1",
        "0.2",
    ]
    sweep += [
        "--epochs",
        str(EPOCHS),
        "--scheduler",
        "fifo",
        "--output",
        str(output),
        "--resume",
        "auto",
    ]
    job = [
        "job",
        "submit",
        "--address",
        head.dashboard,
        "--submission-id",
        name,
        "--working-dir",
        head.clone,
        "--",
    ]
    return ray(
        head, *job, "python", "sweeps/lr_regimes.py", "--address", "auto", *sweep
    )


@pytest.mark.promise("The same command resumes a job that was stopped")
def test_a_stopped_job_resumes_when_it_is_submitted_again(head, tmp_path):
    output = tmp_path / "sweep"
    first = submit(head, "first", output)
    wait_until(lambda: recorded(output) > 12, "no epoch was recorded", first)
    # as `ray job stop` asks, which takes seconds to start: the sweep would end
    # meanwhile
    token = {"Authorization": f"Bearer {head.environment['RAY_AUTH_TOKEN']}"}
    stopped = requests.post(
        f"{head.dashboard}/api/jobs/first/stop", headers=token, timeout=LONG_S
    )
    assert stopped.json() == {"stopped": True}
    first.communicate(timeout=LONG_S)
    before = load_sweep(output)
    assert 0 < len(before.epochs) < 3 * EPOCHS
    second = submit(head, "second", output)
    told, _ = second.communicate(timeout=LONG_S)
    assert second.returncode == 0, told
    after = load_sweep(output)
    assert set(after.trials["stop_reason"]) == {"completed"}
    assert not after.epochs.duplicated(["trial_id", "epoch"]).any()
    assert len(after.epochs) == 3 * EPOCHS


@pytest.mark.promise("Joining a cluster without its token ends with one line")
def test_joining_a_cluster_without_its_token_fails_with_one_line(head, tmp_path):
    for wrong in ({"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN": "another"}):
        flags = ["--smoke", "--dataset", "mnist-5k", "--address", head.gcs]
        done = subprocess.run(
            [sys.executable, ROOT / "sweeps" / "lr_regimes.py", *flags],
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
