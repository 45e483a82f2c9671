"""What is read from a sweep's folder, to the letter (`kept_texts`): tables, journals and `sweep.json` of many kinds."""

import json
import math
import os
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kept_texts import assert_kept, rounded
from outcomes import outcome, said_once
from pyarrow.parquet import ParquetFile

from mnist_tune import Sweep, TrialConfig, load_sweep
from mnist_tune.columns import EPOCHS, TRIALS
from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.own_code.registry import ENTRIES
from mnist_tune.results import folder, journal, meta, signs, tables
from mnist_tune.results.journal import mend_last_line, parse_event, read_journal, resume_command
from mnist_tune.results.meta import read_meta
from mnist_tune.results.rows import BEGINS


@pytest.fixture(autouse=True)
def warn_again():
    journal._warn_once.cache_clear()


def shown(table, without=()):
    """A table, a line a column: its values as they are stored. Columns of one value come last."""
    same = []
    for name in table.columns:
        values = table[name].astype(object).where(table[name].notna(), "-").astype(str).tolist()
        if len(set(values)) == 1 and len(values) > 1:
            same.append(f"{name} {values[0]}")
        elif name not in without:
            yield f"{name}: {' '.join(values)}"
    yield f"everywhere: {', '.join(same[-12:])}"


def write_all_kinds(writer, epoch_row):
    """Record trials in each of the states that tables tell apart."""
    more = {"validation_loss": 0.4, "validation_accuracy": 0.8, "answers": 1.5}
    for epoch, accuracy in ((2, 0.3), (1, 0.5), (4, 0.96), (3, 0.98), (2, 0.98)):  # the second epoch twice
        writer.epoch("00000", epoch_row(epoch, 1.02 - accuracy, accuracy, **more, train_s=epoch), False)
    steps = "[[0,1,0.01,2]]"
    writer.epoch("00001", epoch_row(1, math.nan, 0.1, finite=False, diverged=True, above_since=2, fill=0.5), False)
    writer.epoch("00002", epoch_row(1, 7.0, 0.3, diverged=True, above_since=4, guessing_since=3), False)
    writer.epoch("00003", epoch_row(1, 2.39, 0.1, guessing_since=3, above_since=5, test_accuracy=0.4), False)
    writer.epoch("00003", epoch_row(4, 2.39, 0.1, guessing_since=3, above_since=5, test_accuracy=0.3), False)
    for epoch in (1, 2):
        writer.epoch("00004", epoch_row(epoch, 2.41, 0.1, sharpness=epoch, sharpness_steps=steps), False)
        writer.epoch("00005", epoch_row(epoch, 2.4, 0.1, test_accuracy=0.2 / epoch), False)
        writer.epoch("proposed", epoch_row(epoch, math.inf, 0.1, node="there", device="gpu"), False)
    writer.trial("proposed", TrialConfig(learning_rate=0.7, epochs=2, batch_size=8, seed=3, label="later"))
    writer.trial("00008", TrialConfig(learning_rate=0.9, epochs=3))
    ends = {"00000": "interrupted", "00001": "diverged", "00003": "completed", "00004": "completed"}
    for trial_id, reason in ends.items():
        writer.end(trial_id, reason)
    writer.end("00000", "completed")
    writer.end("00006", "error", "s3://key:hidden@bucket is full")
    writer.end("00007", "time_budget")


REGIMES = ("regime_evidence", "reaches", "reaches_from", "reaches_to", "target")
"""Columns that are the regimes' own."""


