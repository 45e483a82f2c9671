"""Which predictor of the largest learning rate may be trusted, for which networks, and within what factor?

    python sweeps/predictors.py

Measures the edges of ten networks, and holds against them what takes seconds: range tests with the rules that libraries
use, line searches, and the sharpness. Prints predicted / measured, draws edge.png and writes predictors.csv.

Measured: 8 min 30 s on 2 cores of an AMD EPYC (family 26). The range test is 0.84 to 1.8 times the measured edge, 2/λ0
0.084 to 1.1 times, what the finders of libraries suggest mostly far below.
"""

from mnist_tune import cli
from mnist_tune.commands.predictors import main

if __name__ == "__main__":
    cli.run(main)
