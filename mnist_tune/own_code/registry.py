"""The user's networks and optimisers by name. What is ours is not here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Factory = Callable[..., Any]
"""Makes a network from a `DataSpec`, or an optimiser from a learning rate, and from the arguments in the name."""


@dataclass(eq=False)
class Entry:
    """What a name stands for. No entry equals another, so a cache with entries in its keys notices a new factory."""

    load: Callable[[], Factory]
    """Returns the factory. It is called once, when the factory is first wanted."""

    @cached_property
    def factory(self) -> Factory:
        return self.load()

    @property
    def is_loaded(self) -> bool:
        return "factory" in vars(self)


ENTRIES: dict[str, dict[str, Entry]] = {"architecture": {}, "optimizer": {}}
"""By the field of a trial that names them, then by name."""


def register(name: str, flag: str = "architecture") -> Callable[[Factory], Factory]:
    """Register a factory of networks: `register("mine")(factory)`, then `architecture="mine(width=128)"`.

    The factory is called with the `DataSpec` and with the arguments in the name. It returns a `Network`. Processes and
    other nodes get it with the sweep, so that nothing has to be installed there.
    """

    def add(factory: Factory) -> Factory:
        ENTRIES[flag][name] = entry = Entry(lambda: factory)
        return entry.factory

    return add


def names_own_code(text: str) -> bool:
    """Return whether a text, which may be a folder's, names code by its place. Its arguments are not looked at."""
    return ":" in text.partition("(")[0]


def is_not_loaded(flag: str, text: str) -> bool:
    """Return whether a text of a folder names code by its place that this process has not been told to load."""
    return names_own_code(text) and text.partition("(")[0].strip() not in ENTRIES[flag]


def is_unknown(flag: str, text: str) -> bool:
    """Return whether no command can name what a text of a folder names: code that this process has not been told to
    load, or that was registered from Python, which no other process knows."""
    is_registered = not names_own_code(text) and text.partition("(")[0].strip() in ENTRIES[flag]
    return is_registered or is_not_loaded(flag, text)


def register_optimizer(name: str) -> Callable[[Factory], Factory]:
    """Register a factory `factory(learning_rate, **arguments)` that returns an optax `GradientTransformation`."""
    return register(name, "optimizer")
