"""Print the tables of sweeps and what they say, write their page, or draw their
picture: `mnist-tune show`.

python analysis/summarize.py RESULTS
"""

from mnist_tune import cli
from mnist_tune.commands.show import main

if __name__ == "__main__":
    cli.run(main)
