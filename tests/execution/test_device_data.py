"""A data set on a device."""

from mnist_tune.execution.device_data import DeviceData


def test_at_most_as_many_training_images_are_evaluated_as_there_are(few_images):
    for asked, evaluated in ((None, 924), (100, 100), (924, 924), (925, 924), (1024, 924)):
        data = DeviceData.put(few_images, 0, 100, asked)
        assert data.splits == {"train": (0, evaluated), "test": (924, 256), "validation": (1180, 100)}
        assert data.train_count == sum(data.label_counts) == 924
