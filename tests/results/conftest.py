"""Made-up sweeps."""

from made_up_sweeps import made_up_sweep  # noqa: F401
