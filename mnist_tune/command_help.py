"""What `--help` prints: a command's flags in panels, what is trained first, then examples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import field, fields, make_dataclass
from inspect import getdoc
from typing import Annotated, Any, NoReturn, get_type_hints

import tyro

from mnist_tune.invocation import called


def print_help(config: type[Any]) -> NoReturn:
    """Print the flags that a dataclass defines, and exit with code 0.

    A class of the config's may have `PANEL`, the name of the panel for the fields that it adds, and `PANELS`, other
    panels with the names of their fields. The config may have `EXAMPLES`: what may follow the command's name, and what
    it does.
    """
    hints = get_type_hints(config, include_extras=True)
    nested = []
    for title, names in panels(config).items():
        hidden = [
            (one.name, Annotated[hints[one.name], tyro.conf.Suppress], field(default=one.default))
            for one in fields(config)
            if one.name not in names
        ]
        panel = make_dataclass(title.title(), hidden, bases=(config,), frozen=True, kw_only=True)
        nested.append((title, Annotated[panel, tyro.conf.OmitArgPrefixes, tyro.conf.arg(name=title, help="")]))
    examples: dict[str, str] = getattr(config, "EXAMPLES", {})
    try:
        top = config if len(nested) == 1 else make_dataclass(config.__name__, nested)
        tyro.cli(top, args=["--help"], config=CONFIG, prog=called(), description=getdoc(config))
    finally:
        for flags, about in examples.items():
            print(f"{about}\n    {called()} {flags}".rstrip())
    raise AssertionError("unreachable")


CONFIG = (tyro.conf.FlagCreatePairsOff,)


def panels(config: type[Any]) -> dict[str, list[str]]:
    """Return the names of a config's fields by panel; those that its own class adds come first."""
    found = defaultdict(list)
    for name, title in _titles(config):
        found[title].append(name)
    return dict(reversed(found.items()))


def _titles(config: type[Any]) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for kind in reversed(config.__mro__):
        named = {name: title for title, names in vars(kind).get("PANELS", {}).items() for name in names}
        own = [one.name for one in fields(config) if one.name in vars(kind).get("__annotations__", {})]
        for name in sorted(own, key=lambda one: one in named):
            if name not in seen:
                yield name, named.get(name, vars(kind).get("PANEL", "training"))
        seen |= {*own}
