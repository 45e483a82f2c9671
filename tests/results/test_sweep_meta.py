"""Whatever version wrote a sweep's folder, its record has the types of this one."""

import json
import shutil
from pathlib import Path

import pytest

from mnist_tune import UserError, load_sweep
from mnist_tune.continuation import resume_command
from mnist_tune.results.sweep_meta import SweepKind, SweepMeta

RECORDS = Path(__file__).parent.parent.parent / "benchmarks" / "records"

FOLDERS = {
    "2026-11-28-main-sweep-amd-epyc-avx2": SweepKind.SWEEP,
    "2026-11-28-edge-amd-epyc-avx2": SweepKind.EDGE,
    "2026-11-30-main-sweep-intel-xeon-avx-512": SweepKind.SWEEP,
}
"""Folders that older versions wrote."""


@pytest.mark.parametrize(("name", "kind"), FOLDERS.items())
def test_folders_of_older_versions_have_a_kind(tmp_path, name, kind):
    folder = shutil.copytree(RECORDS / name, tmp_path / name)
    sweep = load_sweep(folder)
    assert sweep.record.kind is kind
    assert sweep.meta["kind"] == kind
    assert "search" not in sweep.meta


@pytest.mark.parametrize(
    ("older", "kind"),
    [
        ({}, SweepKind.SWEEP),
        ({"name": "edge"}, SweepKind.SWEEP),
        ({"search": False, "options": None}, SweepKind.SWEEP),
        ({"search": True}, SweepKind.SEARCH),
        ({"search": True, "name": "search"}, SweepKind.SEARCH),
        ({"search": True, "options": {"contenders": []}}, SweepKind.DECISION),
        ({"search": True, "options": {"searches": []}}, SweepKind.EDGE),
        ({"search": True, "name": "decide"}, SweepKind.DECISION),
        ({"search": True, "name": "edge"}, SweepKind.EDGE),
    ],
)
def test_what_older_versions_recorded_says_which_kind_of_sweep_it_is(older, kind):
    assert SweepMeta.of({"name": "mine"} | older).kind is kind


def test_a_kind_that_is_none_is_refused(new_writer, tmp_path):
    writer = new_writer(tmp_path / "sweep")
    writer.finish(ended="now")
    file = writer.path / "sweep.json"
    meta = json.loads(file.read_text())
    file.write_text(json.dumps(meta | {"kind": "marathon"}))
    with pytest.raises(UserError, match="kind is missing or has the wrong type"):
        load_sweep(writer.path)


@pytest.fixture
def main_sweep(tmp_path):
    """The record of a sweep of an older version."""
    name = "2026-11-28-main-sweep-amd-epyc-avx2"
    return load_sweep(shutil.copytree(RECORDS / name, tmp_path / name)).record


def test_what_older_versions_recorded_is_read_into_the_types_of_this_one(main_sweep):
    record = main_sweep
    assert (record.name, record.command) == ("lr_regimes", "regimes")
    # it was recorded as one text, which is not shown
    assert record.typed == ()
    assert record.started.startswith("2026-11-28T03:39")
    assert record.ended.startswith("2026-11-28T03:46")
    assert record.resumed == ()
    assert record.code == ()
    assert record.has_arrays is False
    assert record.trains_tasks is False
    assert (record.holdout, record.most_trials) == (0, 0)
    assert record.retried == frozenset()
    assert (record.data.name, record.data.train_images) == ("mnist", 60_000)


def test_what_an_older_version_did_not_record_is_as_it_was_then():
    record = SweepMeta.of({"name": "mine", "options": None, "environment": None})
    assert (record.holdout, record.most_trials) == (0, 0)
    assert record.retried == frozenset()
    assert record.environment == {}
    assert record.options == {}
    assert record.ended is None
    assert record.swept_images is None
    assert record.chosen_by is None
    assert record.command is None


def test_the_folder_of_an_older_edge_says_how_it_is_resumed(tmp_path):
    name = "2026-11-28-edge-amd-epyc-avx2"
    record = load_sweep(shutil.copytree(RECORDS / name, tmp_path / name)).record
    assert record.most_trials == 100
    command = resume_command(record, "x", trials=200)
    assert command == "mnist-tune resume x --trials 200"
