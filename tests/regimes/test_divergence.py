"""What schedulers see of a loss."""

import math

from hypothesis import given
from hypothesis import strategies as st

from mnist_tune.regimes.divergence import LOSS_CEILING, finite_loss


@given(st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, LOSS_CEILING, LOSS_CEILING * 1.01]))
def test_schedulers_see_finite_losses(loss):
    assert math.isfinite(finite_loss(loss))
    assert finite_loss(loss) <= LOSS_CEILING
    if abs(loss) <= LOSS_CEILING:
        assert finite_loss(loss) == loss
