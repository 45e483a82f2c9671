"""A folder from somebody else, with a link in it at any name that the package writes:
nothing outside it changes."""

import shutil
import sys
from contextlib import suppress
from importlib import util
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from mnist_tune import SweepOptions, TrialConfig, UserError, resume_sweep, run_sweep

ANALYSIS = sorted((Path(__file__).parents[2] / "analysis").glob("*.py"))
OURS = "what was outside before"


def analyse(folder):
    """Run every script in `analysis/` on the sweep in a folder, in this process."""
    for script in ANALYSIS:
        spec = util.spec_from_file_location(script.stem, script)
        module = util.module_from_spec(spec)
        with pytest.MonkeyPatch.context() as patch, suppress(UserError):
            patch.setitem(sys.modules, script.stem, module)
            patch.setattr(sys, "argv", [script.name, str(folder)])
            spec.loader.exec_module(module)
            module.main()


def resume(folder):
    with suppress(UserError):
        resume_sweep(folder, quiet=True)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The folder of a small sweep that looks interrupted, and every name that the
    package ever opened or made in it."""
    folder = tmp_path_factory.mktemp("swept") / "sweep"
    opened = set()
    watching = [True]

    def see(event, arguments):
        if watching and event in ("open", "os.rename", "os.mkdir"):
            for path in map(str, arguments[:2]):
                if path.startswith(f"{folder}/"):
                    opened.add(Path(path))

    sys.addaudithook(see)
    trials = [TrialConfig(architecture="mlp-2-tanh", batch_size=8, epochs=1)]
    data = folder.with_name("data.npz")
    images = np.arange(24 * 4, dtype=np.uint8).reshape(24, 4)
    np.savez(data, x_train=images, y_train=np.arange(24) % 2)
    options = SweepOptions(dataset=str(data), output=folder, quiet=True)
    run_sweep("links", trials, options)
    analyse(folder)
    watching.clear()
    journal = folder / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(line for line in lines if '"end"' not in line))
    names = {path.relative_to(folder) for path in (*opened, *folder.rglob("*"))}
    return folder, sorted(name for name in names if ".ray" not in name.parts[:-1])


def outside_of(folder, name, kind):
    """Replace a name in a folder by a link that leads out of it, and return what it
    leads to."""
    outside = folder.parent / "outside"
    if kind == "folder":
        outside.mkdir()
        (outside / "file").write_text(OURS)
    elif kind == "file":
        outside.write_text(OURS)
    place = folder / name
    place.parent.mkdir(exist_ok=True)
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    place.symlink_to(outside)
    return outside


def content(path):
    if not path.exists():
        return {}
    files = [path, *path.rglob("*")]
    return {str(file): file.read_bytes() if file.is_file() else None for file in files}


WRITTEN = """
    sweep.json journal.jsonl trials.parquet epochs.parquet .lock report.html
    states states/token states/00000.npz .ray
"""
"""What a sweep is known to write."""


def links_of(path):
    """The kinds of places to which a link at this name may lead."""
    return ["folder"] if path.is_dir() else ["file", "nothing"]


@pytest.mark.promise("Nothing is written through a link, symbolic or hard")
@pytest.mark.ray(pages=True)  # a page is written through no link, too
def test_no_link_leads_out_of_a_folder(swept, tmp_path, monkeypatch):
    folder, names = swept
    assert {str(name) for name in names} >= set(WRITTEN.split())
    monkeypatch.setattr(
        "mnist_tune.tuning.sweep.run_plan",
        lambda opened, plan: opened.writer.finish(ended="now"),
    )
    monkeypatch.setattr("mnist_tune.reports.figures.picture", lambda sweep: Figure())
    monkeypatch.setattr("mnist_tune.reports.page.page", lambda sweeps: "")
    for number, name in enumerate(names):
        for kind, act in product(links_of(folder / name), (analyse, resume)):
            below = tmp_path / f"{number}-{kind}-{act.__name__}"
            copy = below / "sweep"
            shutil.copytree(folder, copy)
            outside = outside_of(copy, name, kind)
            before = content(outside)
            act(copy)
            assert content(outside) == before, (str(name), kind, act.__name__)
            shutil.rmtree(below)
