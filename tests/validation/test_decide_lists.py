"""A small part of the benchmark: lists of simulated sweeps hold the best, and are
shorter where it is clear."""

from validation.decide_lists import DecideLists, simulate


def test_lists_hold_the_best_where_the_noise_is_known():
    config = DecideLists(sweeps=60)
    tied, clear = (
        simulate(4, 3, better, 1.0, "5% fail", config) for better in (0.0, 9.0)
    )
    assert not tied.missed
    assert clear.held >= 0.95
    assert clear.named < 2 < 3 < tied.named
    unknown = simulate(8, 1, 0.0, 2.0, "nothing", config)
    assert not unknown.included
    assert unknown.held < 0.9
