"""The user's networks, tasks, loops and optimisers by name. What is ours is not
here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mnist_tune.loop import Loop

Factory = Callable[..., Any]
"""Makes a network from a `DataSpec`, or an optimiser from a learning rate, and from the
arguments in the name."""


@dataclass(eq=False)
class Entry:
    """What a name stands for. No entry equals another, so a cache with entries in its
    keys notices a new factory."""

    load: Callable[[], Factory]
    """Returns the factory. It is called once, when the factory is first wanted."""
    is_recorded: bool = False
    """Whether a sweep's folder has kept it, and it was not named by its file."""
    modules: tuple[str, ...] = ()
    """The modules of a loop that other processes alone import: it may start a device
    when it is imported, and its variables are not set here."""
    loop: Loop | None = None
    """What is known of that loop."""

    @cached_property
    def factory(self) -> Factory:
        return self.load()

    @property
    def is_loaded(self) -> bool:
        return bool(self.modules) or "factory" in vars(self)


_TRAINED: dict[str, Entry] = {}
ENTRIES: dict[str, dict[str, Entry]] = {
    "task": _TRAINED,
    "loop": _TRAINED,
    "architecture": _TRAINED,
    "optimizer": {},
}
"""By the option that names them, then by name. A task or a loop stands in the trials'
field `architecture`."""

OF_TRIALS = ("architecture", "optimizer")
"""The fields of trials that name code."""


def register(name: str, flag: str = "architecture") -> Callable[[Factory], Factory]:
    """Register a factory of networks or tasks: `register("mine")(factory)`, then
    `architecture="mine(width=128)"` or `task="mine(width=128)"`.

    The factory is called with the arguments in the name; that of a network gets the
    `DataSpec` first. It returns a `Network` or a `Task`. Processes and other nodes get
    it with the sweep: nothing has to be installed there.
    """

    def add(factory: Factory) -> Factory:
        ENTRIES[flag][name] = entry = Entry(lambda: factory)
        return entry.factory

    return add


TOTAL_STEPS = "total_steps"
"""The argument of an optimiser's factory that is the number of steps of its trial."""


def asks_for(function: Callable[..., Any], name: str) -> bool:
    """Return whether a function has an argument of this name that it needs. One with a
    default keeps it."""
    try:
        parameter = inspect.signature(function).parameters.get(name)
    except (TypeError, ValueError):  # of some functions in C, nothing is known
        return False
    return parameter is not None and parameter.default is parameter.empty


def names_own_code(text: str) -> bool:
    """Return whether a text, which may be a folder's, names code by its place. Its
    arguments are not looked at."""
    return ":" in text.partition("(")[0]


def is_not_loaded(flag: str, text: str) -> bool:
    """Return whether a text of a folder names code by its place that this process has
    not been told to load."""
    return names_own_code(text) and text.partition("(")[0].strip() not in ENTRIES[flag]


def is_from_file(flag: str, text: str) -> bool:
    """Return whether this process has loaded the code that a text names, and not from
    what a folder recorded."""
    entry = ENTRIES[flag].get(text.partition("(")[0].strip())
    return entry is not None and not entry.is_recorded


def by_flag(code: Sequence[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Return the names of code by flag, as they were loaded."""
    names: dict[str, tuple[str, ...]] = {}
    for flag in ENTRIES:
        of_flag = [as_loaded(flag, name) for other, name in code if other == flag]
        if of_flag:
            names[flag] = tuple(of_flag)
    return names


def as_loaded(flag: str, text: str) -> str:
    """Return a text that names code, with the path from which this process has loaded
    it."""
    name, bracket, arguments = text.partition("(")
    entry = ENTRIES[flag].get(name.strip())
    for loaded, other in ENTRIES[flag].items():
        if other is entry:
            return f"{loaded}{bracket}{arguments}"
    return text


def recorded_name(flag: str, name: str, recorded: Collection[str]) -> str | None:
    """Return which of the `recorded` names stands for code that is named now; None if
    none does. A file that has moved may be named by its new path. What was loaded from
    there then has the recorded name, too."""
    if name in recorded:
        return name
    entry = ENTRIES[flag].get(name)
    if entry is None:
        return None
    ending = name.rpartition("/")[2]
    moved = [
        before
        for before in recorded
        if names_own_code(before) and before.rpartition("/")[2] == ending
    ]
    if len(moved) != 1:
        return None
    ENTRIES[flag][moved[0]] = entry
    return moved[0]


def is_named_again(flag: str, names: Iterable[str], texts: Iterable[str]) -> bool:
    """Return whether each of these names stands for code that these texts name."""
    recorded = {text.partition("(")[0].strip() for text in texts}
    return all(recorded_name(flag, name, recorded) is not None for name in names)


def register_optimizer(name: str) -> Callable[[Factory], Factory]:
    """Register a factory `factory(learning_rate, **arguments)` that returns an optax
    `GradientTransformation`."""
    return register(name, "optimizer")