@pytest.mark.promise("A running sweep can be read; its trials are `running` or `waiting`")
def test_the_tables_of_trials_in_each_state(new_writer, epoch_row, tmp_path):
    writer = new_writer(tmp_path / "sweep", count=9)
    write_all_kinds(writer, epoch_row)
    for trial_id in ("00000", "00001", "00004", "00006", "00007"):
        (writer.states / f"{trial_id}.npz").write_bytes(b"state")
    running = load_sweep(writer.path)
    lines = [f"{name}: {', '.join(of['stop_reason'])}" for name, of in (
        ("running", running.trials),
        ("unknown", tables.tables(writer.path, writer.meta, running=None).trials),
        ("not running", tables.tables(writer.path, writer.meta).trials),
    )]  # fmt: skip
    lines += [f"resumed: saved {sorted(writer.saved())}, {outcome(new_writer, writer.path)}"]
    written = writer.finish(ended="now", driver={"cpu_s": 1.5})
    read = load_sweep(writer.path)
    for one in (read, tables.tables(writer.path, read.meta)):
        pd.testing.assert_frame_equal(one.trials, written.trials, check_exact=True)
        pd.testing.assert_frame_equal(one.epochs, written.epochs, check_exact=True)
    assert read.meta == written.meta
    lines += ["", *shown(read.trials, REGIMES), "", *shown(read.epochs[::2]), "", repr(read), ""]
    files = [path.relative_to(writer.path) for path in sorted(writer.path.rglob("*")) if path.is_file()]
    lines += [" ".join(map(str, files)), f"{' '.join(read.meta)}, {read.meta['ended']}, {read.meta['driver']}"]
    lines += ["", *(writer.path / "journal.jsonl").read_text().splitlines()[15::7]]
    without = load_sweep(new_sweep(new_writer, epoch_row, tmp_path / "without").path)
    lines += ["", " ".join(without.epochs), *shown(without.trials[["train_s", "best_epoch", "epochs_run", "device"]])]
    assert_kept("sweep tables", rounded("\n".join(lines), 4).replace(str(tmp_path), "HERE") + "\n")


def new_sweep(new_writer, epoch_row, where, count=2):
    """A sweep of a trial that has three epochs, and another that has none."""
    with new_writer(where, count) as writer:
        for epoch in (1, 2, 3):
            writer.epoch("00000", epoch_row(epoch, 1 / epoch, 0.5 + epoch / 10), False)
        writer.finish(ended="now")
        return writer


def test_what_is_made_of_tables(made_up_sweep, epoch_row, tmp_path):
    sweep = made_up_sweep([0.01, 0.19, 0.2, 3.0], seeds=2, batch_size=64, epochs=2)
    measured = "[[0, 1.0, 0.01, 2.0], [10, 3.0, 0.03, 4.0, 5.0, 0.5]]"
    steps = [measured if i in (1, 3) else None for i in range(len(sweep.epochs))]
    sharp = replace(sweep, epochs=sweep.epochs.assign(sharpness_steps=steps))
    wrong = ["[[1]]", "[", "7", '[["a", 1, 1, 1]]', "[[1e400, 1, 1, 1]]", "[" * 100_000]
    damaged = [replace(sharp, epochs=sweep.epochs.assign(sharpness_steps=text)) for text in wrong]
    whole = sweep.trials["learning_rate"] != 0.01
    few = replace(sweep, trials=sweep.trials[whole].assign(epochs_run=[1, 1, 0, 1, 1, 1]))
    Checkpoint({".step": np.array(3), ".params['w']": np.arange(3)}, epoch_row(1)).save(
        sweep.path / "states" / "00001.npz"
    )
    remote = Sweep(f"s3://bucket/{sweep.path.name}", sweep.trials, sweep.epochs, sweep.meta)
    lines = []
    for name, found in {
        "best": sweep.best(),
        "by": few.by("learning_rate").iloc[:, :3],
        "by all": few.by()[["learning_rate", "batch_size", "replicates"]],
        "curves": sweep.curves("test_accuracy"),
        "with settings": sweep.with_settings()[["trial_id", "epoch", "learning_rate", "seed"]],
        "with some": sweep.with_settings("regime", "learning_rate").iloc[:1, -2:],
        "sharpness": sharp.sharpness(),
        **dict(zip(("trials together", "epochs", "sharpness"), tables.together([sweep, sharp]), strict=True)),
    }.items():
        columns = found[["trial_id"]][::3] if name in ("trials together", "epochs") else found
        lines += ["", f"{name}, {len(found)}, index {found.index.tolist()[-2:]}", *shown(columns)]
    lines += ["", *(f"{one.learning_rate} {one.seed} {one.epochs} {one.batch_size}" for one in sweep.contenders())]
    for name, call in {
        "params": lambda: sweep.params("00001"),
        "leaves": lambda: sweep.params("00001", leaves=True),
        "params of none": lambda: sweep.params("00000"),
        "params of no trial": lambda: sweep.params("0001"),
        "column": lambda: sweep.curves("accuracy"),
        "settings": lambda: sweep.with_settings("batchsize"),
        "scores": lambda: sweep.by("batch_size", "mine"),
        "sharpness": lambda: sweep.sharpness(),
        "together": lambda: tables.together([sweep, sweep]),
        "edges": lambda: sweep.edges(),
        "decision": lambda: sweep.decision,
        **{f"damaged {one[:20]}": found.sharpness for one, found in zip(wrong, damaged, strict=True)},
        "picture": lambda: sweep.picture("a.png"),
        "picture of another's": lambda: remote.picture("a.png"),
    }.items():
        lines.append(re.sub("(it has .{40}).*", r"\1...", f"{name}: {outcome(call)}"))
    text = rounded("\n".join(lines), 4).replace(str(tmp_path), "HERE").strip()
    assert_kept(
        "sweep views", said_once(text, "sharpness_steps of epochs in HERE/sweep holds no measurements; it is ") + "\n"
    )


