"""`mnist-tune show`: its output, and the slow imports that it avoids."""

import subprocess
import sys
from pathlib import Path

from waiting import LONG_S

from mnist_tune.commands.show import main
from mnist_tune.reports.table import MANY

SCRIPT = Path(__file__).parents[2] / "analysis" / "summarize.py"
SLOW = ("jax", "ray", "scipy.stats", "matplotlib.pyplot")
"""Modules that take half a second or more to import and are not needed."""


def test_a_large_sweep(made_up_sweep, rates):
    sweep = made_up_sweep(rates(100), seeds=2, epochs=1)
    picture = sweep.path / "a.png"
    show = [SCRIPT, sweep.path, "--picture", picture]
    command = [sys.executable, "-X", "importtime", *show]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONG_S)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) < 70
    assert "\nTrain with " in done.stdout
    assert picture.stat().st_size > 10_000
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "pandas" in imported
    assert not imported & set(SLOW)


def test_the_flag_all_prints_every_trial(made_up_sweep, rates, monkeypatch, capsys):
    sweep = made_up_sweep(rates(MANY + 5), seeds=2, epochs=1)
    monkeypatch.setattr(sys, "argv", ["summarize.py", str(sweep.path), "--all"])
    main()
    table = capsys.readouterr().out.partition("Train with")[0]
    assert len(table.splitlines()) > 2 * MANY


def test_of_a_folder_above_sweeps_it_says_which_one_is_shown(
    made_up_sweep, monkeypatch, capsys
):
    newest = made_up_sweep([0.1]).path
    files = sorted(newest.rglob("*"))

    def printed_first(place):
        """What is printed before the table."""
        monkeypatch.setattr(sys, "argv", ["summarize.py", str(place)])
        main()
        assert sorted(newest.rglob("*")) == files, "nothing is written there"
        return capsys.readouterr().out.partition("rate")[0].strip(" ")

    above = newest.parent
    assert printed_first(above) == f"The newest sweep in {above}: {newest}\n"
    assert printed_first(newest.as_uri()) == ""
