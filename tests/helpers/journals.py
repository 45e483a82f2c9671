"""A sweep's folder: its progress while it runs in another process, and what a kill
leaves of it."""

import json


def recorded(folder):
    """Return the number of epochs in a sweep's journal."""
    journal = folder / "journal.jsonl"
    return journal.read_text().count('"kind": "epoch"') if journal.exists() else 0


def as_killed(folder, is_last):
    """Make the folder of a sweep that has ended look as if its process had been killed
    once `is_last` was true of the text of its journal. Trials that had not ended start
    again: only the last state of a trial is ever kept."""
    text, kept = (folder / "journal.jsonl").read_text(), ""
    for line in text.splitlines(keepends=True):
        kept += line
        if is_last(kept):
            break
    assert kept != text
    (folder / "journal.jsonl").write_text(kept)
    (folder / "sweep.json").write_text(
        json.dumps(json.loads((folder / "sweep.json").read_text()) | {"ended": None})
    )
    for name in ("trials.parquet", "epochs.parquet"):
        (folder / name).unlink()
