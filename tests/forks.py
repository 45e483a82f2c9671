"""Workers of a Ray that tests share are forks of a process that has imported what each of them would import: Ray, Tune,
pandas and JAX, which takes 3 of the 5 CPU seconds that a worker of a small sweep takes.

Ray runs this file in place of its `setup_worker.py`, and it has the worker forked. Without that process it does what
Ray's file does.
"""

import gc
import json
import os
import runpy
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

SOCKET = "MNIST_TUNE_TESTS_FORKS"
CONTEXT = "--serialized-runtime-env-context="
READY_S = 20.0
"""How long a worker waits for that process. On its own it would import for about as long."""

IDS = 1000
"""How many of Ray's random ids are drawn between two forks. Otherwise all forks draw the same ones: of two that start
at once, Ray ends one, and waits a minute for it."""


@contextmanager
def workers():
    """Have the workers of the Ray that is started meanwhile forked."""
    import pytest
    import ray
    from ray._private import ray_constants, worker

    place = f"{tempfile.mkdtemp(prefix='forks-')}/socket"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SOCKET, place)
        patch.setattr(ray_constants, "SETUP_WORKER_FILENAME", __file__)
        yield
    raylet = str(worker._global_node.all_processes[ray_constants.PROCESS_TYPE_RAYLET][0].process.pid)
    read = {"RAY_AUTH_MODE": "token", "RAY_JOB_ID": ray.get_runtime_context().get_job_id()}  # by Ray, on its import
    read |= {"RAY_RAYLET_PID": raylet, "OPENBLAS_NUM_THREADS": "1"}  # a process with threads is not to be forked
    os.posix_spawn(sys.executable, [sys.executable, __file__, "fork", place, raylet], os.environ | read)


def ask(worker, *arguments):
    """Ask for a fork that runs the worker, and wait for its end."""
    with socket.socket(socket.AF_UNIX) as server:
        late = time.monotonic() + READY_S
        while server.connect_ex(os.environ[SOCKET]):
            if time.monotonic() > late:
                real = str(Path(worker).with_name("setup_worker.py"))
                os.execv(sys.executable, [sys.executable, real, worker, *arguments])
            time.sleep(0.05)
        asked = [worker, *arguments], dict(os.environ), os.getcwd(), os.nice(0), os.umask(0)
        socket.send_fds(server, [b"\n"], [0, 1, 2])
        server.sendall(json.dumps(asked).encode() + b"\n")
        server.recv(1)  # until the fork has closed it


def fork(path, raylet):
    """Fork whenever asked, until the raylet ends. Return None then; in a fork, return the worker's arguments."""

    from ray._raylet import ObjectRef

    import mnist_tune.data.dataset
    import mnist_tune.execution.pool
    import mnist_tune.tuning.trainable  # noqa: F401

    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(100)
        end = os.pidfd_open(raylet)
        while end not in select.select([server.fileno(), end], [], [])[0]:
            asked, _ = server.accept()
            _, files, *_ = socket.recv_fds(asked, 1, 3)
            arguments, environment, folder, nice, umask = json.loads(asked.makefile().readline())
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.setsid()
                for number, file in enumerate(files):
                    os.dup2(file, number)
                os.environ.clear()
                os.environ.update(environment)
                os.chdir(folder)
                os.nice(nice - os.nice(0))
                os.umask(umask)
                asked.detach()  # open until the end
                return arguments
            asked.close()
            for file in files:
                os.close(file)
            for _ in range(IDS):
                ObjectRef.from_random()
    shutil.rmtree(Path(path).parent)


def run(worker, *arguments):
    """Run Ray's worker in this process, as `setup_worker.py` does in another one."""
    [context] = [one.removeprefix(CONTEXT) for one in arguments if one.startswith(CONTEXT)] or ["{}"]
    os.environ.update(json.loads(context).get("env_vars") or {})
    sys.argv = [worker, *(one for one in arguments if not one.startswith((CONTEXT, "--language=")))]
    sys.path.insert(0, str(Path(worker).parent))
    runpy.run_path(worker, run_name="__main__")


if __name__ == "__main__":
    if sys.argv[1] != "fork":
        ask(*sys.argv[1:])
    elif asked := fork(sys.argv[2], int(sys.argv[3])):
        run(*asked)