# --- journals


TRIAL = {"kind": "trial", "trial_id": "00007", "config": {"learning_rate": 0.2}}
END = {"kind": "end", "trial_id": "00000", "stop_reason": "completed", "error": ""}
ROW = {
    "kind": "epoch", "trial_id": "00000", "epoch": 4, "step": 40, "learning_rate": 0.1, "train_loss": 0.5,
    "train_accuracy": 0.9, "test_loss": 0.5, "test_accuracy": 0.9, "diverged": False,
}  # fmt: skip
EVENTS = {
    "a row": ROW,
    "a trial": TRIAL,
    "an end": END,
    "a writer": {"kind": "writer", "number": 2},
    "a writer 0": {"kind": "writer", "number": 0},
    "no writer": {"kind": "writer"},
    "no kind": {"trial_id": "00000"},
    "another kind": ROW | {"kind": "epochs"},
    "a list as its kind": ROW | {"kind": ["epoch"]},
    "a list": [ROW],
    "a trial's id that leads out": TRIAL | {"trial_id": "../x"},
    "a trial without values": TRIAL | {"config": {}},
    "a trial of wrong values": TRIAL | {"config": {"learning_rate": 0}},
    "a trial of no values": TRIAL | {"config": [1]},
    "a trial without its configuration": {"kind": "trial", "trial_id": "00007"},
    "an end of two words": END | {"stop_reason": "no reason"},
    "an end without a reason": {"kind": "end", "trial_id": "00000"},
    "an end without an error": {"kind": "end", "trial_id": "00000", "stop_reason": "asha"},
    "an end with a number": END | {"error": 1},
    "an end that cannot be printed": END | {"error": "\x1b[2J"},
    "more in a row": ROW | {"mine": 1, "node": "\x1b"},
    **{f"{name} {value}": ROW | {name: value} for name, value in (
        ("epoch", 0), ("epoch", 2**53), ("epoch", 2**53 + 1), ("epoch", 1.0), ("epoch", True), ("epoch", None),
        ("learning_rate", 0), ("learning_rate", 5e-324), ("learning_rate", 1e308), ("learning_rate", math.inf),
        ("learning_rate", math.nan), ("train_loss", math.nan), ("train_loss", -math.inf), ("train_loss", "1"),
        ("train_loss", 2**53), ("train_loss", 2**53 + 1), ("train_loss", None), ("answers", 1), ("answers", 0.99),
        ("wait_s", 1e11), ("wait_s", 1.1e11), ("wait_s", -1e11), ("wait_s", -1.1e11), ("diverged", 1),
        ("diverged", None), ("finite", None), ("lanes", 0), ("node", 1), ("node", "é"),
    )},
}  # fmt: skip


