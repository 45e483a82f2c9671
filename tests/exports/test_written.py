"""All that the exports write and call, to the letter, of a sweep while it runs and when it has ended."""

import errno
import math
import re
import shlex
import struct
from collections import namedtuple
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pandas as pd
import pytest
from kept_texts import assert_kept, rounded
from shortened import shortened

from mnist_tune import TrialConfig, UserError, exports, load_sweep
from mnist_tune.commands import export
from mnist_tune.exports import mirror
from mnist_tune.exports.csv import quoted
from mnist_tune.exports.run import library, runs, sweep_id, title

COPIES = {
    "while it runs": 0,
    "the same again": 0,
    "when it has ended": 1,
    "without an epoch": 2,
    "by another process": 1,
}


@pytest.fixture(scope="module")
def moments(new_writer, epoch_row, tmp_path_factory):
    """A sweep with a trial that ended, one that diverged, one that goes on and one that waits; and as it ended, when a
    search had proposed two more: one of another network, stopped early, and one whose worker died."""
    writer = new_writer(tmp_path_factory.mktemp("written") / "sweep", count=0)

    def add(number, **config):
        usual = {"architecture": "mlp-4-tanh", "learning_rate": 0.25 * (number + 1), "batch_size": 16 * (number + 1)}
        writer.trial(f"{number:05d}", TrialConfig(**usual | {"epochs": 3, "holdout": 100} | config))

    def train(number, epoch, loss, accuracy, **values):
        held = {"validation_loss": loss + 0.02, "validation_accuracy": accuracy - 0.02, "ended_at": 1e9 + epoch}
        less = "step_loss_first step_loss_max step_loss_last untrained_loss compile_s eval_s batch_s wait_s".split()
        writer.epoch(f"{number:05d}", epoch_row(epoch, loss, accuracy, **held | dict.fromkeys(less) | values), False)

    for number in range(4):
        add(number)
    for epoch in (1, 2, 3):
        train(0, epoch, math.nan if epoch == 2 else 0.1 / epoch, 0.98 - 0.01 * epoch)
    writer.end("00000", "completed")
    train(1, 1, math.inf, 0.1, finite=False, diverged=True, above_since=2, window_loss_max=9.0)
    writer.end("00001", "diverged")
    train(2, 1, 0.5, 0.9)
    running = load_sweep(writer.path)
    train(2, 2, 0.4, 0.91)
    writer.end("00002", "interrupted")
    add(4, architecture="mlp-8-tanh", momentum=0.9, nesterov=True)
    train(4, 1, 2.0, 0.3)
    writer.end("00004", "asha")
    add(5)
    writer.end("00005", "error", "=" + "out of memory " * 400)
    writer.finish(ended="2026-01-02T04:04:05+00:00")
    begun = {"started": "2026-01-02T03:04:05.678+00:00"}
    running, ended = (replace(one, meta=one.meta | begun) for one in (running, load_sweep(writer.path)))
    return running, ended, replace(ended, epochs=ended.epochs.iloc[1:])


@pytest.fixture
def kept(tmp_path, moments):
    """A function that compares lines with those that are kept under a name."""

    def compare(name, lines):
        text = "\n".join(lines).replace(str(tmp_path), "HERE").replace(sweep_id(moments[0]), "SWEEP")
        assert_kept(f"exported {name}", rounded(text, 4).replace("out of memory " * 9, ""))

    return compare


def copied(kind, output, moments):
    """Yield what a copy says at each of several moments, with what it is."""
    copy = mirror(kind, output)
    for moment, which in COPIES.items():
        copy = mirror(kind, output) if moment == "by another process" else copy
        yield f"--- {moment}", copy.update(moments[which])


def test_what_trackers_are_told_of_trials(moments):
    """What else there is of it, stands in each export."""
    running, ended, _ = moments
    assert title(running) == title(ended) == f"lr_regimes 2026-01-02T03-04-05 {sweep_id(running)}"
    unknown = {"name": "a/b" * 50, "started": None, "trials": {"00000": {"epochs": 4}}, "ended": "now"}
    assert title(replace(ended, meta=unknown)) == ("a-b" * 50)[:100] + " 6ece975be1de"
    assert runs(replace(ended, epochs=ended.epochs.iloc[::-1])) == runs(ended)


def test_csv_files(moments, tmp_path, kept):
    said = list(copied("csv", str(tmp_path / "a" / "b"), moments))
    for name in ("trials", "epochs"):
        lines = (tmp_path / "a" / "b" / f"{name}.csv").read_text().splitlines()
        said.append((*lines[:3], lines[-1]))
    by_default = mirror("csv", None).update(moments[1]).replace(str(moments[1].path), "ITS FOLDER")
    kept("csv", [by_default, *map("\n".join, said[4:])])


