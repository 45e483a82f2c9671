"""Starting Ray or joining a cluster: errors are one line, come at once, and say what to do."""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import weakref
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import ray
from kept_texts import assert_kept
from ray._private import parameter
from ray._private.authentication.authentication_token_setup import generate_and_save_token
from ray._private.node import Node
from ray._private.ray_logging import stdout_deduplicator
from ray.exceptions import AuthenticationError, RpcError
from shortened import shortened

import mnist_tune
from mnist_tune import UserError
from mnist_tune.machine import usable_cpus
from mnist_tune.runtime import ray_private, ray_session
from mnist_tune.runtime.ray_session import start_ray

MISMATCH = "Version mismatch: The cluster was started with:\n    Ray: 2.50.0\n    Python: 3.12.1\nThis process ..."

SAID = {
    AuthenticationError(
        "Invalid"
    ): "the Ray cluster at head:6379 requires its token: set RAY_AUTH_MODE=token and RAY_AU",
    ConnectionError("Failed\nto connect"): "no Ray cluster at head:6379 (Failed to connect); start one with: ray start",
    socket.gaierror(
        -2, "Name not known"
    ): "no Ray cluster at head:6379 ([Errno -2] Name not known); start one with: ray",
    TimeoutError("timed out"): "no Ray cluster at head:6379 (timed out); start one with: ray start --head",
    RpcError("Timed out"): "no Ray cluster at head:6379 (Timed out); start one with: ray start --head",
    RuntimeError(
        MISMATCH
    ): "can't join the Ray cluster at head:6379: Version mismatch: The cluster was started with: R",
}


