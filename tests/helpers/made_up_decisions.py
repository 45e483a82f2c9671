"""Settings that a made-up decision compares, and the scores that their seeds have."""


def settings_at(*rates, **shared):
    """Return a setting for each learning rate; they share the other values."""
    return [{"learning_rate": rate} | shared for rate in rates]


def mlp_settings(*rates):
    """Return a setting of the network of `made_up_sweep` for each learning rate."""
    return settings_at(*rates, architecture="mlp-4-tanh")


def same_for_all_seeds(*scores):
    """Return a function of a seed and a setting: the setting's score."""
    return lambda seed, setting: scores[setting]


def clearly_apart(*scores):
    """Return a function of a seed and a setting: the setting's score, which differs
    little from seed to seed."""
    return lambda seed, setting: scores[setting] + 0.001 * (seed % 3)


def by_turns(seed, setting):
    """Return the score of a seed of a setting. Of two, each is better by turns, so no
    seed settles it."""
    return 0.9 + (seed + setting) % 2 / 100
