"""Which images a range test trains on."""

import pytest

from mnist_tune import RangeTestOptions, range_test
from mnist_tune.tuning import range_test as module


def test_it_trains_on_the_images_asked_for(tmp_path, monkeypatch):
    class Loaded(Exception):
        pass

    def load(name, data_dir=None, progress=True, standardize=False, train_images=None):
        raise Loaded(name, data_dir, standardize, train_images)

    monkeypatch.setattr(module, "load_dataset", load)
    options = RangeTestOptions(dataset="mnist", data_dir=tmp_path, standardize=True, train_images=300)
    with pytest.raises(Loaded) as loaded:
        range_test(options)
    assert loaded.value.args == ("mnist", tmp_path, True, 300)