def test_lines_of_a_journal_are_taken_or_not(tmp_path):
    """Each line by itself, as an event, and as columns read it."""
    lines = []
    for name, event in EVENTS.items():
        line = json.dumps(event).encode()
        (tmp_path / "journal.jsonl").write_bytes(line + b"\n")
        found, said = read_journal(tmp_path), parse_event(line)
        row = found.epochs.to_dict("records")[0] if len(found.epochs) else {}
        rows = [f"{name} {value}" for name, value in row.items() if not pd.isna(value) and value != ROW.get(name)]
        known = {i: one.learning_rate for i, one in found.trials.items()}
        taken = "no" if said is None else "undecided" if found.undecided else "taken"
        lines.append(f"{name}: {', '.join([taken, *rows, *map(str, filter(None, (known, found.ends)))])}")
        assert len(found.epochs) == (taken == "undecided")
    assert_kept("journal lines", "\n".join(lines) + "\n")


def test_what_a_journal_says_and_how_it_is_mended(tmp_path, caplog, monkeypatch):
    """The number of rows, trials and ends, by its lines: R is a row, I one of an infinite loss, T a trial, E an end, W
    a writer, - no event, t one that was torn. The last line may be cut (~), or lack its end (.)."""
    row = json.dumps(ROW).encode()
    infinite = json.dumps(ROW | {"train_loss": math.inf}).encode()
    texts = {"R": row, "I": infinite, "T": json.dumps(TRIAL).encode(), "E": json.dumps(END).encode(), "-": b"no event"}
    texts |= {
        "W": b'{"kind": "writer", "number": 2}',
        "t": row[:30] + journal.TORN[:-1],
        "L": b"x" * 600,
        "O": b"x" * 400,
    }
    monkeypatch.setattr(journal, "MOST_LINE_BYTES", 400)
    lines, path = [], tmp_path / "journal.jsonl"
    assert row.startswith(BEGINS)
    cases = (
        *(
            "",
            "R",
            "RE",
            "ER",
            "RT",
            "REW",
            "RW",
            "E",
            "T",
            "IE",
            "EI",
            "-R",
            "R-",
            "R--------R",
            "-----R",
            "RRR.",
            "RR~",
        ),
        *("R-.", "RtR", "t", "R.", "~", "LR", "RL.", "R" * 9 + "E" + "-" * 6, "R" * 8 + "I" + "R" * 8, "RO.", "OR"),
    )
    for block_lines in (2**13, 2):
        monkeypatch.setattr(journal, "BLOCK_LINES", block_lines)
        for case in cases:
            content = b"".join(texts[one] + b"\n" for one in case.rstrip("~."))
            content = content[:-1] if case.endswith(".") else content + row[:40] if case.endswith("~") else content
            path.write_bytes(content)
            journal._warn_once.cache_clear()
            caplog.clear()
            found = read_journal(tmp_path)
            mend_last_line(path)
            mended = path.read_bytes()[len(content) :].decode()
            said = [one.partition("jsonl: ")[2] for one in caplog.messages]
            parts = [f"{len(found.epochs)} {len(found.trials)} {len(found.ends)}", *["undecided"] * found.undecided]
            parts += [f"mended {mended!r}"] * bool(mended) + said
            lines.append(f"{case}: {', '.join(parts)}")
    half = len(cases)
    assert lines[:half] == lines[half:], "in blocks of two lines"
    monkeypatch.setattr(journal, "MOST_DAMAGED", 2)
    monkeypatch.setattr(journal, "MOST_TRIALS", 1)
    proposed = [json.dumps(TRIAL | {"trial_id": f"{i}"}).encode() for i in (1, 2)]
    ends = [json.dumps(END | {"trial_id": f"{i}"}).encode() for i in (1, 2)]
    del lines[half:]
    for name, those in {
        "two damaged": [b"-"] * 2, "three damaged": [b"-"] * 3, "one trial": proposed[:1], "two trials": proposed,
        "one end": ends[:1], "two ends": ends, "a trial and another's end": [proposed[0], ends[1]],
    }.items():  # fmt: skip
        path.write_bytes(b"\n".join([*those, b""]))
        lines.append(f"{name}: {outcome(lambda: len(read_journal(tmp_path).epochs))}")
    monkeypatch.setattr(journal, "MOST_JOURNAL_BYTES", path.stat().st_size)
    lines.append(f"a journal as large as may be: {outcome(lambda: len(read_journal(tmp_path).epochs))}")
    monkeypatch.setattr(journal, "MOST_JOURNAL_BYTES", path.stat().st_size - 1)
    lines.append(f"a larger one: {outcome(read_journal, tmp_path)}")
    path.unlink()
    mend_last_line(path)
    lines.append(f"nothing: {len(read_journal(tmp_path).epochs)}, {path.exists()}")
    path.mkdir()
    lines.append(f"a folder: {outcome(read_journal, tmp_path)}")
    assert_kept("journals", "\n".join(lines).replace(str(tmp_path), "HERE") + "\n")


