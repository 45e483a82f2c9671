"""`--json` of the commands that train and of `show`, as scripts call them: standard
output is one object, as its schema has it."""

import json
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from mnist_tune.commands import search
from mnist_tune.commands.main import main

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("one_core")]

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "sweep.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)
TASK = f"{ROOT / 'tests' / 'helpers' / 'tasks.py'}:regression"
TINY = "--dataset digits --train-images 600 --max-concurrent 1"
DIGITS = f"{TINY} --architecture mlp-4-tanh"


@pytest.fixture
def call(monkeypatch, capfd, tmp_path):
    """A function that runs a command in this process, on the Ray that tests share, in a
    folder of its own. It returns the exit code and what standard output holds."""
    monkeypatch.chdir(tmp_path)
    # Ray goes on for the other tests
    monkeypatch.setattr("atexit.register", lambda function: None)

    def run(words):
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["mnist-tune", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capfd.readouterr().out

    return run


@pytest.fixture
def object_of(call):
    """A function that runs a command with --json, and returns the object."""

    def read(line):
        code, printed = call([*line.split(), "--json"])
        assert code == 0
        content = json.loads(printed)
        VALIDATOR.validate(content)
        return content

    return read


def test_the_script_of_the_docs_runs_a_sweep_and_its_next_step(
    call, object_of, monkeypatch, capfd
):
    objects = []
    commands = []
    run = subprocess.run

    def run_here(words, **how):
        if words[0] != "mnist-tune":
            return run(words, **how)
        assert words[-1] == "--json"
        own = ["--dataset", "mnist-5k"] if words[1] == "regimes" else []
        code, printed = call([*words[1:], *own])
        assert code == 0
        objects.append(json.loads(printed))
        commands.append(shlex.join(words[:-1]))
        return subprocess.CompletedProcess(words, code, printed)

    monkeypatch.setattr(subprocess, "run", run_here)
    runpy.run_path(str(ROOT / "examples" / "next_step.py"))
    first, last = objects
    assert commands[1] == first["questions"][0]["command"]
    assert capfd.readouterr().out == last["text"]["headline"] + "\n"
    for content in objects:
        VALIDATOR.validate(content)
    assert [row["epochs_asked"] for row in first["trials"]] == [3] * 4
    shown = object_of("show results/script")
    assert shown["name"] == "lr_regimes"
    assert shown["kind"] == "sweep"
    assert shown["has_ended"]


def test_a_decision_prints_its_object(object_of):
    flags = f"{DIGITS} --learning-rates 0.1 0.3 --epochs 1 --trials 4 --output a"
    content = object_of(f"decide {flags}")
    assert content["kind"] == "decision"
    assert len(content["settings"]) == 2
    assert content["answer"]["decided"]["trials"] == len(content["trials"])
    assert object_of("show a") == content


def test_a_search_prints_its_object_with_what_its_decision_found(
    object_of, monkeypatch
):
    monkeypatch.setattr(search, "FINAL_TRIALS", 4)
    flags = f"{TINY} --trials 2 --widths 8 --depths 1 --epochs 3 --weight-decay 0"
    flags += " --optimizer sgd --momentum 0 --batch-size 32 --learning-rates 0.1 0.3"
    content = object_of(f"search {flags} --scheduler fifo --output a")
    assert content["kind"] == "search"
    assert content["answer"]["compared"] == 2
    assert content["answer"]["final"]["trials"] == 4
    assert object_of("show a") == content


@pytest.mark.ray(apart=True)
def test_an_edge_prints_its_object(object_of):
    content = object_of(f"edge {DIGITS} --epochs 1 --trials 6 --output a")
    [edge] = content["answer"]["edges"]
    assert content["kind"] == "edge"
    assert edge["trials"] == 6
    assert object_of("show a") == content


def test_a_sweep_of_a_task_prints_its_object(object_of):
    flags = "--learning-rates 0.1 --batch-size 32 --epochs 2 --output a"
    content = object_of(f"regimes --task {TASK} {flags}")
    [row] = content["trials"]
    assert row["test_accuracy"] is None
    assert content["answer"]["best"]["score"] == -row["validation_loss"]
    assert object_of("show a") == content
