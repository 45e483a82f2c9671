"""How large may the learning rate be? Find the rates at which 90, 50 and 10% of seeds
learn, with intervals.

    python sweeps/edge.py --architecture mlp-64-relu-glorot
    python sweeps/edge.py --architecture mlp-16-tanh mlp-64-tanh mlp-256-tanh
    python sweeps/edge.py --architecture net.py:mlp --dataset data.npz --learned 0.5

A trial with a fresh seed either learns or it does not. The next learning rate is the
one that tells most for its time. Prints each edge, the rate up to which half of the
seeds stay calm, that from which half diverge, and what a grid of the same precision
would have cost; draws edge.png.
"""

from mnist_tune import cli
from mnist_tune.commands.edge import main

if __name__ == "__main__":
    cli.run(main)
