"""Hostile inputs by group: what somebody else may hand us as data, states or the folder
of a sweep.

An input is a name and a function that writes it below a folder and returns what reads
it. Each must end in a result or in a `UserError`, soon and without much memory, and
change nothing outside its folder.
"""

import io
import json
import os
import pickle
import socket
import struct
import zipfile
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from idx_files import idx, small_mnist

from mnist_tune import load_sweep, storage
from mnist_tune.commands.lr_regimes import LearningRateRegimes
from mnist_tune.data.dataset import load_dataset
from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.exports import mirror
from mnist_tune.named_code import parse_call
from mnist_tune.reports.page import write_page
from mnist_tune.reports.terminal import print_report
from mnist_tune.results.journal import read_journal
from mnist_tune.results.meta import read_meta
from mnist_tune.results.rows import BEGINS
from mnist_tune.results.signs import is_being_written
from mnist_tune.tuning.resuming import resumed_with

TEXTS = (
    "../../x",
    "/tmp/x",
    "..",
    "",
    "\ufeffa\x1b[2J\x07b\nb\r\tc\u202ex\u2028y",
    "a\\b<script>alert(1)</script>'\"`$(touch x)`",
    "[/x]",
    "[link=x]y[/link]",
    "[red]",
    "\\",
    "a\\[",
    "$\\frac{$",
    "$$",
    "%s %d {0} {x} {{ 7 * 7 }}",
    "=cmd|' /C calc'!A0",
    "x;=1+1",
    "--address=evil:6379",
    "evil.py:mlp",
    "</script><!--&lt;",
    "\x00",
    "é" * 200,
    "a" * 4_000,
    "\ud800",
)


SEEN: set[str] = set()
"""What sweeps held that have been printed: most damaged files leave the same tables,
which print the same again."""


def is_new(sweep):
    """Return whether no sweep before held the same."""
    held = repr(
        (sweep.trials.to_dict("list"), sweep.epochs.to_dict("list"), sweep.meta)
    )
    new = held not in SEEN
    SEEN.add(held)
    return new


def look(folder):
    """Read a sweep, and if it is a new one print it and copy it into CSV files."""
    sweep = load_sweep(folder)
    if is_new(sweep):
        print_report(sweep, every_line=len(SEEN) % 2 == 0)
        mirror("csv", str(folder.parent / "out")).update(sweep)
    return sweep


def show(folder):
    """Do all that `look` does, and draw and write what takes longer."""
    sweep = look(folder)
    sweep.plot(sweep.picture("regimes.png"))
    write_page([sweep], sweep.picture("report.html"))
    for kind, name in (("tensorboard", "logs"), ("optuna", "optuna.db")):
        mirror(kind, str(folder.parent / "out" / name)).update(sweep)


# --- npz, IDX, states


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def npy(header, body=b""):
    """The bytes of an array with this header."""
    text = header.encode() if isinstance(header, str) else header
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text) + 1) + text + b"\n" + body


