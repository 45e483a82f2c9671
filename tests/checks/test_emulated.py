"""The processor that a program sees, and what may run under emulation."""

import os
import re
import subprocess
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from checks.emulated import Cpuid, cpuid, processor_seen

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
    monkeypatch.setattr("checks.emulated.cpuid", lambda: asked)
    assert processor_seen() == expected


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
    assert processor_seen().endswith(f" ({widest})")


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
