"""The stacked states of lanes on a device, and how many lanes fit into its memory."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

import jax
from jax import Array

from mnist_tune.training.program import Program, TrainState

COPIES = 4
"""Copies of a lane's state that training may hold: in the stack, gathered from it, as gradients and as updates."""


def fitting_lanes(programs: Iterable[Program], memory: float, measured: bool = False) -> int:
    """Return how many lanes fit into `memory` bytes, whichever of these programs they have, if sharpness is `measured`
    or not. There is at least one program. Those whose states have the same shapes, such as for other batch sizes, share
    a stack."""
    shapes = {shapes_key(found): found for found in (program.shapes() for program in programs)}.values()
    states = [sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(found)) for found in shapes]
    lane = sum(states) + (COPIES - 1) * max(states)
    if measured:
        from mnist_tune.training.curvature import memory_of  # matfree is imported only where it is used

        lane += max(memory_of(found.params) for found in shapes)
    return int(memory // lane)


def shapes_key(shapes: TrainState) -> Hashable:
    """Return what the shapes of two states have in common if they can be in the same stack."""
    leaves, tree = jax.tree.flatten(shapes)
    return tree, tuple((leaf.shape, leaf.dtype) for leaf in leaves)


@dataclass(eq=False)
class Stack:
    """The stacked states of lanes, of all programs whose states have the same shapes."""

    capacity: int
    """The number of lanes."""
    free: list[int]
    """The slots that no lane uses."""
    state: TrainState | None = None
    """On the device; None if there are no lanes, or if their states were lost."""

    @classmethod
    def of(cls, capacity: int) -> Stack:
        return cls(capacity, list(range(capacity))[::-1])


def take(stack: Any, slots: Array) -> Any:
    """Return the states in some slots. The last slot stands in for one that does not exist."""
    if len(slots) == 1:
        return jax.tree.map(lambda s: s[slots[0]], stack)
    return jax.tree.map(lambda s: s.at[slots].get(mode="clip"), stack)


def put(stack: Any, slots: Array, state: Any) -> Any:
    """Return the stack with states put into slots. What goes into a slot that does not exist is dropped."""
    if len(slots) == 1:
        return jax.tree.map(lambda s, x: s.at[slots[0]].set(x), stack, state)
    return jax.tree.map(lambda s, x: s.at[slots].set(x, mode="drop"), stack, state)
