"""The own code that a sweep records: kept beside it, signed, and loaded again.

A sweep keeps its own modules as files `code/<sha256>`. What this user has signed runs
without being named again; of anybody else's sweep nothing runs, unless the user says
that its code is trusted.
"""

from __future__ import annotations

import ast
import hashlib
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from mnist_tune import storage
from mnist_tune.errors import UserError
from mnist_tune.invocation import words
from mnist_tune.loop import Loop
from mnist_tune.named_code import parse_call
from mnist_tune.own_code import modules
from mnist_tune.own_code.loading import contents, names_in, sources
from mnist_tune.own_code.modules import TEXTS, Attribute, Source
from mnist_tune.own_code.registry import ENTRIES, Entry, names_own_code, recorded_name
from mnist_tune.own_code.signature import RecordedCode, exposed_key, made_by, user_key
from mnist_tune.storage import Place
from mnist_tune.terminal import Note, note

FOLDER = "code"
"""The folder of a sweep's own modules."""

MOST_SOURCE = 2**24
"""The most bytes of a module that are read."""


def sign(
    content: dict[str, Any], owners: Iterable[Any], say: Callable[[Note], None]
) -> None:
    """Record in the content of a `sweep.json` how its trials and options (`owners`)
    call own code, and this user's signature of it and of `code`. Say if there is no
    private key.

    Call it only if all of the code was read from a file that the user named, or was
    trusted.
    """
    if not content["code"]:
        return
    content.setdefault("id", uuid.uuid4().hex)
    content["code_calls"] = _calls_of(content["code"], owners)
    content["code_signature"] = None
    exposed = exposed_key()
    key = user_key()
    if exposed is not None and key is not None:
        say(
            note(
                f"others could read your key {exposed}, so a new one signs from now on; older sweeps of yours ask for --trust-code once"
            )
        )
    if key is None:
        say(
            note(
                "no private file can be kept in your configuration folder, so your code is not signed; a later command asks for --trust-code"
            )
        )
        return
    content["code_signature"] = RecordedCode.of(content).signed_by(key)


def _calls_of(
    code: Iterable[Mapping[str, Any]], owners: Iterable[Any]
) -> dict[str, list[str]]:
    """Return the texts with which trials or options call this code, by what they make:
    tasks stand in the field `architecture` of trials."""
    names = {(made_by(factory["flag"]), factory["name"]) for factory in code}
    calls: dict[str, set[str]] = {kind: set() for kind, _ in names}
    for flag, texts in names_in(*owners).items():
        kind = made_by(flag)
        for text in set(texts):
            if (kind, parse_call(text).name) in names:
                calls[kind].add(text)
    return {kind: sorted(texts) for kind, texts in calls.items()}


def files_of(code: Iterable[Mapping[str, Any]]) -> dict[str, bytes]:
    """Return the files of a sweep's folder that keep this code, by their names."""
    return {f"{FOLDER}/{digest}": text for digest, text in contents(code).items()}


def load_recorded(
    recorded: RecordedCode,
    where: Place,
    owners: Iterable[Any],
    named_now: Mapping[str, Iterable[str]],
    *,
    names_needed: Collection[str] | None = None,
    say: Callable[[Note], None],
    trust_code: bool = False,
    changed_code: bool = True,
) -> None:
    """Load what a sweep records of own code.

    Args:
        recorded: what the sweep recorded.
        where: its folder.
        owners: the trials or options of the folder that call the code next.
        named_now: what the user names now, by flag. It has been loaded from its files.
        names_needed: the names of the code that is needed; None if all of it is.
        trust_code: run what another user recorded, too.
        changed_code: go on with a named file that is not what was recorded.

    Raises:
        UserError: the code is not this user's, is lacking or damaged, or a named file
            has changed.
    """
    named = _named(recorded.factories, named_now)
    to_load = []
    for factory in recorded.factories:
        if names_needed is not None and factory["name"] not in names_needed:
            continue
        if (made_by(factory["flag"]), factory["name"]) in named:
            _compare(factory, where, say, changed_code)
        elif factory.get("module"):
            to_load.append(factory)
    if not to_load:
        return
    if not trust_code:
        _refuse_untrusted(recorded, where, to_load, list(owners))
    _load(where, to_load)
    for factory in to_load:
        _note_changed_file(recorded, factory, say)


