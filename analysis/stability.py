"""Does the sharpness rise to the edge of stability, and stay there?

    python analysis/stability.py RESULTS ...

Takes sweeps that ran with --sharpness or --sharpness-every. Prints for each trial when its sharpness λ first reached
the threshold of its optimiser, such as 2 / learning rate, and where it stayed from then on; draws stability.png. For
Adam λ is the preconditioned sharpness. Where λ is held against a threshold, it should be measured on the whole training
set, as with --train-images 5000 or --sharpness-images 60000.
"""

from mnist_tune import cli
from mnist_tune.commands.stability import main

if __name__ == "__main__":
    cli.run(main)
