"""Reports within an epoch: the same bits at its end as without, in a process and in
lanes, killed and resumed after each of them."""

from dataclasses import replace
from functools import cache

import jax
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tasks import contrastive, vae

from mnist_tune import TrialConfig
from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.execution.pool import LanePool
from mnist_tune.execution.sharpness import SharpnessSettings
from mnist_tune.own_code.registry import register
from mnist_tune.training.check import check_tasks
from mnist_tune.trial import report_ends

pytestmark = [pytest.mark.numerical, pytest.mark.usefixtures("as_users_have_it")]

OF_A_REPORT = {"epoch", "step_loss_first", "step_loss_max", "window_loss_max"}
"""The columns that are of a report's own steps."""
TIMES = {"compile_s", "train_s", "eval_s", "batch_s", "wait_s", "ended_at"}
EPOCHS = 2
RATES = (0.05, 0.5, 0.005)


@given(st.integers(1, 500), st.integers(1, 500))
@example(469, 100)
def test_reports_are_so_many_steps_apart_and_the_last_is_at_the_end(steps, every):
    ends = report_ends(steps, every)
    gaps = np.diff([0, *ends])
    assert ends[-1] == steps
    assert (gaps[:-1] == every).all()
    # the last one is longer than half of the others, and shorter than one and a half
    assert 2 * gaps[-1] > min(every, steps)
    assert 2 * gaps[-1] <= 3 * every + 1


def test_without_a_number_an_epoch_has_one_report():
    assert report_ends(469, None) == [469]
    assert report_ends(469, 100) == [100, 200, 300, 400, 469]


@cache
def images_of(dataset, count):
    fields = {"train_images": count, "train_labels": count, "test_images": 100}
    fields["test_labels"] = 100
    parts = {name: getattr(dataset, name)[:size] for name, size in fields.items()}
    return replace(dataset, **parts)


def config_of(lane, **fields):
    return TrialConfig(
        learning_rate=RATES[lane],
        seed=lane,
        data_seed=lane % 2,
        epochs=EPOCHS,
        **fields,
    )


def trained(data, config, every, lanes=1, killed=False, **settings):
    """Return the rows of all reports, for each lane, and its last state. If they are
    `killed`, the lanes go on from their saved states after each report."""
    pool = LanePool(data, lanes, report_every=every, **settings)
    configs = {str(lane): replace(config_of(lane), **config) for lane in range(lanes)}
    for lane, trial in configs.items():
        pool.attach(lane, trial)
    steps = next(iter(pool.lanes.values())).group.steps
    rows = {lane: [] for lane in configs}
    for _ in range(EPOCHS * len(report_ends(steps, every))):
        for lane, row in pool.run([*configs]).items():
            rows[lane].append(row)
        if killed:
            pool = through_files(pool, data, lanes, every, killed, settings)
    states = {lane: pool.checkpoint(lane).arrays for lane in configs}
    return rows, states


def through_files(pool, data, lanes, every, folder, settings):
    """Return another process's pool, to which only files have come."""
    again = LanePool(data, lanes, report_every=every, **settings)
    for lane, held in pool.lanes.items():
        pool.checkpoint(lane).save(folder / lane)
        again.attach(lane, held.config, Checkpoint.load(folder / lane))
    return again


def at_ends_of_epochs(rows):
    """Return what the rows at the ends of epochs say, but for the time that it took,
    and what is of a report's own steps."""
    ends = {}
    for lane, of_lane in rows.items():
        reports = len(of_lane) // EPOCHS
        ends[lane] = [plain(row) for row in of_lane[reports - 1 :: reports]]
    return ends


def plain(row):
    values = row.report()
    return {
        name: repr(value)
        for name, value in values.items()
        if name not in TIMES | OF_A_REPORT
    }


def assert_same_states(states, others):
    jax.tree.map(np.testing.assert_array_equal, states, others)


MLP = {"architecture": "mlp-16-relu", "batch_size": 64}
"""Sixteen steps an epoch, the last one of 40 images."""


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("every", [4, 5, 7, 15])
def test_the_ends_of_epochs_are_as_without_to_the_bit(mnist_5k, every, lanes):
    data = images_of(mnist_5k, 1000)
    expected, expected_states = trained(data, MLP, None, lanes)
    rows, states = trained(data, MLP, every, lanes)
    assert at_ends_of_epochs(rows) == at_ends_of_epochs(expected)
    assert_same_states(states, expected_states)


