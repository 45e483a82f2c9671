"""The user's networks and optimisers: loaded where they are named, recorded, and sent
to the processes that train.

Code runs because somebody named it on the command line, or registered it from Python;
never because a results folder names it.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from mnist_tune import storage
from mnist_tune.errors import UserError, closest, printable
from mnist_tune.invocation import resume, words
from mnist_tune.named_code import Call, parse_call
from mnist_tune.own_code import modules
from mnist_tune.own_code.modules import TEXTS, Attribute, Source, belonging
from mnist_tune.own_code.registry import (
    ENTRIES,
    OF_TRIALS,
    Entry,
    Factory,
    is_not_loaded,
    names_own_code,
)
from mnist_tune.terminal import Note, note

MOST_TEXT = 2**17
"""Bytes of a source file that `sweep.json` keeps, so that a resume can say which line
has changed."""


Code = tuple[Mapping[str, Source], Mapping[tuple[str, str], Callable[[], Factory]]]
"""Own code for other processes: the texts of its modules, and by flag and name what
returns each factory."""


def names_in(*owners: Any) -> dict[str, list[str]]:
    """Return the networks and optimisers that trials or options name, by flag."""
    fields = [one if isinstance(one, Mapping) else vars(one) for one in owners]
    return {
        flag: [text for one in fields for text in _texts(one.get(flag))]
        for flag in ENTRIES
    }


def _texts(value: Any) -> Sequence[str]:
    return [value] if isinstance(value, str) else value or ()


def load_own(*owners: Any) -> None:
    """Load the code that trials or options name as `FILE.py:FUNCTION` or
    `package.module:FUNCTION`. If a file has changed since it was loaded, all named code
    is loaded anew. Raises `UserError` if there is no such file, module or function, or
    it can't be loaded."""
    if other := modules.changed():
        for known in ENTRIES.values():
            known.update(
                {
                    name: Entry(place)
                    for name, one in known.items()
                    if (place := _place(one))
                }
            )
        modules.forget(other)
        for name in other:  # a function of the session may still refer to it
            with suppress(Exception, SystemExit):
                modules.load(name)
    for flag, texts in names_in(*owners).items():
        for call in map(parse_call, texts):
            if names_own_code(call.name) and not (
                call.name in ENTRIES[flag] and ENTRIES[flag][call.name].is_loaded
            ):
                ENTRIES[flag][call.name] = Entry(_named(flag, call))
            if entry := ENTRIES[flag].get(call.name):
                with _telling(flag, call, call.name):
                    entry.factory  # noqa: B018
                belonging(_module(entry))  # to know their texts from now on


def own_code() -> Code:
    """Return the code that is loaded or registered, for other processes. What is in a
    module of the user's goes with the texts of its modules, and what is in no file by
    value."""
    loaded = {
        (flag, name): one
        for flag in OF_TRIALS
        for name, one in ENTRIES[flag].items()
        if one.is_loaded
    }
    texts = {
        module: TEXTS[module]
        for entry in loaded.values()
        for module in belonging(_module(entry))
    }
    return texts, {
        key: _place(entry) or _by_value(*key, entry) for key, entry in loaded.items()
    }


def register_own(code: Code) -> None:
    """Register what `own_code` returned, in another process."""
    texts, loads = code
    modules.receive(texts)
    for (flag, name), one in loads.items():
        ENTRIES[flag][name] = Entry(one)


def _place(entry: Entry) -> Attribute | None:
    """Return where a factory is, if it is in a module that others can import, too."""
    if isinstance(entry.load, Attribute):
        return entry.load
    name, module = getattr(entry.factory, "__qualname__", ""), _module(entry)
    own = module is not None and module.__name__ in belonging(module)
    return (
        Attribute(module.__name__, name)
        if module and own and getattr(module, name, None) is entry.factory
        else None
    )


def _by_value(flag: str, name: str, entry: Entry) -> Callable[[], Factory]:
    """Return what loads a factory elsewhere or, if it can't be sent, says so there:
    perhaps nobody asks for it."""
    from ray import cloudpickle

    module = _module(entry)
    if modules.is_importing(module):  # to import it elsewhere would run the sweep again
        cloudpickle.register_pickle_by_value(module)
    try:
        return partial(cloudpickle.loads, cloudpickle.dumps(entry.factory))
    except Exception as error:  # of any kind, by what it refers to
        why = f"{modules.in_a_line(error)}; make what it refers to inside it"
        return partial(
            _refuse, f"{flag} {name!r} can't be sent to other processes, {why}"
        )


def _refuse(said: str) -> Factory:
    raise UserError(said)


def _module(entry: Entry) -> ModuleType | None:
    if isinstance(entry.load, Attribute):
        return sys.modules.get(entry.load.module)
    function = getattr(entry.factory, "func", entry.factory)  # of a functools.partial
    return sys.modules.get(getattr(function, "__module__", None) or "")


def sources(used: Mapping[str, Iterable[str]]) -> list[dict[str, Any]]:
    """What `sweep.json` keeps of the own code that trials name in these texts, by flag:
    flag, name, and each file's SHA-256 and text."""
    found = []
    for flag, texts in used.items():
        for name in sorted(
            {parse_call(text).name for text in texts} & ENTRIES[flag].keys()
        ):
            files = {
                Path(TEXTS[one].file): TEXTS[one].content
                for one in belonging(_module(ENTRIES[flag][name]))
            }
            top = min(
                (file.parent for file in files),
                key=lambda folder: len(folder.parts),
                default=Path(),
            )
            known = {
                str(file.relative_to(top))
                if file.is_relative_to(top)
                else file.name: _source(content)
                for file, content in files.items()
            }
            found.append(
                {"flag": flag, "name": name, "folder": os.getcwd(), "files": known}
            )
    return found


