"""SeaweedFS, a real S3 server on this machine. It keeps its data on disk, so it can be
killed and restarted."""

import os
import secrets
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from pyarrow.fs import FileType, S3FileSystem
from waiting import wait_until

KEYS = {"AWS_ACCESS_KEY_ID": "seaweed", "AWS_SECRET_ACCESS_KEY": "not-a-secret"}
WEED = Path(sys.executable).with_name("weed")
PORTS = ("master.port", "volume.port", "filer.port", "s3.port", "admin.port")
STARTS = 4


class Seaweed:
    """A server that keeps its data in a folder."""

    def __init__(self, folder):
        self._folder = folder
        self._ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))

    def uri(self, folder):
        query = f"endpoint_override=127.0.0.1:{self._ports['s3.port']}&scheme=http&region=us-east-1"
        return f"s3://sweeps/{folder}?{query}"

    def start(self):
        """Start, and return whether it runs: another process may have taken a port
        since they were chosen."""
        flags = [f"-{name}={port}" for name, port in self._ports.items()]
        flags += [
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-bucket=sweeps",
            "-webdav=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
        ]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [WEED, "mini", f"-dir={self._folder}", *flags],
                env=os.environ | KEYS,
                stdout=log,
                stderr=log,
            )
        wait_until(self._is_decided, self.log, every=0.2)
        return not self._has_ended()

    def log(self):
        return (self._folder / "log").read_text()[-2000:]

    def _is_decided(self):
        return self._has_ended() or self._has_its_bucket()

    def _has_ended(self):
        return self._process.poll() is not None

    def _has_its_bucket(self):
        if not answers(self._ports["s3.port"]):
            return False
        with suppress(OSError):  # it is still starting
            s3 = S3FileSystem(
                access_key=KEYS["AWS_ACCESS_KEY_ID"],
                secret_key=KEYS["AWS_SECRET_ACCESS_KEY"],
                endpoint_override=f"127.0.0.1:{self._ports['s3.port']}",
                scheme="http",
            )
            return s3.get_file_info("sweeps").type == FileType.Directory
        return False

    def kill(self):
        self._process.kill()
        self._process.wait()


@contextmanager
def seaweed(folder):
    folder.mkdir()
    for _ in range(STARTS):
        server = Seaweed(folder)
        if server.start():
            break
    else:
        pytest.fail(server.log())
    try:
        yield server
    finally:
        server.kill()


def answers(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def free_ports(count):
    """Return free ports below the system's ephemeral ones, other ones to each process
    that asks at the same moment. SeaweedFS also uses the port 10,000 above each."""
    ports = []
    for port in range(10_000 + secrets.randbelow(10_000), 22_000):
        if len(ports) == count:
            return ports
        if is_free(port) and is_free(port + 10_000):
            ports.append(port)
    raise RuntimeError("no free ports")


def is_free(port):
    with socket.socket() as server, suppress(OSError):
        server.bind(("127.0.0.1", port))
        return True
    return False
