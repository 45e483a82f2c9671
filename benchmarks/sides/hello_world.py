"""Ray Tune's smallest program: four trials of a class that imports JAX and reports
once, with `reuse_actors`.

    python -m benchmarks.sides.hello_world Hello|SavingHello FILE

Run it in an empty folder. It writes the Unix time of the first result to FILE. At a
trial's end, Tune asks for a checkpoint. `Hello` has none, so each of its trials ends in
an error, and the next one gets a new actor. `SavingHello` has an empty checkpoint, and
its actors are reused.
"""

from __future__ import annotations

import os

# Ray reads these when it is imported.
os.environ.update(
    RAY_AIR_NEW_OUTPUT="0",
    TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",
    RAY_USAGE_STATS_ENABLED="0",
)

import sys
import time
from pathlib import Path
from typing import Any

import ray
from ray import tune


class Hello(tune.Trainable):  # type: ignore[misc]
    def setup(self, config: dict[str, Any]) -> None:
        import jax  # noqa: F401

    def step(self) -> dict[str, Any]:
        return {"done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        return True


class SavingHello(Hello):
    def save_checkpoint(self, checkpoint_dir: str) -> None:
        pass


class Clock(tune.Callback):  # type: ignore[misc]
    def __init__(self, file: Path) -> None:
        self.file = file

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        if not self.file.exists():
            self.file.write_text(str(time.time()))


def main() -> None:
    ray.init(
        address="local",
        include_dashboard=False,
        logging_level="error",
        log_to_driver=False,
    )
    tuner = tune.Tuner(
        tune.with_resources(
            {"Hello": Hello, "SavingHello": SavingHello}[sys.argv[1]], {"cpu": 1}
        ),
        param_space={"trial": tune.grid_search([0, 1, 2, 3])},
        tune_config=tune.TuneConfig(reuse_actors=True),
        run_config=tune.RunConfig(
            storage_path=str(Path.cwd()),
            verbose=0,
            callbacks=[Clock(Path(sys.argv[2]))],
        ),
    )
    tuner.fit()


if __name__ == "__main__":
    main()
