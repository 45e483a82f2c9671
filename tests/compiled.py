"""What the tests of one process share of what JAX compiles."""

from functools import lru_cache, partial


@lru_cache(100)
def kept(quick, function, *arguments):
    """Return `partial(function, *arguments)`, the same for the same arguments: JAX keeps what it compiled of it.

    `quick` says how it is compiled.
    """
    return partial(function, *arguments)
