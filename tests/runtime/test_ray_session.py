"""Starting Ray or joining a cluster: errors are one line, come at once, and say what to do."""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import ray
from ray._private import parameter
from ray._private.authentication.authentication_token_setup import generate_and_save_token
from ray._private.node import Node
from ray.exceptions import AuthenticationError, RpcError

from mnist_tune import UserError
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


@pytest.mark.parametrize("raised", SAID, ids=lambda raised: type(raised).__name__)
def test_an_error_of_ray_becomes_one_line(raised, monkeypatch):
    monkeypatch.setattr(ray, "init", Mock(side_effect=raised))
    monkeypatch.setattr(ray_session, "_check_reachable", lambda address: None)
    with pytest.raises(UserError) as error:
        start_ray("head:6379", None, False)
    assert str(error.value).startswith(SAID[raised])
    assert "\n" not in str(error.value)


def test_a_token_that_is_refused_by_a_cluster_that_ray_found_may_be_that_of_another_one(monkeypatch):
    monkeypatch.setattr(ray_session, "_check_reachable", Mock(side_effect=AuthenticationError("Invalid")))
    with pytest.raises(UserError, match=r"; if several clusters run here, name yours: --address HOST:PORT$"):
        start_ray("auto", None, False)


def test_the_dashboard_listens_on_the_loopback_address(monkeypatch):
    asked = {}
    monkeypatch.setattr(ray, "init", asked.update)
    start_ray(None, None, True)
    assert asked["include_dashboard"]
    assert asked["dashboard_host"] == "127.0.0.1"


@pytest.mark.parametrize("cores", [1, 2, 64])
def test_ray_gets_the_cores_that_this_process_may_use(monkeypatch, cores):
    started = []
    monkeypatch.setattr(ray_session, "usable_cpus", lambda: cores)
    monkeypatch.setattr(ray, "init", lambda **options: started.append(options["num_cpus"]))
    start_ray(None, None, False)
    assert started == [cores]