def _named(
    code: Iterable[Mapping[str, Any]], named_now: Mapping[str, Iterable[str]]
) -> set[tuple[str, str]]:
    """Return which of this code the user names now, perhaps by another path."""
    recorded: dict[str, set[str]] = {}
    for factory in code:
        recorded.setdefault(made_by(factory["flag"]), set()).add(factory["name"])
    named = set()
    for flag, texts in named_now.items():
        kind = made_by(flag)
        for text in texts:
            name = recorded_name(flag, parse_call(text).name, recorded.get(kind, ()))
            if name is not None:
                named.add((kind, name))
    return named


def refuse_other_calls(
    recorded: RecordedCode,
    where: Place,
    owners: Iterable[Any],
    trust_code: bool = False,
) -> None:
    """Raise a `UserError` if trials of a folder call the code that it records in
    another way than is signed, or code that it does not record. Code that the user has
    named is not looked at."""
    owners = list(owners)
    if recorded.signature:
        _refuse_strangers(recorded, where, owners)
    loaded = []
    for factory in recorded.factories:
        entry = ENTRIES[factory["flag"]].get(factory["name"])
        if entry is not None and entry.is_recorded:
            loaded.append(factory)
    if loaded and not trust_code:
        _refuse_untrusted(recorded, where, loaded, owners)


def _refuse_strangers(
    recorded: RecordedCode, where: Place, owners: Iterable[Any]
) -> None:
    """Raise a `UserError` if trials of a signed sweep call code that it does not
    record."""
    names = {
        (made_by(factory["flag"]), factory["name"]) for factory in recorded.factories
    }
    for flag, texts in names_in(*owners).items():
        for text in texts:
            name = parse_call(text).name
            is_known = name in ENTRIES[flag] or (made_by(flag), name) in names
            if names_own_code(name) and not is_known:
                raise UserError(
                    f"{where} would run {name[:200]}, which its sweep did not record; somebody has changed the folder"
                )


def _refuse_untrusted(
    recorded: RecordedCode,
    where: Place,
    code: Iterable[Mapping[str, Any]],
    owners: Iterable[Any],
) -> None:
    """Raise a `UserError` unless this user has signed this code and these calls."""
    calls = _calls_of(code, owners)
    called = {text for texts in calls.values() for text in texts}
    if recorded.is_signed:
        why = "is none of the calls you signed"
        untrusted = set()
        for kind, texts in calls.items():
            untrusted |= set(texts).difference(recorded.calls.get(kind, ()))
    else:
        why = "is not signed by you"
        exposed = exposed_key()
        if exposed is not None:
            why = f"can't be told to be yours, since others can read your key {exposed}"
        untrusted = called or {factory["name"] for factory in code}
    if not untrusted:
        return
    runs = ", ".join(sorted(untrusted))[:200]
    flags = " ".join(
        dict.fromkeys(
            words(factory["flag"], factory["name"])
            for factory in code
            if names_own_code(factory["name"])
        )
    )
    instead = f", or name a file of yours: {flags}" if flags else ""
    raise UserError(
        f"{where} would run {runs}, which {why}; read {storage.join(where, FOLDER)}, and add --trust-code to run it (trust_code=True from Python){instead}"
    )


def _load(where: Place, code: Iterable[Mapping[str, Any]]) -> None:
    """Have these factories imported from the modules that a folder keeps, once their
    content is what was recorded."""
    texts: dict[str, Source] = {}
    for factory in code:
        for file, record in factory["files"].items():
            name = record["module"]
            if not all(part.isidentifier() for part in name.split(".")):
                raise UserError(f"{where}: {name[:80]!r} is no name of a module")
            content = _kept(where, record["sha256"], file)
            texts[name] = Source(record["path"], content, is_recorded=True)
    for name, source in texts.items():
        loaded = TEXTS.get(name)
        if loaded is not None and loaded.content == source.content:
            texts[name] = loaded
    is_loaded = all(TEXTS.get(name) is source for name, source in texts.items())
    modules.receive(texts)
    for factory in code:
        place = Attribute(factory["module"], factory["attribute"])
        entry = ENTRIES[factory["flag"]].get(factory["name"])
        # A new entry would have its programs compiled again.
        if entry is None or entry.load != place or not is_loaded:
            entry = Entry(place, is_recorded=True)
            if "loop" in factory:
                entry.modules = tuple(texts)
                entry.loop = Loop(**factory["loop"])
            ENTRIES[factory["flag"]][factory["name"]] = entry


