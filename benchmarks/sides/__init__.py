"""What the benchmarks compare, a side a module."""
