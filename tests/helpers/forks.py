"""Workers of a Ray that tests start are forks of a process that has imported what each
of them would import: Ray, Tune, pandas and JAX, which takes 3 of the 5 CPU seconds that
a worker of a small sweep takes. They compile as tests do.

Ray runs this file in place of its `setup_worker.py`, and it has the worker forked. The
first worker of a node starts the process that forks.
"""

import gc
import json
import os
import runpy
import select
import signal
import socket
import sys
import time
from pathlib import Path
from unittest.mock import patch

CONTEXT = "--serialized-runtime-env-context="
READY_S = 60.0
"""How long a worker waits until that process listens."""

IDS = 1000
"""How many of Ray's random ids are drawn between two forks. Otherwise all forks draw
the same ones: of two that start at once, Ray ends one, and waits a minute for it."""


def workers():
    """Have the workers of each Ray that is started meanwhile forked. Its agent is that
    of ray[tune], which users have: that of ray[default] looks at all processes every
    few seconds."""
    from ray._private import ray_constants, utils

    utils.get_dashboard_dependency_error = lambda: "tests need no dashboard"
    return patch.object(ray_constants, "SETUP_WORKER_FILENAME", __file__)


def ask(worker, *arguments):
    """Ask for a fork that runs the worker, and wait for its end."""
    # Ray reads it on its import, and the job's id
    raylet = os.environ["RAY_RAYLET_PID"]
    address = f"\0forks of {raylet} for {os.environ['RAY_JOB_ID']}"
    late = time.monotonic() + READY_S
    with socket.socket(socket.AF_UNIX) as server:
        if server.connect_ex(address):
            # a process with threads is not to be forked
            alone = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
            # one whose address is taken ends
            forker = [sys.executable, __file__, "fork", address[1:], raylet]
            os.posix_spawn(sys.executable, forker, alone, setsid=True)
            while server.connect_ex(address):
                assert time.monotonic() < late
                time.sleep(0.05)
        arguments = [worker, *arguments]
        limits = os.nice(0), os.umask(0)
        order = arguments, dict(os.environ), os.getcwd(), *limits
        socket.send_fds(server, [b"\n"], [0, 1, 2])
        server.sendall(json.dumps(order).encode() + b"\n")
        server.recv(1)  # until the fork has closed it


def fork(address, raylet):
    """Fork whenever asked, until the raylet ends. Return None then; in a fork, return
    the worker's arguments."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0" + address)
        server.listen(100)

        from compiled import compile_quickly
        from ray._raylet import ObjectRef

        import mnist_tune.data.dataset
        import mnist_tune.execution.pool
        import mnist_tune.tuning.trainable  # noqa: F401

        compile_quickly(lambda: True)
        gc.freeze()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
        end = os.pidfd_open(raylet)
        while end not in select.select([server.fileno(), end], [], [])[0]:
            client, _ = server.accept()
            _, files, *_ = socket.recv_fds(client, 1, 3)
            order = json.loads(client.makefile().readline())
            arguments, environment, folder, nice, umask = order
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
                client.detach()  # open until the end
                return arguments
            client.close()
            for file in files:
                os.close(file)
            for _ in range(IDS):
                ObjectRef.from_random()


def run(worker, *arguments):
    """Run Ray's worker in this process, as `setup_worker.py` does in another one."""
    sys.argv = [worker]
    context = "{}"
    for argument in arguments:
        if argument.startswith(CONTEXT):
            context = argument.removeprefix(CONTEXT)
        elif not argument.startswith("--language="):
            sys.argv.append(argument)
    os.environ.update(json.loads(context).get("env_vars") or {})
    sys.path.insert(0, str(Path(worker).parent))
    runpy.run_path(worker, run_name="__main__")


if __name__ == "__main__":
    if sys.argv[1] != "fork":
        ask(*sys.argv[1:])
    elif arguments := fork(sys.argv[2], int(sys.argv[3])):
        run(*arguments)