def _kept(where: Place, digest: str, file: str) -> bytes:
    """Return the content of a module that a folder keeps."""
    place = storage.join(where, FOLDER, digest)
    damaged = f"{place}, which keeps {file}"
    if len(digest) != 64 or not all(letter in "0123456789abcdef" for letter in digest):
        raise UserError(f"{where} names no file of {FOLDER} for {file}")
    folder = storage.join(where, FOLDER)
    try:
        if isinstance(folder, Path):
            storage.refuse_link(folder)
        with storage.open_file(place, MOST_SOURCE) as opened:
            content = opened.read()
    except OSError as error:
        raise UserError(
            f"can't read {damaged}: {storage.reason(error)}; name your file in its place"
        ) from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise UserError(
            f"{damaged}, was changed after it was written; name your file in its place"
        )
    return content


def _compare(
    factory: Mapping[str, Any],
    where: Place,
    say: Callable[[Note], None],
    changed_code: bool,
) -> None:
    """Say what has changed in the named files since a sweep started, or refuse it."""
    flag, name = factory["flag"], factory["name"]
    [now] = sources({flag: [name]}) or [{"files": {}}]
    by_digest = contents([now])
    for file, before in factory["files"].items():
        after = now["files"].get(file)
        if after is None or after["sha256"] == before["sha256"]:
            continue
        old, new = _recorded_text(before, where, file), by_digest[after["sha256"]]
        if old is not None and _is_same_program(old, new):
            continue
        text = f"{file} has changed since the sweep started{_where(old, new)}"
        if not changed_code:
            raise UserError(
                f"{text}; leave {words(flag, name)} out to run what was recorded, or add --changed-code (changed_code=True from Python)"
            )
        say(note(text))


def _recorded_text(before: Mapping[str, Any], where: Place, file: str) -> bytes | None:
    """Return the recorded content of a file; None if an older version kept its digest
    alone."""
    if before.get("module"):
        return _kept(where, before["sha256"], file)
    if "lines" in before:
        return "\n".join(before["lines"]).encode()
    return None


def _is_same_program(one: bytes, other: bytes) -> bool:
    """Return whether two texts differ in comments and blank lines alone."""
    try:
        return ast.dump(ast.parse(one)) == ast.dump(ast.parse(other))
    except (SyntaxError, ValueError, RecursionError):
        return one == other


def _where(before: bytes | None, now: bytes) -> str:
    """Return where two texts differ first, for a sentence."""
    if before is None:
        return ""
    _, old = _code_lines(before)
    numbers, new = _code_lines(now)
    first = 0
    while first < min(len(old), len(new)) and old[first] == new[first]:
        first += 1
    if first == len(old) == len(new):
        return ""
    gone = len(old) - len(new)
    if gone > 0 and old[first + gone :] == new[first:]:
        line = f"without {old[first].strip()!r}"
        number = 1
        if first:
            number = numbers[first - 1] + 1
    else:
        line = new[first].strip()
        number = numbers[first]
    return f", first in line {number}: {line[:80]}"


def _code_lines(content: bytes) -> tuple[list[int], list[str]]:
    """Return the lines of a text that are neither blank nor comments, with their
    numbers before them."""
    numbers, lines = [], []
    for number, line in enumerate(content.decode(errors="replace").splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            numbers.append(number)
            lines.append(line)
    return numbers, lines


def _note_changed_file(
    recorded: RecordedCode, factory: Mapping[str, Any], say: Callable[[Note], None]
) -> None:
    """Say that the recorded text runs, if the user's file is another by now."""
    for file, record in factory["files"].items():
        path = Path(record["path"])
        try:
            with storage.open_file(path, MOST_SOURCE, links=True) as opened:
                now = opened.read()
        except OSError:
            continue
        content = TEXTS[record["module"]].content
        if _is_same_program(content, now):
            continue
        flag = factory["flag"]
        flags = words(flag, recorded.named_from_here(flag, factory["name"]))
        say(
            note(
                f"{file} has changed since{_where(content, now)}; what was recorded runs, and {flags} --changed-code takes the file"
            )
        )
        return
