"""What this machine is."""

import os
import re
import subprocess
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from mnist_tune import machine
from mnist_tune.machine import Cpuid, cpuid, processor_model, usable_cpus

LINES = {2: "0::/pod/job\n", 1: "9:cpuset:/elsewhere\n4:cpu,cpuacct:/pod/job\n0::/\n"}


@pytest.fixture(params=LINES)
def limit(request, tmp_path, monkeypatch):
    """64 visible cores, and control groups of either version; called with a group and its quota, it sets that."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    monkeypatch.setattr(machine, "OWN_CGROUPS", tmp_path / "own")
    (tmp_path / "own").write_text(LINES[request.param])

    def limit(group, quota):
        folder = tmp_path / ("" if request.param == 2 else "cpu") / group
        folder.mkdir(parents=True, exist_ok=True)
        if request.param == 2:
            return (folder / "cpu.max").write_text(quota)
        quota, *period = quota.replace("max", "-1").split()
        for name, value in {"quota": quota, "period": "".join(period)}.items():
            (folder / f"cpu.cfs_{name}_us").write_text(value + "\n")

    return limit


def test_usable_cpus_follow_the_affinity(limit):
    assert usable_cpus() == 64


@pytest.mark.parametrize("group", ["pod/job", "pod", ""])
@pytest.mark.parametrize(
    ("quota", "cores"),
    [("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("max 100000", 64), ("torn", 64)],
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


@pytest.mark.parametrize("told", [None, "", "nonsense"])
def test_a_system_that_tells_no_control_group(limit, told):
    limit("", "100000 100000")
    machine.OWN_CGROUPS.unlink() if told is None else machine.OWN_CGROUPS.write_text(told)
    assert usable_cpus() == 64


def test_a_group_outside_what_the_container_sees(limit):
    limit("", "200000 100000")
    machine.OWN_CGROUPS.write_text(machine.OWN_CGROUPS.read_text().replace("/pod/job", "/../../job"))
    assert usable_cpus() == 2


TOLD = """\
processor\t: 0
cpu family\t: 25
model\t\t: 1
model name\t: Some CPU @ 2.60GHz
flags\t\t: fpu avx avx2 avx512f
"""


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (None, "Some CPU @ 2.60GHz (AVX-512)"),
        (Cpuid(25, 1, ["avx512f", "avx2", "avx"]), "Some CPU @ 2.60GHz (AVX-512)"),
        (Cpuid(25, 1, ["avx2", "avx"]), "Some CPU @ 2.60GHz (AVX2)"),
        (Cpuid(6, 42, ["avx"]), "emulated x86-64, family 6, model 42 (AVX)"),
        (Cpuid(6, 26, []), "emulated x86-64, family 6, model 26"),
    ],
)
def test_the_processor_is_believed_before_the_system(monkeypatch, asked, expected):
    monkeypatch.setattr("pathlib.Path.read_text", lambda path: TOLD)
    monkeypatch.setattr("mnist_tune.machine.cpuid", lambda: asked)
    assert processor_model() == expected


@pytest.mark.parametrize(
    ("signature", "usable_1", "usable_7", "expected"),
    [
        (0x000306C3, 1 << 28, 1 << 5, Cpuid(6, 0x3C, ["avx2", "avx"])),
        (0x00A00F11, 1 << 28, 1 << 16 | 1 << 5, Cpuid(25, 1, ["avx512f", "avx2", "avx"])),
        (0x000206A7, 1 << 28, 0, Cpuid(6, 0x2A, ["avx"])),
        (0x000106A5, ~(1 << 28), ~(1 << 16 | 1 << 5), Cpuid(6, 0x1A, [])),
    ],
    ids=["Haswell", "Zen 3, with AVX-512", "Sandy Bridge", "Nehalem"],
)
def test_what_the_processor_says_is_read_bit_by_bit(monkeypatch, signature, usable_1, usable_7, expected):
    """Eight registers a leaf: EAX to EDX as read, then as usable."""
    leaves = [[signature, 0, 0, 0, 0, 0, usable_1, 0], [0, 0, 0, 0, 0, usable_7, 0, 0]]
    library = SimpleNamespace(__x86_get_cpuid_feature_leaf=lambda leaf: SimpleNamespace(contents=leaves[leaf]))
    monkeypatch.setattr("ctypes.CDLL", lambda name: library)
    assert cpuid() == expected


@pytest.mark.portable
@pytest.mark.skipif(cpuid() is None, reason="only glibc on x86-64 tells what the processor says")
def test_xla_compiles_for_the_processor_that_is_named():
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        compiled = jax.jit(lambda x: 2 * x).lower(np.float32(1)).compile()
    listed = re.search(rb"[+-]avx[\w.,+-]*", compiled.runtime_executable().serialize())
    compiled_for = listed[0].decode().split(",")
    vectors = {"+avx512f": "AVX-512", "+avx2": "AVX2", "+avx": "AVX"}
    widest = next(label for flag, label in vectors.items() if flag in compiled_for)
    assert processor_model().endswith(f" ({widest})")


def test_a_system_that_does_not_tell_its_processor(monkeypatch):
    def missing(path):
        raise FileNotFoundError

    monkeypatch.setattr("pathlib.Path.read_text", missing)
    assert processor_model()


STARTS = {
    "fork": lambda: os.fork() or os._exit(0),
    "system": lambda: os.system("true"),
    "subprocess": lambda: subprocess.run(["true"]),
}


@pytest.mark.portable
@pytest.mark.parametrize("start", STARTS)
def test_no_portable_test_starts_a_process(start):
    with pytest.raises(RuntimeError, match="must not start a process"):
        STARTS[start]()
