"""The user's own modules, sent to other processes as text and imported there.

Classes and registrations of libraries (Equinox's modules, dataclasses registered with JAX) do not survive being pickled
by value. A module that is imported anew is what it was.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import inspect
import os
import sys
import sysconfig
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

INSTALLED = ("site-packages", "dist-packages")

STANDARD = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})
"""The folders of Python's own modules."""


class Source(NamedTuple):
    """A module's file and its text."""

    file: str
    text: str
    is_package: bool


class ShippedFactory:
    """A factory in the user's own module. Another process imports that module when it calls the factory first.

    Args:
        module: the module, which is loaded.
        name: the factory's name in it.
    """

    def __init__(self, module: ModuleType, name: str) -> None:
        self._module, self._name = module.__name__, name
        self._sources = _with_parents({one.__name__: _source(one) for one in own_modules(module)})

    @property
    def factory(self) -> Any:
        """The factory in this process."""
        return _import(self._module, self._name, self._sources)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self.factory)

    @property
    def modules(self) -> list[ModuleType]:
        """The modules that go with it."""
        return [sys.modules[one] for one in self._sources if one in sys.modules]

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self.factory(*arguments, **keywords)


def is_installed(module: ModuleType) -> bool:
    """Return whether a module comes with Python, from an installed package or from ours: others need not be sent it."""
    if not getattr(module, "__file__", None) or module.__name__.partition(".")[0] == "mnist_tune":
        return True
    file = Path(str(module.__file__))
    return any(part in INSTALLED for part in file.parts) or any(file.is_relative_to(one) for one in STANDARD)


def own_modules(module: ModuleType) -> list[ModuleType]:
    """Return a module and those that may belong to it: of its package, or loaded from its folder and those below. Those
    that are installed don't."""
    top, dot, _ = module.__name__.partition(".")
    folder = os.path.join(os.path.dirname(str(module.__file__)), "")

    def may_belong(one: ModuleType) -> bool:
        return one.__name__.partition(".")[0] == top if dot else str(one.__file__).startswith(folder)

    files = [one for one in list(sys.modules.values()) if str(getattr(one, "__file__", None)).endswith(".py")]
    others = [one for one in files if may_belong(one) and one.__name__ != "__main__" and not is_installed(one)]
    return [one for one in files if (one is module or one in others) and Path(str(one.__file__)).is_file()]


def _source(module: ModuleType) -> Source:
    file = str(module.__file__)
    return Source(file, importlib.util.decode_source(Path(file).read_bytes()), hasattr(module, "__path__"))


def _with_parents(sources: dict[str, Source]) -> dict[str, Source]:
    """Add the packages without a file that some of these modules are in."""
    parents = {name.rpartition(".")[0] for name in sources} - sources.keys() - {""}
    if not parents:
        return sources
    found = {}
    for name in parents:
        inner, source = next((one, source) for one, source in sources.items() if one.startswith(f"{name}."))
        up = inner.count(".") - name.count(".") - (not source.is_package)
        found[name] = Source(str(Path(source.file).parents[up] / "__init__.py"), "", True)
    return _with_parents(sources | found)


class _Importer(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports modules from texts."""

    def __init__(self) -> None:
        self.sources: dict[str, Source] = {}

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in self.sources:
            return None
        file, _, is_package = self.sources[name]
        spec = importlib.util.spec_from_loader(name, self, origin=file, is_package=is_package)
        assert spec is not None
        spec.has_location = True  # sets the module's __file__
        if is_package:
            spec.submodule_search_locations = [str(Path(file).parent)]
        return spec

    def get_source(self, fullname: str) -> str:
        return self.sources[fullname].text

    def is_package(self, fullname: str) -> bool:
        return self.sources[fullname].is_package

    def get_code(self, fullname: str) -> CodeType:
        file, text, _ = self.sources[fullname]
        code: CodeType = compile(text, file, "exec", dont_inherit=True)
        return code


_IMPORTER = _Importer()


def _import(module: str, name: str, sources: dict[str, Source]) -> Any:
    """Return a factory of a module that is imported from its text, unless this process has it from its file."""
    loaded = sys.modules.get(module)
    is_ours = loaded is not None and getattr(loaded, "__loader__", None) is _IMPORTER
    if loaded is not None and not is_ours and getattr(loaded, "__file__", None) == sources[module].file:
        return getattr(loaded, name)
    if any(_IMPORTER.sources.get(one) != source for one, source in sources.items()):
        for one in sources:  # of an earlier sweep, whose files have changed since
            sys.modules.pop(one, None)
    _IMPORTER.sources |= sources
    if _IMPORTER not in sys.meta_path:
        sys.meta_path.insert(0, _IMPORTER)
    folder = str(Path(sources[module.partition(".")[0]].file).parent)
    if folder not in sys.path:
        sys.path.append(folder)  # for what is imported later, where the folder is there
    return getattr(importlib.import_module(module), name)
