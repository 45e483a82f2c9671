"""When a batch of lanes runs, and of which size it is."""

from mnist_tune.execution.group import BatchSizes
from mnist_tune.execution.lane_server import WAIT_SHARE, LaneTurn


def test_what_padding_costs_decides_whether_a_smaller_size_is_compiled():
    sizes = BatchSizes(64)
    sizes.ran(64, 64, compile_s=2.0, run_s=9.0)
    chosen = []
    for _ in range(4):
        chosen.append(sizes.choose(2, [64]))
        sizes.ran(2, 64, compile_s=0.0, run_s=1.0)
    assert chosen == [64, 64, 64, 2]  # after 3 times 62/64 s
    sizes.ran(2, 2, compile_s=0.5, run_s=0.1)
    for _ in range(3):
        assert [sizes.choose(lanes, [64, 2]) for lanes in (1, 2, 3)] == [2, 2, 64]
        # the longest compilation counts, 2 s
        sizes.ran(2, 64, compile_s=0.0, run_s=0.6)
    sizes.ran(3, 4, compile_s=0.0, run_s=100.0)  # no batch of three lanes is smaller
    assert sizes.choose(3, [64, 2]) == 64
    sizes.largest = 33  # no power of two: as many as fit
    assert [sizes.choose(lanes, []) for lanes in (1, 2, 3, 32, 33)] == [1, 2, 4, 32, 33]
    assert sizes.choose(3, [64, 2]) == 4


def test_a_batch_runs_when_all_lanes_ask_or_some_have_waited():
    turn = LaneTurn(attached={"a", "b"}, last_s=10.0)
    assert not turn.ready(100.0)
    turn.asking["a"] = None
    turn.since = 100.0
    assert not turn.ready(100.0)
    assert turn.ready(100.0 + WAIT_SHARE * 10.0)
    turn.asking["b"] = None
    assert turn.ready(100.0)
