"""The user's networks and optimisers: loaded where they are named, recorded, and sent
to the processes that train.

Code runs because somebody named it on the command line, or registered it from Python.
What a results folder has recorded is in `recorded`.
"""

from __future__ import annotations

import ast
import hashlib
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from mnist_tune import storage
from mnist_tune.errors import UserError, closest
from mnist_tune.invocation import resume, words
from mnist_tune.loop import Loop
from mnist_tune.named_code import Call, parse_call
from mnist_tune.own_code import modules
from mnist_tune.own_code.modules import TEXTS, Attribute, Source, belonging
from mnist_tune.own_code.registry import (
    ENTRIES,
    OF_TRIALS,
    TOTAL_STEPS,
    Entry,
    Factory,
    asks_for,
    is_from_file,
    names_own_code,
)

Code = tuple[Mapping[str, Source], Mapping[tuple[str, str], Callable[[], Factory]]]
"""Own code for other processes: the texts of its modules, and by flag and name what
returns each factory."""


def names_in(*owners: Any) -> dict[str, list[str]]:
    """Return the networks and optimisers that trials or options name, by flag."""
    names: dict[str, list[str]] = {flag: [] for flag in ENTRIES}
    for owner in owners:
        fields = owner if isinstance(owner, Mapping) else vars(owner)
        for flag, texts in names.items():
            value = fields.get(flag) or ()
            texts += [value] if isinstance(value, str) else value
    return names


def load_own(*owners: Any) -> None:
    """Load the code that trials or options name as `FILE.py:FUNCTION` or
    `package.module:FUNCTION`. If a file has changed since it was loaded, all named code
    is loaded anew. Raises `UserError` if there is no such file, module or function, or
    it can't be loaded."""
    outdated = modules.changed()
    if outdated:
        _forget(outdated)
    for flag, texts in names_in(*owners).items():
        for call in map(parse_call, texts):
            is_there = is_from_file(flag, call.name) and _is_loaded(flag, call.name)
            if names_own_code(call.name) and not is_there:
                if flag == "loop":
                    ENTRIES[flag][call.name] = _loaded_apart(call.name)
                else:
                    ENTRIES[flag][call.name] = Entry(_named(flag, call))
            entry = ENTRIES[flag].get(call.name)
            if entry is not None and not entry.modules:
                with telling_why(flag, call.name, call.name):
                    entry.factory  # noqa: B018
                belonging(_module(entry))  # to know their texts from now on


APART = "from mnist_tune.own_code.loading import write_loop; write_loop()"
"""What a process runs that imports the file of a loop, for one that must not."""


def _loaded_apart(name: str) -> Entry:
    """Return a loop that another process has loaded from its file, which this process
    does not import. Raises `UserError` if that can't be done."""
    folders = os.pathsep.join(sys.path)
    with TemporaryDirectory() as folder:
        file = Path(folder, "loop")
        command = [sys.executable, "-P", "-c", APART, name, str(file)]
        subprocess.run(command, env=os.environ | {"PYTHONPATH": folders})
        if not file.exists():
            raise UserError(f"--loop {name}: the process that imported it died")
        loaded = pickle.loads(file.read_bytes())
    if isinstance(loaded, UserError):
        raise loaded
    place, texts, loop = loaded
    for module, source in texts.items():
        if TEXTS.setdefault(module, source) != source:
            raise UserError(
                f"--loop {name}: another file is a module {module}, too; rename one"
            )
    return Entry(place, modules=tuple(texts), loop=loop)


def write_loop() -> None:
    """Write to a file where a loop is, the texts of its modules, and what is known of
    it; or the `UserError` that says why not."""
    _, name, file = sys.argv
    loaded: Any
    _set_variables(name.rpartition(":")[0])
    try:
        place = _named("loop", Call(name))
        loop = place()
        if not isinstance(loop, Loop):
            kind = type(loop).__name__
            raise UserError(f"--loop {name} is of type {kind}; name a mnist_tune.Loop")
        own = belonging(sys.modules[place.module])
        texts = {module: TEXTS[module] for module in own}
        loaded = place, texts, loop.without_code()
    except UserError as error:
        loaded = error
    Path(file).write_bytes(pickle.dumps(loaded))