@pytest.fixture(autouse=True)
def no_ray(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(ray, "is_initialized", lambda: False)


def own(text, tmp_path):
    """Return a text without what differs from machine to machine."""
    places = {str(Path(mnist_tune.__file__).parents[1]): "PACKAGE", str(tmp_path): "HERE", f"-{os.getuid()}/": "-USER/"}
    places[f"concurrency={3 * usable_cpus()}\n"] = "concurrency=THRICE THE CORES\n"
    return reduce(lambda said, place: said.replace(place, places[place]), places, text)


@contextmanager
def umask(value):
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


STARTS: dict[str, tuple[list[Any], dict[str, str]]] = {
    "on this machine": ([None, None, False], {}),
    "limited, of some cores, with the dashboard": ([None, 3, True, 5], {}),
    "where the user has set variables": ([None, None, False], {"PYTHONPATH": "mine", "RAY_USAGE_STATS_ENABLED": "1"}),
    "with a folder of Ray's": ([None, None, False], {"RAY_TMPDIR": "/tmp/short", "TMPDIR": "/nowhere"}),
    "with a folder for what is temporary": ([None, None, False], {"TMPDIR": "/tmp/brief"}),
    "joining a cluster": (["head:6379", 3, True], {"PYTHONPATH": "mine"}),
}


@pytest.mark.promise("The dashboard listens on the loopback address")
def test_starts_of_ray(started, tmp_path, monkeypatch):
    """What `ray.init` is asked for, and what holds meanwhile: the environment, the umask, and parameters of Ray's."""
    lines, servers, node = [], [], object()
    monkeypatch.setattr(ray_session, "usable_cpus", lambda: 7)
    monkeypatch.setattr("ray._private.node.Node.start_api_server", servers.append)
    kind, usual = parameter.RayParams, vars(parameter.RayParams())

    def init(**options):
        changed = {name: value for name, value in os.environ.items() if before.get(name) != value}
        now = {name: value for name, value in vars(parameter.RayParams()).items() if repr(usual[name]) != repr(value)}
        now.pop("resource_isolation_config")  # an object that each has anew
        Node.start_api_server(node)
        generate_and_save_token()
        lines.extend(f"{name}: {value!r}" for name, value in options.items())
        lines.append(f"umask {ray_session.umask():o}, Ray's parameters {now}, API server {servers == [node]}")
        lines.extend(f"{name}={value}" for name, value in sorted(changed.items()))

    monkeypatch.setattr(ray, "init", init)
    for name, (arguments, variables) in STARTS.items():
        with monkeypatch.context() as patch, umask(0o022):
            for variable in ("RAY_TMPDIR", "TMPDIR"):
                patch.delenv(variable, raising=False)
            for variable, value in variables.items():
                patch.setenv(variable, value)
            lines += ["", f"--- {name}: {arguments}"]
            before = dict(os.environ)
            start_ray(*arguments)
            assert (dict(os.environ), ray_session.umask()) == (before, 0o022)
            servers.clear()
        token = tmp_path / ".ray" / "auth_token"
        lines.append(f"token {mode(token)} in {mode(token.parent)}")
        token.unlink()
        token.parent.rmdir()
    assert parameter.RayParams is kind
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    start_ray(None, None, False)
    lines += ["", "--- where there is one: nothing"]
    assert_kept("starts of Ray", own("\n".join(shortened(lines)), tmp_path))


def test_a_process_that_has_a_ray_uses_no_other_one(started, monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(gcs_address="10.0.0.7:6379"))
    for address in (None, "10.0.0.7:6379"):
        start_ray(address, None, False)
    with pytest.raises(UserError, match=r"^--address 10\.0\.0\.8:6379: this process has a Ray already, .*shutdown"):
        start_ray("10.0.0.8:6379", None, False)


ERRORS = [
    AuthenticationError("Invalid"),
    ConnectionError("Failed\nto connect"),
    socket.gaierror(-2, "Name not known"),
    TimeoutError("timed out"),
    RpcError("Timed out"),
    RuntimeError(MISMATCH),
    Exception("The current node timed out\nduring startup."),
]


def test_refusals_of_a_session(started, tmp_path, monkeypatch):
    lines, reached = [], []

    def refused(*arguments):
        with pytest.raises(UserError) as error:
            start_ray(*arguments)
        lines.append(f"{', '.join(map(str, arguments))}: {error.value}")

    def connect(to, timeout):
        reached.append(f"reached {to} within {timeout:g} s")
        return SimpleNamespace(close=lambda: reached.append("closed"))

    refused("ray://head:10001", None, False)
    with monkeypatch.context() as patch:
        patch.setattr(ray_session.importlib.util, "find_spec", lambda name: None)
        refused(None, None, True)
    with monkeypatch.context() as patch:
        (tmp_path / "file").touch()
        patch.setenv("MNIST_TUNE_CACHE", str(tmp_path / "file"))
        refused(None, None, False)
    assert started == []
    for error in ERRORS:
        monkeypatch.setattr(ray, "init", Mock(side_effect=error))
        refused(None if type(error) is Exception else "head:6379", None, False)
        if isinstance(error, AuthenticationError):
            refused("auto", None, False)
    monkeypatch.undo()
    monkeypatch.setattr(ray_private, "gcs_address", lambda asked: "10.0.0.9:6379" if asked == "auto" else asked)
    monkeypatch.setattr(ray_private, "greet", lambda gcs, auto: reached.append(f"greeted {gcs}, auto={auto}"))
    monkeypatch.setattr(ray_session.socket, "create_connection", connect)
    for address in ("[::1]:6379", "10.0.0.7:6379", "auto"):
        ray_session._check_reachable(address)
    assert_kept("refused by Ray", own("\n".join([*lines, *reached]), tmp_path))


@pytest.mark.parametrize("address", ["localhost:none", "localhost:99999999"])
def test_an_address_without_a_port_is_one_line(address):
    with pytest.raises(UserError, match=f"^no Ray cluster at {address} .*; start one with: ray start --head$"):
        start_ray(address, None, False)


def test_the_interrupt_handler_is_restored(monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    with ray_session.interrupts_as_before():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGINT) is before


def mode(file):
    return f"{file.stat().st_mode & 0o777:o}"


@pytest.mark.promise("A token that others can read is made private")
@pytest.mark.parametrize(("address", "bits"), [(None, 0o644), ("head:6379", 0o644), (None, 0o640), (None, 0o604)])
def test_a_token_that_others_can_read_is_made_private(tmp_path, monkeypatch, capsys, address, bits):
    monkeypatch.setattr(ray, "init", lambda **options: None)
    monkeypatch.setattr(ray_session, "_check_reachable", lambda address: None)
    file = tmp_path / "a token"
    file.write_text("token")
    file.chmod(bits)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(file))
    for said in (f"note: others could read Ray's token, {file}, and run code as you with it; it is private now\n", ""):
        start_ray(address, None, False)
        assert mode(file) == "600"
        assert capsys.readouterr().err == said


