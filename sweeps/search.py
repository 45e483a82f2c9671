"""Which network and which settings do best on held-out images?

    python sweeps/search.py
    python sweeps/search.py --by random

Searches over networks, learning rates, momenta, batch sizes and weight decays, by Optuna's TPE or at random. The winner
is chosen on held-out training images; the test set is looked at once, for the winner over five fresh seeds.
"""

from mnist_tune import cli
from mnist_tune.commands.search import main

if __name__ == "__main__":
    cli.run(main)
