"""Signs of life of the process that writes a sweep in object storage."""

import json
import platform
import threading
import time
from contextlib import nullcontext

import pytest

from mnist_tune import UserError, object_storage, storage
from mnist_tune.results import sign_of_life
from mnist_tune.results.folder import working_folder
from mnist_tune.results.sign_of_life import SIGN, SignOfLife, await_silence, last_sign, refuse_another_sign


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MNIST_TUNE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def aged(monkeypatch):
    """A function that gives the sign of life an age by the storage's clock."""
    times = storage.times

    def set_age(seconds):
        monkeypatch.setattr(storage, "times", lambda to: dict.fromkeys(times(to), 1000.0) | {SIGN: 1000.0 - seconds})

    return set_age


@pytest.fixture
def slept(monkeypatch):
    """The seconds that were waited for."""
    found = []
    monkeypatch.setattr(sign_of_life.time, "sleep", found.append)
    return found


def sign(place, host="elsewhere", at=0.0, **more):
    content = {"host": host, "process": 1, "time": time.time() + at} | more
    storage.write(storage.join(place, SIGN), json.dumps(content).encode())


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "timeout"
        time.sleep(0.05)


@pytest.mark.parametrize(("age", "wait"), [(0.0, 60.0), (20.0, 40.0), (60.0, 0.0), (61.0, None), (-5.0, 60.0)])
def test_a_writer_elsewhere_is_waited_for_until_it_has_been_silent_for_a_minute(bucket, aged, slept, age, wait):
    said = []
    assert await_silence(bucket, said.append) is None
    sign(bucket)
    aged(age)
    assert await_silence(bucket, said.append) == last_sign(bucket)
    assert slept == [] if wait is None else [wait]
    if wait is not None:
        assert said == [
            f"elsewhere wrote to {bucket} {max(age, 0):.0f} s ago; waiting {wait:.0f} s to see whether it still does"
        ]


@pytest.mark.parametrize("at", [-3600.0, 3600.0])
def test_a_clock_that_goes_wrong_changes_no_wait(bucket, slept, at):
    """A writer whose clock is an hour behind looks dead, by its own clock."""
    sign(bucket, at=at)
    await_silence(bucket, lambda line: None)
    [waited] = slept
    assert sign_of_life.SILENCE_S - 30 < waited <= sign_of_life.SILENCE_S
    assert storage.names(bucket) == [SIGN]


@pytest.mark.parametrize(("folder", "waits"), [(None, 1), ("/another/cache", 1), ("this", 0)])
def test_on_this_machine_the_lock_decides_if_the_working_folder_is_the_same(bucket, slept, folder, waits):
    """Containers may share a host's name, and users a host."""
    sign(bucket, platform.node(), folder=str(working_folder(bucket)) if folder == "this" else folder)
    assert await_silence(bucket, lambda line: None) == last_sign(bucket)
    assert len(slept) == waits
    with pytest.raises(UserError, match="is writing to") if waits else nullcontext():
        refuse_another_sign(bucket, None)


def test_a_writer_that_gives_another_sign_meanwhile_is_an_error(bucket, monkeypatch):
    monkeypatch.setattr(sign_of_life.time, "sleep", lambda seconds: sign(bucket, at=1.0))
    sign(bucket)
    with pytest.raises(UserError, match=r"^a sweep on elsewhere is writing to s3://.*; wait for it, or stop it first$"):
        await_silence(bucket, lambda line: None)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"host": 1, "time": "now"}'])
def test_an_invalid_sign_of_life_is_ignored(bucket, content):
    storage.write(storage.join(bucket, SIGN), content)
    assert await_silence(bucket, pytest.fail) is None


def test_a_new_sweep_ignores_the_sign_of_a_writer_that_left_no_sweep(new_writer, bucket):
    sign(bucket)
    new_writer(bucket).finish(ended="now")


def test_a_writer_gives_signs_of_life_while_it_runs(new_writer, bucket, monkeypatch):
    monkeypatch.setattr(sign_of_life, "INTERVAL_S", 0.2)
    writer, signs = new_writer(bucket), set()

    def signed_again():
        signs.add(storage.read(storage.join(bucket, SIGN)))
        return len(signs - {None}) > 2

    wait_until(signed_again)
    writer.finish(ended="now")
    assert last_sign(bucket) is None


def test_a_sign_that_could_not_be_given_is_given_soon(bucket, monkeypatch):
    monkeypatch.setattr(sign_of_life, "INTERVAL_S", 0.1)
    monkeypatch.setattr(sign_of_life, "RETRY_S", 0.05)
    send, failed = object_storage.write, []

    def fails_once(*arguments):
        if threading.current_thread() is threading.main_thread() or failed:
            return send(*arguments)
        failed.append(arguments)
        raise OSError("AWS Error SLOW_DOWN during PutObject operation: later")

    monkeypatch.setattr(object_storage, "write", fails_once)
    own = SignOfLife(bucket)
    own.give()
    first = last_sign(bucket)
    own.renew()
    wait_until(lambda: last_sign(bucket) != first)
    own.withdraw()
    assert len(failed) == 1


def test_a_writer_leaves_the_sign_of_one_that_took_its_place(bucket, monkeypatch):
    monkeypatch.setattr(sign_of_life, "INTERVAL_S", 0.05)
    first, second = SignOfLife(bucket), SignOfLife(bucket)
    assert not first.is_there()
    first.give()
    assert first.is_there()
    second.give()
    assert (first.is_there(), second.is_there()) == (False, True)
    first.renew()
    first._thread.join(10)
    assert not first._thread.is_alive()
    first.withdraw()
    assert second.is_there()
    second.withdraw()
    assert storage.names(bucket) == []
