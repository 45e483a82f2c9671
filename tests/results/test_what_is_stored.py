"""What is asked of object storage and of disks, to the letter (`kept_texts`): a sweep's life, turns of several writers.

Object storage is obstore's own in memory here, so that no server runs.
"""

import json
import os
import platform
import re
import secrets
import uuid
from collections import Counter

import pytest
from kept_texts import assert_kept
from obstore.exceptions import PreconditionError
from obstore.store import MemoryStore
from outcomes import outcome

from mnist_tune import Sweep, UserError, load_sweep, object_storage, storage
from mnist_tune.data import dataset, download, files, idx, own
from mnist_tune.results import folder as results_folder
from mnist_tune.results import journal, meta, remote, signs, tables, turns, writer
from mnist_tune.results.folder import fetched, working_folder
from mnist_tune.results.remote import Remote
from mnist_tune.results.signs import is_being_written, last_sign
from mnist_tune.results.turns import Turn

URI = "s3://bucket/sweep?region=x"


def said_of(content):
    """The beginning of what a file holds, and what a `sweep.json` says."""
    if content.startswith(b"PAR1"):
        return "a table"
    if content.startswith(b"{\n"):
        meta = json.loads(content)
        return f"ended {meta['ended']} writer {meta.get('writer')}, {len(meta['options'])} options"
    return repr(re.sub(r'"nonce": "\w+"|"/.*/(?=\w+/sweeps)', "..", content.decode()))[:60]


