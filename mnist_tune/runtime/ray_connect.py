"""Connect to a running Ray cluster, or fail at once with an error of one line."""

from __future__ import annotations

import socket
from typing import Any

from mnist_tune.errors import UserError

REACH_S = 5.0
"""Seconds within which the cluster's port must accept a connection."""


def connect(address: str, **settings: Any) -> None:
    """Connect this process to the cluster at `address`, `auto` or `HOST:PORT`, with these settings of `ray.init`.

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
    from mnist_tune.runtime.ray_private import gcs_address, greet

    gcs = gcs_address(address)
    host, _, port = gcs.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_S).close()
    greet(gcs, auto=address == "auto")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
