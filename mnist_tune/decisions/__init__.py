"""Decide which of some settings is best: train them on fresh seeds until that is
settled."""
