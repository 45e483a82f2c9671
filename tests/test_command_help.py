"""In which order `--help` shows the flags of a command."""

from dataclasses import fields

from mnist_tune.cli import panels
from mnist_tune.commands.lr_regimes import LearningRateRegimes
from mnist_tune.tuning.options import SweepOptions


def test_what_is_trained_comes_first_and_flags_stand_as_they_were_written():
    found = panels(LearningRateRegimes)
    assert list(found) == ["training", "trial", "data", "run"]
    assert set(found["data"]) == set(SweepOptions.PANELS["data"])
    for name in ("training", "run"):
        written = [one.name for one in fields(LearningRateRegimes) if one.name in found[name]]
        assert sorted(found[name]) == sorted(written)
    own = [name for name in vars(SweepOptions)["__annotations__"] if name in found["run"]]
    assert [name for name in found["run"] if name in own] == own
    assert found["training"][:2] == ["architecture", "optimizer"]
    assert len(set().union(*found.values())) == len(fields(LearningRateRegimes))
