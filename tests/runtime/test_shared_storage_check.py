"""The check that a node reaches the folder of saved states."""

import platform
import threading
from types import SimpleNamespace

import pytest
from ray.exceptions import NodeDiedError

from mnist_tune import UserError, storage
from mnist_tune.data.dataset import load_dataset
from mnist_tune.execution.process_setup import WorkerSettings
from mnist_tune.results.writer import TOKEN
from mnist_tune.runtime import shared_storage_check
from mnist_tune.runtime.shared_storage_check import blindness, check_nodes, unreachable, why_blind
from mnist_tune.tuning import trainable


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_a_folder_without_the_right_token_is_not_the_sweeps(kind, tmp_path, bucket):
    states = tmp_path if kind == "local" else bucket
    assert why_blind(states, "mine") == "there is no such folder"
    storage.write(storage.join(states, TOKEN), b"others")
    assert why_blind(states, "mine") == "another folder"
    storage.write(storage.join(states, TOKEN), b"mine")
    assert why_blind(states, "mine") is None


def test_storage_that_does_not_answer_is_reported(silent_s3):
    assert "Connection refused" in why_blind(silent_s3.uri("mnist-tune", "states"), "mine")


def test_a_trial_waits_for_storage_that_fails_once(bucket, silent_s3, tmp_path):
    storage.write(storage.join(bucket, TOKEN), b"mine")
    threading.Timer(0.5, silent_s3.start).start()
    assert blindness(silent_s3.uri("mnist-tune", tmp_path.name), "mine") == ""
    assert f" ({platform.node()}: another folder); " in blindness(bucket, "others")


def test_every_node_is_asked_where_there_are_several(tmp_path, monkeypatch):
    asked, slow, alive = [], [], {"a" * 56: "one", "b" * 56: "two"}
    answers = {"a" * 56: "another folder", "b" * 56: "there is no such folder"}

    def remote(num_cpus, scheduling_strategy):
        asked.append((num_cpus, scheduling_strategy.soft))
        return lambda function: SimpleNamespace(remote=lambda *given: (scheduling_strategy.node_id, function, given))

    def in_time(tasks, num_returns, timeout):
        assert (num_returns, timeout) == (2, 60.0)
        return [task for task in tasks if task[0] not in slow], [task for task in tasks if task[0] in slow]

    def answer(task):
        node, *call = task
        assert call == [why_blind, (tmp_path, "mine")]
        if isinstance(answers[node], Exception):
            raise answers[node]
        return answers[node]

    monkeypatch.setattr(shared_storage_check, "alive_nodes", lambda: alive)
    monkeypatch.setattr(shared_storage_check.ray, "remote", remote)
    monkeypatch.setattr(shared_storage_check.ray, "get", answer)
    monkeypatch.setattr(shared_storage_check.ray, "wait", in_time)
    with pytest.raises(UserError, match=r"reaches .* \(one: another folder; two: there is no such folder\); give"):
        check_nodes(tmp_path, "mine")
    assert asked == [(0, False)] * 2
    answers |= {"a" * 56: None, "b" * 56: NodeDiedError("it was lost")}
    with pytest.raises(UserError, match=r"reaches .* \(two: no answer \(NodeDiedError\)\); give --output"):
        check_nodes(tmp_path, "mine")
    slow.append("b" * 56)  # a busy node is no reason to end a sweep: its first trial looks
    answers["a" * 56] = None
    check_nodes(tmp_path, "mine")
    slow.clear()
    answers.update(dict.fromkeys(answers))
    check_nodes(tmp_path, "mine")
    del alive["a" * 56], asked[:]
    answers["b" * 56] = "another folder"
    check_nodes(tmp_path, "mine")
    assert asked == []


@pytest.mark.promise("A node that does not see the folder ends no sweep, only its trial")
def test_a_trial_on_a_node_without_the_folder_ends_in_an_error(tmp_path, monkeypatch):
    """Without the error the trial would start again from its first epoch, unnoticed."""
    monkeypatch.setattr(trainable, "make_pool", lambda dataset, settings: None)
    monkeypatch.setattr(trainable.ray, "get", lambda reference: load_dataset("mnist-5k"))
    settings = WorkerSettings(tmp_path / "elsewhere", "mine")
    trial = object.__new__(trainable.TrialTrainable)
    trial._trial_info = None
    trial.setup({"trial": {"trial_id": "00000"}}, [None], settings)
    row = trial.step()
    assert row["done"]
    assert row["stop_reason"] == "error"
    assert "--output a folder that all of them share, or object storage" in row["error"]
    said = "not every node of the cluster reaches s3://b (x); give --output a folder that all of them share, or object "
    assert unreachable("s3://b", "x") == said + "storage, such as s3://BUCKET/FOLDER"
