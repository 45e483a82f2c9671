"""A trial that a loop trains, in this process: rows, states, ends, mistakes."""

import math
import os
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from mnist_tune import Loop, TrialConfig, UserError
from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.execution.loops import OwnLoop
from mnist_tune.execution.process_setup import WorkerSettings
from mnist_tune.execution.program_error import ProgramError
from mnist_tune.own_code.registry import register


def trial(name, **values):
    values = {"learning_rate": 1.0, "epochs": 4} | values
    return TrialConfig(architecture=name, holdout=500, **values)


def test_a_report_is_a_row(own_loop, levels, tmp_path):
    pool = own_loop()
    pool.attach("00000", trial(levels, batch_size=100))
    row = pool.epoch("00000", tmp_path / "00000.npz")
    assert row.epoch == 1
    assert row.step == 10
    assert row.learning_rate == 1.0
    assert row.train_loss == 1.15
    assert row.validation_accuracy == 0.55
    assert row.test_loss == 1.2
    assert row.scores == {"level": 1.0}
    assert not row.diverged
    assert row.device == "cpu"
    assert row.train_s >= 0
    assert math.isnan(row.untrained_loss)


def test_what_was_saved_goes_on(own_loop, levels, tmp_path, log):
    state = tmp_path / "00000.npz"
    first = own_loop()
    first.attach("00000", trial(levels))
    rows = [first.epoch("00000", state) for _ in range(3)]
    checkpoint = Checkpoint.load(state)
    assert checkpoint.row.epoch == 3
    second = own_loop()
    second.attach("00000", trial(levels), checkpoint)
    last = second.epoch("00000", state)
    assert last.epoch == 4
    assert last.scores["level"] == rows[-1].scores["level"] + 1
    assert log() == ["begin 00000 at 0", "begin 00000 at 3"]
    second.detach("00000")


def test_states_are_saved_every_n_epochs_and_at_the_end(own_loop, levels, tmp_path):
    state = tmp_path / "00000.npz"
    pool = own_loop(save_every=2)
    pool.attach("00000", trial(levels))
    pool.epoch("00000", state)
    assert not state.exists()
    pool.epoch("00000", state)
    assert Checkpoint.load(state).row.epoch == 2
    pool.epoch("00000", state)
    assert Checkpoint.load(state).row.epoch == 2
    pool.save("00000", state)
    assert Checkpoint.load(state).row.epoch == 3


def test_a_loop_that_saves_nothing_has_no_state(own_loop, levels, tmp_path):
    state = tmp_path / "00000.npz"
    pool = own_loop()
    pool.attach("00000", trial(f"{levels}(saves=False)"))
    pool.epoch("00000", state)
    pool.save("00000", state)
    assert not state.exists()


def test_a_state_leads_out_of_its_folder_nowhere(own_loop, levels, tmp_path):
    """It may be somebody else's. Only the loop's own code opens its files."""
    import io
    import tarfile

    import numpy as np

    pool = own_loop()
    pool.attach("00000", trial(levels))
    row = pool.epoch("00000", tmp_path / "00000.npz")
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../../planted"))
    content = {"tar": np.frombuffer(file.getvalue(), np.uint8)}
    with pytest.raises(tarfile.OutsideDestinationError):
        pool.attach("00001", trial(levels), Checkpoint(content, row))
    pool.detach("00001")


@pytest.mark.promise(
    "A loop is never saved beside its training, and its generator is closed at each end"
)
def test_its_generator_is_closed_when_its_trial_ends(own_loop, levels, tmp_path, log):
    pool = own_loop()
    pool.detach("00000")
    pool.attach("00000", trial(levels))
    pool.epoch("00000", tmp_path / "00000.npz")
    pool.detach("00000")
    assert log() == ["begin 00000 at 0", "closed 00000"]
    pool.attach("00001", trial(levels))
    pool.epoch("00001", tmp_path / "00001.npz")
    pool.attach("00002", trial(levels))
    pool.epoch("00002", tmp_path / "00002.npz")
    assert log()[2:] == ["begin 00001 at 0", "closed 00001", "begin 00002 at 0"]


