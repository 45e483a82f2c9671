"""How JAX compiles in the processes of tests, and what the tests of one process share
of it."""

import json
import os
import threading
from functools import lru_cache, partial

import jax

# JAX sets options for one function, or for all of a process, not for a test
from jax._src import compiler
from jax._src.interpreters import mlir

QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}
"""With these, XLA compiles three times as fast, to slower code. Tests of numbers do
without."""

KNOWN = "MNIST_TUNE_TESTS_QUICK"
"""The environment variable with those options that this version of XLA has: JAX 0.12
lacks one that 0.10 has."""


def is_known(name, value):
    """Whether this version of XLA has a compile option."""
    try:
        jax.jit(lambda: 0).lower().compile(compiler_options={name: value})
    except jax.errors.JaxRuntimeError:
        return False
    return True


def compile_quickly(is_quick):
    """Have JAX compile with the known options of `QUICK` in this process, whenever
    `is_quick()`. All functions of a thread are lowered in one context: to make one
    takes twice as long as to lower a small function in it."""
    thread = threading.local()
    make_ir_context = mlir.make_ir_context

    def context_of_thread():
        if not hasattr(thread, "context"):
            thread.context = make_ir_context()
        return thread.context

    mlir.make_ir_context = context_of_thread
    slowly = getattr(compiler, "get_compile_options", None)
    if slowly is None:  # without it, tests compile as users do
        return
    # a process that forks must not start XLA, so it is told
    if KNOWN not in os.environ:
        understood = [option for option in QUICK.items() if is_known(*option)]
        os.environ[KNOWN] = json.dumps(understood)
    quick = [tuple(option) for option in json.loads(os.environ[KNOWN])]

    def compile_options(*args, **kwargs):
        options = slowly(*args, **kwargs)
        if is_quick():
            options.env_option_overrides = [*options.env_option_overrides, *quick]
        return options

    compiler.get_compile_options = compile_options


@lru_cache(100)
def kept(quick, function, *arguments):
    """Return `partial(function, *arguments)`, the same for the same arguments: JAX
    keeps what it compiled of it.

    `quick` says how it is compiled.
    """
    return partial(function, *arguments)
