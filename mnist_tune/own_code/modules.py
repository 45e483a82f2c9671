"""The user's own modules as texts. They are imported from these, here and in the
processes that get them.

So what is recorded, what is sent and what trains is one text. Classes that libraries
register, such as Equinox's modules or JAX's dataclasses, don't survive being pickled by
value. A module that is imported anew is what it was.
"""

from __future__ import annotations

import importlib
import linecache
import os
import sys
import sysconfig
import traceback
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import decode_source, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

STANDARD = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})
"""The folders of Python's own modules."""


class Source(NamedTuple):
    """A module's file and its content."""

    file: str
    content: bytes
    is_recorded: bool = False
    """Whether it was read from a sweep's folder, and not from the file."""

    @classmethod
    def of(cls, file: str) -> Source:
        return cls(file, Path(file).read_bytes())


TEXTS: dict[str, Source] = {}
"""The texts of the own modules that this process knows, by the modules' names."""


class _FromText(SourceFileLoader):
    """Loads a module from a text that was read before, and sent by another process
    perhaps."""

    def __init__(self, name: str, source: Source) -> None:
        super().__init__(name, source.file)
        self._source = source

    def get_data(self, path: str) -> bytes:
        if path == self._source.file:
            return self._source.content
        return super().get_data(path)

    def path_stats(self, path: str) -> Mapping[str, Any]:
        raise OSError("what Python keeps compiled is of the file, not of this text")

    def exec_module(self, module: ModuleType) -> None:
        # Tracebacks and `inspect` read the file, which may be gone or another by now.
        text = decode_source(self._source.content)
        lines = text.splitlines(keepends=True)
        file = self._source.file
        linecache.cache[file] = (len(text), None, lines, file)
        super().exec_module(module)


class _Finder(MetaPathFinder):
    """Finds modules in `TEXTS`, and while `reads` is set, those in files that are not
    installed."""

    reads = False

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = None
        if self.reads and name not in TEXTS:
            spec = PathFinder.find_spec(name, path)
        if spec is not None and is_own(name, spec.origin):
            TEXTS[name] = Source.of(str(spec.origin))
        source = TEXTS.get(name)
        if source is not None:
            loader = _FromText(name, source)
            return spec_from_file_location(name, source.file, loader=loader)
        has_modules = any(module.startswith(f"{name}.") for module in TEXTS)
        if spec is None and has_modules:
            return ModuleSpec(name, None, is_package=True)  # a package without a file
        return None


_FINDER = _Finder()


@dataclass(frozen=True)
class Attribute:
    """Returns an attribute of a module, which is imported from its text."""

    module: str
    name: str

    def __call__(self) -> Any:
        return getattr(load(self.module), self.name)


def load(name: str) -> ModuleType:
    """Import a module, and what it imports, from texts: those that are known, or those
    of their files."""
    sys.meta_path.insert(0, _FINDER)
    _FINDER.reads = True
    try:
        return importlib.import_module(name)
    finally:
        _FINDER.reads = False
        sys.meta_path.remove(_FINDER)


def belonging(module: ModuleType | None) -> list[str]:
    """Return the names of a module and of those loaded from its folder or package, and
    below. They are in `TEXTS` then. Modules that are installed, and those whose import
    goes on, belong to none."""
    if module is None:
        return []
    top = os.path.join(_top_folder(module), "")
    names = []
    for name, other in list(sys.modules.items()):
        if name == "__main__" or is_importing(other):
            continue
        file = str(getattr(other, "__file__", None))
        is_beside = file.startswith(top) and is_own(name, file)
        if is_beside and name not in TEXTS and os.path.isfile(file):
            TEXTS[name] = Source.of(file)
        if name in TEXTS and (is_beside or other is module):
            names.append(name)
    return names


def _top_folder(module: ModuleType) -> Path:
    """Return the folder that a module, or its top package, is in."""
    levels = module.__name__.count(".")
    if not hasattr(module, "__path__"):
        levels -= 1
    file = getattr(module, "__file__", None) or "a session's"
    return Path(file).absolute().parents[max(levels, 0)]


def is_importing(module: Any) -> bool:
    """Return whether a module's import goes on."""
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def is_own(name: str, file: str | None) -> bool:
    """Return whether a module is the user's: not Python's, from an installed package or
    ours, which all nodes have."""
    if not file or not file.endswith(".py") or name.partition(".")[0] == "mnist_tune":
        return False
    place = Path(file)
    if {"site-packages", "dist-packages"}.intersection(place.parts):
        return False
    return not any(place.is_relative_to(folder) for folder in STANDARD)


def in_a_line(error: BaseException) -> str:
    """Return the type of an error, the first line of what it says, and where the user's
    own code raised it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0][:300] if lines else "no message"
    where = ""
    # a syntax error says itself where it is
    if not isinstance(error, SyntaxError):
        where = _where_raised(error)
    return f"{type(error).__name__}: {text}{where}"


def _where_raised(error: BaseException) -> str:
    """Return the last line of the user's own code that an error came through."""
    where = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        if is_own(frame.f_globals.get("__name__", ""), file):
            where = f" ({Path(file).name}, line {line})"
    return where


def changed() -> set[str]:
    """Return the names of the own modules whose files have changed since. A file that
    is gone has not changed."""
    names = set()
    for name, source in TEXTS.items():
        is_there = not source.is_recorded and os.path.isfile(source.file)
        if is_there and Source.of(source.file) != source:
            names.add(name)
    return names


def forget(names: Collection[str]) -> None:
    """Forget these modules, and all that were imported from texts: none may go on with
    another one's old text."""
    for name, module in list(sys.modules.items()):
        if name in names or isinstance(getattr(module, "__loader__", None), _FromText):
            del sys.modules[name]
    TEXTS.clear()


def receive(texts: Mapping[str, Source]) -> None:
    """Have modules imported from these texts, from now on, in a process that may not
    see their files."""
    outdated = set()
    for name, source in texts.items():
        is_there = name in TEXTS or name in sys.modules
        if is_there and TEXTS.get(name) != source:
            outdated.add(name)
    if outdated:
        forget(outdated)
    TEXTS.update(texts)
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)
    for name, source in texts.items():
        levels = name.count(".")
        if source.file.endswith("__init__.py"):
            levels += 1
        folder = str(Path(source.file).parents[levels])
        if folder not in sys.path:
            # for what is imported later, where the folder is there
            sys.path.append(folder)
