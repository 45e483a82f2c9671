"""The options of a command."""

from contextlib import suppress
from importlib import import_module
from unittest import mock

from mnist_tune import cli
from mnist_tune.invocation import module_of


def options_of(name):
    """Return the dataclass that a command parses its flags into."""
    with mock.patch.object(cli, "parse", side_effect=EOFError) as parse:
        with suppress(EOFError):
            import_module(module_of(name)).main()
        return parse.call_args.args[0]
