"""Which of some settings is best, how sure is that, and with how many seeds?

    python sweeps/decide.py --sweep results/lr_regimes/TIME
    python sweeps/decide.py --architecture mlp-64-relu --learning-rates 0.2 0.4 0.8 --dataset mnist-5k

All settings are trained on the same fresh seeds, one seed after the other, and compared
on held-out images. A setting that is surely worse than another one gets no more seeds.
"""

from mnist_tune import cli
from mnist_tune.commands.decide import main

if __name__ == "__main__":
    cli.run(main)
