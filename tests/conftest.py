"""Strict numerics for all tests, and fixtures: data sets, made-up sweeps and object
storage."""

import functools
import gc
import io
import json
import os
import socket
import sys
import threading
from dataclasses import replace
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Otherwise each of the hundreds of processes that tests start would compile the
# package's source again.
os.environ["PYTHONDONTWRITEBYTECODE"] = ""
# printed: mnist-tune
os.environ["PATH"] = os.pathsep.join(
    [os.path.dirname(sys.executable), os.environ["PATH"]]
)
# Ray's own 15 gives a trial's process 2% of a core that other tests want: sweeps did
# not begin within minutes.
os.environ.setdefault("RAY_worker_niceness", "0")

import forks
import hypothesis
import jax
import pytest
from compiled import compile_quickly, kept
from pyarrow.fs import FileSystem
from recorded_data import recorded_data

from checks.emulated import processor_seen
from mnist_tune import TrialConfig, invocation
from mnist_tune.cache import writable_cache_folder
from mnist_tune.data import dataset
from mnist_tune.data.dataset import load_dataset
from mnist_tune.epoch_row import EpochRow, without_texts
from mnist_tune.execution import executor
from mnist_tune.execution.process_setup import WorkerSettings, configure_jax
from mnist_tune.judged import judge
from mnist_tune.machine import usable_cpus
from mnist_tune.own_code import modules, registry
from mnist_tune.results.folder import working_folder
from mnist_tune.results.writer import SweepWriter

sys.dont_write_bytecode = False
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# What one run compiled, no other compiles again, in whichever process: most of the
# suite's seconds would be XLA's.
configure_jax(
    WorkerSettings(
        "",
        cache_dir=str(
            writable_cache_folder() / "tests" / processor_seen().replace("/", " ")
        ),
    )
)
# JAX reads all entries when it adds one
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)

# No deadline for single examples: the machine is shared. Each run draws others, so few
# do.
hypothesis.settings.register_profile("shared machine", deadline=None, max_examples=40)
hypothesis.settings.load_profile("shared machine")


STARTS_A_PROCESS = {
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.system",
    "subprocess.Popen",
}
_running: list[pytest.Item] = []


def pytest_xdist_auto_num_workers(config):
    """Use a process for each core, or each file that is named, and one more since some
    wait, or two for the tests that start Ray, which wait a lot. Use none for one file
    or single tests. (With --pdb, xdist itself uses none.)"""
    if any("::" in argument for argument in config.args):
        return 0
    most = min(usable_cpus(), 4) + 2 - ("not ray" in config.option.markexpr)
    files = most
    if all(argument.endswith(".py") for argument in config.args):
        files = len(config.args)
    return min(files, most) if files > 1 else 0


def pytest_xdist_make_scheduler(config, log):
    """Run the tests of a file in one process, where they share fixtures and what JAX
    compiles, and the queues of Ray in one each."""
    from xdist.scheduler import LoadGroupScheduling

    class ByFile(LoadGroupScheduling):
        def _split_scope(self, nodeid):
            return super()._split_scope(nodeid).partition("::")[0]

    # it would begin with the files of most tests
    config.option.loadscopereorder = False
    return ByFile(config, log)


def is_quick():
    """Whether no test runs that is about numbers. Ray's processes compile quickly,
    too."""
    for item in _running:
        if item.get_closest_marker("numerical") or item.get_closest_marker("portable"):
            return False
    return True


compile_quickly(is_quick)


# mnist-5k is a text: reading it takes longer than most tests
dataset._subset = functools.cache(dataset._subset)

# JAX keeps what it traced and compiled of a function: each pool of this process would
# make functions of its own.
executor.partial = lambda function, *arguments: kept(is_quick(), function, *arguments)


def pytest_report_header():
    return f"processor: {processor_seen()}"


SKIPS = (
    "there is no Chromium",
    "only root can be another user",
    "only glibc on x86-64 tells what the processor says",
    "MNIST is not in the cache folder",
    "could not import 'torch'",
    "Ray has tokens from 2.51 on",
)
"""Why tests may be skipped. Any other skip fails the run: nobody would see that a
promise is no longer tested."""
_skipped: list[str] = []


def pytest_runtest_logreport(report):
    if (
        report.skipped
        and not hasattr(report, "wasxfail")
        and not any(reason in str(report.longrepr) for reason in SKIPS)
    ):
        _skipped.append(f"{report.nodeid}: {report.longrepr}")