def _set_variables(file: str) -> None:
    """Set the variables that a file gives its loops, if they are literals: it may not
    be imported without them."""
    with suppress(OSError, SyntaxError, ValueError, TypeError):
        for node in ast.walk(ast.parse(Path(file).read_bytes())):
            if isinstance(node, ast.keyword) and node.arg == "env":
                os.environ |= ast.literal_eval(node.value)


def _forget(outdated: Collection[str]) -> None:
    """Have all code that is in modules loaded anew, since these have changed."""
    imported = outdated & sys.modules.keys()
    for entries in ENTRIES.values():
        for name, entry in entries.items():
            place = _place(entry)
            if place is not None:
                entries[name] = Entry(place, entry.is_recorded)
    modules.forget(outdated)
    for name in imported:  # a function of the session may still refer to it
        with suppress(Exception, SystemExit):
            modules.load(name)


def _is_loaded(flag: str, name: str) -> bool:
    entry = ENTRIES[flag].get(name)
    return entry is not None and entry.is_loaded


def own_code() -> Code:
    """Return the code that is loaded or registered, for other processes. What is in a
    module of the user's goes with the texts of its modules, and what is in no file by
    value."""
    texts: dict[str, Source] = {}
    loads: dict[tuple[str, str], Callable[[], Factory]] = {}
    for flag in OF_TRIALS:
        for name, entry in ENTRIES[flag].items():
            if not entry.is_loaded and not entry.is_recorded:
                continue
            for module in _modules_of(flag, name, entry):
                texts[module] = TEXTS[module]
            loads[flag, name] = _place(entry) or _by_value(flag, name, entry)
    return texts, loads


def register_own(code: Code) -> None:
    """Register what `own_code` returned, in another process."""
    texts, loads = code
    modules.receive(texts)
    for (flag, name), load in loads.items():
        ENTRIES[flag][name] = Entry(load)


def _place(entry: Entry) -> Attribute | None:
    """Return where a factory is, if it is in a module that others can import, too."""
    if isinstance(entry.load, Attribute):
        return entry.load
    module = _module(entry)
    if module is None or module.__name__ not in belonging(module):
        return None
    name = getattr(entry.factory, "__qualname__", "")
    if getattr(module, name, None) is not entry.factory:
        return None
    return Attribute(module.__name__, name)


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
        line = f"{flag} {name!r} can't be sent to other processes, {why}"
        return partial(_refuse, line)


def _refuse(line: str) -> Factory:
    raise UserError(line)


def _modules_of(flag: str, name: str, entry: Entry) -> Sequence[str]:
    """Return the names of the modules of the user's own that code is in."""
    return entry.modules or belonging(_loaded(flag, name, entry))


def _loaded(flag: str, name: str, entry: Entry) -> ModuleType | None:
    """Load a factory, and return its module."""
    place = name.rpartition(":")[0]
    if isinstance(entry.load, Attribute):
        place = f"{entry.load.module.rpartition('.')[2]}.py"
    with telling_why(flag, name, place):
        entry.factory  # noqa: B018
    return _module(entry)


def _module(entry: Entry) -> ModuleType | None:
    if isinstance(entry.load, Attribute):
        return sys.modules.get(entry.load.module)
    function = getattr(entry.factory, "func", entry.factory)  # of a functools.partial
    return sys.modules.get(getattr(function, "__module__", None) or "")


def sources(used: Mapping[str, Iterable[str]]) -> list[dict[str, Any]]:
    """What `sweep.json` keeps of the own code that trials name in these texts, by flag:
    flag, name, where the factory is, and the SHA-256 of each file."""
    recorded = []
    for flag, texts in used.items():
        names = {parse_call(text).name for text in texts}
        for name in sorted(names & ENTRIES[flag].keys()):
            recorded.append(_source(flag, name))
    return recorded


def _source(flag: str, name: str) -> dict[str, Any]:
    entry = ENTRIES[flag][name]
    own = _modules_of(flag, name, entry)
    paths = {module: Path(TEXTS[module].file) for module in own}
    folders = {path.parent for path in paths.values()}
    top = min(folders, key=lambda folder: len(folder.parts), default=Path())
    files = {}
    for module, path in paths.items():
        file = str(path.relative_to(top)) if path.is_relative_to(top) else path.name
        digest = hashlib.sha256(TEXTS[module].content).hexdigest()
        files[file] = {"sha256": digest, "module": module, "path": str(path)}
    recorded: dict[str, Any] = {"flag": flag, "name": name}
    recorded |= {"folder": os.getcwd(), "files": files}
    place = _place(entry)
    if place is not None:
        recorded |= {"module": place.module, "attribute": place.name}
    if entry.loop is not None:
        recorded["loop"] = vars(entry.loop)
    if flag == "optimizer" and asks_for(entry.factory, TOTAL_STEPS):
        recorded[TOTAL_STEPS] = True
    return recorded


