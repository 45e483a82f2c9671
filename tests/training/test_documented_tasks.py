"""The tasks of docs/own_training.md: each can train, and learns."""

import re
from pathlib import Path

import pytest

from mnist_tune import TrialConfig
from mnist_tune.execution.pool import LanePool
from mnist_tune.own_code.loading import load_own
from mnist_tune.training.check import check_tasks

PAGE = Path(__file__).parents[2] / "docs" / "own_training.md"
BLOCKS = {
    block.split()[1].removesuffix(".py"): block
    for block in re.findall(
        r"```python\n(# \w+\.py\n.*?)```", PAGE.read_text(), re.DOTALL
    )
}
RATES = {
    "regression": 0.01,
    "vae": 0.01,
    "pinn": 0.01,
    "gan": 0.05,
    "crops": 0.3,
    "contrastive": 0.3,
}
RATES |= {"nnx_text": 0.3, "equinox_text": 0.3}


@pytest.mark.slow
@pytest.mark.usefixtures("as_users_have_it")
@pytest.mark.parametrize("name", BLOCKS)
def test_a_documented_task_learns(name, tmp_path):
    (tmp_path / f"documented_{name}.py").write_text(BLOCKS[name])
    task = f"{tmp_path}/documented_{name}.py:{name}"
    load_own({"task": task})
    config = TrialConfig(architecture=task, learning_rate=RATES[name], batch_size=50)
    pool = LanePool(check_tasks([task], [config]))
    pool.attach("a", config)
    rows = [pool.run(["a"])["a"] for _ in range(3)]
    assert not rows[-1].diverged
    if name != "gan":  # its losses are a game's
        assert rows[-1].test_loss < rows[0].test_loss < rows[0].untrained_loss