def test_the_command_that_resumes(tmp_path, monkeypatch):
    lines = []
    known = (("architecture", "net.py:mlp"), ("architecture", "net.py:cnn"), ("optimizer", "net.py:opt"))
    for flag, name in known:
        monkeypatch.setitem(ENTRIES[flag], name, None)
    code = [{"flag": flag, "name": name} for flag, name in (*known, ("architecture", "unknown.py:mlp"))]
    for said in (
        {"name": "lr_regimes"},
        {"name": "mine"},
        {"name": "mine", "search": True},
        {"name": "search", "search": True},
        {"name": "lr_regimes", "code": code},
        {"name": "lr_regimes", "code": code[3:]},
    ):
        lines += [
            f"{said['name']}{', a search' * ('search' in said)}, of {len(said.get('code', []))} own:",
            *(f"  {resume_command(said, tmp_path / 'a b', again)}" for again in (False, True)),
        ]
    assert_kept("resumes", "\n".join(lines).replace(str(tmp_path), "HERE") + "\n")


# --- sweep.json


SEARCH = {"architecture": "mlp-4-tanh", "expected": 0.5, "predicted": {"2/λ0": [0.4, 0.6]}}
CODE = {"flag": "architecture", "name": "a.py:net", "files": {"a.py": {"sha256": "0", "lines": ["x"]}}, "folder": "/x"}
VALUES = {
    "name": ("x", "x" * 2**14, "x" * (2**14 + 1), None),
    "trials": ({}, [], None, {"a/b": {}}, {"a": 1}, {"a": {"learning_rate": -1}}, {"a" * 65: {}}, {"1": {}, "2": {}}),
    "dataset": (None, [], {}),
    "dataset.name": (None, 1),
    "dataset.note": (None, 1),
    "dataset.checksums": (None, []),
    "dataset.label_counts": (None, [], [0], [0, 1], [-1, 2], [1.0], "1"),
    "dataset.test_images": (None, 0, 1),
    "dataset.positions": (None, 0, 1),
    "dataset.target": (None, 0, 0.0, 1.0, 0.5, True),
    "options": (None, [], {}),
    "options.target": (0, 0.5, 1, None),
    "options.dataset": ("mnist", 5),
    "options.data_dir": ("here", 1),
    "options.scheduler": ("fifo", ["fifo"]),
    "options.grace_period": (1, 0, "1"),
    "options.train_evaluation": (1, 0),
    "options.train_images": (1, 0),
    "options.sharpness_every": (1, 0),
    "options.sharpness_images": (1, 0),
    "options.standardize": (True, 1),
    "options.sharpness": (True, 1),
    "options.stop_when_diverged": (True, 1),
    "options.precision": (0.05, 0, math.inf, math.nan, "1"),
    "options.learned": (0.9, 0, math.inf),
    "options.searches": ([], [SEARCH], [1], {}, [SEARCH | {"expected": 0}], [SEARCH | {"predicted": {"a": [0.4, 0]}}],
        [SEARCH | {"predicted": [1]}], [SEARCH | {"batch_size": 0}], [{"expected": 0.5}]),
    "environment": (None, [], {}),
    "environment.versions": ({}, {"jax": None}, []),
    "search": (True, 1),
    "code": ([], [CODE], {}, [CODE | {"flag": "address"}], [CODE | {"name": None}], [CODE | {"files": None}],
        [CODE | {"files": {"a.py": {}}}], [CODE | {"files": {"a.py": {"sha256": "", "lines": [1]}}}],
        [CODE | {"folder": 1}], [CODE | {"files": {"a.py": {"sha256": ""}}}]),
    "writer": (1, 0),
    "resumed": ([], ["then"], [1], "then"),
    "driver": ({}, {"results": 1, "cpu_s": 1.5, "pages": 0, "pages_cpu_s": 1e11}, {"cpu_s": "1"}, {"pages": 1e12}),
    "driver.results": ("1",),
    "driver.pages_cpu_s": ("1",),
    "command": ("mnist-tune", ["mnist-tune", "seeds"], [1], 1),
    "started": ("then", 1),
    "ended": ("then", None, 1),
    "mine": (1,),
}  # fmt: skip


