"""Command lines, and pictures as texts."""

from command_lines import main_of  # noqa: F401
from drawn import as_text  # noqa: F401
