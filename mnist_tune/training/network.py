"""A network, as the functions that training calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class Network:
    """A network as functions.

    - `init(key)` returns the initial parameters, a tree of arrays of any float type, for a key of `jax.random`.
    - `apply(params, images)` returns the logits [n, classes] of float32 images [n, *shape], or [n, T, classes] of int32
      tokens [n, T].
    - `train_apply`, for batch normalisation, dropout and their like, replaces `apply` in a training step:
      `train_apply(params, state, images, key)` returns the logits and the new state. `init` then returns
      `(params, state)`, and evaluation calls `apply(params, state, images)`.
    """

    init: Callable[[Any], Any]
    apply: Callable[..., Any]
    train_apply: Callable[..., Any] | None = None
