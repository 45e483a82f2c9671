"""The cores and the processor of this machine."""

import os

import pytest

from mnist_tune import machine
from mnist_tune.machine import processor_model, usable_cpus, usable_memory

LINES = {2: "0::/pod/job\n", 1: "9:cpuset:/elsewhere\n4:cpu,cpuacct:/pod/job\n0::/\n"}


@pytest.fixture(params=LINES)
def limit(request, tmp_path, monkeypatch):
    """A function that sets a control group's quota, on a machine of 64 cores with
    control groups of either version."""
    cores_of_process = {0: set(range(64))}
    monkeypatch.setattr(os, "sched_getaffinity", cores_of_process.__getitem__)
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    monkeypatch.setattr(machine, "OWN_CGROUPS", tmp_path / "own")
    (tmp_path / "own").write_text(LINES[request.param])

    def limit_by_version_1(group, quota):
        folder = tmp_path / "cpu" / group
        folder.mkdir(parents=True, exist_ok=True)
        quota, _, period = quota.replace("max", "-1").partition(" ")
        (folder / "cpu.cfs_quota_us").write_text(quota + "\n")
        (folder / "cpu.cfs_period_us").write_text(period + "\n")

    def limit_by_version_2(group, quota):
        folder = tmp_path / group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cpu.max").write_text(quota)

    return limit_by_version_1 if request.param == 1 else limit_by_version_2


def test_usable_cpus_follow_the_affinity(limit):
    assert usable_cpus() == 64


@pytest.mark.parametrize("group", ["pod/job", "pod", ""])
@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("50000 100000", 1),
        ("max 100000", 64),
        ("torn", 64),
    ],
)
def test_a_containers_quota_counts(limit, group, quota, cores):
    limit(group, quota)
    assert usable_cpus() == cores


def test_the_smallest_quota_of_those_above_counts(limit):
    limit("pod/job", "max 100000")
    limit("pod", "300000 100000")
    limit("", "400000 100000")
    assert usable_cpus() == 3


def test_another_groups_quota_does_not_count(limit):
    limit("pod/other", "100000 100000")
    limit("elsewhere", "100000 100000")
    assert usable_cpus() == 64


def test_a_control_group_outside_the_containers_view(limit):
    limit("", "200000 100000")
    groups = machine.OWN_CGROUPS.read_text()
    machine.OWN_CGROUPS.write_text(groups.replace("/pod/job", "/../../job"))
    assert usable_cpus() == 2


@pytest.mark.parametrize("version", LINES)
def test_a_containers_memory_is_the_smallest_of_its_groups(
    version, tmp_path, monkeypatch
):
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    monkeypatch.setattr(machine, "OWN_CGROUPS", tmp_path / "own")
    pages = {"SC_PAGE_SIZE": 2**12, "SC_PHYS_PAGES": 2**22}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    (tmp_path / "own").write_text(LINES[version].replace("cpu,cpuacct", "cpu,memory"))
    if version == 2:
        pod = tmp_path / "pod"
        name, no_limit = "memory.max", "max\n"
    else:
        pod = tmp_path / "memory" / "pod"
        name, no_limit = "memory.limit_in_bytes", "9223372036854771712\n"
    (pod / "job").mkdir(parents=True)
    assert usable_memory() == 2**34
    for limit, bytes_ in ((no_limit, 2**34), (f"{2**30}\n", 2**30)):
        (pod / name).write_text(limit)
        (pod / "job" / name).write_text(no_limit)
        assert usable_memory() == bytes_


TOLD = """\
processor\t: 0
cpu family\t: 25
model\t\t: 1
model name\t: Some CPU @ 2.60GHz
flags\t\t: fpu avx avx2 avx512f
"""


def test_the_processor_and_its_widest_vectors(monkeypatch):
    monkeypatch.setattr("pathlib.Path.read_text", lambda path: TOLD)
    assert processor_model() == "Some CPU @ 2.60GHz (AVX-512)"
