"""Write the page of a sweep, or of several side by side: one HTML file that needs no network.

    python analysis/report.py RESULTS [RESULTS ...]

Every sweep writes its own page, report.html in its folder. This command writes it again, or a page that compares.
"""

from mnist_tune import cli
from mnist_tune.commands.report import main

if __name__ == "__main__":
    cli.run(main)