def pytest_sessionfinish(session):
    if _skipped:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    for test in _skipped:
        terminalreporter.write_line(
            f"SKIPPED, and not on the list in tests/conftest.py: {test}", red=True
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    _running.append(item)
    try:
        return (yield)
    finally:
        _running.remove(item)


def pytest_collection_finish(session):
    # half a million objects of modules and tests, which no collection needs to look at
    # again
    gc.freeze()
    # JAX's tracing makes many objects: collections took a tenth of all time
    gc.set_threshold(50_000, 20, 100)
    if any(item.get_closest_marker("portable") for item in session.items):
        sys.addaudithook(refuse_new_processes)


def refuse_new_processes(event, arguments):
    """Refuse processes started by a portable test: they would run on the real
    processor, unnoticed."""
    if event in STARTS_A_PROCESS and any(
        item.get_closest_marker("portable") for item in _running
    ):
        raise RuntimeError(
            f"a portable test must not start a process: {event} {arguments}"
        )


@pytest.fixture(autouse=True)
def forgotten():
    """A test's own networks and optimisers are unregistered after it: trials of later
    tests would carry them along."""
    tables: list[dict[str, Any]] = [*registry.ENTRIES.values(), modules.TEXTS]
    copies = [dict(table) for table in tables]
    yield
    for table, entries in zip(tables, copies, strict=True):
        table.clear()
        table.update(entries)
    if modules._FINDER in sys.meta_path:
        sys.meta_path.remove(modules._FINDER)


@pytest.fixture(autouse=True)
def not_terminated(monkeypatch):
    """A SIGTERM that a test sends is not one that ended another test's command."""
    monkeypatch.setattr(invocation, "TERMINATED", threading.Event())


@pytest.fixture(autouse=True)
def pages(request, monkeypatch):
    """Sweeps of this process write no page, which takes seconds each, unless the test
    is marked `ray(pages=True)`."""
    if (ray := request.node.get_closest_marker("ray")) and not ray.kwargs.get("pages"):
        from mnist_tune.tuning.progress import LivePage

        monkeypatch.setattr(LivePage, "__enter__", lambda page: page)
        monkeypatch.setattr(LivePage, "last", lambda page, sweep: None)


@pytest.fixture(autouse=True)
def tried_here(request, monkeypatch):
    """Sweeps of this process try one's own code in it, where it is compiled once: each
    of Ray's would take two seconds; unless the test is marked `ray(apart=True)`."""
    if (ray := request.node.get_closest_marker("ray")) and not ray.kwargs.get("apart"):
        from ray import put

        from mnist_tune.tuning import tasks

        def apart(function, *arguments, returns=1):
            with (
                jax.numpy_dtype_promotion("standard"),
                jax.numpy_rank_promotion("allow"),
            ):
                result = function(*arguments)
            if returns == 1:
                return put(result)
            return [put(part) for part in result]

        monkeypatch.setattr(tasks, "apart", apart)


@pytest.fixture
def as_users_have_it():
    """JAX as it is by default: the strict promotion of these tests is not what users
    set."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="session")
def stats():
    """SciPy's statistics. Their import takes over a second, which the processes that
    run other files save."""
    from scipy import stats

    return stats


@pytest.fixture(scope="session")
def mnist():
    """The real MNIST, from the cache or downloaded."""
    return load_dataset("mnist")


@pytest.fixture(scope="session")
def mnist_5k():
    """4,000 training and 1,000 test images, for tests that don't need all of MNIST."""
    return load_dataset("mnist-5k")


@pytest.fixture(scope="session")
def few_images(mnist_5k):
    """1,024 training and 256 test images. They make whole batches of 128: a partial one
    is compiled a second time."""
    parts = {
        "train_images": 1024,
        "train_labels": 1024,
        "test_images": 256,
        "test_labels": 256,
    }
    return replace(
        mnist_5k,
        **{name: getattr(mnist_5k, name)[:count] for name, count in parts.items()},
    )


@pytest.fixture
def one_core():
    """A Ray of one core, which tests share: a sweep starts one process, or one lane
    server."""
    share_ray(1)


@pytest.fixture
def every_core():
    """A Ray of all cores, which tests share."""
    share_ray(usable_cpus())


def share_ray(cpus):
    """Start Ray with so many cores, unless it runs with them. It goes on running for
    the tests that follow."""
    import ray  # a test that does without saves a second

    from mnist_tune.runtime.ray_session import start_ray

    if (
        not ray.is_initialized()
        or ray.cluster_resources().get("CPU") != cpus
        or "GPU" in ray.cluster_resources()
    ):
        ray.shutdown()
        with forks.workers():
            start_ray(None, None, False, cpus)


def made_up_row(epoch, train_loss=0.5, train_accuracy=0.9, **values):
    """Return an epoch's row of a calm trial, as its process reports it, with ten steps
    per epoch."""
    row = {
        "epoch": epoch,
        "step": 10 * epoch,
        "learning_rate": 0.1,
        "finite": True,
        "diverged": False,
    }
    row |= {"train_loss": train_loss, "train_accuracy": train_accuracy}
    row |= {"test_loss": train_loss + 0.01, "test_accuracy": train_accuracy - 0.01}
    row |= {
        "step_loss_first": 0.6,
        "step_loss_max": max(0.7, 1.2 * train_loss),
        "step_loss_last": 0.4,
    }
    row |= {
        "above_since": None,
        "untrained_loss": 2.4,
        "lanes": 1,
        "node": "here",
        "device": "cpu",
        "ended_at": 1e9,
    }
    return (
        row
        | {
            "compile_s": 0.1,
            "train_s": 0.5,
            "eval_s": 0.2,
            "batch_s": 0.8,
            "wait_s": 0.05,
        }
        | values
    )


@pytest.fixture(scope="session")
def epoch_row():
    return made_up_row


@pytest.fixture(scope="session")
def new_writer():
    """A function that creates a sweep's folder with `count` trials and returns its
    writer."""

    def start(path, count=2, resume=False, **config):
        trials = {
            f"{i:05d}": TrialConfig(learning_rate=0.1 * (i + 1), epochs=4, **config)
            for i in range(count)
        }
        meta = {
            "name": "lr_regimes",
            "trials": {trial_id: trial.to_dict() for trial_id, trial in trials.items()},
            "options": {"dataset": "mnist-5k"},
            "dataset": recorded_data("mnist-5k"),
            "ended": None,
        }
        recorded = working_folder(path) / "sweep.json"
        if resume and recorded.exists():
            record = json.loads(recorded.read_text())
            if "writer" in record:
                meta["writer"] = record["writer"]
        return MadeUpWriter(path, meta, judge, resume)

    return start


class MadeUpWriter(SweepWriter):
    """Takes rows as `epoch_row` makes them: by column, as a process reports them, or as
    older versions stored them."""

    def epoch(self, trial_id, row, repeated):
        if not isinstance(row, EpochRow):
            row = EpochRow.of(without_texts(row))
        return super().epoch(trial_id, row, repeated)


class MotoS3:
    """An S3 server in this process's memory. It answers only after `start`.

    It answers one request after the other: moto looks at the condition of a write
    first, and writes later.
    """

    def __init__(self):
        # takes seconds, and few tests ask for it
        from moto.server import ThreadedMotoServer

        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._port = listener.getsockname()[1]
        self._server = ThreadedMotoServer(port=self._port, verbose=False)

    def start(self):
        self._server.start()
        server = self._server._server
        lock = threading.Lock()
        app = server.app

        def one_at_a_time(environ, start_response):
            length = environ.get("CONTENT_LENGTH") or 0
            if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", ""):
                length = -1
            content = environ["wsgi.input"].read(int(length))  # it may never come
            received = environ | {"wsgi.input": io.BytesIO(content)}
            with lock:
                return app(received, start_response)

        server.app = one_at_a_time

    def uri(self, bucket, path):
        query = f"endpoint_override=127.0.0.1:{self._port}&scheme=http&region=us-east-1"
        return f"s3://{bucket}/{path}?{query}"


@pytest.fixture(scope="session")
def s3():
    """A running S3 server. It is never stopped: that would wait for the connections
    that pyarrow keeps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")  # Tune passes both on to trials
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        server = MotoS3()
        server.start()
        FileSystem.from_uri(
            server.uri("mnist-tune", "") + "&allow_bucket_creation=true"
        )[0].create_dir("mnist-tune")
        yield server


@pytest.fixture
def silent_s3(s3):
    """A second server for the same buckets, which does not answer until it is
    started."""
    return MotoS3()


@pytest.fixture
def bucket(s3, tmp_path):
    """The URI of a folder for this test alone."""
    return s3.uri("mnist-tune", tmp_path.name)


SECOND_QUEUE = (
    "test_nodes.py",
    "test_jobs.py",
    "test_placement.py",
    "test_searches.py",
    "test_sweep.py",
)
"""The files whose tests that start Ray are in the second of two queues, with those that
want every core. Both queues take about the same time."""


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items):
    """Run the tests that start Ray in two queues, each with a Ray of its own, and begin
    with them: they take longest. Those of all cores come together. The longest of the
    other files, `tests/whole`, are not to be the last."""
    items.sort(key=lambda item: item.path, reverse=True)
    items.sort(
        key=lambda item: (
            item.get_closest_marker("ray") is None,
            "every_core" in item.fixturenames,
        )
    )
    for item in items:
        if item.get_closest_marker("ray"):
            second = item.path.name in SECOND_QUEUE or "every_core" in item.fixturenames
            item.add_marker(pytest.mark.xdist_group(f"ray {1 + second}"))