def zipped(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as whole:
        for name, content in members.items():
            whole.writestr(f"{name}.npy", content)
    return file.getvalue()


def patched(content, what, by):
    """A zip file with a field of each member's two headers changed: where it is in
    them, and its new bytes."""
    data = bytearray(content)
    for mark, place in ((b"PK\x03\x04", what[0]), (b"PK\x01\x02", what[1])):
        start = data.find(mark)
        while start >= 0:
            data[start + place : start + place + len(by)] = by
            start = data.find(mark, start + 4)
    return bytes(data)


IMAGES, LABELS = np.arange(24 * 4, dtype=np.uint8).reshape(24, 4), np.arange(24) % 2
GOOD = npz(x_train=IMAGES, y_train=LABELS)
NPY = {
    "deep": npy(
        "{'descr': '<f8', 'fortran_order': False, 'shape': "
        + "(" * 5000
        + ")" * 5000
        + "}"
    ),
    "deeper": npy("[" * 60_000),
    "no text": npy(b"\xff\xfe" * 100),
    "open": npy("{'descr': "),
    "call": npy(
        "{'descr': __import__('os').system('touch sprung'), 'fortran_order': False, 'shape': (1,)}"
    ),
    "terabytes": npy(
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000)}"
    ),
    "negative": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 4)}"),
    "overflow": npy(
        "{'descr': '<f8', 'fortran_order': False, 'shape': (9223372036854775807, 9223372036854775807)}"
    ),
    "objects": npy(
        "{'descr': '|O', 'fortran_order': False, 'shape': (24, 4)}",
        pickle.dumps([1] * 96),
    ),
    "fields": npy(
        "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (24,)}", bytes(192)
    ),
    "long": npy(
        "{'descr': '<f8', 'fortran_order': False, 'shape': (24,), "
        + " " * 200_000
        + "}",
        bytes(192),
    ),
    "times": npy(
        "{'descr': '<M8[s]', 'fortran_order': False, 'shape': (24, 4)}", bytes(24 * 32)
    ),
    "empty": b"",
    "version": b"\x93NUMPY\x09\x00" + bytes(100),
}
NPZ = {
    "nothing": b"",
    "noise": bytes(range(256)) * 4,
    "a zip of nothing": zipped(),
    "half": GOOD[: len(GOOD) // 2],
    "an unknown compression": patched(GOOD, (8, 10), b"\x63\x00"),
    "a password": patched(GOOD, (6, 8), b"\x01\x00"),
    "terabytes": patched(GOOD, (22, 24), b"\xfe\xff\xff\xff"),
    "a checksum": patched(GOOD, (14, 16), b"\0\0\0\0"),
    "names that lead out": zipped(**{"../x_train": NPY["empty"]}),
    "a large label": npz(x_train=IMAGES, y_train=LABELS + 2**40),
    "complex": npz(x_train=IMAGES * 1j, y_train=LABELS),
    "a scalar": npz(x_train=np.float64(1), y_train=LABELS),
    "objects": npz(x_train=np.array([None]), y_train=LABELS),
} | {
    f"x_train: {name}": zipped(x_train=content, y_train=npy(""))
    for name, content in NPY.items()
}


def data(content, folder):
    (folder / "data.npz").write_bytes(content)
    return partial(load_dataset, str(folder / "data.npz"))


def idx_folder(changed, folder):
    for name, content in (small_mnist() | changed).items():
        (folder / name).write_bytes(content)
    return partial(load_dataset, str(folder))


TRAIN = "train-images-idx3-ubyte"
IDX = {
    "noise": bytes(range(256)),
    "huge": b"\0\0\x08\x03" + b"\xff" * 12,
    "zeros": b"\0\0\x08\x03" + bytes(12),
    "labels": idx(np.zeros(20, np.uint8)),
    "gzip": b"\x1f\x8b" + bytes(30),
    "rank": b"\0\0\x08\xff" + bytes(2000),
}


def state(content, folder):
    (folder / "00000.npz").write_bytes(content)
    return partial(Checkpoint.load, folder / "00000.npz")


def meta_of_state(**changed):
    meta = {
        "schema": 2,
        "names": ["a"],
        "untrained_loss": 2.3,
        "row": None,
        "types": {},
    } | changed
    return npz(
        array_000=np.zeros(3), meta=np.frombuffer(json.dumps(meta).encode(), np.uint8)
    )


STATES = {
    "nothing": b"",
    "noise": bytes(999),
    "pickle": pickle.dumps([1]),
    "data": GOOD,
    "schema": meta_of_state(schema=1),
    "names": meta_of_state(names=["a"] * 5),
    "no names": meta_of_state(names=7),
    "loss": meta_of_state(untrained_loss="x"),
    "row": meta_of_state(row={"epoch": -1}),
    "a long row": meta_of_state(row={"epoch": 10**400}),
    "types": meta_of_state(types={"a": "bfloat16"}),
    "eval": meta_of_state(types={"a": "float0+__import__('os')"}),
    "list": meta_of_state(row=[1]),
    "deep": npz(meta=np.frombuffer(b"[" * 200_000, np.uint8)),
    "compression": patched(meta_of_state(), (8, 10), b"\x63\x00"),
    "claims": patched(meta_of_state(), (22, 24), b"\xff" * 4),
} | {
    f"array: {name}": zipped(array_000=content, meta=npy(""))
    for name, content in NPY.items()
}


# --- sweep.json and journal


def places(value, path=()):
    """Yield the path of every value in a JSON value."""
    yield path
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for name, item in inner:
        yield from places(item, (*path, name))


GONE = object()


def replaced(value, path, new):
    """Return the JSON value with the value at `path` replaced, or removed if `new` is
    GONE."""
    if len(path) == 1 and new is GONE:
        return (
            {name: item for name, item in value.items() if name != path[0]}
            if isinstance(value, dict)
            else []
        )
    if not path:
        return None if new is GONE else new
    changed = list(value) if isinstance(value, list) else dict(value)
    changed[path[0]] = replaced(value[path[0]], path[1:], new)
    return changed


NASTY = (
    None,
    -1,
    10**400,
    float("nan"),
    "\x1b[2J[/x]",
    [[]],
    {"a": {}},
    True,
    "a" * 20_000,
    1e300,
)


def written(name, content, act, folder):
    (folder / name).write_bytes(content)
    return partial(act, folder)


def of_meta(whole):
    """Each value of a `sweep.json` replaced by one of the nasty ones in turn, and files
    that are none."""
    meta = json.loads(whole)
    for i, path in enumerate(places(meta)):
        new = replaced(meta, path, NASTY[i % len(NASTY)])
        yield (
            ".".join(map(str, path)),
            partial(written, "sweep.json", json.dumps(new).encode(), look),
        )
    trial = meta["trials"]["00000"]
    others = {
        "nothing": b"",
        "deep": b"[" * 100_000,
        "values": b"[" + b"[]," * 3_000_000 + b"1]",
        "no text": b"\xff" * 100,
        "numbers": b"9" * 100_000,
        "ids": json.dumps(meta | {"trials": {"../x": trial}}).encode(),
        "trials": json.dumps(
            meta | {"trials": {f"{i:x}": {} for i in range(100_001)}}
        ).encode(),
        "NUL": whole + b"\0",
        "unfinished": whole[:-2],
        "twice": whole * 2,
        "keys": json.dumps({str(i): i for i in range(9999)}).encode(),
    }
    yield from (
        (name, partial(written, "sweep.json", content, look))
        for name, content in others.items()
    )


def of_journal(whole):
    row = json.loads(
        next(line for line in whole.splitlines() if line.startswith(BEGINS))
    )
    changed = {
        "epoch": 2**60,
        "step": 0,
        "learning_rate": -1,
        "train_loss": 10**300,
        "ended_at": 1e300,
    }
    changed |= {
        "trial_id": "../x",
        "node": "\x1b[2J",
        "lanes": -1,
        "diverged": 1,
        "above_since": 0,
        "wait_s": "x",
    }
    lines = {
        name: json.dumps(row | {name: value}).encode()
        for name, value in changed.items()
    }
    lines |= {
        "newlines": b"\n" * 3_000_000,
        "braces": b"{}\n" * 300_000,
        "deep": b"[" * 500_000,
        "long": b"a" * 5_000_000,
        "pickle": pickle.dumps(row),
        "infinite": json.dumps(row | {"train_s": float("inf")}).encode(),
        "strangers": b"".join(
            json.dumps(row | {"trial_id": f"x{i}"}).encode() + b"\n" for i in range(300)
        ),
        "proposed": json.dumps(
            {"kind": "trial", "trial_id": "x", "config": {"label": "a" * 10**6}}
        ).encode(),
        "ended": json.dumps(
            {"kind": "end", "trial_id": "00000", "stop_reason": "../x"}
        ).encode(),
        "an error": json.dumps(
            {
                "kind": "end",
                "trial_id": "00000",
                "stop_reason": "error",
                "error": "x" * 10**6,
            }
        ).encode(),
    }
    yield from (
        (name, partial(written, "journal.jsonl", whole + line + b"\n", look))
        for name, line in lines.items()
    )


# --- parquet


def table(content, **columns):
    """A stored table with the last value of some columns replaced, and the types that
    they have."""
    found = pq.read_table(io.BytesIO(content))
    for name, value in columns.items():
        known = name in found.column_names
        values, kind = (
            (found[name].to_pylist(), found[name].type)
            if known
            else ([None] * len(found), pa.string())
        )
        column = pa.array([*values[:-1], value], kind)
        place = found.schema.get_field_index(name)
        found = (
            found.set_column(place, name, column)
            if known
            else found.append_column(name, column)
        )
    file = io.BytesIO()
    pq.write_table(found, file)
    return file.getvalue()


def of_parquet(files):
    trials, epochs = files["trials.parquet"], files["epochs.parquet"]
    wrong = {
        "trial_id": ["../x", "00000/../..", "", "00000", "x" * 70],
        "learning_rate": [float("nan"), float("inf"), 0.0, -1.0],
        "regime": ["mine", "[/x]"],
        "stop_reason": ["[/x]", "a/b"],
        "architecture": ["[/x]", "\x1b[2J", "a" * 16_000, ""],
        "train_s": [float("inf"), -1e308],
        "epochs_run": [-1, 2**53],
        "epochs_asked": [2**53],
        "target": [float("nan"), 9.0],
        "reaches": [float("-inf"), -5.0],
        "reaches_from": [float("inf")],
        "batch_size": [2**53],
        "error": ["x" * 10**6],
        "momentum": [-1.0],
        "best_epoch": [2**53],
        "diverged_at_step": [2**53],
        "test_accuracy": [float("nan"), 1e308],
        "seed": [2**33],
        "curve_regime": ["x"],
        "reason": ["x"],
    }
    for name, values in wrong.items():
        for i, value in enumerate(values):
            yield (
                f"trials {name} {i}",
                partial(
                    written, "trials.parquet", table(trials, **{name: value}), look
                ),
            )
    wrong = {
        "trial_id": ["../x", "another"],
        "epoch": [0, 2**53, 1],
        "step": [2**53],
        "train_loss": [-1.0, 1e308, 5e-324],
        "test_accuracy": [9.0, -1e308],
        "ended_at": [1e12, -1e12, 1e300],
        "wait_s": [float("inf"), -1e9],
        "lanes": [2**53],
        "node": ["[/x]", "\x1b[2J"],
        "sharpness_steps": ["[[", "[[1]]", "[" * 10**5, "null", "[[1e400,null,{},[]]]"],
    }
    for name, values in wrong.items():
        for i, value in enumerate(values):
            content = table(epochs, **{name: value})
            yield (
                f"epochs {name} {i}",
                partial(written, "epochs.parquet", content, with_sharpness),
            )
    for name, content in {
        "nothing": b"",
        "noise": bytes(999),
        "half": epochs[:-99],
        "json": b"PAR1{}PAR1",
    }.items():
        yield name, partial(written, "epochs.parquet", content, look)
    for name, count, length in (("a long text", 600, 2**20), ("many rows", 300_000, 1)):
        yield (
            name,
            partial(
                written,
                "epochs.parquet",
                repeated(epochs, count, length).getvalue(),
                look,
            ),
        )


def repeated(content, count, length, kind=""):
    """A small file with a stored table's first row `count` times, and a text of this
    length in each."""
    one = pq.read_table(io.BytesIO(content)).slice(0, 1)
    many = pa.table({name: pa.repeat(one[name][0], count) for name in one.column_names})
    text = pa.DictionaryArray.from_arrays(
        pa.repeat(pa.scalar(0, pa.int32()), count), pa.array(["a" * length])
    )
    file = io.BytesIO()
    compression = "zstd" if kind == "pages" else "snappy"
    pq.write_table(
        many.append_column("sharpness_steps", text),
        file,
        compression=compression,
        store_schema=False,
    )
    return file


def with_sharpness(folder):
    sweep = look(folder)
    if "sharpness_steps" in sweep.epochs:
        sweep.sharpness()


# --- special files, links


def special(name, kind, act, folder):
    """Put something that is no file in the place of a file."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(os.path.relpath(path))
    elif kind == "folder":
        path.mkdir()
    elif kind == "large":
        path.touch()
        os.truncate(path, 2**41)
    else:
        path.symlink_to(
            {"device": "/dev/zero", "loop": path, "nowhere": "nothing"}.get(kind, kind)
        )
    return partial(act, folder)


def look_at_all(folder):
    is_being_written(folder)
    Checkpoint.load(folder / "states" / "00000.npz")
    look(folder)


READ = (
    "sweep.json",
    "journal.jsonl",
    "trials.parquet",
    "epochs.parquet",
    "states/00000.npz",
    ".lock",
)
KINDS = ("pipe", "socket", "folder", "large", "device", "loop", "nowhere")
WRITTEN = ("trials.csv", "epochs.csv", "report.html", "regimes.png")


def draw_here(folder):
    """Write into the folder what is written there by default."""
    sweep = load_sweep(folder)
    acts = [
        partial(storage.write, sweep.picture(name), b"it")
        for name in ("regimes.png", "report.html")
    ]
    for act in (partial(mirror("csv", None).update, sweep), *acts):
        try:
            act()
        except OSError as error:
            storage.reason(error)


# --- paths and URIs

PATHS = (
    "a" * 300,
    "a/" * 3000,
    "\0",
    "a\0b",
    "~nobody/x",
    "s3://[/x",
    "s3://",
    "s3:///x",
    "s3://[::1",
    "http://x",
    "x://y",
    "file://[",
    "file:///dev/null",
    "/dev/zero",
    "/dev/null",
    "/proc/self/mem",
    "-",
    "s3://u:p@b/x",
    "s3://b/x?token=1",
    "gs://[x]/y",
    "az://",
    "\ud800",
    "a\nb\x1b[2J",
    "s3://b:x/y",
    "\u202e",
    ".",
    "",
    "C:\\x",
    "s3:b/x",
)


def path(text, act, folder):
    return partial(act, text)


# --- options of a resume, code of others


def again(options, folder):
    """Resume a sweep that records these options, as far as its trials."""
    meta = json.loads((folder / "sweep.json").read_text())
    plain = {
        name: list(one) if isinstance(one, tuple) else one
        for name, one in vars(LearningRateRegimes()).items()
    }
    meta |= {"name": "lr_regimes", "options": plain | options}
    (folder / "sweep.json").write_text(json.dumps(meta))

    def act():
        found = resumed_with(LearningRateRegimes, folder, {})
        found.trials(read_journal(folder).known_trials(read_meta(folder)).values())
        look(folder)

    return act


CODE = (
    "evil.py:mlp",
    "../evil.py:mlp",
    "evil:mlp",
    "os:system('touch sprung')",
    "evil.py:mlp(__import__('os'))",
)
CALLS = (
    "a(",
    "a(" + "(" * 5000,
    "a([" + "[" * 90 + "]" * 90 + "])",
    "a(9**9**9)",
    "a('x'*10**9)",
    "a(b=1, b=2)",
    "a(**{})",
    "a(lambda: 1)",
    "a(1e400)",
    "a(" + "-" * 5000 + "1)",
    "a(\0)",
    "a(x)",
    "a()(b)",
    "a('\ud800')",
    "a(" + "1," * 10**5 + ")",
)


def names_code(name, folder):
    """A folder with a network beside it that shows if it is run."""
    for place in (folder, folder.parent):
        (place / "evil.py").write_text("open('sprung', 'w').write('x')\n")
    code = [
        {
            "flag": "architecture",
            "name": name,
            "files": {"evil.py": {"sha256": "", "lines": ["x"]}},
        }
    ]
    act = again({"architecture": [name]}, folder)
    meta = json.loads((folder / "sweep.json").read_text()) | {"code": code}
    meta["trials"]["00000"]["architecture"] = name
    (folder / "sweep.json").write_text(json.dumps(meta))

    return act


# --- texts


def everywhere(text, act, folder):
    """Put a text wherever a folder holds one."""
    meta = json.loads((folder / "sweep.json").read_text())
    meta |= {"name": text, "command": [text, text], "started": text, "ended": None}
    meta["environment"] = {"versions": {"jax": text}}
    meta["dataset"] |= {"name": text, "note": text}
    meta["options"] = {"dataset": text, "data_dir": text, "scheduler": text}
    for config in meta["trials"].values():
        config |= {"label": text, "architecture": text, "optimizer": text}
    (folder / "sweep.json").write_text(json.dumps(meta))
    lines = []
    for line in (folder / "journal.jsonl").read_text().splitlines():
        event = json.loads(line)
        event |= {"epoch": {"node": text, "device": text}, "end": {"error": text}}.get(
            event["kind"], {}
        )
        if event["kind"] == "trial":
            event["config"] |= {"label": text, "architecture": text}
        lines.append(json.dumps(event))
    (folder / "journal.jsonl").write_text("\n".join([*lines, ""]))
    return partial(act, folder)


def groups(files):
    """Return the inputs of each group by name, given the files of a finished sweep."""
    acts = {"read": load_sweep, "place": storage.place, "data": load_dataset}
    options = [
        name for name in vars(LearningRateRegimes()) if name not in ("output", "resume")
    ]
    again_with = {name: {name: NASTY[i % len(NASTY)]} for i, name in enumerate(options)}
    all_texts = "".join(text[:50] for text in TEXTS)
    states = {
        f"state {name}": partial(state, content) for name, content in STATES.items()
    }
    files_of_data = {
        f"npz {name}": partial(data, content) for name, content in NPZ.items()
    }
    files_of_data |= {
        f"IDX {name}": partial(idx_folder, {TRAIN: content})
        for name, content in IDX.items()
    }
    calls = {text[:20]: partial(path, text, parse_call) for text in CALLS}
    placed = [(name, kind, look_at_all) for name in READ for kind in KINDS]
    links = [
        (name, to, draw_here)
        for name in WRITTEN
        for to in ("../outside/file", "../outside")
    ]
    paths = {
        f"{how} {text[:20]!r}": partial(path, text, act)
        for text in PATHS
        for how, act in acts.items()
    }
    return {
        "data and states": files_of_data | states,
        "sweep.json": dict(
            of_meta(files["sweep.json"].replace(b'"ended": "now"', b'"ended": null'))
        ),
        "journal": dict(of_journal(files["journal.jsonl"])),
        "parquet": dict(of_parquet(files)),
        "special files": {
            f"{name} {kind}": partial(special, name, kind, act)
            for name, kind, act in placed
        },
        "links": {
            f"{name} {to}": partial(special, name, to, act) for name, to, act in links
        },
        "paths and URIs": paths,
        "options of a resume": {
            name: partial(again, value) for name, value in again_with.items()
        },
        "code of others": {name: partial(names_code, name) for name in CODE} | calls,
        "texts": {text[:20]: partial(everywhere, text, look) for text in TEXTS}
        | {"all": partial(everywhere, all_texts, show)},
    }