class Recorded:
    """A store in memory that writes down what it is asked. Each of `failing` is raised by the request of that number,
    before it is done or, with `late`, after. The versions of each file are numbered."""

    def __init__(self):
        self.store, self.said, self.versions = MemoryStore(), [], {}
        self.failing, self.late, self.count, self.puts = {}, False, 0, Counter()

    def call(self, name, path, said, *arguments, **options):
        self.said.append(f"{name.removesuffix('_with_delimiter')} {path}{said}")
        self.count += 1
        error = self.failing.get(self.count) or self.failing.get(name)
        if error and not self.late:
            raise error
        found = getattr(self.store, name)(*arguments, **options)
        if error:
            raise error
        return found

    def put(self, path, content, mode, max_concurrency):
        assert max_concurrency == 4, "how many parts of a file are sent at once"
        over = f" over {self.versions.get(mode['e_tag'], '?')}" if isinstance(mode, dict) else f" {mode}" * bool(mode)
        found = self.call("put", path, f" {said_of(content)}{over}", path, content, mode=mode or "overwrite")
        self.puts[path] += 1
        self.versions[found["e_tag"]] = self.puts[path]
        self.said[-1] += f": {self.puts[path]}"
        return found

    def get(self, path):
        return self.call("get", path, "", path)

    def copy(self, path, to):
        return self.call("copy", path, f" to {to}", path, to)

    def delete(self, paths):
        return self.call("delete", " ".join(paths), "", paths)

    def list(self, path):
        return self.call("list", path, "", path)

    def list_with_delimiter(self, path):
        return self.call("list_with_delimiter", path, "", path)


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """The store of all URIs. Nothing is uploaded but at an end, and no signs are given but the first and the last."""
    store, counted = Recorded(), iter(range(10**6))
    monkeypatch.setattr(object_storage, "_store", lambda uri, patience_s: store)
    monkeypatch.setattr(remote, "INTERVAL_S", 600.0)
    monkeypatch.setattr(remote, "SIGN_S", 600.0)
    monkeypatch.setattr(platform, "node", lambda: "here")
    monkeypatch.setattr(os, "getpid", lambda: 7)
    monkeypatch.setattr(secrets, "token_hex", lambda count: f"{next(counted):0{2 * count}x}")
    monkeypatch.setenv("MNIST_TUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(writer, "ThreadPoolExecutor", InOrder)
    monkeypatch.setattr("mnist_tune.results.folder.ThreadPoolExecutor", InOrder)
    tokens = iter("ABCDEFG")
    monkeypatch.setattr(uuid, "uuid4", lambda: Hex(next(tokens)))
    return store


class Hex:
    def __init__(self, text):
        self.hex = text


class InOrder:
    """Threads that do one thing after the other."""

    def __init__(self, count):
        assert count == 16

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def submit(self, function, *arguments):
        found = function(*arguments)
        return type("Done", (), {"result": lambda self: found})()

    map = staticmethod(map)


def test_what_a_sweep_asks_of_object_storage(kept, new_writer, epoch_row, tmp_path, monkeypatch):
    for module in (remote, results_folder):
        monkeypatch.setattr(module, "SEGMENT_BYTES", 900)
    lines = []

    def told(what):
        lines.extend([f"# {what}", *kept.said])
        kept.said.clear()

    with new_writer(URI) as first:
        told("a new sweep")
        for epoch in (1, 2, 3):
            first.epoch("00000", epoch_row(epoch), False)
        first._remote._upload()
        told("three rows are uploaded")
        first.epoch("00001", epoch_row(1), False)
        first._remote._upload()
        first._remote._upload()
        told("one more, and nothing more")
        first.update_options(lanes=3)
        first._remote._upload()
        told("options")
        first._remote._give_sign()
        told("a sign")
        for trial_id in ("00000", "00001"):
            storage.write(first.state(trial_id), b"state")
        first.end("00000", "diverged")
        kept.said.clear()
        first.finish(ended="then")
        told("its end")
    loaded = load_sweep(URI)
    read = list(kept.said)
    told("it is read, as by who resumes it")
    lines.append(f"{loaded.path} {loaded.trials['stop_reason'].tolist()} {len(loaded.epochs)} epochs")
    with monkeypatch.context() as patch:
        patch.setenv("MNIST_TUNE_CACHE", str(tmp_path / "another"))
        fetched(URI)
        assert kept.said[: len(read)] == read
        del kept.said[: len(read)]
        told("its journal, too")
        lines.append(" ".join(sorted(path.name for path in working_folder(URI).iterdir())))
        lines.append(re.sub(r'"\\"\d+\\""', "V", (working_folder(URI) / ".versions.json").read_text()))
        second = new_writer(URI, resume=True, seen=last_sign(URI))
        told("it is resumed")
        lines.append(f"saved {sorted(second.saved())}, {second.state('00001')}, {second.tunes}")
        second.goes_on("now")
        storage.write(second.state("00000"), b"state")
        kept.said.clear()
        second.epoch("00001", epoch_row(2), False)
        ended = Sweep.of(second.finish(ended="now", options={}))
        told("its end")
        lines.append(outcome(ended.params, "00001"))
        told("the parameters of a trial")
    kept.store.delete([f"sweep/{name}" for name in ("sweep.json", "states/2/00001.npz", "states/2/00000.npz")])
    with new_writer(URI):
        told("a new sweep where sweep.json and states are gone")
    kept.said.clear()
    fetched(URI)
    again = new_writer(URI, resume=True)
    told("resumed on this machine, with no last sign seen")
    again.release()
    told("left")
    lines.append(outcome(new_writer, URI))
    text = "\n".join(lines).replace(str(tmp_path), "TMP").replace(" sweep/", " ")
    assert_kept("object storage", text + "\n")


@pytest.fixture
def place(kept, tmp_path):
    """The end of an upload, with a journal and nothing else."""
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "journal.jsonl").touch()
    return Remote(tmp_path / "local", URI, kept.said.append)


class Passing(OSError):
    """An error of a request that may be answered the next time."""


