"""Made-up sweeps, and pictures as texts."""

from drawn import as_text  # noqa: F401
from made_up_sweeps import edge_sweep, made_up_sweep, rates, sweep  # noqa: F401