def contents(code: Iterable[Mapping[str, Any]]) -> dict[str, bytes]:
    """Return the contents of the files that `sources` lists, by their SHA-256."""
    by_digest = {}
    for factory in code:
        for file in factory["files"].values():
            by_digest[file["sha256"]] = TEXTS[file["module"]].content
    return by_digest


def refuse_unloaded(
    where: Any, recorded: Iterable[Mapping[str, Any]], *owners: Any, how: str = "resume"
) -> None:
    """Raise a `UserError` if options or trials of a folder name code, or the folder
    has `recorded` some that they name, and it is not loaded in this process.

    Args:
        how: the option that names the folder.
    """
    listed = {(factory["flag"], factory["name"]): factory for factory in recorded}
    missing = []
    for flag, texts in names_in(*owners).items():
        for name in sorted({text.partition("(")[0].strip() for text in texts}):
            is_own = names_own_code(name) or (flag, name) in listed
            if is_own and name not in ENTRIES[flag]:
                missing.append((flag, name))
    if not missing:
        return
    untold = f"{where} trains code of your own, which it has not recorded"
    plain = [name for _, name in missing if not names_own_code(name)]
    if plain:
        names = ", ".join(map(repr, plain))
        raise UserError(
            f"{untold}; register {names} again, and give {how}=... from Python"
        )
    folder = listed.get(missing[0], {}).get("folder")
    place = ""
    if isinstance(folder, str) and folder != os.getcwd():
        place = f", in {folder}"
    flags = " ".join(words(flag, name) for flag, name in missing)
    command = resume(where) if how == "resume" else words(how, where)
    raise UserError(
        f"{untold}; name it{place}: {command} {flags}, or register it from Python"
    )


def _named(flag: str, call: Call) -> Attribute:
    """Return where a factory is, in a module that is loaded now."""
    place, _, name = call.name.rpartition(":")
    to_import = place
    if place.endswith(".py"):
        # without "..": one name each
        file = Path(os.path.abspath(storage.local(place)))
        if not file.is_file():
            raise UserError(
                f"--{flag} {call.name}: there is no file {file}; write FILE.py:FUNCTION"
            )
        to_import = _module_of(file)
        folder = str(file.parent)
    else:
        folder = ""
    if folder not in sys.path:
        sys.path.append(folder)  # for the modules beside it that it imports
    with telling_why(flag, call.name, place):
        module = modules.load(to_import)
    function = getattr(module, name, None)
    if not callable(function):
        raise _no_function(f"--{flag} {call.name}: {place}", module, name)
    return Attribute(module.__name__, name)


def _no_function(where: str, module: ModuleType, name: str) -> UserError:
    """Return the error that a module has no function of this name."""
    value = getattr(module, name, None)
    hint = (
        f"; it is of type {type(value).__name__}, so write a function that returns it"
    )
    if value is None:
        functions = [
            other
            for other, function in vars(module).items()
            if callable(function) and not other.startswith("_")
        ]
        hint = closest(name, functions)
    return UserError(f"{where} has no function {name!r}{hint}")


def _module_of(file: Path) -> str:
    """Return the name of a file's module, whose text is in `TEXTS` then."""
    name = re.sub(r"\W", "_", file.stem)  # a dot would make it a module of a package
    if name in TEXTS and TEXTS[name].is_recorded:
        modules.forget({name})
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) != str(file):
        name += f"_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    if name not in sys.modules or name not in TEXTS:
        TEXTS[name] = Source.of(str(file))
    return name


@contextmanager
def telling_why(flag: str, name: str, place: str) -> Iterator[None]:
    """Say in one line what can't be loaded, and why."""
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and not place.endswith(".py"):
            how = "write FILE.py:FUNCTION or package.module:FUNCTION"
            raise UserError(f"--{flag} {name}: {error}; {how}") from None
        why = f"{Path(place).name} can't be loaded, {modules.in_a_line(error)}"
        raise UserError(f"--{flag} {name}: {why}") from None
