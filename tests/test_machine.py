"""What this machine is."""

import os
import re
from pathlib import Path

import pytest

from mnist_tune import machine
from mnist_tune.machine import processor_model, usable_cpus


@pytest.fixture
def container(tmp_path, monkeypatch):
    """64 visible cores, and control groups below a folder of the test."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    own = re.search(r"^0::/(.*)$", Path("/proc/self/cgroup").read_text(), re.MULTILINE)[1]
    (tmp_path / own).mkdir(parents=True, exist_ok=True)
    return tmp_path, tmp_path / own


def test_usable_cpus_follow_the_affinity(container):
    assert usable_cpus() == 64


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("max 100000", 64), ("torn", 64)],
)
def test_a_containers_quota_counts(container, quota, cores):
    for folder in container:
        (folder / "cpu.max").write_text(quota)
    assert usable_cpus() == cores


def test_the_smallest_quota_of_those_above_counts(container):
    top, own = container
    (own / "cpu.max").write_text("max 100000")
    (top / "cpu.max").write_text("300000 100000")
    assert usable_cpus() == 3


def test_the_processor_names_its_vectors(monkeypatch, tmp_path):
    told = "processor\t: 0\nmodel name\t: Some CPU @ 2.60GHz\nflags\t\t: fpu avx avx2 avx512f\n"
    monkeypatch.setattr("pathlib.Path.read_text", lambda path: told)
    assert processor_model() == "Some CPU @ 2.60GHz (AVX-512)"
    monkeypatch.setattr("pathlib.Path.read_text", lambda path: told.replace(" avx512f", ""))
    assert processor_model() == "Some CPU @ 2.60GHz (AVX2)"


def test_a_system_that_does_not_tell_its_processor(monkeypatch):
    def missing(path):
        raise FileNotFoundError

    monkeypatch.setattr("pathlib.Path.read_text", missing)
    assert processor_model()
