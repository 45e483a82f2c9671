"""Texts of what the package makes, to the letter in `tests/kept/`: a change that nobody
meant is seen there.

Where a change is meant, run the test with `MNIST_TUNE_KEPT=write`: it writes the new
text. Read its diff.
"""

import os
import re
from pathlib import Path

KEPT = Path(__file__).parents[1] / "kept"
WRITES = os.environ.get("MNIST_TUNE_KEPT") == "write"


def assert_kept(name, text):
    """Compare a text with the one that is kept under this name."""
    file = KEPT / f"{name.replace(' ', '-')}.txt"
    if WRITES:
        file.write_text(text)
    assert text == file.read_text()


def rounded(text, digits=6):
    """Return the text with its long numbers rounded: processors differ in the last
    digits."""
    return re.sub(
        r"-?\d+\.\d{7,}(e[+-]\d+)?",
        lambda number: f"{float(number[0]):.{digits}g}",
        text,
    )
