"""Print a sweep's table again, summarise its replicates, and draw its figure.

    python analysis/summarize.py RESULTS

Writes regimes.png into the sweep's folder, or into the current folder if the sweep is in object storage. A search for
an edge gets edge.png, too.
"""

from mnist_tune import cli
from mnist_tune.commands.summarize import main

if __name__ == "__main__":
    cli.run(main)
