"""Names of networks, which are as long as their file's path and their arguments, where there is little room."""

from __future__ import annotations

from collections.abc import Iterable

ROOM = 40
"""The most characters of a name in a table."""


def shortened(names: Iterable[str]) -> dict[str, str]:
    """Return each name without its folder and its middle, if it is long and no other one becomes the same."""
    found = {name: name for name in names}
    for shorten in (_without_folder, _without_middle):
        shorter = {name: said if len(said) <= ROOM else shorten(said) for name, said in found.items()}
        if len(set(shorter.values())) == len(found):
            found = shorter
    return found


def _without_folder(name: str) -> str:
    file, colon, factory = name.partition(".py:")
    return file.rpartition("/")[2] + colon + factory


def _without_middle(name: str) -> str:
    half = (ROOM - 1) // 2
    return f"{name[:half]}…{name[-half:]}"
