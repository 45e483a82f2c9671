"""The trials of the sweep over seeds."""

import pytest

from mnist_tune.commands.seeds import Seeds


@pytest.mark.parametrize(("given", "orders"), [(None, [4, 0, 7]), (0, [0, 0, 0]), (3, [3, 3, 3])])
def test_replicates_have_their_own_batch_order_or_share_the_one_asked_for(given, orders):
    trials = Seeds(seeds=(4, 0, 7, 4), data_seed=given).trials()
    assert [trial.seed for trial in trials] == [4, 0, 7]
    assert [trial.data_seed for trial in trials] == orders