def test_values_of_a_sweep_json_are_taken_or_refused(new_writer, epoch_row, tmp_path, monkeypatch):
    path = new_sweep(new_writer, epoch_row, tmp_path / "sweep", count=1).path
    file, lines = path / "sweep.json", []
    whole = json.loads(file.read_text()) | {"options": {"lanes": 2}}

    def say(name):
        lines.append(f"{name}: {outcome(lambda: 'taken' if read_meta(path) == said else sorted(read_meta(path)))}")

    for name, values in VALUES.items():
        part, _, inner = name.partition(".")
        found = []
        for value in values:
            said = whole | {part: whole.get(part, {}) | {inner: value} if inner else value}
            file.write_text(json.dumps(said))
            how = outcome(lambda: "taken" if read_meta(path) == said else f"taken without {part}")  # noqa: B023
            usual = f"no: {file} was not written by a sweep: {part} is missing or has the wrong type; name the "
            found.append(f"{value!r:.12} {'no' if how.startswith(usual) else how}")
        lines.append(f"{name}: {' | '.join(found)}".replace(" taken |", " |"))
    said = whole
    for name in ("name", "trials", "dataset"):
        file.write_text(json.dumps({one: value for one, value in whole.items() if one != name}))
        say(f"without {name}")
    file.write_text(json.dumps(whole | {"dataset": {"name": "mnist"}}))
    say("without a target")
    for text in ("", "7", "[]", "{", "[" * 100_000):
        file.write_text(text)
        say(f"{text[:9]!r}")
    lines[-1] = lines[-1].partition(" (")[0]
    file.write_bytes(content := json.dumps(whole).encode())
    counts = sum(content.count(one) for one in b",[{")
    for name, limits in {"MOST_META_BYTES": len(content), "MOST_VALUES": counts, "MOST_TRIALS": 1}.items():
        for limit in (limits, limits - 1):
            monkeypatch.setattr(meta, name, limit)
            say(f"{name} {limit - limits}")
        monkeypatch.undo()
    file.unlink()
    say("nothing")
    file.symlink_to("elsewhere")
    say("a link")
    text = "\n".join(lines).replace(str(path), "HERE").replace("HERE/sweep.json was not written by a sweep:", "NO:")
    assert_kept("sweep.json", said_once(text, "; name the folder of a sweep") + "\n")


# --- stored tables