@pytest.fixture
def started(monkeypatch):
    """What `ray.init` is asked for, each with the environment that its processes inherit."""
    calls = []
    monkeypatch.setattr(ray, "init", lambda **options: calls.append((options, dict(os.environ))))
    monkeypatch.setattr(ray_session, "_check_reachable", lambda address: None)
    for name in (*ray_session.QUIET, "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)
    return calls


def test_rays_session_lies_in_a_folder_that_others_cannot_enter(started, tmp_path, monkeypatch):
    long = tmp_path / ("long" * 20)
    for variable, parent in (("RAY_TMPDIR", "/tmp/short"), ("TMPDIR", str(long)), ("TMPDIR", "")):
        monkeypatch.delenv("RAY_TMPDIR", raising=False)
        monkeypatch.setenv(variable, parent)
        start_ray(None, None, False)
        options, _ = started.pop()
        folder = Path(options["_temp_dir"])
        own = folder.parent
        assert own.parent == Path("/tmp/short" if parent == "/tmp/short" else "/tmp")
        assert (own.stat().st_uid, mode(own)) == (os.getuid(), "700")
        socket_name = f"{folder}/session_2026-11-28_06-30-00_123456_1234567/sockets/plasma_store.1"
        assert len(socket_name) <= 107
    start_ray("head:6379", None, False)
    assert "_temp_dir" not in started[0][0], "a cluster has its own"


@pytest.mark.parametrize("spare", [0, 1])
def test_a_session_stays_where_the_names_of_its_sockets_just_fit(monkeypatch, spare):
    beside = len(os.fsencode(ray_session.own_folder(Path("/tmp")) / "ray"))
    parent = Path("/tmp") / ("x" * (ray_session.LONGEST - beside - len("/") + 1 - spare))
    monkeypatch.setenv("RAY_TMPDIR", str(parent))
    monkeypatch.setattr(ray_session, "own_folder", lambda folder: folder / f"mnist_tune-{os.getuid()}")
    kept = ray_session.session_folder().is_relative_to(parent)
    assert kept == (spare == 1)


def test_an_error_of_the_shutdown_is_logged_only(monkeypatch, caplog):
    monkeypatch.setattr(ray, "shutdown", Mock(side_effect=RuntimeError("too late")))
    ray_session.stop_ray()
    assert "Ray did not shut down properly (too late); the sweep is complete" in caplog.text


def test_ray_is_stopped_once_at_exit_however_many_sweeps_there_were():
    stops = "from mnist_tune.runtime import ray_session as r\n"
    stops += "r.stop_ray = lambda: print('stopped')\n[r.stop_ray_at_exit() for _ in range(3)]"
    printed = subprocess.run([sys.executable, "-c", stops], check=True, capture_output=True, text=True).stdout
    assert printed == "stopped\n"


@pytest.mark.parametrize("name", ["tune", "execution.experiment_state"])
def test_what_ray_prints_about_failures_is_silenced_during_a_sweep_alone(name):
    logger = logging.getLogger(f"ray.tune.{name}")
    before = logger.level
    lines = ["A worker died or was killed while", "node 7 is marked dead", "Raylet is terminated", "a raylet is up"]
    levels, skipped = [], []

    def fail():
        levels.append(logger.level)
        skipped.extend(line for line in lines if stdout_deduplicator.skip_re.search(line))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), ray_session.failures_told_by_us():
        fail()
    assert (levels, skipped) == ([logging.CRITICAL], lines[:3])
    assert logger.level == before


def test_variables_are_set_for_a_while_and_those_of_the_user_kept(monkeypatch):
    monkeypatch.setenv("MINE", "before")
    monkeypatch.delenv("NEW", raising=False)
    for override in (False, True):
        with ray_session.variables({"MINE": "a", "NEW": "b"}, override):
            assert (os.environ["MINE"], os.environ["NEW"]) == ("a" if override else "before", "b")
        assert os.environ["MINE"] == "before"
        assert "NEW" not in os.environ


def test_interrupts_of_another_thread_are_left_alone():
    """Python lets only the main thread set handlers."""
    failed = []

    def enter():
        try:
            with ray_session.interrupts_as_before():
                pass
        except ValueError as error:
            failed.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert not failed


def test_a_token_that_cannot_be_made_private_is_a_warning(tmp_path, monkeypatch, capsys):
    file = tmp_path / ".ray" / "auth_token"
    file.parent.mkdir()
    file.write_text("token")
    file.chmod(0o644)
    monkeypatch.setattr(Path, "chmod", Mock(side_effect=PermissionError(1, "Operation not permitted")))
    ray_session.make_token_private()
    assert capsys.readouterr().err == (
        f"warning: others can read Ray's token, {file}, and run code as you with it (Operation not permitted)\n"
    )


def test_what_nobody_uses_any_more_is_freed_before_the_shutdown(monkeypatch):
    class Held:
        pass

    before, freed = [], []
    held = Held()
    held.__dict__["itself"] = held
    weakref.finalize(held, freed.append, "freed")
    del held
    monkeypatch.setattr(ray, "shutdown", lambda: before.extend(freed))
    ray_session.stop_ray()
    assert before == ["freed"]


def test_an_interrupt_during_the_shutdown_is_logged_and_without_ray_there_is_none(monkeypatch, caplog):
    monkeypatch.setattr(ray, "shutdown", Mock(side_effect=KeyboardInterrupt))
    ray_session.stop_ray()
    assert "Ray did not shut down properly" in caplog.text
    monkeypatch.delitem(sys.modules, "ray")
    ray_session.stop_ray()
    assert len(caplog.messages) == 1
