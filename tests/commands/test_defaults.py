"""What every command does without flags: a changed default changes numbers, and nobody would see it in a review.

PYTHONPATH=tests python tests/commands/test_defaults.py > tests/commands/defaults.txt
"""

from dataclasses import MISSING, fields
from pathlib import Path

from docs.pages import options_of
from mnist_tune.invocation import COMMANDS

KNOWN = Path(__file__).with_name("defaults.txt")


def defaults():
    for name in sorted(COMMANDS.keys() - {"resume"}):  # which goes on with another command
        for one in fields(options_of(name)):
            if one.default is not MISSING:
                yield f"{name} {one.name} = {one.default!r}"


def test_defaults_are_as_they_were():
    assert list(defaults()) == KNOWN.read_text().splitlines(), __doc__


if __name__ == "__main__":
    print(*defaults(), sep="\n")
