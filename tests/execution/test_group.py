"""The batches in which the lanes of a group run."""

from collections import Counter
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from mnist_tune.execution.group import BatchSizes, LaneGroup


@given(st.integers(1, 40), st.integers(1, 16))
def test_every_lane_that_asks_runs_once(count, largest):
    spent = Counter(compile_s=0.0)
    executor = SimpleNamespace(take_seconds=lambda: spent, sizes=[largest])
    group = LaneGroup(executor, None, BatchSizes(largest), None)
    lanes = {str(i): SimpleNamespace(id=str(i), spent=Counter()) for i in range(count)}
    batches = []

    def call(size, batch):
        batches.append((size, batch))
        return [lane.id for lane in batch]

    assert group._in_batches(lanes, {}, call) == {lane: lane for lane in lanes}
    assert [lane.id for _, batch in batches for lane in batch] == list(lanes)
    for size, batch in batches:
        assert len(batch) <= size <= largest
