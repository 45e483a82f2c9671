"""Whatever version wrote a sweep's folder, its record has the types of this one."""

import json
import shutil
from pathlib import Path

import pytest

from mnist_tune import UserError, load_sweep
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
    file = tmp_path / "sweep" / "sweep.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"kind": "marathon"}))
    with pytest.raises(UserError, match="kind is missing or has the wrong type"):
        load_sweep(tmp_path / "sweep")