@pytest.mark.promise("Without an answer, rows are kept and uploaded later")
def test_requests_that_fail_and_answers_that_are_lost(kept, place, monkeypatch, tmp_path):
    changed = PreconditionError("PreconditionFailed at last")
    lines = []

    def put(what, content, *failing, late=False):
        kept.said.clear()
        kept.failing = {kept.count + at: error for at, error in failing}
        kept.late = late
        said = outcome(place._put, "a", content).replace("Request precondition failure", "...").partition("...")[0]
        kept.failing, kept.late = {}, False
        there = outcome(lambda: bytes(kept.store.get("sweep/a").bytes()).decode())
        tried = len(place._tried["a"])
        lines.extend(
            [f"{what}: {said}, there {there.partition(' at ')[0]}, tried {tried}", *(f"  {one}" for one in kept.said)]
        )

    put("first", b"one")
    put("second", b"two")
    put("refused", b"three", (1, OSError("SlowDown later")))
    put("unheard", b"three", (1, OSError("SlowDown later")), late=True)
    put("refused, and then unreadable", b"four", (1, OSError("SlowDown later")), (2, OSError("SlowDown too")))
    put("what was tried", b"four")
    kept.store.put("sweep/a", b"another's")
    put("another's", b"five")
    kept.store.delete(["sweep/a"])
    put("gone", b"six")
    place._versions.clear()
    put("two requests meet", b"seven", (1, changed))
    place._versions.clear()
    kept.store.delete(["sweep/a"])
    put("two requests meet again and again", b"eight", (1, changed), (3, changed), (5, changed))
    put("refused where nothing is", b"nine", (1, OSError("SlowDown later")))

    def uploads(what, *failing, again=1):
        kept.said.clear()
        kept.failing = dict(failing)
        said = [outcome(place._upload) for _ in range(again)]
        kept.failing = {}
        lines.extend([f"{what}: {said}, refused {place.refused}", *(f"  {one}" for one in kept.said)])

    place.files["sweep.json"] = b"one"
    uploads("an upload fails twice", ("put", OSError("SlowDown later")), again=2)
    uploads("and works again", again=2)
    place._say = lambda line: exec("raise BrokenPipeError")
    place.files["sweep.json"] = b"two"
    uploads("nobody reads what is said", ("put", OSError("SlowDown later")))
    monkeypatch.setattr(remote.time, "sleep", lambda seconds: kept.said.append(f"wait {seconds}"))
    clock = iter(range(0, 1000, 30))
    monkeypatch.setattr(remote.time, "monotonic", lambda: next(clock))
    kept.said.clear()
    kept.failing = {"put": OSError("SlowDown\nlater")}
    lines.extend(["closed: " + outcome(place.close), *(f"  {one}" for one in kept.said)])
    kept.failing = {}
    place._say = kept.said.append
    place.files["sweep.json"] = b"three"
    kept.store.put("sweep/sweep.json", b"another's")
    uploads("another has written", again=2)
    lines.append("closed: " + outcome(place.close))
    assert_kept("uploads", "\n".join(lines).replace(str(tmp_path), "TMP") + "\n")


SIGNS = {
    "none": None,
    "ended": b"{}",
    "of another machine": b'{"host": "there", "folder": "/x"}',
    "that cannot be printed": b'{"host": "a\\u001b"}',
    "of no host": b'{"host": 1}',
    "a list": b"[]",
    "no text": b"\xff",
    "deep": b"[" * 100_000,
    "as large as may be": b'{"host": "x"}' + b" " * (signs.SIGN_BYTES - 13),
    "larger": b'{"host": "x"}' + b" " * (signs.SIGN_BYTES - 12),
}


def test_signs_of_life(kept, monkeypatch, tmp_path):
    """What a reader and a resume make of the signs of another machine."""
    lines = []
    here = {"host": "here", "folder": str(working_folder(URI))}
    kinds = SIGNS | {
        "of this folder": json.dumps(here).encode(),
        "of this machine": json.dumps(here | {"folder": "/x"}).encode(),
        "of this folder's name elsewhere": json.dumps(here | {"host": "there"}).encode(),
    }
    for name, content in kinds.items():
        if content is not None:
            kept.store.put("sweep/writer.json", content)
        found = {}
        for age in (0.0, 119.9, 120.0):
            monkeypatch.setattr(signs, "_age", lambda to, age=age: age)
            found[age] = outcome(is_being_written, URI)
        lines.append(f"{name}: {outcome(lambda: last_sign(URI).writer)}; is written, by age: {found}")
    assert_kept("signs of life", "\n".join(lines).replace(str(tmp_path), "TMP") + "\n")


def test_the_age_of_a_sign_is_by_the_clock_of_the_storage(kept, monkeypatch):
    kept.store.put("sweep/writer.json", b"{}")
    age = signs._age(URI)
    assert 0 <= age < 10
    kept.store.delete(["sweep/writer.json"])
    assert signs._age(URI) == float("inf")
    requests = [re.sub("clock-0+[0-9a-f]+", "CLOCK", one) for one in kept.said]
    assert requests[:3] == ["put sweep/CLOCK '': 1", "list sweep", "delete sweep/CLOCK"]
    kept.failing = {"list_with_delimiter": OSError("SlowDown later")}
    with pytest.raises(OSError, match="SlowDown later"):
        signs._age(URI)
    assert object_storage.below(URI) == []


