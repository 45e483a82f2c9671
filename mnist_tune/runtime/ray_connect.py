"""Connect to a running Ray cluster, or fail at once with an error of one line."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mnist_tune.errors import UserError

REACH_S = 5.0
"""Seconds within which the cluster's port must accept a connection."""


def connect(address: str, **settings: Any) -> None:
    """Connect this process to the cluster at `address`.

    Args:
        address: `auto` or `HOST:PORT`.
        settings: passed to `ray.init`.

    Raises:
        UserError: nothing answers at `address`, the token is wrong, or the versions of Ray or Python differ.
    """
    import ray
    from ray.exceptions import AuthenticationError, RpcError

    try:
        _check_reachable(address)
        ray.init(address=address, **settings)
    except AuthenticationError:
        raise UserError(
            f"the Ray cluster at {address} requires its token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH to the "
            "file that holds it (by default ~/.ray/auth_token), or RAY_AUTH_TOKEN to the token itself"
        ) from None
    except (OSError, ValueError, RpcError) as error:
        raise UserError(f"no Ray cluster at {address} ({_line(error)}); start one with: ray start --head") from None
    except RuntimeError as error:
        raise UserError(f"can't join the Ray cluster at {address}: {_line(error)}") from None


def _check_reachable(address: str) -> None:
    """Connect to the cluster once. `ray.init` would retry for a quarter of an hour if nobody listens, and 20 times,
    with a line on standard error each, if the token is wrong."""
    from ray._private.authentication import authentication_token_setup as tokens
    from ray._private.services import canonicalize_bootstrap_address
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    gcs: str = canonicalize_bootstrap_address(address)
    host, _, port = gcs.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_S).close()
    if address == "auto":  # as `ray.init` does
        tokens.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    tokens.ensure_token_if_auth_enabled(create_token_if_missing=False)
    with _no_stderr():  # Ray's C++ code prints there what the exception says, too
        GcsClient(address=gcs)


@contextmanager
def _no_stderr() -> Iterator[None]:
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