def events(file):
    """Yield the events of a TensorBoard file: TFRecords, each with its length and two checksums."""
    from tensorboardX.proto.event_pb2 import Event

    content = file.read_bytes()
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        yield Event.FromString(content[12 : 12 + length])
        content = content[16 + length :]


def hparams(value):
    """Yield what is in an event for the tab HParams."""
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    told = HParamsPluginData.FromString(value.metadata.plugin_data.content)
    yield f"  {value.tag} {[one.name for one in told.experiment.hparam_infos]}"
    yield from (f"  metric {one.name.tag}" for one in told.experiment.metric_infos)
    for name, one in sorted(told.session_start_info.hparams.items()):
        yield f"  {name}: {next(iter(one.ListFields()))[1]}"


def test_logs_of_tensorboard(moments, tmp_path, kept):
    output, lines = tmp_path / "my logs", []
    for moment, said in copied("tensorboard", str(output), moments):
        lines += ["", moment, said]
        for file in sorted(output.rglob("events.*"), key=lambda path: (path.parent, path.suffix)):
            lines.append(f"{file.parent.relative_to(output)}: *{file.suffix}")
            found: dict[str, list[str]] = {}
            for one in events(file):
                for value in one.summary.value:
                    told = found.setdefault(f"  {one.step} at {one.wall_time - 1e9:g}", [])
                    told += hparams(value) if value.tag[0] == "_" else [f"{value.tag} {value.simple_value:.4g}"]
            for when, told in found.items():
                lines += [when, *told] if told[0][0] == " " else [f"{when}: {', '.join(told)}"]
            file.rename(file.with_name(f"events.out.tfevents.1000000000.elsewhere{file.suffix}"))
    kept("tensorboard", shortened(lines))


def test_what_a_full_disk_cut_short_is_written_anew(moments, tmp_path, monkeypatch):
    """TensorBoard shows twice what is written twice."""
    running, ended, _ = moments
    copy, writer = mirror("tensorboard", str(tmp_path)), library("tensorboardX.event_file_writer").EventsWriter
    copy.update(running)
    write = writer.write_event

    def full(self, event):
        if event.step:
            self.flush()
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, event)

    with monkeypatch.context() as patch:
        patch.setattr(writer, "write_event", full)
        with pytest.raises(UserError, match=f"^can't write {tmp_path}: No space left on device; name another --output"):
            copy.update(ended)
    [cut] = tmp_path.glob("*/00002/*.000002")
    cut.rename(f"{cut}.before")  # the retry would overwrite a file of the same second
    copy.update(ended)
    files = tmp_path.glob("*/00002/*")
    found = [(one.step, value.tag) for file in files for one in events(file) for value in one.summary.value]
    assert sorted(step for step, tag in found if tag == "train_loss") == [1, 2]


class MLflow:
    """What a mirror uses of MLflow, in memory, with two runs a page. `calls` has what changes something, in lines."""

    exceptions = SimpleNamespace(MlflowException=ConnectionError)
    entities = SimpleNamespace(
        Param=namedtuple("Param", "key value"),
        RunTag=namedtuple("RunTag", "key value"),
        Metric=namedtuple("Metric", "key value timestamp step"),
    )

    def __init__(self):
        self.runs, self.experiment, self.calls = [], None, []

    def MlflowClient(self, uri):
        self.calls.append(f"client of {uri}")
        return self

    def get_experiment_by_name(self, name):
        return self.experiment if self.experiment and self.experiment.name == name else None

    def create_experiment(self, name):
        self.experiment = SimpleNamespace(name=name, experiment_id="7")
        self.calls.append(f"new experiment {name!r}")
        return "7"

    def create_run(self, experiment_id, start_time=None, tags=None, run_name=None):
        run = SimpleNamespace(info=SimpleNamespace(run_id=f"r{len(self.runs)}"))
        self.calls.append(f"{run.info.run_id}: new run {run_name!r} of {experiment_id} from {start_time}, {tags}")
        self.runs.append(run)
        run.data = SimpleNamespace(tags=dict(tags), params={})
        return run

    def search_runs(self, experiment_ids, max_results, page_token):
        assert (experiment_ids, max_results) == (["7"], 1000)
        first = page_token or 0

        class Page(list):
            token = first + 2 if first + 2 < len(self.runs) else None

        return Page(self.runs[first : first + 2])

    def log_batch(self, run_id, metrics=(), params=(), tags=()):
        data = self.runs[int(run_id[1:])].data
        assert data.params.keys().isdisjoint(one.key for one in params), "MLflow refuses to change a parameter"
        data.params |= dict(params)
        data.tags |= dict(tags)
        when = {f" in {one.step} at {one.timestamp}" for one in metrics}
        said = [f"{one.key}={one.value:.4g}" for one in metrics] + [f"{one.key}={one.value[:80]}" for one in tags]
        self.calls += [f"  param {one.key}={one.value}" for one in params]
        self.calls += [f"{run_id}{''.join(when)}: {', '.join(said)}"] * (not params)
        self.calls += [f"  {one.key} has {len(one.value)} characters" for one in tags if len(one.value) > 80]

    def update_run(self, run_id, status):
        self.calls.append(f"{run_id}: {status}")

    def set_terminated(self, run_id, status, end_time):
        self.calls.append(f"{run_id}: {status} at {end_time}")


