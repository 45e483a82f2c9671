"""Networks and optimisers in the user's own files: loaded where they are named, sent to all processes by value.

Code runs because somebody named it on the command line, or registered it from Python; never because a results folder
names it.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from mnist_tune.errors import UserError
from mnist_tune.named_code import Call, parse_call
from mnist_tune.own_code.shipping import ShippedFactory, is_installed, own_modules
from mnist_tune.terminal import printable
from mnist_tune.training.architectures import own_architectures, register
from mnist_tune.training.optimizers import own_optimizers, register_optimizer
from mnist_tune.trial import closest

MOST_TEXT = 2**17
"""Bytes of a source file that `sweep.json` keeps, so that a resume can say which line has changed."""

_OWN: dict[str, tuple[Callable[[], dict[str, Any]], Callable[[str], Callable[[Any], Any]]]] = {
    "architecture": (own_architectures, register),
    "optimizer": (own_optimizers, register_optimizer),
}
"""For each flag that takes code: what is registered, and what registers it."""

OWN_FLAGS = tuple(_OWN)

_SHIPPED: dict[tuple[str, str], ShippedFactory] = {}
"""The factories that were named, by flag and name."""


def load_own(flag: str, texts: Iterable[str]) -> None:
    """Load and register the factories that are named as `FILE.py:FUNCTION` or `package.module:FUNCTION`.

    Args:
        flag: architecture or optimizer.
        texts: what the flag was given, with arguments or without.

    Raises:
        UserError: there is no such file, module or function, or it can't be loaded.
    """
    registered, add = _OWN[flag]
    for call in map(parse_call, texts):
        if call.is_own and call.name not in registered():
            module, name = _factory(flag, call)
            add(call.name)(getattr(module, name))
            if call.name.partition(":")[0].endswith(".py") or not is_installed(module):
                _SHIPPED[flag, call.name] = ShippedFactory(module, name)


def own_code() -> dict[str, dict[str, Any]]:
    """Return the registered factories by flag and name, for the processes that train. Those that were named go with the
    text of their modules; those that were registered from Python go with their modules by value."""
    from ray import cloudpickle

    found = {flag: registered() for flag, (registered, _) in _OWN.items()}
    for flag, factories in found.items():
        for name, factory in factories.items():
            if shipped := _shipped(flag, name, factory):
                factories[name] = shipped
                continue
            for module in _modules(factory):
                cloudpickle.register_pickle_by_value(module)
    return found


def register_own(code: Mapping[str, Mapping[str, Any]]) -> None:
    """Register what `own_code` returned, in another process."""
    for flag, factories in code.items():
        for name, factory in factories.items():
            _OWN[flag][1](name)(factory)


def sources(used: Mapping[str, Iterable[str]]) -> list[dict[str, Any]]:
    """What `sweep.json` keeps of the own code that a sweep runs: flag, name, and each file's SHA-256 and text.

    Args:
        used: the texts of the trials by flag.
    """
    found = []
    for flag, texts in used.items():
        registered = _OWN[flag][0]()
        for name in sorted({parse_call(text).name for text in texts} & registered.keys()):
            shipped = _shipped(flag, name, registered[name])
            modules = shipped.modules if shipped else _modules(registered[name])
            files = [Path(module.__file__) for module in modules if module.__file__]
            top = min((file.parent for file in files), key=lambda folder: len(folder.parts), default=Path())
            names = {str(file.relative_to(top)) if file.is_relative_to(top) else file.name: file for file in files}
            known = {one: _source(file) for one, file in names.items()}
            found.append({"flag": flag, "name": name, "folder": os.getcwd(), "files": known})
    return found


def check_again(recorded: Iterable[Mapping[str, Any]], where: Any, say: Callable[[str], None]) -> None:
    """Refuse a resume that lacks code which the sweep runs, and say which of its files have changed, and where.

    Raises:
        UserError: a factory has not been named again.
    """
    missing = [one for one in recorded if one["name"] not in _OWN[one["flag"]][0]()]
    if missing:
        folder = missing[0].get("folder")
        names = " ".join(f"--{one['flag']} {one['name']}" for one in missing)
        raise UserError(
            f"{where} trains code of your own, which a results folder can't run; name it again"
            + f", in {folder}" * (isinstance(folder, str) and folder != os.getcwd())
            + f": --resume {where} {names}, or register it from Python"
        )
    now = {(one["flag"], one["name"]): one for one in sources(_names(recorded))}
    for before in recorded:
        files = now[before["flag"], before["name"]]["files"]
        for file, was in before["files"].items():
            if file in files and files[file]["sha256"] != was["sha256"]:
                say(f"note: {file} has changed since the sweep started{_where(was, files[file])}")


def _names(recorded: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    return {flag: [one["name"] for one in recorded if one["flag"] == flag] for flag in _OWN}


def _where(was: Mapping[str, Any], is_now: Mapping[str, Any]) -> str:
    # `sweep.json` is read with its control characters escaped, such as tabs.
    before, now = (printable(one.get("lines", [])) for one in (was, is_now))
    if not all(isinstance(line, str) for line in before):
        return ""
    for kind, first, _, start, end in difflib.SequenceMatcher(None, before, now, autojunk=False).get_opcodes():
        if kind != "equal" and before and now:
            line = is_now["lines"][start].strip() if start < end else f"without {before[first].strip()!r}"
            return f", first in line {start + 1}: {line[:80]}"
    return ""


def _source(file: Path) -> dict[str, Any]:
    try:
        content = file.read_bytes()
    except OSError:  # it was there when it was loaded
        return {"sha256": "unknown"}
    lines = {"lines": content.decode(errors="replace").splitlines()} if len(content) <= MOST_TEXT else {}
    return {"sha256": hashlib.sha256(content).hexdigest(), **lines}


def _factory(flag: str, call: Call) -> tuple[ModuleType, str]:
    """Return the module of a factory, loaded, and the factory's name there."""
    place, _, name = call.name.rpartition(":")
    module = _from_file(flag, call, Path(place)) if place.endswith(".py") else _from_package(flag, call, place)
    factory = getattr(module, name, None)
    if not callable(factory):
        known = [one for one, value in vars(module).items() if callable(value) and not one.startswith("_")]
        raise UserError(f"--{flag} {call.name}: {place} has no function {name!r}{closest(name, known)}")
    return module, name