@pytest.mark.timeout(30)  # Ray itself would retry for a quarter of an hour
def test_a_ray_that_does_not_start_is_one_line(monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", Mock(side_effect=Exception("The current node timed out during startup.")))
    with pytest.raises(UserError, match=r"Ray did not start .*timed out during startup.*check whether it is very busy"):
        start_ray(None, None, dashboard=False)


def test_an_address_where_nobody_listens_fails_at_once():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(UserError, match=f"^no Ray cluster at {address} .*refused"):
            start_ray(address, None, False)


@pytest.mark.parametrize("address", ["localhost:none", "localhost:99999999"])
def test_an_address_without_a_port_is_one_line(address):
    with pytest.raises(UserError, match=f"^no Ray cluster at {address} .*; start one with: ray start --head$"):
        start_ray(address, None, False)


def test_a_host_that_does_not_answer_is_waited_for_a_few_seconds(monkeypatch):
    waited = []

    def connect(address, timeout=None):
        waited.append(timeout)
        raise TimeoutError("timed out")

    monkeypatch.setattr(ray_session.socket, "create_connection", connect)
    with pytest.raises(UserError, match=r"no Ray cluster at 10\.0\.0\.1:6379 \(timed out\)"):
        start_ray("10.0.0.1:6379", None, False)
    assert waited == [ray_session.REACH_S]


def test_the_interrupt_handler_is_restored(monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    with ray_session.interrupts_as_before():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGINT) is before


def mode(file):
    return f"{file.stat().st_mode & 0o777:o}"


def test_the_token_that_ray_makes_is_private(tmp_path, monkeypatch):
    monkeypatch.setattr(ray, "init", lambda **options: generate_and_save_token())
    before = ray_session.umask()
    start_ray(None, None, False)
    assert mode(tmp_path / ".ray" / "auth_token") == "600"
    assert mode(tmp_path / ".ray") == "700"
    assert ray_session.umask() == before


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


@pytest.mark.parametrize("address", [None, "head:6379"])
def test_ray_is_started_quietly_and_the_environment_is_as_before(started, address):
    before = dict(os.environ)
    start_ray(address, None, False)
    [(options, environment)] = started
    assert options["address"] == (address or "local")
    assert (options["logging_level"], options["log_to_driver"]) == ("error", False)
    assert environment.items() >= ray_session.QUIET.items()
    assert dict(os.environ) == before


@pytest.mark.parametrize("path", ["", "mine"])
def test_rays_processes_find_this_package(started, monkeypatch, path):
    if path:
        monkeypatch.setenv("PYTHONPATH", path)
    start_ray(None, None, False)
    [(_, environment)] = started
    first, *rest = environment["PYTHONPATH"].split(os.pathsep)
    assert (Path(first) / "mnist_tune" / "runtime" / "ray_session.py").exists()
    assert rest == list(filter(None, [path]))


@pytest.mark.parametrize(("most", "resources"), [(3, {"trial_slot": 3}), (None, None)])
def test_trials_are_limited_by_a_resource(started, most, resources):
    start_ray(None, most, False, cpus=5)
    [(options, _)] = started
    assert options["resources"] == resources
    assert options["num_cpus"] == 5
    assert options["include_dashboard"] is False


@pytest.mark.parametrize("dashboard", [False, True])
def test_ray_starts_no_process_that_nobody_needs_and_its_agent_takes_any_free_port(monkeypatch, dashboard):
    """It would wait for its usual port for seconds where another Ray has it."""
    started, usual = [], parameter.RayParams().dashboard_agent_listen_port
    servers, node = [], object()
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray._private.node.Node.start_api_server", servers.append)

    def init(**_):
        started.append(parameter.RayParams(num_cpus=1))
        Node.start_api_server(node)

    monkeypatch.setattr("ray.init", init)
    start_ray(None, None, dashboard)
    [found] = started
    assert servers == [node] * dashboard
    assert found.dashboard_agent_listen_port == 0
    assert (found.no_monitor, found.include_log_monitor) == ((False, None) if dashboard else (True, False))
    assert parameter.RayParams().dashboard_agent_listen_port == usual != 0


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


def test_a_ray_that_runs_is_kept(started, monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    start_ray(None, None, False)
    assert started == []


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
    levels = []

    def fail():
        levels.append(logger.level)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), ray_session.failures_told_by_us():
        fail()
    assert levels == [logging.CRITICAL]
    assert logger.level == before


def test_a_session_is_refused_before_it_starts(started, monkeypatch):
    with pytest.raises(UserError, match="--address ray://head:10001 is one of Ray Client's"):
        start_ray("ray://head:10001", None, False)
    monkeypatch.setattr(ray_session.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="Ray's dashboard is not installed"):
        start_ray(None, None, True)
    assert started == []


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


def test_a_cache_that_cannot_be_written_is_refused_before_ray_starts(started, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MNIST_TUNE_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="file"):
        start_ray(None, None, False)
    assert started == []


@pytest.mark.parametrize(
    ("address", "host"), [("[::1]:6379", "::1"), ("10.0.0.7:6379", "10.0.0.7"), ("auto", "10.0.0.9")]
)
def test_a_cluster_is_greeted_once_its_port_is_reached(monkeypatch, address, host):
    reached = []

    def connect(to, timeout):
        reached.append(to)
        return SimpleNamespace(close=lambda: reached.append("closed"))

    monkeypatch.setattr(ray_private, "gcs_address", lambda asked: "10.0.0.9:6379" if asked == "auto" else asked)
    monkeypatch.setattr(ray_private, "greet", lambda gcs, auto: reached.append((gcs, auto)))
    monkeypatch.setattr(ray_session.socket, "create_connection", connect)
    ray_session._check_reachable(address)
    gcs = "10.0.0.9:6379" if address == "auto" else address
    assert reached == [(host, 6379), "closed", (gcs, address == "auto")]


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