def test_calls_of_mlflow(moments, monkeypatch, kept):
    library, lines = MLflow(), []
    monkeypatch.setattr("mnist_tune.exports.mlflow.library", lambda name: library)
    for moment, said in copied("mlflow", "runs.db", moments):
        lines += ["", moment, *library.calls, said]
        library.calls.clear()
    library.runs, (_, ended, _) = [], moments
    for epochs in (ended.epochs.assign(ended_at=math.nan), ended.epochs.drop(columns="ended_at")):
        library.calls.clear()
        mirror("mlflow", "http://localhost:5000").update(replace(ended, epochs=epochs[:1], trials=ended.trials[:2]))
        lines += ["", "--- of a journal without times", *library.calls]
    kept("mlflow", shortened(lines))


class WandB:
    """What a mirror uses of W&B. Each run leaves its folder."""

    Settings = staticmethod(dict)

    def __init__(self):
        self.calls = []

    def init(self, **asked):
        config = asked.pop("config")
        self.calls += ["new run", *(f"  {name}: {value}" for name, value in (asked | config).items())]
        (Path(asked["dir"]) / "wandb" / f"offline-run-{len(self.calls)}-{asked['id']}").mkdir(parents=True)
        return nullcontext(SimpleNamespace(log=self.log, summary=SimpleNamespace(update=self.summarise)))

    def log(self, values, step):
        self.calls.append(f"  in {step}: {values}")

    def summarise(self, labels):
        self.calls.append(f"  in the end: {labels}")

    def teardown(self):
        self.calls.append("teardown")


def test_calls_of_wandb(moments, tmp_path, monkeypatch, kept):
    library, lines, output = WandB(), [], tmp_path / "a" / "b"
    monkeypatch.setattr("mnist_tune.exports.wandb.library", lambda name: library)
    for moment, said in copied("wandb", str(output), moments):
        lines += ["", moment, *library.calls, said]
        lines += sorted(re.sub(r"run-\d+", "run-*", path.name) for path in (output / "wandb").iterdir())
        library.calls.clear()
    kept("wandb", shortened(lines))


def test_studies_of_optuna(moments, monkeypatch, kept):
    """The database is in memory: SQLite takes half a second."""
    import optuna

    class Library:
        calls, storage = [], optuna.storages.InMemoryStorage()

        def __getattr__(self, name):
            return getattr(optuna, name)

        def _call(self, name, asked):
            self.calls.append(f"{name} {asked}")
            return getattr(optuna, name)(**asked | {"storage": self.storage})

        def create_study(self, **asked):
            return self._call("create_study", asked)

        def delete_study(self, **asked):
            return self._call("delete_study", asked)

    library, lines = Library(), []
    monkeypatch.setattr("mnist_tune.exports.optuna.library", lambda name: library)
    for moment, said in copied("optuna", "study.db", moments):
        study = optuna.load_study(study_name=None, storage=library.storage)
        lines += ["", moment, *library.calls, said, f"{study.study_name}: {study.user_attrs}"]
        library.calls.clear()
        for trial in study.get_trials():
            lines.append(f"{trial.number}: {trial.state.name} {trial.values} {trial.intermediate_values}")
            lines += [f"  {name}: {text[:80]}" for name, text in trial.user_attrs.items()]
            for name, value in trial.params.items():
                lines.append(f"  {name}: {value} of {trial.distributions[name]}".replace("Distribution", ""))
    kept("optuna", shortened(lines))


REASONS = ("completed", "asha", "diverged", "time_budget", "interrupted", "error", "running", "waiting")


