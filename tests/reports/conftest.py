"""Made-up sweeps."""

from made_up_sweeps import edge_sweep, made_up_sweep, rates, sweep  # noqa: F401
