"""Starting Ray or joining a cluster: errors are one line, come at once, and say what to
do."""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import jax
import pytest
import ray
from kept_texts import assert_kept
from ray._private import parameter
from ray._private.node import Node
from ray._private.ray_logging import stdout_deduplicator
from ray.exceptions import RpcError
from waiting import LONG_S

import mnist_tune
from mnist_tune import UserError
from mnist_tune.runtime import ray_session
from mnist_tune.runtime.ray_session import start_ray

try:
    from ray._private.authentication.authentication_token_setup import (
        generate_and_save_token,
    )
    from ray.exceptions import AuthenticationError
except ImportError:
    generate_and_save_token = AuthenticationError = None

WITH_TOKENS = pytest.mark.skipif(
    AuthenticationError is None, reason="Ray has tokens from 2.51 on"
)
MISMATCH = "Version mismatch: The cluster was started with:\n    Ray: 2.50.0\n    Python: 3.12.1\nThis process ..."


@pytest.fixture(autouse=True)
def no_ray(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(ray, "is_initialized", lambda: False)


@contextmanager
def umask(value):
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.promise("The dashboard listens on the loopback address")
@pytest.mark.parametrize("dashboard", [False, True])
def test_starts_of_ray(started, tmp_path, monkeypatch, dashboard):
    """What Ray is asked for, and what holds only while it starts."""
    monkeypatch.setenv("PYTHONPATH", "mine")
    monkeypatch.setenv("RAY_AIR_NEW_OUTPUT", "1")
    servers, usual = [], vars(parameter.RayParams())
    monkeypatch.setattr("ray._private.node.Node.start_api_server", servers.append)

    def init(**options):
        seen = vars(parameter.RayParams())
        changed = {
            name for name, value in seen.items() if repr(usual[name]) != repr(value)
        }
        assert (
            changed - {"resource_isolation_config"}
            == {"dashboard_agent_listen_port"} | less
        )
        Node.start_api_server("a node")
        assert servers == ["a node"] * dashboard
        if generate_and_save_token is not None:
            generate_and_save_token()
        started.append((options, dict(os.environ), ray_session.umask()))

    less = set() if dashboard else {"no_monitor", "include_log_monitor"}
    monkeypatch.setattr(ray, "init", init)
    before = dict(os.environ)
    with umask(0o022):
        start_ray(None, 3, dashboard, 5)
        assert (dict(os.environ), ray_session.umask()) == (before, 0o022)
    assert repr(usual["no_monitor"]) == repr(parameter.RayParams().no_monitor)
    [(options, environment, mask)] = started
    assert (options["include_dashboard"], options["dashboard_host"]) == (
        dashboard,
        "127.0.0.1",
    )
    assert (options["num_cpus"], options["resources"], options["address"]) == (
        5,
        {"trial_slot": 3},
        "local",
    )
    assert environment["PYTHONPATH"] == os.pathsep.join(
        [str(Path(mnist_tune.__file__).parents[1]), "mine"]
    )
    assert (
        environment.items() >= (ray_session.QUIET | {"RAY_AIR_NEW_OUTPUT": "1"}).items()
    ), "the user has set one"
    token = tmp_path / ".ray" / "auth_token"
    assert mask == 0o077
    if generate_and_save_token is not None:
        assert (mode(token), mode(token.parent)) == ("600", "700")


def test_a_cluster_is_joined_as_it_is(started, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "mine")
    start_ray("head:6379", 3, True)
    [(options, environment)] = started
    assert options == {"address": "head:6379", **ray_session.SILENT}
    assert environment["PYTHONPATH"] == "mine"


def test_a_process_that_has_a_ray_uses_no_other_one(started, monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(
        ray, "get_runtime_context", lambda: SimpleNamespace(gcs_address="10.0.0.7:6379")
    )
    for address in (None, "10.0.0.7:6379"):
        start_ray(address, None, False)
    with pytest.raises(
        UserError,
        match=r"^--address 10\.0\.0\.8:6379: this process has a Ray already, .*shutdown",
    ):
        start_ray("10.0.0.8:6379", None, False)


ERRORS = [
    ConnectionError("Failed\nto connect"),
    socket.gaierror(-2, "Name not known"),
    TimeoutError("timed out"),
    RpcError("Timed out"),
    RuntimeError(MISMATCH),
    Exception("The current node timed out\nduring startup."),
]


@WITH_TOKENS
def test_refusals_of_a_session(started, tmp_path, monkeypatch):
    lines = []

    def refused(*arguments):
        with pytest.raises(UserError) as error:
            start_ray(*arguments)
        lines.append(f"{', '.join(map(str, arguments))}: {error.value}")

    refused("ray://head:10001", None, False)
    with monkeypatch.context() as patch:
        patch.setattr(ray_session.importlib.util, "find_spec", lambda name: None)
        refused(None, None, True)
    with monkeypatch.context() as patch:
        (tmp_path / "file").touch()
        patch.setenv("MNIST_TUNE_CACHE", str(tmp_path / "file"))
        refused(None, None, False)
    assert started == []
    for error in [AuthenticationError("Invalid"), *ERRORS]:
        monkeypatch.setattr(ray, "init", Mock(side_effect=error))
        refused(None if type(error) is Exception else "head:6379", None, False)
        if isinstance(error, AuthenticationError):
            refused("auto", None, False)
    assert_kept("refused by Ray", "\n".join(lines).replace(str(tmp_path), "HERE"))


def test_ray_starts_without_jaxs_warning_of_a_deadlock(monkeypatch):
    jax.devices()
    monkeypatch.setattr(
        ray,
        "init",
        lambda **options: subprocess.run("true", preexec_fn=int, check=True),
    )
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        start_ray(None, None, False)
    assert not warned


@pytest.mark.parametrize("address", ["localhost:none", "localhost:99999999"])
def test_an_address_without_a_port_is_one_line(address):
    with pytest.raises(
        UserError,
        match=f"^no Ray cluster at {address} .*; start one with: ray start --head$",
    ):
        start_ray(address, None, False)


@pytest.mark.parametrize("usual", [signal.default_int_handler, signal.SIG_IGN])
def test_sigterm_is_an_interrupt_and_both_handlers_are_restored(usual):
    """A shell makes a process in the background ignore Ctrl-C. A kill must still end
    it."""
    outside = signal.signal(signal.SIGINT, usual)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with ray_session.ended_by_signals():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert [
        signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)
    ] == before
    # Python lets only the main thread set handlers
    with ThreadPoolExecutor(1) as thread:
        thread.submit(ray_session.ended_by_signals()(lambda: None)).result()
    signal.signal(signal.SIGINT, outside)


def group_of_a_child(**options):
    command = [sys.executable, "-c", "import os; print(os.getpgrp() == os.getpid())"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, **options)
    return done.stdout.strip() == "True"


def test_rays_processes_are_in_groups_of_their_own():
    """So that a SIGTERM to a command's group, as of `timeout`, ends the command first.
    Ray starts its processes with a `preexec_fn`."""
    with ray_session.own_process_groups():
        assert group_of_a_child(preexec_fn=lambda: None)
    assert not group_of_a_child(preexec_fn=lambda: None)


@pytest.mark.slow
@pytest.mark.promise("SIGTERM, also to all of a command, ends it as Ctrl-C does")
def test_a_sigterm_to_the_group_of_a_command_ends_it_with_its_table(tmp_path):
    command = "regimes --dataset digits --architecture mlp-8-tanh --epochs 100000"
    command += " --learning-rates 0.1 --execution process --output sweep"
    child = subprocess.Popen(
        [sys.executable, "-m", "mnist_tune", *command.split()],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    journal = tmp_path / "sweep" / "journal.jsonl"
    until = time.monotonic() + LONG_S
    while not journal.exists() or not journal.stat().st_size:
        assert child.poll() is None
        assert time.monotonic() < until
        time.sleep(0.1)
    os.killpg(child.pid, signal.SIGTERM)
    out, err = child.communicate(timeout=LONG_S)
    assert child.returncode == 143, err
    assert "resume with: mnist-tune resume sweep" in out
    assert "GCS" not in err


def mode(file):
    return f"{file.stat().st_mode & 0o777:o}"


@pytest.mark.promise("A token that others can read is made private")
@pytest.mark.parametrize(
    ("address", "bits"),
    [(None, 0o644), ("head:6379", 0o644), (None, 0o640), (None, 0o604)],
)
def test_a_token_that_others_can_read_is_made_private(
    tmp_path, monkeypatch, capsys, address, bits
):
    monkeypatch.setattr(ray, "init", lambda **options: None)
    monkeypatch.setattr(ray_session, "_check_reachable", lambda address: None)
    file = tmp_path / "a token"
    file.write_text("token")
    file.chmod(bits)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(file))
    for said in (
        f"note: others could read Ray's token, {file}, and run code as you with it; it is private now\n",
        "",
    ):
        start_ray(address, None, False)
        assert mode(file) == "600"
        assert capsys.readouterr().err == said


@pytest.fixture
def started(monkeypatch):
    """What `ray.init` is asked for, each with the environment that its processes
    inherit."""
    calls = []
    monkeypatch.setattr(
        ray, "init", lambda **options: calls.append((options, dict(os.environ)))
    )
    monkeypatch.setattr(ray_session, "_check_reachable", lambda address: None)
    for name in (*ray_session.QUIET, "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)
    return calls


def test_rays_session_lies_in_a_folder_that_others_cannot_enter(
    started, tmp_path, monkeypatch
):
    long = tmp_path / ("long" * 20)
    for variable, parent in (
        ("RAY_TMPDIR", "/tmp/short"),
        ("TMPDIR", str(long)),
        ("TMPDIR", ""),
    ):
        monkeypatch.delenv("RAY_TMPDIR", raising=False)
        monkeypatch.setenv(variable, parent)
        start_ray(None, None, False)
        _, environment = started.pop()
        own = Path(environment["RAY_TMPDIR"])
        folder = own / "ray"
        assert own.parent == Path("/tmp/short" if parent == "/tmp/short" else "/tmp")
        assert (own.stat().st_uid, mode(own)) == (os.getuid(), "700")
        socket_name = f"{folder}/session_2026-11-28_06-30-00_123456_1234567/sockets/plasma_store.1"
        assert len(socket_name) <= 107
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    start_ray("head:6379", None, False)
    _, environment = started[0]
    assert "RAY_TMPDIR" not in environment, "a cluster has its own"


def test_ray_is_stopped_once_at_exit_however_many_sweeps_there_were():
    stops = "from mnist_tune.runtime import ray_session as r\n"
    stops += "r.stop_ray = lambda: print('stopped')\n[r.stop_ray_at_exit() for _ in range(3)]"
    printed = subprocess.run(
        [sys.executable, "-c", stops], check=True, capture_output=True, text=True
    ).stdout
    assert printed == "stopped\n"


def test_what_ray_prints_about_failures_is_silenced_during_a_sweep_alone():
    loggers = [
        logging.getLogger(f"ray.tune.{name}")
        for name in ("tune", "execution.experiment_state")
    ]
    lines = [
        "A worker died or was killed while",
        "node 7 is marked dead",
        "Raylet is terminated",
        "a raylet is up",
    ]
    with ray_session.failures_told_by_us():
        assert not any(logger.isEnabledFor(logging.CRITICAL) for logger in loggers)
        assert [
            line for line in lines if stdout_deduplicator.skip_re.search(line)
        ] == lines[:3]
    assert all(logger.isEnabledFor(logging.CRITICAL) for logger in loggers)


def test_a_token_that_cannot_be_made_private_is_a_warning(
    tmp_path, monkeypatch, capsys
):
    file = tmp_path / ".ray" / "auth_token"
    file.parent.mkdir()
    file.write_text("token")
    file.chmod(0o644)
    monkeypatch.setattr(
        Path, "chmod", Mock(side_effect=PermissionError(1, "Operation not permitted"))
    )
    ray_session.make_token_private()
    assert capsys.readouterr().err == (
        f"warning: others can read Ray's token, {file}, and run code as you with it (Operation not permitted)\n"
    )


def test_an_interrupt_during_the_shutdown_is_logged_and_without_ray_there_is_none(
    monkeypatch, caplog
):
    monkeypatch.setattr(ray, "shutdown", Mock(side_effect=KeyboardInterrupt))
    ray_session.stop_ray()
    assert "Ray did not shut down properly" in caplog.text
    monkeypatch.delitem(sys.modules, "ray")
    ray_session.stop_ray()
    assert len(caplog.messages) == 1
