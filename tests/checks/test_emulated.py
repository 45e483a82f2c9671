"""The processor that a program sees, and what may run under emulation."""

import os
import re
import subprocess

import jax
import numpy as np
import pytest

from checks.emulated import cpuid, processor_seen


@pytest.mark.portable
@pytest.mark.skipif(
    cpuid() is None, reason="only glibc on x86-64 tells what the processor says"
)
def test_xla_compiles_for_the_processor_that_is_named():
    processor, *_ = jax.local_devices(backend="cpu")
    with jax.default_device(processor):
        compiled = jax.jit(lambda x: 2 * x).lower(np.float32(1)).compile()
    program = compiled.runtime_executable().serialize()
    features = re.search(rb"[+-]avx[\w.,+-]*", program)[0]
    compiled_for = features.decode().split(",")
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
