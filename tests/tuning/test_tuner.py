"""What Tune is asked for, on a made-up cluster."""

import os
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from ray.tune.schedulers import ASHAScheduler

from mnist_tune import SweepOptions, TrialConfig
from mnist_tune.execution.process_setup import Shared, WorkerSettings
from mnist_tune.runtime.placement import Device, Placement
from mnist_tune.runtime.ray_session import PENDING
from mnist_tune.tuning import tuner
from mnist_tune.tuning.early_stopping import Asha, RegimeStopping
from mnist_tune.tuning.opened import Opened
from mnist_tune.tuning.past import Past
from mnist_tune.tuning.plan import Plan
from mnist_tune.tuning.progress import ProgressView
from mnist_tune.tuning.recorder import Recorder

PLAN = Plan({"00000": TrialConfig(epochs=3), "00001": TrialConfig(epochs=9)})


@pytest.fixture
def cluster(monkeypatch):
    """The resources of the cluster."""
    resources = {"CPU": 8.0}
    monkeypatch.setattr(tuner.ray, "cluster_resources", lambda: resources)
    monkeypatch.setattr(
        tuner.ray, "nodes", lambda: [{"Alive": True, "Resources": resources}]
    )
    monkeypatch.setattr(tuner.ray, "put", lambda value: value)
    monkeypatch.setattr(tuner, "NodeWatch", lambda quiet: "watch")
    return resources


def test_the_scheduler_is_the_one_asked_for(cluster, new_writer, tmp_path, monkeypatch):
    writer = new_writer(tmp_path / "sweep")
    make = Mock()
    monkeypatch.setattr(tuner.tune, "Tuner", make)
    view = ProgressView(2, 2, 0, quiet=True)
    recorder = Recorder(writer, view, {}, Past(), "scheduler")
    placement = Placement({"CPU": 2}, WorkerSettings("states"))

    def scheduler_of_tune(plan=PLAN, **options):
        opened = Opened(SweepOptions(**options), writer, Past(), None)
        tuner.make_tuner(opened, plan, placement, None, recorder)
        return make.call_args.kwargs["tune_config"].scheduler

    assert scheduler_of_tune(scheduler="fifo") is None
    for name, kind in (("regimes", RegimeStopping), ("asha", Asha)):
        scheduler = scheduler_of_tune(scheduler=name, grace_period=2)
        assert type(scheduler) is kind
        assert scheduler._grace_period == 2
    own = ASHAScheduler(metric="scheduler_loss", mode="min")
    plan = replace(PLAN, scheduler=own)
    assert scheduler_of_tune(plan, scheduler="asha") is own
    writer.finish()


@pytest.mark.parametrize("address", [None, "head:6379"])
def test_processes_get_what_was_asked_for(
    cluster, new_writer, mnist_5k, tmp_path, monkeypatch, address
):
    checked = []
    placed = []
    pending = []
    sent = []
    writer = new_writer(tmp_path / "sweep")
    cluster["CPU"] = 2.0

    def check(*arguments):
        checked.append(arguments)

    def place(trials, spec, settings, *rest):
        placed.append(settings)
        return Placement({"CPU": 2}, settings)

    def make(opened, plan, placement, shared, recorder):
        sent.append(shared)
        return SimpleNamespace(fit=lambda: pending.append(os.environ[PENDING]))

    monkeypatch.setattr(tuner, "find_device", lambda quiet: Device("CPU", 1e9))
    monkeypatch.setattr(tuner, "refuse_unholdable", check)
    monkeypatch.setattr(tuner, "check_nodes", check)
    monkeypatch.setattr(tuner, "own_code", lambda: "the code")
    monkeypatch.setattr(tuner, "umask", lambda: 0o27)
    monkeypatch.setattr(tuner, "choose_placement", place)
    monkeypatch.setattr(tuner, "make_tuner", make)
    options = SweepOptions(
        train_evaluation=500,
        sharpness_every=3,
        save_every=4,
        execution="process",
        address=address,
        hang_minutes=2,
    )
    tuner.fit(Opened(options, writer, Past(), mnist_5k), PLAN, None)
    assert pending == ["4"]  # more than there are cores
    assert checked == [(1, "process"), (writer.states, writer.token)]
    [settings] = placed
    assert settings.states == writer.states
    assert settings.token == writer.token
    assert sent == [Shared("the code", mnist_5k)]
    assert settings.train_evaluation == 500
    assert settings.sharpness.every == 3
    assert settings.save_every == 4
    assert settings.hang_s == 120
    # another machine's umask is its own
    assert settings.umask == (None if address else 0o27)
    writer.finish()


def test_cores_per_trial_are_those_of_the_largest_node_at_most(cluster, monkeypatch):
    alone = Plan({"00000": TrialConfig()})
    options = SweepOptions()
    small = {"Alive": True, "Resources": {"CPU": 3.0}}
    large = {"Alive": True, "Resources": {"CPU": 6.0}}
    dead = {"Alive": False, "Resources": {"CPU": 9.0}}
    without_cores = {"Alive": True, "Resources": {}}
    monkeypatch.setattr(tuner.ray, "nodes", lambda: [small, large, dead])
    assert tuner.cpus_of(alone, "CPU", options) == 6
    assert tuner.cpus_of(PLAN, "CPU", options) == 4
    assert tuner.cpus_of(alone, "GPU", options) == 1
    monkeypatch.setattr(tuner.ray, "nodes", lambda: [without_cores])
    assert tuner.cpus_of(alone, "CPU", options) == 1
    monkeypatch.setattr(tuner.ray, "nodes", list)
    assert tuner.cpus_of(alone, "CPU", options) == 1
