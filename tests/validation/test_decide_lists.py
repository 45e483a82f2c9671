"""A small part of the benchmark: lists of simulated sweeps hold the best, and are
shorter where it is clear."""

from validation.decide_lists import DecideLists, simulate


def test_lists_hold_the_best_where_the_noise_is_known():
    config = DecideLists(sweeps=60)
    tied = simulate(4, 3, 0.0, 1.0, "5% fail", config)
    clear = simulate(4, 3, 9.0, 1.0, "5% fail", config)
    assert not tied.missed
    assert clear.held >= 0.95
    assert clear.named < 2 < 3 < tied.named
    unknown = simulate(8, 1, 0.0, 2.0, "nothing", config)
    assert not unknown.included
    assert unknown.held < 0.9