def test_the_states_of_trials_by_stop_reason_and_regime(moments, monkeypatch, kept):
    import optuna

    _, sweep, _ = moments
    ids = [f"{reason} {regime}" for reason in REASONS for regime in ("slow", "diverged")]
    trials = pd.concat([sweep.trials[:1]] * len(ids), ignore_index=True)
    trials = trials.assign(trial_id=ids, stop_reason=[name.split()[0] for name in ids])
    trials = trials.assign(regime=[name.split()[1] for name in ids])
    epochs = pd.concat([sweep.epochs[:1].assign(trial_id=name) for name in ids if name != "asha slow"])
    library, storage = MLflow(), optuna.storages.InMemoryStorage()
    monkeypatch.setattr("mnist_tune.exports.mlflow.library", lambda name: library)
    create = optuna.create_study
    monkeypatch.setattr(optuna, "create_study", lambda **asked: create(**asked | {"storage": storage}))
    lines = [mirror(kind, None).update(replace(sweep, trials=trials, epochs=epochs)) for kind in ("mlflow", "optuna")]
    study = optuna.load_study(study_name=None, storage=storage)
    states = {trial.user_attrs["trial_id"]: trial.state.name for trial in study.trials}
    said = dict(line.split(": ")[:2] for line in library.calls if ": " in line)
    lines += [f"{name}: MLflow {said[f'r{i}']}; Optuna {states.get(name)}" for i, name in enumerate(ids, 1)]
    kept("states", lines)


WHY = {"dead": OSError("no route to host"), "full": UserError("the disk is full"), "slow": UserError("SLOW_DOWN")}
FOLLOWED = {
    "a running sweep, copied once": ("", "R", "0.1", ""),
    "until it ends, with a service that is dead at first": ("--to mlflow --follow", "RRRRE", "dead 1 1.5 0.1", "yyyn"),
    "until the lock is gone, and read after that": ("--follow", "EEEE", "0.1 full 0.1", "yyn"),
    "an ended one, with a full disk": ("--to optuna --output all.db --follow", "EE", "full", "n"),
    "an ended one, with a dead service": ("", "E", "dead", ""),
    "one of which a trial lives though nobody writes": ("--follow", "RRE", "0.1 0.1", "nn"),
    "one in object storage that fails for a moment": ("--follow", "SS-SF", "0.1 0.1 0.1", "yyyn"),
    "one in object storage that has ended and fails": ("--follow", "F-F", "0.1", "nn"),
}
"""What is given, what is read (R: it runs, E: it has ended, S and F: the same in object storage, -: it fails), how many
seconds a copy takes or why it fails, and whether the folder is locked."""


def followed(arguments, reads, copies, locks, moments, monkeypatch, capsys):
    """Return what the command does and says, in lines."""
    running, ended, _ = moments
    away = {"path": "s3://bucket/sweep"}
    sweeps = {"R": running, "E": ended, "S": replace(running, meta=running.meta | {"ended": None}, **away)}
    sweeps["F"] = replace(ended, **away)
    reads, copies, locks, lines, now = list(reads), copies.split(), list(locks), [], [0.0]

    def flush():
        said = capsys.readouterr()
        lines.extend(f"stderr: {line}" for line in said.err.splitlines())
        lines.extend(f"stdout: {line}" for line in said.out.splitlines())

    def read(path):
        flush()
        which = reads.pop(0)
        lines.append(f"reads {Path(path).name}: {which}")
        if which == "-":
            raise WHY["slow"]
        return sweeps[which]

    def lock(path):
        flush()
        lines.append(f"locked: {locks[0]}")
        return locks.pop(0) == "y"

    def wait(seconds):
        flush()
        lines.append(f"waits {seconds:g} s")
        now[0] += seconds

    def update(sweep):
        how = copies.pop(0)
        lines.append(f"copies {len(sweep.epochs)} epochs: {how}")
        if how in WHY:
            raise WHY[how]
        now[0] += float(how)
        return "It is there."

    def mirror(kind, output):
        lines.append(f"mirror: {kind} {output}")
        return SimpleNamespace(update=update)

    for owner, changed in (
        (export, {"load_sweep": read, "is_being_written": lock, "mirror": mirror}),
        (export.time, {"sleep": wait, "monotonic": lambda: now[0]}),
    ):
        for name, value in changed.items():
            monkeypatch.setattr(owner, name, value)
    monkeypatch.setattr("sys.argv", ["export.py", "results/x", *arguments.split()])
    try:
        export.main()
    except Exception as error:
        lines.append(f"raises {error!r}")
    flush()
    assert [*reads, *copies, *locks] == []
    return lines


