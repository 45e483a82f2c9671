"""Which sweeps are this user's: what a sweep records of own code is signed by a key that
this user alone can read.

The signature is an HMAC (RFC 2104) with SHA-256. It covers the sweep's id, the code and
the calls of it. The key is made at first use. It never leaves the process that starts a
sweep.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

KEY_BYTES = 32
"""The length of a key: that of SHA-256."""

OTHERS = stat.S_IRWXG | stat.S_IRWXO
"""The permissions that others than the owner have."""


@dataclass(frozen=True)
class RecordedCode:
    """What `sweep.json` records of own code."""

    id: str | None
    """The sweep's. Older versions gave it none."""
    factories: tuple[Mapping[str, Any], ...]
    """The networks, tasks and optimisers. Each has `flag`, `name`, `module`,
    `attribute`, and its modules as `files`. A function that is in no file has no
    `module`."""
    calls: Mapping[str, Sequence[str]]
    """The names with their arguments that may be called, by flag."""
    signature: str | None

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> RecordedCode:
        """Return what the content of a `sweep.json` records."""
        factories = content.get("code") or ()
        calls = content.get("code_calls") or {}
        signature = content.get("code_signature")
        return cls(content.get("id"), tuple(factories), calls, signature)

    @cached_property
    def is_signed(self) -> bool:
        """Whether this user has signed it. Makes no key."""
        file = key_file()
        if not self.signature or file is None:
            return False
        key = _read(file)
        return key is not None and hmac.compare_digest(
            self.signed_by(key), self.signature
        )

    def signed_by(self, key: bytes) -> str:
        """Return the signature by a key."""
        covered = {"id": self.id, "code": self.factories, "code_calls": self.calls}
        content = json.dumps(covered, sort_keys=True).encode()
        return hmac.new(key, content, hashlib.sha256).hexdigest()

    def file_of(self, flag: str, name: str) -> Path | None:
        """Return the file from which code was loaded that is named by its file."""
        is_file = name.rpartition(":")[0].endswith(".py")
        for factory in self.factories:
            is_it = (
                made_by(factory["flag"]) == made_by(flag) and factory["name"] == name
            )
            if not (is_file and is_it and "module" in factory):
                continue
            for record in factory["files"].values():
                if record["module"] == factory["module"]:
                    return Path(record["path"])
        return None

    def named_from_here(self, flag: str, text: str) -> str:
        """Return a text that names code, with the path of its file from here."""
        name, bracket, arguments = text.partition("(")
        place, _, function = name.strip().rpartition(":")
        file = self.file_of(flag, name.strip())
        if file is None or Path(os.path.abspath(place)) == file:
            return text
        return f"{file}:{function}{bracket}{arguments}"


def made_by(flag: str) -> str:
    """Return the field of trials that names what a flag names."""
    return "architecture" if flag in ("task", "loop") else flag


def key_file() -> Path | None:
    """Return where the key is: `mnist_tune/key` in the user's configuration folder
    (`XDG_CONFIG_HOME`, else `~/.config`); None if there is no home."""
    configured = os.environ.get("XDG_CONFIG_HOME")
    if configured and os.path.isabs(configured):
        return Path(configured) / "mnist_tune" / "key"
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return home / ".config" / "mnist_tune" / "key"


def exposed_key() -> Path | None:
    """Return the file of a key that others than this user can read or write; None if
    there is none."""
    file = key_file()
    if file is None or not file.is_file():
        return None
    status = file.lstat()
    is_private = status.st_uid == os.getuid() and not status.st_mode & OTHERS
    return None if is_private else file


def user_key() -> bytes | None:
    """Return this user's key, which is made if there is none. Return None if no file
    here is private: no home, a folder that can't be written, or that others write."""
    file = key_file()
    if file is None:
        return None
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not _is_private_folder(file.parent):
            return None
        key = _read(file)
        if key is None:
            _make(file)
            key = _read(file)
        return key
    return None


def _is_private_folder(folder: Path) -> bool:
    """Return whether no one else can put files into a folder."""
    status = folder.stat()
    return status.st_uid == os.getuid() and not status.st_mode & 0o022


def _read(file: Path) -> bytes | None:
    """Return a key from its file; None if there is none that only this user can
    read."""
    try:
        opened = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(opened, "rb") as stream:
        status = os.fstat(stream.fileno())
        is_private = status.st_uid == os.getuid() and not status.st_mode & OTHERS
        if not stat.S_ISREG(status.st_mode) or not is_private:
            return None
        key = stream.read(KEY_BYTES + 1)
    if len(key) != KEY_BYTES:
        return None
    return key


def _make(file: Path) -> None:
    """Write a new key, in place of one that can't be used. Of two processes that do so
    at once, both read the key of the one that was last."""
    part = file.with_name(f".key-{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    opened = os.open(part, flags, 0o600)
    with os.fdopen(opened, "wb") as stream:
        stream.write(secrets.token_bytes(KEY_BYTES))
        os.fsync(stream.fileno())
    if file.is_dir() and not file.is_symlink():
        part.unlink()
        return
    os.replace(part, file)