def refuse_unknown(where: Any, *owners: Any) -> None:
    """Raise a `UserError` if a folder names code in its options or trials that nobody
    has named in this process."""
    named = (
        (flag, text)
        for flag, texts in names_in(*owners).items()
        for text in texts
        if is_not_loaded(flag, text)
    )
    check_again(
        [
            {"flag": flag, "name": parse_call(text).name, "files": {}}
            for flag, text in named
        ],
        where,
        print,
    )


def check_again(
    recorded: Iterable[Mapping[str, Any]],
    where: Any,
    say: Callable[[Note], None],
    how: str = "resume",
) -> None:
    """Refuse to go on with a sweep, by the option `how`, that runs code which is
    lacking, and say which of its files have changed, and where. Raises `UserError` if a
    factory has not been named again."""
    missing = [
        one for one in recorded if one["name"] not in ENTRIES.get(one["flag"], ())
    ]
    if missing:
        untold = f"{where} trains code of your own, which a results folder can't run"
        if plain := [one["name"] for one in missing if not names_own_code(one["name"])]:
            raise UserError(
                f"{untold}; register {', '.join(map(repr, plain))} again, and give {how}=... from Python"
            )
        folder = missing[0].get("folder")
        names = " ".join(words(one["flag"], one["name"]) for one in missing)
        raise UserError(
            f"{untold}; name it again"
            + f", in {folder}" * (isinstance(folder, str) and folder != os.getcwd())
            + f": {resume(where) if how == 'resume' else words(how, where)} {names}, or register it from Python"
        )
    used = {
        flag: [one["name"] for one in recorded if one["flag"] == flag]
        for flag in ENTRIES
    }
    load_own(used)
    now = {(one["flag"], one["name"]): one for one in sources(used)}
    for before in recorded:
        files = now[before["flag"], before["name"]]["files"]
        for file, was in before["files"].items():
            if file in files and files[file]["sha256"] != was["sha256"]:
                say(
                    note(
                        f"{file} has changed since the sweep started{_where(was, files[file])}"
                    )
                )


def _where(was: Mapping[str, Any], is_now: Mapping[str, Any]) -> str:
    # `sweep.json` is read with its control characters escaped, such as tabs.
    before, now = (printable(one.get("lines", [])) for one in (was, is_now))
    if before == now or not (before and now):
        return ""
    same = (
        number
        for number, (one, other) in enumerate(zip(before, now, strict=False))
        if one != other
    )
    first, fewer = next(same, min(len(before), len(now))), len(before) - len(now)
    gone = fewer > 0 and before[first + fewer :] == now[first:]
    line = (
        f"without {before[first].strip()!r}" if gone else is_now["lines"][first].strip()
    )
    return f", first in line {first + 1}: {line[:80]}"


def _source(content: bytes) -> dict[str, Any]:
    lines = (
        {"lines": content.decode(errors="replace").splitlines()}
        if len(content) <= MOST_TEXT
        else {}
    )
    return {"sha256": hashlib.sha256(content).hexdigest(), **lines}


def _named(flag: str, call: Call) -> Attribute:
    """Return where a factory is, in a module that is loaded now."""
    place, _, name = call.name.rpartition(":")
    # without "..": one name each
    file, is_file = Path(os.path.abspath(storage.local(place))), place.endswith(".py")
    if is_file and not file.is_file():
        raise UserError(
            f"--{flag} {call.name}: there is no file {file}; write FILE.py:FUNCTION"
        )
    folder = str(file.parent) if is_file else ""
    if folder not in sys.path:
        sys.path.append(folder)  # for the modules beside it that it imports
    with _telling(flag, call, place):
        module = modules.load(_known(file) if is_file else place)
    if not callable(there := getattr(module, name, None)):
        known = [
            one
            for one, value in vars(module).items()
            if callable(value) and not one.startswith("_")
        ]
        made = f"; it is of type {type(there).__name__}, so write a function that returns it"
        said = closest(name, known) if there is None else made
        raise UserError(f"--{flag} {call.name}: {place} has no function {name!r}{said}")
    return Attribute(module.__name__, name)


def _known(file: Path) -> str:
    """Return the name of a file's module, whose text is in `TEXTS` then."""
    name = re.sub(r"\W", "_", file.stem)  # a dot would make it a module of a package
    if name in sys.modules and getattr(sys.modules[name], "__file__", None) != str(
        file
    ):
        name = f"{name}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    if name not in sys.modules or name not in TEXTS:
        TEXTS[name] = Source.of(str(file))
    return name


@contextmanager
def _telling(flag: str, call: Call, place: str) -> Iterator[None]:
    """Say in one line what can't be loaded, and why."""
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and not place.endswith(".py"):
            how = "write FILE.py:FUNCTION or package.module:FUNCTION"
            raise UserError(f"--{flag} {call.name}: {error}; {how}") from None
        said = f"{Path(place).name} can't be loaded, {modules.in_a_line(error)}"
        raise UserError(f"--{flag} {call.name}: {said}") from None
