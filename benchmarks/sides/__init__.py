"""The programs that the benchmarks compare, called sides: one per module."""
