"""What the example of a PyTorch user says to do, done: curves, which seeds to train, a
decision."""

import os
import re
import runpy
from pathlib import Path

import pytest

from mnist_tune.commands import read

EXAMPLE = Path(__file__).parents[2] / "examples" / "torch_digits.py"
FACTS = ("--chance", "0.1", "--test-examples", "597", "--guess", "2.3")


@pytest.mark.slow
def test_a_pytorch_user_gets_a_decision(tmp_path, monkeypatch, capsys):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)

    def train(table, seeds, rates):
        words = [os.fspath(EXAMPLE), table, "--seeds", *seeds, "--rates", *rates]
        monkeypatch.setattr("sys.argv", words)
        runpy.run_path(words[0])["chosen"].table.close()

    def answer(*arguments):
        words = ["mnist-tune", "read", "first.csv", *FACTS, *arguments]
        monkeypatch.setattr("sys.argv", words)
        read.main()
        return capsys.readouterr().out

    train("first.csv", ["0", "1"], ["0.01", "0.1", "0.3", "1"])
    question = re.search(r"train each of (.*) with the seeds (.*); then", answer())
    rates, seeds = (names.split(", ") for names in question.groups())
    assert seeds == ["2", "3", "4", "5", "6"]
    assert 1 < len(rates) < 4
    train("fresh.csv", seeds, rates)
    decision = answer("--again", "fresh.csv")
    assert re.search(r"(So far|Train with) (0.1|0.3|1): .*(better|fail)", decision)
    assert "below the best" in decision
    assert len(EXAMPLE.read_text().splitlines()) <= 40
