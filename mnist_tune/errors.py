"""Errors that are the user's to mend."""

from __future__ import annotations


class UserError(Exception):
    """A mistake of the caller or of the machine's set-up.

    The message names what was wrong, where, and what to do; a command prints it and exits with 2.
    """
