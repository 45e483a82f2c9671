"""What commands print and a page holds, to the letter (`kept_texts`), for sweeps of
every kind."""

import numpy as np
import pytest
from kept_texts import assert_kept
from made_up_sweeps import KINDS, of_kind
from matplotlib.figure import Figure

from mnist_tune import load_sweep
from mnist_tune.commands import edge, export, lr_regimes, show
from mnist_tune.reports import page
from validation import notebook

TRAINS = {
    "regimes": (lr_regimes, "run_or_resume"),
    "notebook": (notebook, "run_or_resume"),
    "crossed": (lr_regimes, "run_or_resume"),
    "edge": (edge, "search_edge"),
}
"""The commands that train, and what does: a finished sweep takes its place."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory, new_writer, epoch_row):
    """The folder above those of sweeps of all kinds."""
    where = tmp_path_factory.mktemp("printed")
    for kind in KINDS:
        of_kind(kind, where / kind, new_writer, epoch_row)
    return where


@pytest.fixture
def same(folders):
    """A function that compares a text with the one that is kept under a name. The
    length of pytest's folder decides whether a line breaks before `More:`."""

    def compare(name, text):
        text = text.replace(str(folders), "HERE")
        assert_kept(name, text.replace("\nMore: ", "    More: "))

    return compare


@pytest.fixture
def printed(main_of, monkeypatch):
    """A function that runs a command, and returns all that it prints and its exit code.
    Pages and pictures, which other tests look at, are not written: that would take most
    of the time."""
    monkeypatch.setattr(Figure, "savefig", lambda *_, **__: None)
    monkeypatch.setattr(page, "write_page", lambda *_: None)

    def call(command, *arguments, **run):
        code, text, notes = main_of(command, *arguments, **run)
        return f"{text}{notes}exit code: {code}\n"

    return call


@pytest.mark.parametrize("name", TRAINS)
def test_a_command_that_trains(name, folders, same, printed):
    command, run = TRAINS[name]
    kind = "regimes" if name == "notebook" else name
    sweep = load_sweep(folders / kind)
    if name == "notebook":
        labels = np.array(["converges", "oscillates", "convnet", "convnet seeds"])
        sweep.trials["label"] = labels[np.arange(len(sweep.trials)) % 4]
    same(f"trains {name}", printed(command, **{run: sweep}))


@pytest.mark.parametrize("kind", KINDS)
def test_summaries_of_what_is_there(kind, folders, same, printed, tmp_path):
    where = folders / kind
    summary = printed(show, where, "--picture", "a.png")
    every_line = printed(show, where, "--all", "--page", "a.html")
    files = printed(export, where, "--to", "csv", "--output", tmp_path)
    text = "\n".join([summary, every_line, files])
    same(f"summary {kind}", text.replace(str(tmp_path), "THERE"))
