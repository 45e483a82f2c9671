"""Pictures as texts."""

from drawn import as_text  # noqa: F401