def test_an_exception_names_the_line_of_the_users_code(own_loop, levels, tmp_path):
    pool = own_loop()
    pool.attach("00000", trial(f"{levels}(fails_at=1)"))
    pool.epoch("00000", tmp_path / "00000.npz")
    with pytest.raises(ProgramError) as raised:
        pool.epoch("00000", tmp_path / "00000.npz")
    file = levels.partition(":")[0]
    lines = Path(file).read_text().splitlines()
    number = 1 + lines.index('                raise ValueError("out of ideas")')
    assert str(raised.value) == f"ValueError: out of ideas ({file}:{number})"


def test_a_loop_that_exits_ends_its_trial_with_the_line(tmp_path):
    """Else its process would end, and the trial be tried again."""

    def train(run):
        yield LOSSES
        sys.exit("no data")

    loop = Loop(train, guess=2.3)
    register("made", "loop")(loop)
    pool = OwnLoop(WorkerSettings(), loop, Mock())
    pool.attach("00000", trial("made"))
    pool.epoch("00000", tmp_path / "00000.npz")
    with pytest.raises(ProgramError, match=r"^SystemExit: no data \(.*py:\d+\)$"):
        pool.epoch("00000", tmp_path / "00000.npz")


def test_variables_are_set_before_its_file_is_imported(own_loop, levels):
    os.environ["CUDA_VISIBLE_DEVICES"] = "0,1"
    own_loop(threads=3)
    assert os.environ["LEVELS"] == "set"
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert os.environ["PJRT_NPROC"] == "3"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


def test_gpus_that_ray_gives_it_are_seen(own_loop):
    os.environ["CUDA_VISIBLE_DEVICES"] = "1"
    own_loop(gpus=1.0)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"


def yielding(*reports):
    """Return a generator function that yields these reports."""

    def train(run):
        yield from reports

    return train


LOSSES = {"train_loss": 1.0, "test_loss": 1.1}


@pytest.mark.parametrize(
    ("reports", "line"),
    [
        pytest.param(
            [],
            "report 1 of 4 is None; yield a dictionary of numbers for each of run.epochs epochs",
            id="ended",
        ),
        pytest.param(
            [0.3],
            "report 1 of 4 is 0.3; yield a dictionary of numbers for each of run.epochs epochs",
            id="number",
        ),
        pytest.param(
            [{"train_loss": "low"}],
            "report 1 of 4 is {'train_loss': 'low'}; yield a dictionary of numbers for each of run.epochs epochs",
            id="text",
        ),
        pytest.param(
            [LOSSES | {"test_acuracy": 0.5}],
            "a report has 'test_acuracy', which is none of ours or Loop(scores=...); did you mean 'test_accuracy'?",
            id="typo",
        ),
        pytest.param(
            [LOSSES | {"test_accuracy": 97}],
            "test_accuracy is 97; divide percents by 100",
            id="percents",
        ),
        pytest.param(
            [{"test_loss": 1.0}],
            "a report has no train_loss; it has test_loss",
            id="lacking",
        ),
    ],
)
def test_what_is_no_row_is_refused(reports, line, tmp_path):
    loop = Loop(yielding(*reports), guess=2.3)
    register("made", "loop")(loop)
    pool = OwnLoop(WorkerSettings(), loop, Mock())
    pool.attach("00000", trial("made"))
    with pytest.raises(UserError) as refused:
        pool.epoch("00000", tmp_path / "00000.npz")
    place = ""
    if reports:
        lines = Path(__file__).read_text().splitlines()
        place = f" ({__file__}:{1 + lines.index('        yield from reports')})"
    assert str(refused.value) == line + place


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_divergence(loss, tmp_path):
    loop = Loop(yielding(LOSSES, LOSSES | {"train_loss": loss}), guess=2.3)
    register("made", "loop")(loop)
    pool = OwnLoop(WorkerSettings(), loop, Mock())
    pool.attach("00000", trial("made"))
    assert not pool.epoch("00000", tmp_path / "00000.npz").diverged
    assert pool.epoch("00000", tmp_path / "00000.npz").diverged


def test_numbers_of_other_libraries_are_numbers(tmp_path):
    import jax.numpy as jnp
    import numpy as np

    report = {"train_loss": np.float32(0.5), "test_loss": jnp.float32(0.25)}
    loop = Loop(yielding(report), guess=2.3)
    register("made", "loop")(loop)
    pool = OwnLoop(WorkerSettings(), loop, Mock())
    pool.attach("00000", trial("made"))
    row = pool.epoch("00000", tmp_path / "00000.npz")
    assert row.train_loss == 0.5
    assert row.test_loss == 0.25
