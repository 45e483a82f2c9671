"""Which learning rates suit which network, and how do they move with width, depth, batch size, momentum and warm-up?

    python sweeps/architectures.py

Trains MLPs of several widths and depths at many learning rates, and the first of them also with other batch sizes,
momenta and warm-ups. Prints for each the rates at which it converges and its best one, chosen on held-out images. Draws
a picture for each of the five.
"""

from mnist_tune import cli
from mnist_tune.commands.architectures import main

if __name__ == "__main__":
    cli.run(main)
