"""Run a sweep under Ray Tune, or resume it."""
