"""Which learning rates converge, are slow, oscillate or diverge?

    python sweeps/lr_regimes.py

Trains networks at many learning rates under Ray Tune and labels every curve with its
regime.

Measured: 6 min 39 s on 2 cores of an AMD EPYC (AVX2). With seed 0, 784-1024-128-10 is
slow up to 0.01, converges from 0.02 to 1 or 1.3 (by processor), oscillates at 1.6 and
diverges from 2 on.
"""

from mnist_tune import cli
from mnist_tune.commands.lr_regimes import main

if __name__ == "__main__":
    cli.run(main)