# --- turns on a shared mount


def mounts(*kinds):
    """What the system says of mounts of these kinds at /, /a, /a/b and /a b."""
    places = ("/", "/a", "/a/b", "/a\\040b")
    return "".join(f"2 1 8:1 / {at} rw - {kind} dev rw\n" for at, kind in zip(places, kinds, strict=False))


@pytest.mark.promise("On a shared mount, a writer elsewhere is waited for until it has been silent for a minute")
def test_turns_of_several_nodes(tmp_path, monkeypatch):
    lines, said, slept = [], [], []
    monkeypatch.setattr(turns.time, "sleep", slept.append)
    host = ["one"]
    monkeypatch.setattr(platform, "node", lambda: host[0])
    (tmp_path / ".lock").touch()

    def state(name, found="begun"):
        files = {path.name: path.read_text() for path in sorted(tmp_path.glob("writer-*"))}
        text = f"{name}: {found}; {files}; {len(slept)} waits; {said}"
        lines.append(re.sub(r"\d+ s ago; waiting \d+ s", "S s ago; waiting S s", text))
        said.clear()
        slept.clear()

    first = Turn(tmp_path, said.append)
    state("the first")
    state("goes on", outcome(first.go_on))
    host[0] = "two"
    second = Turn(tmp_path, said.append)
    state("another node's")
    state("the first goes on", outcome(first.go_on))
    first.end()
    state("the first ends")
    host[0] = "three"
    monkeypatch.setattr(turns.time, "sleep", lambda seconds: second.go_on())
    state("a living one", outcome(Turn, tmp_path, said.append))
    monkeypatch.setattr(turns.time, "sleep", slept.append)
    second.end()
    state("the second ends")
    third = Turn(tmp_path, said.append)
    state("after an end")
    monkeypatch.setattr(Turn, "_newest", lambda turn: 2)
    state("at once", outcome(Turn, tmp_path, said.append))
    monkeypatch.undo()
    monkeypatch.setattr(turns.time, "sleep", slept.append)
    monkeypatch.setattr(platform, "node", lambda: "three")
    Turn(tmp_path, said.append)
    state("on the same node")
    (tmp_path / "writer-x").touch()
    (tmp_path / "writer-0000000012").touch()
    state("other names", outcome(third._newest))
    monkeypatch.setattr(platform, "node", lambda: "four")
    monkeypatch.setattr(turns.time, "sleep", lambda seconds: (tmp_path / "writer-4").unlink())
    state("gone meanwhile", outcome(Turn, tmp_path, said.append))
    monkeypatch.setattr(turns, "MOUNTS", tmp_path / "mounts")
    for kinds, folder in (
        (("ext4",), "/a"), (("nfs4",), "/a"), (("ext4", "nfs"), "/a/c"), (("nfs", "ext4"), "/a/c"), ((), "/a"),
        (("nfs", "ext4"), "/b"), (("ext4", "ext4", "cifs"), "/a/b"), (("ext4", "ext4", "ext4", "lustre"), "/a b/c"),
        (("fuse.sshfs",), "/"), (("fuseblk",), "/"), (("overlay",), "/"), (("smb3",), "/"), (("tmpfs",), "/"),
    ):  # fmt: skip
        (tmp_path / "mounts").write_text(mounts(*kinds))
        lines.append(f"{' '.join(kinds)}: {folder} is shared: {turns.is_shared(turns.Path(folder))}")
    (tmp_path / "mounts").unlink()
    lines.append(f"another system: {turns.is_shared(tmp_path)}")
    assert_kept("turns", "\n".join(lines).replace(str(tmp_path), "HERE") + "\n")


# --- a local folder


