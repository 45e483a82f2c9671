"""Sweeps that are played in this process: Ray, Tune's loop and training are stand-ins. What is done is noted in order.

A trial's process is the real one (`TrialTrainable`), but for its pool, which counts epochs and makes up their rows.
"""

import math
import os
import re
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher
from ray.tune.search.variant_generator import generate_variants

from mnist_tune import Sweep, TrialConfig
from mnist_tune.decisions import decide
from mnist_tune.edge import search
from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.execution.program_error import classifying
from mnist_tune.regimes.contest import CONTENDERS
from mnist_tune.regimes.measured_edge import SEARCHES
from mnist_tune.results.meta import read_meta
from mnist_tune.results.writer import SweepWriter
from mnist_tune.runtime import device, placement
from mnist_tune.runtime.device import Device
from mnist_tune.runtime.ray_session import PENDING
from mnist_tune.tuning import opening, progress, recorder, sweep, trainable, tuner

OWN = {"name", "search", "ended", "resumed", "driver", "options"}


class Killed(BaseException):
    """The driver is killed."""


class Course:
    """What was done, a line each.

    Attributes:
        row: a function from a trial's config and the number of an epoch to the epoch's row, or an exception.
        slots: how many trials run at a time.
        data: the data set.
        epoch_s: seconds of an epoch. Progress is printed every 15 s.
        dies: the driver is killed once the journal has so many more lines (`killed_after`).
        interrupts: a function from how many trials have been proposed and how many of them run to whether Ctrl-C comes.
    """

    def __init__(self, here, printed):
        self.here, self.lines, self.now, self._printed = here, [], 100.0, printed
        self._known, self.proposed, self.last = {}, {}, DEFAULTS
        self.data: Any = None
        self.row, self.slots, self.dies, self.resources = None, 2, math.inf, {"CPU": 2.0}
        self.interrupts = lambda proposed, running: False
        self.epoch_s = 0.5

    def note(self, line):
        """Note a line, after those that were printed before it."""
        said = [f"    says: {one}" for one in "".join(self._printed()).splitlines()]
        lines = [re.sub(r"[^\s(]*/(\w+\.py):\d+", r"\1", one) for one in (*said, line)]
        self.lines += [one.replace(str(self.here), "HERE").rstrip() for one in lines]

    def also(self, what):
        """Note what is done meanwhile, in the same line if nothing was printed since it began."""
        before = len(self.lines)
        self.note(f"    {what}")
        if len(self.lines) == before + 1 and not self.lines[-2].startswith("  "):
            self.lines[-2:] = [f"{self.lines[-2]}; {self.lines[-1].strip()}".replace(":;", ":")]

    def noting(self, name, result=None):
        """Return a function that notes how it is called."""

        def called(*given, **named):
            self.note(f"{name} {words(given)} {words(named)}".strip())
            return result

        return called

    @property
    def text(self):
        """The lines; of usual epochs, that end with a saved state and a row, several stand in one."""
        self.note("")
        lines = []
        for line in self.lines:
            usual = USUAL.fullmatch(line)
            if usual and lines and lines[-1].startswith("usual: ") and len(lines[-1]) < 100:
                lines[-1] += f", {usual[1]} {usual[2]}"
            else:
                lines.append(f"usual: {usual[1]} {usual[2]}" if usual else line)
        return "\n".join(lines)

    def seconds(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    def note_new(self, name, value):
        """Note a value unless it was the last one of this name, too."""
        if self._known.get(name) != value:
            self._known[name] = value
            self.note(f"{name}: {value}")

    @contextmanager
    def killed_after(self, lines):
        """The driver is killed in what is done here, once the journal has so many more lines."""
        self.dies = lines
        with pytest.raises(Killed):
            yield
        self.dies = math.inf

    def section(self, title):
        self.note(f"=== {title}")

    def recorded(self, where, before):
        """Note what `sweep.json` holds, but for what it held before, or for defaults. Return that."""
        meta = read_meta(where)
        flat = {name: value for name, value in meta.items() if name in OWN and name != "options"} | meta["options"]
        for name, value in flat.items():
            if name in (SEARCHES, CONTENDERS):
                for one in value:
                    self.note(f"  {name}: {changed(one)}")
            elif name not in before or shown(before[name]) != shown(value):
                self.note(f"  {name} = {shown(value)}")
        return flat

    def ended(self, found):
        """Note the table of a sweep's trials."""
        for one in found.trials.to_dict("records"):
            said = [f"{name}={shown(one[name])}" for name in ("learning_rate", "seed", "epochs_run", "epochs_asked")]
            error = one["error"] and f" ({one['error']})"
            self.note(f"  {one['trial_id']}: {' '.join(said)} {one['stop_reason']}, {one['regime']}{error}")
        return found


def shown(value):
    """Return a value with few digits."""
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {shown(one)}' for name, one in value.items())}}}"
    return str(value)


def words(values):
    """Return arguments as text: what has no short text of its own by its kind."""
    if isinstance(values, dict):
        return " ".join(f"{name}={words((value,))}" for name, value in values.items())
    plain = (str, bool, int, float, type(None), os.PathLike)
    return ", ".join(shown(one) if isinstance(one, plain) else f"<{type(one).__name__}>" for one in values)


USUAL = re.compile(r"(\w+): save (\d+); epoch \2; row \2")
DEFAULTS = {one.name: one.default for one in fields(TrialConfig)}


def changed(config, before=DEFAULTS):
    """Return the fields of a trial that are others than before."""
    values = config.to_dict() if isinstance(config, TrialConfig) else config
    new = {name: shown(value) for name, value in values.items() if name not in before or before[name] != value}
    if "seed" in new and new["seed"] == new.get("data_seed"):
        new = {"seeds" if name == "seed" else name: one for name, one in new.items() if name != "data_seed"}
    return " ".join(f"{name}={one}" for name, one in new.items())


class MadeUpPool:
    """Counts epochs instead of training, in a trial's process."""

    token = ""

    def __init__(self, course, save_every):
        self.course, self.save_every, self.lanes = course, save_every, {}

    def attach(self, lane_id, config, checkpoint=None):
        epoch = checkpoint.row["epoch"] if checkpoint else 0
        self.course.also(f"attach at {epoch}")
        self.lanes[lane_id] = [config, epoch, checkpoint.row if checkpoint else None]

    def detach(self, lane_id):
        if self.lanes.pop(lane_id, None):
            self.course.also("detach")

    def epoch(self, lane_id, state):
        lane = self.lanes[lane_id]
        lane[1] += 1
        self.course.now += self.course.epoch_s
        lane[2] = self.course.row(lane[0], lane[1])
        if isinstance(lane[2], Exception):
            lane[1] -= 1
            with classifying():
                raise lane[2]
        if lane[1] % self.save_every == 0:
            self.save(lane_id, state)
        return lane[2]

    def save(self, lane_id, state):
        _, epoch, row = self.lanes[lane_id]
        self.course.also(f"save {epoch}")
        Checkpoint({}, row).save(state)


class Process:
    """A trial as Tune has it, with the process that it runs in."""

    def __init__(self, number, config, start):
        self.trial_id, self.config, self.num_failures, self.error_file, self.checkpoint = (
            f"tune{number}",
            config,
            0,
            None,
            None,
        )
        self.run_metadata, self._start = SimpleNamespace(), start
        self.start()

    def start(self):
        kind, given = self._start
        self.process = object.__new__(kind)
        self.process._trial_info = SimpleNamespace(trial_id=self.trial_id)
        self.process.setup(self.config, **given)


class PlayedTuner:
    """Tune's loop with made-up trials, each of which reports an epoch in turn."""

    def __init__(self, course, trainable, param_space, tune_config, run_config):
        self.course, self.space, self.asked, self.run_config = course, param_space, tune_config, run_config
        self.trainable, resources = trainable
        self.search, self.scheduler = tune_config.search_alg, tune_config.scheduler or FIFOScheduler()
        settings = {name: one for name, one in vars(self.trainable[1]["settings"]).items() if name in SETTINGS}
        told = {name: kind_of(getattr(tune_config, name)) for name in TUNE}
        ran = {name: kind_of(getattr(run_config, name)) for name in RUN}
        ran |= {"max_failures": run_config.failure_config.max_failures}
        ran |= {"checkpoint_at_end": run_config.checkpoint_config.checkpoint_at_end}
        space = {name: kind_of(value) for name, value in param_space["trial"].items()}
        asked = {"resources": resources, "settings": settings, "tune": told, "run": ran, "space": space}
        for name, values in asked.items():
            course.note_new(
                f"asked of Tune, {name}", shown({one: what for one, what in values.items() if what is not None})
            )

    def proposals(self):
        """Yield the config of each trial in turn; None where there is none yet."""
        if self.search is None:
            for _ in range(self.asked.num_samples):
                for _, config in generate_variants(self.space):
                    yield config
            return
        self.search.set_search_properties(self.asked.metric, self.asked.mode, self.space)
        number = 0
        while number < self.asked.num_samples:
            found = self.search.suggest(f"tune{number}")
            if found == Searcher.FINISHED:
                return
            number += found is not None
            yield found

    def tell(self, what, *given, **named):
        for callback in self.run_config.callbacks:
            getattr(callback, what)(*given, **named)

    def fit(self):
        trials = []
        self.run(trials)
        self.tell("on_experiment_end", trials)

    def run(self, trials):
        course, running, over, begun = self.course, [], False, self.course.now
        course.note_new("ready to start", os.environ[PENDING])
        proposals, number = self.proposals(), 0
        while (running or not over) and not course.interrupts(number, len(running)):
            while not over and len(running) < course.slots:
                found = next(proposals, "over")
                if found == "over":
                    over = True
                if found is None or over:
                    break
                values = dict(found["trial"])
                own_id = values.pop("trial_id", None)
                course.proposed[own_id] = {name: values.get(name, default) for name, default in DEFAULTS.items()}
                course.note(f"proposed {own_id}: {changed(course.proposed[own_id], course.last)}")
                course.last = course.proposed[own_id]
                running.append(Process(number, found, self.trainable))
                trials.append(running[-1])
                number += 1
                self.scheduler.on_trial_add(None, running[-1])
            assert running or over, "the searcher waits for nothing"
            spent = course.now - begun >= (self.asked.time_budget_s or math.inf)
            if spent or course.interrupts(number, len(running)):
                return
            for trial in list(running):
                if not self.step(trial, trials):
                    running.remove(trial)

    def step(self, trial, trials):
        """Let a trial report an epoch, and do what Tune does then, in its order. Return whether the trial goes on."""
        self.course.note(f"{trial.process._lane_id}:")
        try:
            result = trial.process.step()
        except Exception as error:
            trial.num_failures += 1
            self.course.also(f"its process dies: {error!r}")
            if trial.num_failures <= self.run_config.failure_config.max_failures:
                trial.start()
                return True
            self.scheduler.on_trial_error(None, trial)
            if self.search:
                self.search.on_trial_complete(trial.trial_id, error=True)
            self.tell("on_trial_error", 0, trials, trial)
            return False
        said = [f"epoch {result['epoch']}", result["stop_reason"], result.get("warning")]
        self.course.also(" ".join(filter(None, said)) + (", not a repeat" if result.get("repeated") is False else ""))
        if not result["done"] and self.scheduler.on_trial_result(None, trial, result) == "STOP":
            result["done"] = True
        elif not result["done"] and self.search:
            self.search.on_trial_result(trial.trial_id, result)
        self.tell("on_trial_result", 0, trials, trial, result)
        if result["done"]:
            self.scheduler.on_trial_complete(None, trial, result)
            if self.search:
                self.search.on_trial_complete(trial.trial_id, result)
            self.tell("on_trial_complete", 0, trials, trial)
            trial.process.cleanup()
        return not result["done"]


SETTINGS = ("states", "threads", "train_evaluation", "sharpness", "save_every", "hang_s", "own_code", "umask")
TUNE = ("search_alg", "scheduler", "num_samples", "reuse_actors", "time_budget_s", "max_concurrent_trials")
RUN = ("name", "storage_path", "storage_filesystem", "verbose", "callbacks")


def kind_of(value):
    plain = (str, bool, int, float, type(None))
    if isinstance(value, list):
        return [kind_of(one) for one in value]
    return value if isinstance(value, plain) else type(value).__name__


@pytest.fixture
def course(monkeypatch, tmp_path, mnist_5k, capsys):
    """The course of what is played in this test."""
    course = Course(tmp_path, capsys.readouterr)
    for name in ("RAY_ADDRESS", PENDING):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "argv", ["mnist-tune"])
    clock = SimpleNamespace(
        **dict.fromkeys(("monotonic", "time", "process_time", "thread_time", "perf_counter"), course.seconds),
        sleep=course.sleep,
    )
    for module in (progress, recorder, trainable, sweep):
        monkeypatch.setattr(module, "time", clock)
    for module in (opening, sweep):
        monkeypatch.setattr(module, "now", lambda: f"at {course.now:.0f} s")
    monkeypatch.setattr(opening, "describe_environment", dict)
    monkeypatch.setattr(opening, "changed_versions", lambda meta: {"jax": "9.9"})
    course.data = mnist_5k
    for module in (opening, decide):
        monkeypatch.setattr(module, "load_dataset", lambda *given: course.noting("load data:", course.data)(*given))
    for module in (opening, sweep, search, decide):
        monkeypatch.setattr(module, "start_ray", course.noting("start Ray:"))
    for module in (sweep, search, decide):
        monkeypatch.setattr(module, "stop_ray_at_exit", course.noting("stop Ray at exit"))
        monkeypatch.setattr(module, "load_own", course.noting("load own code:"))
    monkeypatch.setattr(ray, "cluster_resources", lambda: course.resources)
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": course.resources}])
    monkeypatch.setattr(ray, "put", lambda value: value)
    monkeypatch.setattr(ray, "get", lambda value: value)
    for module in (device, tuner):
        monkeypatch.setattr(module, "find_device", lambda quiet: Device("CPU", 1e9))
    monkeypatch.setattr(placement, "lanes_that_fit", course.noting("check lanes:"))
    monkeypatch.setattr(tuner, "NodeWatch", lambda quiet: tune.Callback())
    monkeypatch.setattr(tuner, "refuse_unholdable", course.noting("check cores:"))
    monkeypatch.setattr(tuner, "check_nodes", lambda states, token: course.note_new("check nodes", states))
    monkeypatch.setattr(tuner, "own_code", lambda: "the code")
    monkeypatch.setattr(tuner, "umask", lambda: 0o27)
    monkeypatch.setattr(tuner, "deaths_counted", nullcontext)
    monkeypatch.setattr(tuner.tune, "with_parameters", lambda kind, **of: (kind, of))
    monkeypatch.setattr(tuner.tune, "with_resources", lambda kind, resources: (kind, resources))
    monkeypatch.setattr(tuner.tune, "Tuner", lambda trainable, **of: PlayedTuner(course, trainable, **of))
    monkeypatch.setattr(trainable, "make_pool", lambda dataset, settings: None)
    monkeypatch.setattr(trainable, "OwnLane", lambda pool, save_every: MadeUpPool(course, save_every))
    monkeypatch.setattr(trainable, "blindness", lambda states, token: "")
    monkeypatch.setattr(Sweep, "table", lambda sweep: course.note("table of the sweep"))
    monkeypatch.setattr(
        Sweep, "report", lambda sweep, place: course.note(f"page: {place}, ended {sweep.meta['ended']}")
    )

    @contextmanager
    def last_words(said):
        course.note_new("if killed", said)
        yield

    monkeypatch.setattr(sweep, "last_words", last_words)
    append, finish = SweepWriter._append, SweepWriter.finish

    def finish_or_die(writer, **meta):
        if course.dies == 0:
            raise Killed
        return finish(writer, **meta)

    def append_or_die(writer, event):
        if course.dies == 0:
            raise Killed
        course.dies -= 1
        append(writer, event)
        kind, trial_id = event["kind"], event.get("trial_id")
        if kind == "trial":
            proposed = event["config"] == course.proposed.get(trial_id)
            course.also(f"trial {trial_id} {'as proposed' if proposed else changed(event['config'])}")
        elif kind == "epoch":
            assert event["ended_at"] == course.now
            course.also(f"row {event['epoch']}")
        else:
            course.also(f"{trial_id} ends: {event['stop_reason']} {event['error']}".rstrip())

    monkeypatch.setattr(SweepWriter, "_append", append_or_die)
    monkeypatch.setattr(SweepWriter, "finish", finish_or_die)
    return course
