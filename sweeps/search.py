"""Which network and which settings do best on held-out images?

    python sweeps/search.py
    python sweeps/search.py --by random

Searches over networks, optimisers, learning rates, momenta, batch sizes and weight
decays, by Optuna's TPE or at random. Trials are compared on held-out training images.
In the end it decides between the best three with fresh seeds, and looks at the test set
once, for the one that is best.
"""

from mnist_tune import cli
from mnist_tune.commands.search import main

if __name__ == "__main__":
    cli.run(main)
