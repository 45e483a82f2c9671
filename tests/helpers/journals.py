"""A sweep's folder: its progress while it runs in another process, and what a kill
leaves of it."""

import json


def recorded(folder):
    """Return the number of epochs in a sweep's journal."""
    journal = folder / "journal.jsonl"
    if not journal.exists():
        return 0
    return journal.read_text().count('"kind": "epoch"')


def as_killed(folder, is_last):
    """Make the folder of a sweep that has ended look as if its process had been killed
    once `is_last` was true of the text of its journal. Trials that had not ended start
    again: only the last state of a trial is ever kept."""
    journal = folder / "journal.jsonl"
    text = journal.read_text()
    beginning = ""
    for line in text.splitlines(keepends=True):
        beginning += line
        if is_last(beginning):
            break
    assert beginning != text
    journal.write_text(beginning)
    meta = json.loads((folder / "sweep.json").read_text())
    (folder / "sweep.json").write_text(json.dumps(meta | {"ended": None}))
    for name in ("trials.parquet", "epochs.parquet"):
        (folder / name).unlink()
