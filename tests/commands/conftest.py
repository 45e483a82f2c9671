"""Made-up sweeps, and commands that run with one in place of training."""

from command_lines import main_of  # noqa: F401
from drawn import as_text  # noqa: F401
from made_up_sweeps import edge_sweep, made_up_sweep, rates  # noqa: F401
