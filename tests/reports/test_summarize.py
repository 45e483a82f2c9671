"""`python analysis/summarize.py`: what it prints and writes, and what it does not wait for."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "analysis" / "summarize.py"
SLOW = ("jax", "ray", "scipy.stats", "matplotlib.pyplot")
"""Half a second and more to import, and not needed."""


def test_summarize_a_large_sweep(made_up_sweep, rates):
    sweep = made_up_sweep(rates(100), seeds=2, epochs=1)
    command = [sys.executable, "-X", "importtime", SCRIPT, sweep.path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) < 70
    assert "Replicates" in done.stdout
    assert (sweep.path / "regimes.png").stat().st_size > 10_000
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "pandas" in imported
    assert not imported & set(SLOW)


def test_all_lines_of_a_large_sweep(made_up_sweep, rates):
    sweep = made_up_sweep(rates(100), epochs=1)
    done = subprocess.run([sys.executable, SCRIPT, sweep.path, "--all"], capture_output=True, text=True, timeout=60)
    assert len(done.stdout.splitlines()) > 100
