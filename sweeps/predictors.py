"""Which predictor of the largest learning rate may be trusted, for which networks, and within what factor?

    python sweeps/predictors.py

Measures the edges of ten networks, and holds against them what takes seconds: range tests with the rules that libraries
use, line searches, and the sharpness. Prints predicted / measured, draws edge.png and writes predictors.csv.
"""

from mnist_tune import cli
from mnist_tune.commands.predictors import main

if __name__ == "__main__":
    cli.run(main)
