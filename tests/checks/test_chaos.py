"""What the benchmark of kills takes for a fault."""

import pytest

from checks.chaos import faults

TIMES = ("compile_s", "train_s", "eval_s", "batch_s", "wait_s", "ended_at")


@pytest.fixture
def sweep(tmp_path, new_writer, epoch_row):
    """A function that makes a sweep of one row."""

    def make(name, **values):
        writer = new_writer(tmp_path / name)
        writer.epoch("00000", epoch_row(1, **values), repeated=False)
        return writer.finish()

    return make


def test_other_times_are_no_fault(sweep):
    undisturbed = sweep("undisturbed")
    other = sweep("other", **dict.fromkeys(TIMES, 7.0))
    assert faults(other.path, undisturbed, exact=True) == []


def test_another_loss_is_a_fault(sweep):
    undisturbed = sweep("undisturbed")
    other = sweep("other", train_loss=0.3)
    assert faults(other.path, undisturbed, exact=True) == ["numbers differ"]
