"""What `sweep.json` records of a data set."""

from mnist_tune.regimes.data_facts import DATA

COUNTS = {
    "mnist": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    "mnist-5k": [399, 394, 408, 400, 399, 399, 387, 406, 410, 398],
}

OF_A_TASK = {
    "name": "task",
    "note": "",
    "checksums": {},
    "train_images": 300,
    "test_images": 100,
}
"""The record of the data of a task."""


def recorded_data(name, **changes):
    """Return the record of a built-in data set, with some values changed."""
    record = {"name": name, "note": "", "checksums": {}, "shape": [28, 28]}
    record["target"] = DATA[name].target
    record["label_counts"] = COUNTS[name]
    record["test_images"] = DATA[name].test_images
    return record | changes