@pytest.mark.promise("A power cut costs the rows of the last second, and nothing that was synced")
@pytest.mark.promise("States of completed trials are kept if they are small enough")
def test_what_a_sweep_does_to_its_folder(new_writer, epoch_row, tmp_path, monkeypatch):
    """The order in which files are written, synced and named: what survives a power cut."""
    lines = []

    def named(path):
        return re.sub(r"\.\w{16}\.part", ".part", os.path.relpath(path, tmp_path))

    done = {name: getattr(os, name) for name in ("fsync", "replace")}

    def fsync(descriptor):
        if not (path := named(os.readlink(f"/proc/self/fd/{descriptor}"))).startswith(".."):
            lines.append(f"sync {path}")
        done["fsync"](descriptor)

    def replace(part, whole):
        assert re.fullmatch(r"\.(.*)\.\w{16}\.part", part.name)[1] == whole.name
        lines.append(f"name {named(whole)}")
        done["replace"](part, whole)

    monkeypatch.setattr(storage, "SYNC_S", 600.0)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    where = tmp_path / "sweep"
    with new_writer(where) as first:
        lines.append("# rows")
        first.epoch("00000", epoch_row(1), False)
        lines.append(f"repeated {first.epoch('00000', epoch_row(1), True)} {first.epoch('00000', epoch_row(2), True)}")
        first._sync()
        first._sync()
        first.update_options(lanes=3)
        for reason in ("completed", "diverged", "interrupted"):
            (first.states / f"{reason}.npz").write_bytes(b"state")
            first.meta["trials"][reason] = first.meta["trials"]["00000"]
            first.end(reason, reason)
        lines.append("# its end")
        monkeypatch.setattr(writer, "KEPT_BYTES", 5)
        first.finish(ended="then")
    lines.append(" ".join(sorted(named(path) for path in where.rglob("*"))))
    monkeypatch.setattr(writer, "KEPT_BYTES", 4)
    (where / ".ray").mkdir()
    for path in (where / f".x.{'0' * 16}.part", where / "states" / f".x.{'0' * 16}.part"):
        path.touch()
    with (where / "journal.jsonl").open("a") as file:
        file.write('{"kind')
    lines.append("# resumed")
    second = new_writer(where, resume=True)
    second.meta["trials"]["completed"] = second.meta["trials"]["00000"]
    second.goes_on("now")
    second.goes_on("later")
    lines.append(f"{second.meta['resumed']} {second.meta['ended']} {sorted(second.saved())}")
    lines.append("# its end")
    second.finish(ended="now")
    lines.append(" ".join(sorted(named(path) for path in where.rglob("*"))))
    lines += [line[:40] for line in (where / "journal.jsonl").read_text().splitlines()]
    monkeypatch.setattr(os, "replace", done["replace"])
    monkeypatch.setattr(os, "fsync", done["fsync"])
    third = new_writer(where, resume=True)
    for name in ("write", "flush"):
        full = OSError(28, "No space left on device")
        third._journal, journal = Full(third._journal, name, full), third._journal
        lines.append(f"{name} fails: {outcome(third.epoch, '00000', epoch_row(3), False)}")
        assert outcome(third.end, "00000", "completed") == f"no: {third.failure}"
        third._journal, third.failure = journal, None
    third.failure = UserError("lost")
    lines.append(f"finished: {outcome(third.finish)}; {outcome(new_writer(where, resume=True).release)}")
    fourth = new_writer(where, resume=True)
    monkeypatch.setattr(os, "fsync", lambda descriptor: exec('raise OSError(5, "Input/output error")'))
    lines.append(f"the disk fails: {outcome(fourth.finish)}")
    lines.append(f"at the beginning: {outcome(new_writer, where, resume=True)}")
    text = "\n".join(lines).replace(str(tmp_path), "HERE")
    assert_kept("folder of a sweep", text + "\n")


class Full:
    """A file of which one method fails."""

    def __init__(self, file, method, error):
        self._file, self._method, self._error = file, method, error

    def __getattr__(self, name):
        if name == self._method:
            raise self._error
        return getattr(self._file, name)


def test_bounds_and_waits():
    """Numbers that other tests shorten, or could not tell from twice as much."""
    modules = (dataset, download, files, idx, own, results_folder, journal, meta, remote, signs, tables, turns,
               writer,                storage, object_storage)  # fmt: skip
    lines = [f"{module.__name__.removeprefix('mnist_tune.')}.{name} {value}" for module in modules
             for name, value in vars(module).items() if name.isupper() and type(value) in (int, float)]  # fmt: skip
    assert_kept("bounds", "\n".join(lines) + "\n")