def test_reports_have_the_losses_of_their_own_steps(mnist_5k):
    data = images_of(mnist_5k, 1000)
    expected, _ = trained(data, MLP, None)
    rows, _ = trained(data, MLP, 4)
    reports = rows["0"]
    assert [row.epoch for row in reports] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [row.step for row in reports] == [4, 8, 12, 16, 20, 24, 28, 32]
    for epoch, own in zip(expected["0"], (reports[:4], reports[4:]), strict=True):
        assert epoch.step_loss_max == max(row.step_loss_max for row in own)
        assert epoch.window_loss_max == max(row.window_loss_max for row in own)
        assert epoch.step_loss_first == own[0].step_loss_first
    assert len({row.train_loss for row in reports}) == 8


@pytest.mark.slow
@pytest.mark.parametrize("lanes", [1, 3])
def test_a_kill_after_any_report_changes_no_bit(mnist_5k, tmp_path, lanes):
    data = images_of(mnist_5k, 1000)
    expected, expected_states = trained(data, MLP, 5, lanes)
    rows, states = trained(data, MLP, 5, lanes, killed=tmp_path)
    for lane, of_lane in rows.items():
        assert [row.train_loss for row in of_lane] == [
            row.train_loss for row in expected[lane]
        ]
    assert at_ends_of_epochs(rows) == at_ends_of_epochs(expected)
    assert_same_states(states, expected_states)


@pytest.mark.slow
@pytest.mark.parametrize("lanes", [1, 2])
def test_a_convnet_reports_within_an_epoch(mnist_5k, lanes):
    data = images_of(mnist_5k, 256)
    convnet = {"architecture": "convnet", "batch_size": 64}
    expected, expected_states = trained(data, convnet, None, lanes)
    rows, states = trained(data, convnet, 2, lanes)
    assert len(rows["0"]) == 2 * EPOCHS
    assert at_ends_of_epochs(rows) == at_ends_of_epochs(expected)
    assert_same_states(states, expected_states)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("factory", "lanes", "memory"),
    [(vae, 1, None), (vae, 3, 40_000), (contrastive, 3, None)],
)
def test_a_task_reports_within_an_epoch_also_of_data_in_parts(
    factory, lanes, memory, tmp_path
):
    """The one draws from the keys of steps, the other has scores of whole blocks."""
    register(factory.__name__)(factory)
    data = check_tasks([factory.__name__], [TrialConfig(batch_size=32)])
    task = {"architecture": factory.__name__, "batch_size": 32, "holdout": 60}
    settings = {"lanes": lanes, "data_memory": memory}
    expected, expected_states = trained(data, task, None, **settings)
    rows, states = trained(data, task, 4, killed=tmp_path, **settings)
    assert len(rows["0"]) > EPOCHS
    assert at_ends_of_epochs(rows) == at_ends_of_epochs(expected)
    assert_same_states(states, expected_states)


def test_lanes_at_different_steps_train_in_one_batch(mnist_5k):
    """One begins when the others have made half of their first epoch."""
    data = images_of(mnist_5k, 1024)
    expected, _ = trained(data, MLP, None, 3)
    pool = LanePool(data, 3, report_every=4)
    configs = {str(lane): replace(config_of(lane), **MLP) for lane in range(3)}
    rows = {lane: [] for lane in configs}
    late = "1"
    for report in range(10):
        if report in (0, 2):
            for lane in configs if report == 0 else [late]:
                pool.attach(lane, configs[lane])
                rows[lane].clear()
        for lane, row in pool.run([*configs]).items():
            assert row.lanes == 3
            rows[lane].append(row)
    whole = {lane: of_lane[:8] for lane, of_lane in rows.items()}
    assert at_ends_of_epochs(whole) == at_ends_of_epochs(expected)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [SharpnessSettings(), SharpnessSettings(3, 100)])
def test_the_sharpness_within_an_epoch_is_as_without(mnist_5k, settings):
    data = images_of(mnist_5k, 1000)
    expected, _ = trained(data, MLP, None, sharpness=settings)
    rows, _ = trained(data, MLP, 4, sharpness=settings)

    def measurements(of_lane):
        return [step for row in of_lane for step in row.sharpness_steps or ()]

    of_reports = measurements(rows["0"])
    if settings.every:
        assert of_reports == measurements(expected["0"])
    else:
        assert set(measurements(expected["0"])) <= set(of_reports)
        assert [steps for steps, *_ in of_reports] == [0, *range(4, 33, 4)]
