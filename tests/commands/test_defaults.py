"""What every command does without flags: a changed default changes numbers, and nobody would see it in a review.

python tests/commands/test_defaults.py > tests/commands/defaults.txt
"""

from contextlib import suppress
from dataclasses import MISSING, fields
from importlib import import_module
from pathlib import Path
from unittest import mock

from mnist_tune import cli
from mnist_tune.invocation import COMMANDS, module_of

KNOWN = Path(__file__).with_name("defaults.txt")


def options_of(name):
    """Return the dataclass that a command parses its flags into."""
    with mock.patch.object(cli, "parse", side_effect=EOFError) as parse:
        with suppress(EOFError):
            import_module(module_of(name)).main()
        return parse.call_args.args[0]


def defaults():
    for name in sorted(COMMANDS.keys() - {"resume"}):  # which goes on with another command
        for one in fields(options_of(name)):
            if one.default is not MISSING:
                yield f"{name} {one.name} = {one.default!r}"


def test_defaults_are_as_they_were():
    assert list(defaults()) == KNOWN.read_text().splitlines(), __doc__


if __name__ == "__main__":
    print(*defaults(), sep="\n")