def _from_file(flag: str, call: Call, file: Path) -> ModuleType:
    file = file.expanduser().absolute()
    if not file.is_file():
        raise UserError(f"--{flag} {call.name}: there is no file {file}; write FILE.py:FUNCTION")
    name = re.sub(r"\W", "_", file.stem)  # a dot would make it a module of a package
    if name in sys.modules and getattr(sys.modules[name], "__file__", None) != str(file):
        name = f"{name}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))  # for the modules beside it that it imports
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _cannot_load(flag, call, file, error) from None
    return module


def _from_package(flag: str, call: Call, name: str) -> ModuleType:
    if "" not in sys.path:
        sys.path.append("")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(f"--{flag} {call.name}: {error}; write FILE.py:FUNCTION or package.module:FUNCTION") from None
    except Exception as error:
        raise _cannot_load(flag, call, Path(name), error) from None


def _cannot_load(flag: str, call: Call, place: Path, error: BaseException) -> UserError:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(place)]
    line = getattr(error, "lineno", None) or (lines[-1] if lines else None)
    said = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
    return UserError(f"--{flag} {call.name}: {place.name} can't be loaded, {said}" + f" (line {line})" * bool(line))


def _modules(factory: Any) -> list[ModuleType]:
    """Return the user's own modules that a factory may need: its own, those of its package, and those beside it."""
    module = sys.modules.get(getattr(factory, "__module__", None) or "")
    return [] if module is None or module.__name__ == "__main__" or is_installed(module) else own_modules(module)


def _shipped(flag: str, name: str, factory: Any) -> ShippedFactory | None:
    """Return how a factory that was named is sent; None if another one was registered from Python by its name."""
    shipped = _SHIPPED.get((flag, name))
    return shipped if shipped and shipped.factory is factory else None
