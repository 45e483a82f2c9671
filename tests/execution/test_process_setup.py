"""The set-up of a process that trains."""

import os
import subprocess
import sys

import ray
from filelock import FileLock
from waiting import LONG_S

from mnist_tune.execution import pool, process_setup
from mnist_tune.execution.process_setup import (
    Shared,
    WorkerSettings,
    make_pool,
    remove_unfinished,
)
from mnist_tune.execution.sharpness import SharpnessSettings
from mnist_tune.own_code.registry import ENTRIES
from mnist_tune.regimes.ranking import Ranking


def test_a_pool_is_made_by_the_settings_of_its_sweep(monkeypatch):
    made = []
    masks = []
    monkeypatch.setattr(process_setup, "configure_jax", lambda settings: None)
    monkeypatch.setattr(pool, "LanePool", lambda *arguments: made.append(arguments))
    monkeypatch.setattr(os, "umask", masks.append)
    measured = {
        "train_evaluation": 500,
        "sharpness": SharpnessSettings(10),
        "hang_s": 9.0,
        "data_memory": 2,
        "report_every": 100,
        "best_by": Ranking(),
    }
    for mask in ({"umask": 0o27}, {}):
        make_pool("data", WorkerSettings(**mask, **measured), 7)
        assert made.pop() == ("data", 7, *measured.values())
    assert masks == [0o27]


def test_a_pool_of_shared_data_knows_the_users_code_before_it_loads_them(monkeypatch):
    """The types of a task's batch may be the user's own."""
    factories = {
        ("architecture", "my.py:net"): lambda: "a factory",
        ("optimizer", "my.py:rule"): lambda: "another",
    }
    objects = {"code": ({}, factories), "data": "the data"}

    def get(reference):
        registered.append("my.py:net" in ENTRIES["architecture"])
        return objects[reference]

    registered = []
    monkeypatch.setattr(ray, "get", get)
    monkeypatch.setattr(process_setup, "configure_jax", lambda settings: None)
    monkeypatch.setattr(pool, "LanePool", lambda data, *rest: data)
    assert make_pool(Shared("code", "data"), WorkerSettings()) == "the data"
    assert registered == [False, True]
    assert ENTRIES["architecture"]["my.py:net"].factory == "a factory"
    assert ENTRIES["optimizer"]["my.py:rule"].factory == "another"


def test_what_a_kill_left_in_the_compilation_cache_is_removed(tmp_path, monkeypatch):
    """JAX stores nothing more beside a program without the time of its last use."""
    for name in ("whole-cache", "whole-atime", "cut-cache", "another file"):
        (tmp_path / name).write_bytes(b"1")
    monkeypatch.setattr(process_setup, "LOCK_S", 0.01)
    with FileLock(tmp_path / ".lockfile"):  # another process is writing "cut"
        remove_unfinished(tmp_path)
    assert (tmp_path / "cut-cache").exists()
    remove_unfinished(tmp_path)
    names = {path.name for path in tmp_path.iterdir()} - {".lockfile"}
    assert names == {"whole-cache", "whole-atime", "another file"}
    remove_unfinished(tmp_path / "missing")


def test_jax_stores_programs_beside_what_a_kill_left(tmp_path):
    """In a process of its own, since a test has no compilation cache."""
    program = """
import sys
from contextlib import nullcontext
from pathlib import Path
from mnist_tune.execution.process_setup import WorkerSettings, configure_jax
configure_jax(WorkerSettings("states", cache_dir=sys.argv[1]))
import jax
[folder] = Path(sys.argv[1], "xla").iterdir()
before = {path.name for path in folder.glob("*-cache")}
assert "cut-cache" not in before, before
jax.jit(lambda x: x * float(sys.argv[2]))(1.0)
raise SystemExit(0 if {path.name for path in folder.glob("*-cache")} > before else "nothing was stored")
"""
    for number in (2, 3):
        command = [sys.executable, "-c", program, str(tmp_path), str(number)]
        subprocess.run(
            command,
            check=True,
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
            timeout=LONG_S,
        )
        [folder] = (tmp_path / "xla").iterdir()
        (folder / "cut-cache").write_bytes(b"")