def test_following_a_sweep(moments, monkeypatch, capsys, kept):
    lines = []
    for name, asked in FOLLOWED.items():
        with monkeypatch.context() as patch:
            lines += ["", f"--- {name}", *followed(*asked, moments, patch, capsys)]
    kept("while it is followed", lines)


def refusal(act):
    """Return the sentence of a refusal."""
    with pytest.raises(UserError) as refused:
        act()
    return str(refused.value)


def test_what_an_export_refuses(moments, tmp_path, monkeypatch, kept):
    (tmp_path / "file").write_text("")
    said = ConnectionError("it is locked\nBackground on this error")
    libraries: dict[str, Any] = {
        "mlflow": MLflow(),
        "optuna": Mock(),
        "wandb": WandB(),
        "tensorboard": None,
        "csv": None,
    }
    libraries["mlflow"].create_run = Mock(side_effect=said)
    libraries["optuna"].exceptions.StorageInternalError = ConnectionError
    libraries["optuna"].SQLAlchemyError = LookupError
    libraries["optuna"].create_study.side_effect = said
    lines = []
    for kind, found in libraries.items():
        if found is not None:
            monkeypatch.setattr(f"mnist_tune.exports.{kind}.library", lambda name, found=found: found)
        copies = [mirror(kind, str(tmp_path / "file"))]
        lines.append(refusal(lambda copies=copies: copies[0].update(moments[0])))
        outputs = (None, "my.db", "sqlite:///a.db", "http://localhost:5000")
        for output in outputs if kind in ("mlflow", "optuna") else outputs[:1]:
            copy = vars(mirror(kind, output))
            lines.append(f"{kind} {output}: {copy.get('_uri') or copy.get('_url') or copy['_output']}")
    libraries["mlflow"].SQLAlchemyError = LookupError
    libraries["mlflow"].MlflowClient = Mock(side_effect=LookupError("(sqlite3.DatabaseError) file is not a database"))
    monkeypatch.setattr("mnist_tune.exports.mlflow.library", lambda name: libraries["mlflow"])
    copies = [mirror("mlflow", str(tmp_path / "file"))]
    lines.append(refusal(lambda: copies[0].update(moments[0])))
    monkeypatch.setattr("mnist_tune.exports.optuna.library", exports.run.library)
    for place in (tmp_path / "file" / "a.db", tmp_path, "sqlite:///nowhere/a.db", "http://localhost:5000"):
        copies = [mirror("optuna", str(place))]
        lines.append(refusal(lambda copies=copies: copies[0].update(moments[0])))
    monkeypatch.setattr("mnist_tune.exports.run.import_module", Mock(side_effect=ImportError))
    names = ("mlflow", "optuna", "wandb", "tensorboardX", "tensorboardX.summary")
    lines += [refusal(lambda name=name: exports.run.library(name)) for name in names]
    kept("refused", lines)


def test_the_commands_that_an_export_prints_are_for_a_shell(moments, tmp_path, monkeypatch):
    """Also with a blank or an apostrophe in the folder, which is made."""
    folder, said = tmp_path / "it's mine", []
    for kind, found in {"mlflow": MLflow(), "wandb": WandB(), "optuna": None, "tensorboard": None}.items():
        if found is not None:
            monkeypatch.setattr(f"mnist_tune.exports.{kind}.library", lambda name, found=found: found)
        said.append(shlex.split(mirror(kind, str(folder / kind)).update(moments[0]))[-1])
    assert said[0] == f"sqlite:///{folder}/mlflow"
    assert said[1:] == [f"{folder}/wandb/wandb/offline-run-*", f"sqlite:///{folder}/optuna", f"{folder}/tensorboard"]


HARMLESS = {
    "=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@SUM(A1)": "'@SUM(A1)", "\t=1": "'\t'=1", " =1": "' =1", "\rx": "'\rx",
    "a;=1+1": "a;'=1+1", "a; @x;-2": "a;' @x;'-2", "a,=1": "a,'=1", "a|+1": "a|'+1", "a\n=1": "a\n'=1",
    "1e-3, x-y, a=b": "1e-3, x-y, a=b",
}  # fmt: skip


@pytest.mark.promise("A spreadsheet takes no text for a formula")
def test_a_spreadsheet_takes_no_text_for_a_formula():
    """Nor where it separates cells otherwise and heeds no quotes."""
    table = pd.DataFrame({"error": [*HARMLESS, 7], "number": -1.0})
    assert quoted(table)["error"].tolist() == [*HARMLESS.values(), 7]
    assert quoted(table)["number"].tolist() == table["number"].tolist()
