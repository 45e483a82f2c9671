"""Made-up sweeps, and pictures as texts."""

import pytest
from drawn import as_text  # noqa: F401
from made_up_sweeps import edge_sweep, made_up_sweep, rates, sweep  # noqa: F401
from sweep_states import Makers


@pytest.fixture
def make(request):
    """A function that makes a sweep of a kind and in a state (`sweep_states.NAMES`)."""
    makers = Makers(request)
    return lambda name: getattr(makers, name)()
