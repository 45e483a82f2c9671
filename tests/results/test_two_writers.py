"""Two processes that write one sweep in object storage, in moto and in SeaweedFS.

MNIST_TUNE_ROUNDS=50 repeats each test so often.
"""

import os
import random
import signal
import time

import pytest
from seaweed import KEYS, seaweed
from writing import Process

from mnist_tune import load_sweep, object_storage, storage

pytestmark = pytest.mark.slow
ROUNDS = int(os.environ.get("MNIST_TUNE_ROUNDS", 2))

MOTO = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}


@pytest.fixture(scope="module", params=["moto", "seaweed"])
def server(request, tmp_path_factory):
    """Return a function from a folder to its URI, and the keys."""
    if request.param == "moto":
        s3 = request.getfixturevalue("s3")
        yield (lambda folder: s3.uri("mnist-tune", folder)), MOTO
        return
    folder = tmp_path_factory.mktemp("weed")
    with pytest.MonkeyPatch.context() as patch, seaweed(folder / "storage") as weed:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        yield weed.uri, KEYS


@pytest.fixture(scope="module")
def processes(server, tmp_path_factory):
    """Return two processes that write."""
    caches = tmp_path_factory.mktemp("caches")
    processes = [Process(caches / name, server[1]) for name in ("one", "another")]
    yield processes
    for process in processes:
        process.end()


def files(place):
    """Return the version of each file of a sweep."""
    listed = object_storage._call(place, lambda store, path: store.list(path).collect())
    return {file["path"]: file["e_tag"] for file in listed}


@pytest.mark.promise(
    "One process writes a folder at a time, on a disk, on a shared mount and in object storage"
)
def test_of_two_that_begin_at_the_same_moment_one_is_refused(
    server, processes, tmp_path
):
    for number in range(ROUNDS):
        place = server[0](f"{tmp_path.name}-{number}")
        for how in ("new", "resume"):
            for process in processes:
                process.order(how, place)
            answers = [process.answer() for process in processes]
            # one after the other: it has taken over
            if answers == ["begun", "begun"] and how == "resume":
                ends = sorted(process.does("finish") for process in processes)
                assert ends[0] == "finished"
                assert ends[1].startswith("refused: another process took over")
                continue
            [first] = [i for i, answer in enumerate(answers) if answer == "begun"]
            assert answers[1 - first].startswith("refused: ")
            assert processes[first].does("finish") == "finished"


@pytest.mark.promise(
    "In object storage, `--resume URI` takes a sweep over, `--resume auto` refuses while another process writes it"
)
def test_a_resume_takes_a_running_sweep_over(server, processes, epoch_row, tmp_path):
    """At any moment: the first is told, no row that was there is lost, and the table is
    that of the second."""
    runner, taker = processes
    chance = random.Random(1)
    for number in range(ROUNDS):
        place = server[0](f"{tmp_path.name}-{number}")
        assert runner.does("new", place) == "begun"
        runner.order("write", epoch_row(1), "", False)
        time.sleep(chance.uniform(0, 0.5))
        before = load_sweep(place)
        assert set(before.trials["stop_reason"]) <= {"running", "waiting"}
        assert taker.does("resume", place) == "begun"
        assert runner.answer().startswith("refused: another process took over")
        resumed = load_sweep(place)
        rows = len(resumed.epochs)
        assert rows >= len(before.epochs)
        assert set(resumed.trials["stop_reason"]) <= {"running", "waiting"}
        assert taker.does("add", epoch_row(1), 999) == "added"
        assert taker.does("finish") == "finished"
        ended = load_sweep(place)
        assert ended.epochs["epoch"].tolist() == [*range(1, rows + 1), 999]
        assert set(ended.trials["stop_reason"]) == {"interrupted"}


KINDS = [
    ("/journal/", False),
    ("/sweep.json", False),
    ("/writer.json", False),
    ("/trials.parquet", True),
    ("/epochs.parquet", True),
    ("anywhere", False),
]
"""Before which file a process stops, and whether its sweep ends."""


def test_one_that_is_stopped_while_another_takes_over_writes_nothing_more(
    server, processes, epoch_row, tmp_path
):
    """Right before it writes a file, whichever it is, or at any moment."""
    sleeper, taker = processes
    chance = random.Random(0)
    for number in range(ROUNDS + -ROUNDS % len(KINDS)):
        place = server[0](f"{tmp_path.name}-{number}")
        before, ends = KINDS[number % len(KINDS)]
        assert sleeper.does("new", place) == "begun"
        sleeper.order("write", epoch_row(1), before, ends)
        if before == "anywhere":
            time.sleep(chance.uniform(0, 0.5))
            sleeper.send(signal.SIGSTOP)
        sleeper.wait_until_it_stopped()
        time.sleep(0.1)  # until what it had sent is done
        assert taker.does("resume", place) == "begun"
        files_of_taker = files(place)
        sleeper.send(signal.SIGCONT)
        assert sleeper.answer().startswith("refused: another process took over")
        files_now = files(place)
        # which the taker writes again and again
        [sign] = [path for path in files_now if path.endswith("/writer.json")]
        assert files_now.pop(sign)
        files_of_taker.pop(sign)
        assert files_now == files_of_taker, before
        rows = len(load_sweep(place).epochs)
        assert taker.does("add", epoch_row(1), 999) == "added"
        assert taker.does("finish") == "finished"
        assert load_sweep(place).epochs["epoch"].tolist() == [*range(1, rows + 1), 999]
        assert storage.read(storage.join(place, "sweep.json"))
