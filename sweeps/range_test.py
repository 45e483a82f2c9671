"""At which learning rate does the loss blow up, if it grows as a network trains? Seconds, and no sweep.

    python sweeps/range_test.py --architecture mlp-64-relu-glorot

Prints that rate over a few seeds, and beside it what the finders of libraries would suggest; draws range_test.png.
How far these are from the measured edge: docs/edge.md.
"""

from mnist_tune import cli
from mnist_tune.commands.range_test import main

if __name__ == "__main__":
    cli.run(main)