TABLES: dict[str, dict[str, tuple[list[Any], ...]]] = {
    "trials": {
        "trial_id": (["00000", "00000"], ["00000", "a/b"], ["00000", ""], ["00000", None]),
        "learning_rate": ([0.1, math.nan], [0.1, 0.0], [0.1, math.inf], ["1", "2"], [1, 2]),
        "momentum": ([0.0, 1.0], [0.0, math.nan]),
        "batch_size": ([1, 0], [1.0, 2.0], [1, 2]),
        "nesterov": ([True, None], [1, 0]),
        "seed": ([0, -1], [0, 2**32], [0, 2**32 - 1]),
        "loss": (["mse", "mine"],),
        "regime": (["slow", "mine"], ["slow", "converged"], [b"slow", b"slow"]),
        "curve_regime": (["slow", "mine"],),
        "stop_reason": (["asha", "a/b"],),
        "architecture": (["a" * (2**14 + 1), "b"], ["\x1b", "b"]),
        "error": (["", "x\ny"], [1, 2]),
        "target": ([None, None], [math.nan, 9.0], ["a", "b"]),
        "train_s": ([1e11, 1e12], [1, 2], [math.nan, None]),
        "diverged_at_step": ([0, 1], [1, None]),
        "epochs_run": ([-1, 0],),
        "node": ([None, None], [1, 2]),
    },
    "epochs": {
        "trial_id": (["a", "b", "a/b"],),
        "epoch": ([1, 1, 2], [1, 2, 2**53], [1, 2, 2**53 + 1], [1, 2, None], [1.0, 2.0, 3.0]),
        "train_loss": ([0.1, None, math.inf], [1, 2, 3]),
        "finite": ([True, None, False], [1, 0, 1]),
        "lanes": ([1, None, 3], [0, 1, 2]),
        "ended_at": ([1e11, -1e11, 0.0], [1e11, -1.1e11, 0.0]),
        "diverged": ([None, None, None],),
        "learning_rate": ([0.1, 0.1, None],),
        "above_since": ([None, None, None],),
    },
}  # fmt: skip


def test_values_of_stored_tables_are_taken_or_refused(new_writer, epoch_row, tmp_path, caplog, monkeypatch):
    path, lines = new_sweep(new_writer, epoch_row, tmp_path / "sweep").path, []
    whole = {name: pq.read_table(path / f"{name}.parquet") for name in TABLES}
    monkeypatch.setattr(tables, "tables", lambda *arguments: "made from the journal")

    def say(name, file, columns=TRIALS, shown=len):
        lines.append(f"{name}: {outcome(lambda: shown(tables.read_table(file, columns)))}")

    for name, listed in (("trials", TRIALS), ("epochs", EPOCHS)):
        file = path / f"{name}.parquet"
        content = file.read_bytes()
        for column, those in TABLES[name].items():
            place, found = whole[name].schema.get_field_index(column), []
            for values in those:
                pq.write_table(whole[name].set_column(place, column, pa.array(values)), file)
                read = outcome(lambda: tables.read_table(file, listed)[column].tolist())  # noqa: B023
                read = "taken" if read == str(values) else re.sub(r"no: .*?\((.*)\)", r"\1", read)
                found.append(f"{str(values)[:50]} {read.removeprefix(f'{column} ')}".replace("is not always", "not"))
                if values in (["00000"] * 2, ["slow", "mine"], [1, 1, 2], [1, 2, 2**53 + 1]):
                    caplog.clear()
                    found[-1] += f", {str(tables._read(path, path))[:21]}: {caplog.messages}"
            lines.append(f"{name}.{column}: {' | '.join(found)}")
        for without in ("epoch", "regime", "node", "trial_id", "train_loss"):
            if without in whole[name].column_names:
                pq.write_table(whole[name].drop_columns([without]), file)
                say(f"{name} without {without}", file, listed, lambda found: len(found.columns))
        file.write_bytes(content)
    say("columns that are asked for", file, EPOCHS[:3], list)
    file = path / "trials.parquet"
    for packed in ("snappy", "none", "gzip", "zstd"):
        pq.write_table(whole["trials"], file, compression=packed, row_group_size=1)
        say(f"packed by {packed}", file)
    pq.write_table(whole["trials"], file)
    size = ParquetFile(file).metadata.row_group(0).total_byte_size
    for name, limits in {
        "two rows of 2": {"MOST_ROWS": 2},
        "two rows of 1": {"MOST_ROWS": 1},
        "as many bytes as may be": {"MOST_TABLE_BYTES": size},
        "a byte more": {"MOST_TABLE_BYTES": size - 1},
        "as many bytes as small tables have": {"LEAST_BYTES": size, "MOST_RATIO": 0},
        "a byte more of a small file": {"LEAST_BYTES": size - 1, "MOST_RATIO": 0},
        "a byte more of a large file": {"LEAST_BYTES": size - 1, "MOST_RATIO": (size + 1) / file.stat().st_size},
    }.items():
        with monkeypatch.context() as patch:
            for limit, value in limits.items():
                patch.setattr(tables, limit, value)
            say(name, file)
    (path / "journal.jsonl").unlink()
    file.write_bytes(b"noise")
    lines.append(f"noise, and no journal: {outcome(tables._read, path).partition(' (')[0]}")
    text = (
        "\n".join(lines).replace(str(path), "HERE").replace("; the tables are made again from the journal", "; AGAIN")
    )
    text = re.sub(r"in \d+ bytes", "in SO MANY bytes", text)
    text = said_once(
        text,
        "it claims to hold 2 rows in SO MANY bytes, packed by",
        " is not a table of a sweep",
        "letters, digits, - and _, at most 64",
    )
    assert_kept("stored tables", text + "\n")


# --- folders


def test_folders_that_hold_sweeps_or_none(new_writer, epoch_row, tmp_path, monkeypatch):
    monkeypatch.setenv("MNIST_TUNE_CACHE", str(tmp_path / "cache"))
    lines = []

    def say(name, call, *arguments):
        lines.append(f"{name}: {outcome(call, *arguments)}")

    for name in ("there", "there", "there/below", "sweep.json/x"):
        if name.endswith("x"):
            (tmp_path / "sweep.json").touch()
        say(f"new folder {name}", folder.new_folder, tmp_path, name)
    (tmp_path / "sweep.json").unlink()
    say("none below", load_sweep, tmp_path)
    for place in (tmp_path, "s3://bucket/a b/c?x=1", f"s3://bucket/{'long' * 30}"):
        say(f"working folder of {place}", folder.working_folder, place)
    for age, name in ((30, "2/winner"), (40, "2"), (50, "1")):
        path = new_sweep(new_writer, epoch_row, tmp_path / "search" / name).path
        os.utime(path / "sweep.json", (1e9 - age, 1e9 - age))
    (tmp_path / "search" / "3").mkdir()
    (tmp_path / "search" / "3" / "sweep.json").symlink_to("nowhere")
    for name in ("search", "search/2", "search/2/winner", "search/3", "search/4"):
        say(name, lambda: load_sweep(tmp_path / name).path)  # noqa: B023
        say(f"exists {name}", folder.exists, tmp_path / name)
    with new_writer(tmp_path / "held") as writer:
        for held in (True, False):
            say(f"being written: {held}", signs.is_being_written, writer.path)
            say("again", new_writer, writer.path, 2, True) if held else None
            writer.release()
    say("no lock", signs.is_being_written, tmp_path)
    for name in (".lock", "states/00000.npz", "journal.jsonl"):
        where = tmp_path / f"linked {name.replace('/', ' ')}"
        (where / name).parent.mkdir(parents=True)
        (where / name).symlink_to(tmp_path / "elsewhere")
        say(f"a link {name}", new_writer, where)
    (tmp_path / "gone" / "states").mkdir(parents=True)
    (tmp_path / "gone" / "states" / "00000.npz").touch()
    say("states alone", new_writer, tmp_path / "gone")
    (tmp_path / "file").touch()
    say("below a file", new_writer, tmp_path / "file" / "below")
    text = "\n".join(lines)
    assert_kept("folders", text.replace(str(tmp_path), "HERE") + "\n")
